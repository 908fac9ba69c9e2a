import pytest

from petset.kinds import quality_of_service, rbac, service
from petset.kinds.namespace import NAMESPACES
from petset.kinds.node import NODES
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import filled
from petset.kinds.secret import SECRETS
from petset.kinds.service import SERVICES
from petset.kinds.stateful_set import STATEFULSETS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects.filling import at, each, fill, fill_empty


def spec_of(resource, spec, **rest):
    return resource.default({"metadata": {"name": "a"}, "spec": spec, **rest})["spec"]


def test_filling_gives_the_same_tree_when_nothing_is_missing():
    obj = {"a": 0, "b": "x", "c": [{"d": 1}]}
    assert fill(obj, {"a": 5}) is obj
    assert fill_empty(obj, {"a": 5}) == {"a": 5, "b": "x", "c": [{"d": 1}]}
    assert at(obj, "c", lambda c: each(c, lambda d: fill(d, {"d": 2}))) is obj
    assert at(obj, "c", lambda c: each(c, lambda d: fill(d, {"e": 2})))["c"] == [{"d": 1, "e": 2}]
    assert at(obj, "missing", lambda value: value) is obj


def test_a_pod():
    container = {"name": "a", "image": "redis", "ports": [{"containerPort": 1}], "readinessProbe": {"exec": {}}}
    spec = spec_of(PODS, {"containers": [container]})
    assert {key: value for key, value in spec.items() if key != "containers"} == {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "enableServiceLinks": True,
    }
    assert spec["containers"][0] == {
        **container,
        "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
        "ports": [{"containerPort": 1, "protocol": "TCP"}],
        "readinessProbe": {
            "exec": {},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
    }


def test_a_negative_grace_is_one_second_in_a_pod_and_in_a_template():
    spec = {"terminationGracePeriodSeconds": -1, "containers": [{"name": "a", "image": "a:1"}]}
    assert spec_of(PODS, spec)["terminationGracePeriodSeconds"] == 1
    template = spec_of(STATEFULSETS, {"template": {"metadata": {}, "spec": spec}})["template"]
    assert template["spec"]["terminationGracePeriodSeconds"] == 1


def test_zero_seconds_of_grace_are_kept_and_zero_seconds_of_a_probe_are_not():
    container = {"name": "a", "image": "a:1", "livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 0}}
    spec = spec_of(PODS, {"terminationGracePeriodSeconds": 0, "containers": [container]})
    assert spec["terminationGracePeriodSeconds"] == 0
    assert spec["containers"][0]["livenessProbe"]["periodSeconds"] == 10


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("redis", "Always"),
        ("redis:latest", "Always"),
        ("redis:3.2", "IfNotPresent"),
        ("host:5000/redis", "Always"),
        ("host:5000/redis:1", "IfNotPresent"),
        ("redis@sha256:abc", "IfNotPresent"),
        ("redis:latest@sha256:abc", "IfNotPresent"),
        ("", "Always"),
    ],
)
def test_the_pull_policy_follows_the_tag(image, policy):
    assert filled.pull_policy(image) == policy


def test_volumes():
    given = [
        {"name": "a"},
        {"name": "b", "hostPath": {"path": "/"}},
        {"name": "c", "secret": {"secretName": "s"}},
        {"name": "d", "configMap": {"name": "c", "defaultMode": 0}},
        {
            "name": "e",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token"}},
                    {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                ]
            },
        },
    ]
    a, b, c, d, e = spec_of(PODS, {"containers": [], "volumes": given})["volumes"]
    assert a == {"name": "a", "emptyDir": {}}
    assert b["hostPath"]["type"] == ""
    assert c["secret"]["defaultMode"] == 0o644
    assert d["configMap"]["defaultMode"] == 0
    assert e["projected"]["defaultMode"] == 0o644
    assert e["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert e["projected"]["sources"][1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"


def test_environment_hooks_and_host_ports():
    container = {
        "name": "a",
        "image": "a:1",
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "B", "value": "x"}],
        "lifecycle": {"preStop": {"httpGet": {"port": 1}}},
        "ports": [{"containerPort": 80}],
    }
    made = spec_of(PODS, {"hostNetwork": True, "containers": [container]})["containers"][0]
    assert made["env"][0]["valueFrom"]["fieldRef"] == {"fieldPath": "metadata.name", "apiVersion": "v1"}
    assert made["lifecycle"]["preStop"]["httpGet"] == {"port": 1, "path": "/", "scheme": "HTTP"}
    assert made["ports"][0]["hostPort"] == 80


def test_limits_become_requests_of_a_pod_and_not_of_a_template():
    container = {"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}
    made = spec_of(PODS, {"containers": [container]})["containers"][0]["resources"]
    assert made["requests"] == {"cpu": "500m", "memory": "1Gi"}
    template = {"spec": {"containers": [container]}}
    kept = spec_of(STATEFULSETS, {"template": template})["template"]["spec"]
    assert kept["containers"][0]["resources"]["requests"] == {"cpu": "500m"}
    assert "enableServiceLinks" not in kept


def test_the_old_name_of_the_service_account_says_the_same():
    for given in (
        {"serviceAccount": "x"},
        {"serviceAccountName": "x"},
        {"serviceAccountName": "x", "serviceAccount": "y"},
    ):
        spec = spec_of(PODS, {"containers": [], **given})
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("x", "x")


def test_a_headless_service():
    assert spec_of(SERVICES, {"clusterIP": "None", "ports": [{"port": 80, "name": "web"}]}) == {
        "clusterIP": "None",
        "clusterIPs": ["None"],
        "ports": [{"port": 80, "name": "web", "protocol": "TCP", "targetPort": 80}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "RequireDualStack",
    }


def test_an_external_name_has_no_address():
    assert spec_of(SERVICES, {"type": "ExternalName", "externalName": "a.b"}) == {
        "type": "ExternalName",
        "externalName": "a.b",
        "sessionAffinity": "None",
    }


SET = {
    "serviceName": "web",
    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
    "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
}


def test_a_stateful_set():
    spec = spec_of(STATEFULSETS, SET)
    assert {key: spec[key] for key in spec if key not in SET} == {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    }
    assert spec["volumeClaimTemplates"][0] == {
        **SET["volumeClaimTemplates"][0],
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"},
        "status": {"phase": "Pending"},
    }
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert spec_of(STATEFULSETS, {**SET, "replicas": 0})["replicas"] == 0
    on_delete = spec_of(STATEFULSETS, {**SET, "updateStrategy": {"type": "OnDelete"}})
    assert on_delete["updateStrategy"] == {"type": "OnDelete"}


def test_a_pet_set_takes_selector_and_labels_from_its_template():
    made = PETSETS.default({"metadata": {"name": "web"}, "spec": SET})
    assert made["spec"]["selector"] == {"matchLabels": {"app": "web"}}
    assert made["metadata"]["labels"] == {"app": "web"}
    own = {"metadata": {"name": "web", "labels": {"x": "y"}}, "spec": {**SET, "selector": {"matchLabels": {"a": "b"}}}}
    kept = PETSETS.default(own)
    assert kept["spec"]["selector"] == {"matchLabels": {"a": "b"}}
    assert kept["metadata"]["labels"] == {"x": "y"}


def test_storage():
    claim = PERSISTENTVOLUMECLAIMS.default({"metadata": {}, "spec": {}})
    assert (claim["spec"], claim["status"]) == ({"volumeMode": "Filesystem"}, {"phase": "Pending"})
    volume = PERSISTENTVOLUMES.default({"metadata": {}, "spec": {"hostPath": {"path": "/x"}}})
    assert volume["spec"] == {
        "hostPath": {"path": "/x", "type": ""},
        "persistentVolumeReclaimPolicy": "Retain",
        "volumeMode": "Filesystem",
    }
    made = STORAGECLASSES.default({"metadata": {}, "provisioner": "x"})
    assert (made["reclaimPolicy"], made["volumeBindingMode"]) == ("Delete", "Immediate")


def test_a_secret_given_as_text_becomes_data():
    made = SECRETS.default({"metadata": {}, "data": {"a": "YQ==", "b": "Yg=="}, "stringData": {"a": "é"}})
    assert made == {"metadata": {}, "type": "Opaque", "data": {"a": "w6k=", "b": "Yg=="}}
    assert "stringData" not in SECRETS.default({"metadata": {}, "stringData": {}})


def test_bindings_name_their_groups():
    made = rbac.defaults(
        {
            "metadata": {},
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
        }
    )
    assert made["roleRef"]["apiGroup"] == rbac.GROUP
    assert made["subjects"][0]["apiGroup"] == rbac.GROUP
    assert "apiGroup" not in made["subjects"][1]


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        (PODS, {"phase": "Pending", "qosClass": "BestEffort"}),
        (PERSISTENTVOLUMECLAIMS, {"phase": "Pending"}),
        (NAMESPACES, {"phase": "Active"}),
        (PETSETS, {"replicas": 0}),
        (STATEFULSETS, {"replicas": 0, "availableReplicas": 0}),
    ],
)
def test_a_creator_does_not_choose_the_status(resource, status):
    given = {"metadata": {"name": "a"}, "spec": {}, "status": {"phase": "Bound", "replicas": 9}}
    assert resource.prepare(given, None)["status"] == status
    assert resource.prepare(given, given) is given


def test_a_node_registers_with_its_status():
    given = {"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "1"}}}
    assert NODES.prepare(NODES.default(given), None)["status"] == {
        "capacity": {"cpu": "1"},
        "allocatable": {"cpu": "1"},
    }


def test_a_service_keeps_its_cluster_ip():
    old = {"metadata": {}, "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}}
    kept = service.prepare({"metadata": {}, "spec": {"type": "ClusterIP"}}, old)
    assert kept["spec"]["clusterIP"] == "10.0.0.1"
    leaving = {"metadata": {}, "spec": {"type": "ExternalName", "externalName": "a"}}
    assert service.prepare(leaving, old) is leaving


@pytest.mark.parametrize(
    ("containers", "quality"),
    [
        ([{}], "BestEffort"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"x/y": "1"}}], "BestEffort"),
    ],
)
def test_the_quality_of_service(containers, quality):
    pod = {"spec": {"containers": [{"name": "a", "resources": resources_} for resources_ in containers]}}
    assert quality_of_service.of(pod) == quality
