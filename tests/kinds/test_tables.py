"""What kubectl get prints, kind by kind; times are seconds before NOW."""

from datetime import UTC, datetime, timedelta

import pytest

from petset.kinds import builtin
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.event import EVENTS
from petset.kinds.lease import LEASES
from petset.kinds.namespace import NAMESPACES
from petset.kinds.node import NODES
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.rbac import ROLEBINDINGS, ROLES
from petset.kinds.secret import SECRETS
from petset.kinds.service import SERVICES
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.kinds.stateful_set import STATEFULSETS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import tables
from petset.objects.registry import Kind

NOW = 1_470_182_400.0  # 2016-08-03T00:00:00Z


def ago(seconds):
    return (datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def meta(name="web", age=90, **more):
    return {"name": name, "namespace": "default", "creationTimestamp": ago(age), **more}


def row(resource, obj, wide=False):
    """{column: cell} as kubectl shows it, upper-case headings."""
    table = tables.table(resource.printer, [obj], NOW)
    columns, cells = table["columnDefinitions"], table["rows"][0]["cells"]
    assert len(columns) == len(cells)
    return {column["name"].upper(): cell for column, cell in zip(columns, cells) if wide or not column["priority"]}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (5.9, "5s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (600, "10m"),
        (3600, "60m"), (10_799, "179m"), (10_800, "3h"), (11_000, "3h3m"), (28_800, "8h"), (172_799, "47h"),
        (172_800, "2d"), (180_000, "2d2h"), (691_200, "8d"), (63_071_999, "729d"), (63_072_000, "2y"),
        (64_000_000, "2y10d"), (300_000_000, "9y"),
    ],
)  # fmt: skip
def test_ages(seconds, text):
    assert tables.human_duration(seconds) == text


def test_the_table_itself():
    pods = [{"metadata": meta("a")}, {"metadata": meta("b")}]
    table = tables.table(PODS.printer, pods, NOW, metadata={"resourceVersion": "5"})
    assert (table["kind"], table["apiVersion"], table["metadata"]) == (
        "Table",
        "meta.k8s.io/v1",
        {"resourceVersion": "5"},
    )
    assert [r["object"] for r in table["rows"]] == [
        {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": pod["metadata"]} for pod in pods
    ]
    assert tables.table(PODS.printer, pods, NOW, "Object")["rows"][0]["object"] is pods[0]
    assert "object" not in tables.table(PODS.printer, pods, NOW, "None")["rows"][0]
    assert tables.table(PODS.printer, pods, NOW, with_columns=False)["columnDefinitions"] == []
    name = table["columnDefinitions"][0]
    assert (name["name"], name["type"], name["format"], name["priority"]) == ("Name", "string", "name", 0)


def pod(containers=(), inits=(), phase="Running", spec=None, metadata=None, **status):
    """A pod out of (state, extra) pairs of its containers."""

    def statuses(given, prefix):
        return [
            {"name": f"{prefix}{i}", "state": state, "restartCount": 0, "ready": "running" in state, **extra}
            for i, (state, extra) in enumerate(given)
        ]

    return {
        "metadata": {**meta(), **(metadata or {})},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": f"c{i}"} for i in range(max(1, len(containers)))],
            "initContainers": [{"name": f"i{i}"} for i in range(len(inits))],
            **(spec or {}),
        },
        "status": {
            "phase": phase,
            "podIP": "10.0.0.5",
            "containerStatuses": statuses(containers, "c"),
            "initContainerStatuses": statuses(inits, "i"),
            **status,
        },
    }


UP = ({"running": {}}, {})
DONE = ({"terminated": {"exitCode": 0, "reason": "Completed"}}, {})
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def waiting(reason, **extra):
    return ({"waiting": {"reason": reason}}, extra)


def ended(**how):
    return ({"terminated": {"exitCode": 1, **how}}, {})


@pytest.mark.parametrize(
    ("obj", "ready", "status"),
    [
        (pod(phase="Pending"), "0/1", "Pending"),
        (pod([UP]), "1/1", "Running"),
        (pod([UP, UP]), "2/2", "Running"),
        (pod([UP, waiting("CrashLoopBackOff")]), "1/2", "CrashLoopBackOff"),
        (pod([waiting("ContainerCreating")], phase="Pending"), "0/1", "ContainerCreating"),
        (pod([waiting("ImagePullBackOff")], phase="Pending"), "0/1", "ImagePullBackOff"),
        (pod([DONE], phase="Succeeded"), "0/1", "Completed"),
        (pod([ended(reason="Error")], phase="Failed"), "0/1", "Error"),
        (pod([ended(reason="OOMKilled")]), "0/1", "OOMKilled"),
        (pod([ended(signal=9)]), "0/1", "Signal:9"),
        (pod([ended(exitCode=3)]), "0/1", "ExitCode:3"),
        (pod([UP, DONE], **READY), "1/2", "Running"),
        (pod([UP, DONE]), "1/2", "NotReady"),
        (pod(phase="Pending", inits=[waiting("PodInitializing"), waiting("PodInitializing")]), "0/1", "Init:0/2"),
        (pod(phase="Pending", inits=[UP, waiting("PodInitializing")]), "0/1", "Init:0/2"),
        (pod(phase="Pending", inits=[DONE, UP]), "0/1", "Init:1/2"),
        (pod(phase="Pending", inits=[waiting("CrashLoopBackOff")]), "0/1", "Init:CrashLoopBackOff"),
        (pod(phase="Pending", inits=[ended(reason="Error")]), "0/1", "Init:Error"),
        (pod(phase="Pending", inits=[ended(exitCode=2)]), "0/1", "Init:ExitCode:2"),
        (pod([waiting("PodInitializing")], phase="Pending", inits=[DONE]), "0/1", "PodInitializing"),
        (pod([UP], inits=[DONE, DONE]), "1/1", "Running"),
        (pod([UP], metadata={"deletionTimestamp": ago(1)}), "1/1", "Terminating"),
        (pod([DONE], phase="Succeeded", metadata={"deletionTimestamp": ago(1)}), "0/1", "Completed"),
        (pod([UP], metadata={"deletionTimestamp": ago(1)}, reason="NodeLost"), "1/1", "Unknown"),
        (pod(phase="Failed", reason="Evicted"), "0/1", "Evicted"),
        (
            pod(phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
            "0/1",
            "SchedulingGated",
        ),
    ],
)
def test_a_pods_status(obj, ready, status):
    found = row(PODS, obj)
    assert (found["READY"], found["STATUS"]) == (ready, status)


def test_a_sidecar_counts_as_a_container():
    sidecar = pod([UP], inits=[({"running": {}}, {"started": True, "restartCount": 2})])
    sidecar["spec"]["initContainers"][0]["restartPolicy"] = "Always"
    found = row(PODS, sidecar)
    assert (found["READY"], found["STATUS"], found["RESTARTS"]) == ("2/2", "Running", "2")


def test_restarts_say_when_the_last_one_was():
    last = {"lastState": {"terminated": {"finishedAt": ago(5)}}, "restartCount": 3}
    assert row(PODS, pod([({"running": {}}, last)]))["RESTARTS"] == "3 (5s ago)"
    assert row(PODS, pod([UP]))["RESTARTS"] == "0"
    assert row(PODS, pod([({"running": {}}, {"restartCount": 1})]))["RESTARTS"] == "1"


def test_a_wide_pod():
    gated = pod([UP], spec={"readinessGates": [{"conditionType": "Ready"}, {"conditionType": "x"}]}, **READY)
    assert row(PODS, gated, wide=True) == {
        "NAME": "web",
        "READY": "1/1",
        "STATUS": "Running",
        "RESTARTS": "0",
        "AGE": "90s",
        "IP": "10.0.0.5",
        "NODE": "n1",
        "NOMINATED NODE": "<none>",
        "READINESS GATES": "1/2",
    }
    bare = row(PODS, {"metadata": {"name": "x"}}, wide=True)
    assert (bare["IP"], bare["NODE"], bare["AGE"], bare["READY"]) == ("<none>", "<none>", "<unknown>", "0/0")


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}}


@pytest.mark.parametrize(
    ("resource", "obj", "expected"),
    [
        (
            STATEFULSETS,
            {"metadata": meta(), "spec": {"replicas": 3, "template": TEMPLATE}, "status": {"readyReplicas": 2}},
            {"NAME": "web", "READY": "2/3", "AGE": "90s", "CONTAINERS": "a,b", "IMAGES": "i:1,j"},
        ),
        (
            PETSETS,
            {"metadata": meta(), "spec": {"replicas": 2, "template": TEMPLATE}, "status": {"replicas": 1}},
            {"NAME": "web", "DESIRED": 2, "CURRENT": 1, "AGE": "90s", "CONTAINERS": "a,b", "IMAGES": "i:1,j"},
        ),
        (
            SERVICES,
            {
                "metadata": meta("nginx"),
                "spec": {
                    "type": "ClusterIP",
                    "clusterIP": "None",
                    "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 30000}],
                    "selector": {"b": "2", "a": "1"},
                },
            },
            {
                "NAME": "nginx",
                "TYPE": "ClusterIP",
                "CLUSTER-IP": "None",
                "EXTERNAL-IP": "<none>",
                "PORT(S)": "80/TCP,53:30000/UDP",
                "AGE": "90s",
                "SELECTOR": "a=1,b=2",
            },
        ),
        (
            SERVICES,
            {"metadata": meta("x"), "spec": {"type": "ExternalName", "externalName": "example.com"}},
            {
                "NAME": "x",
                "TYPE": "ExternalName",
                "CLUSTER-IP": "<none>",
                "EXTERNAL-IP": "example.com",
                "PORT(S)": "<none>",
                "AGE": "90s",
                "SELECTOR": "<none>",
            },
        ),
        (
            ENDPOINTS,
            {
                "metadata": meta(),
                "subsets": [{"addresses": [{"ip": f"10.0.0.{i}"} for i in range(5)], "ports": [{"port": 80}]}],
            },
            {"NAME": "web", "ENDPOINTS": "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...", "AGE": "90s"},
        ),
        (
            ENDPOINTS,
            {"metadata": meta(), "subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]},
            {"NAME": "web", "ENDPOINTS": "10.0.0.1", "AGE": "90s"},
        ),
        (ENDPOINTS, {"metadata": meta()}, {"NAME": "web", "ENDPOINTS": "<none>", "AGE": "90s"}),
        (
            ENDPOINTSLICES,
            {
                "metadata": meta(),
                "addressType": "IPv4",
                "ports": [{"port": 80}],
                "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
            },
            {"NAME": "web", "ADDRESSTYPE": "IPv4", "PORTS": "80", "ENDPOINTS": "10.0.0.1,10.0.0.2", "AGE": "90s"},
        ),
        (
            PERSISTENTVOLUMECLAIMS,
            {"metadata": meta("www-web-0"), "spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}},
            {
                "NAME": "www-web-0",
                "STATUS": "Pending",
                "VOLUME": "",
                "CAPACITY": "",
                "ACCESS MODES": "",
                "STORAGECLASS": "",
                "VOLUMEATTRIBUTESCLASS": "<unset>",
                "AGE": "90s",
                "VOLUMEMODE": "Filesystem",
            },
        ),
        (
            PERSISTENTVOLUMECLAIMS,
            {
                "metadata": meta("c"),
                "spec": {"volumeName": "pv", "storageClassName": "fast", "volumeMode": "Block"},
                "status": {
                    "phase": "Bound",
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                },
            },
            {
                "NAME": "c",
                "STATUS": "Bound",
                "VOLUME": "pv",
                "CAPACITY": "1Gi",
                "ACCESS MODES": "RWO,RWX",
                "STORAGECLASS": "fast",
                "VOLUMEATTRIBUTESCLASS": "<unset>",
                "AGE": "90s",
                "VOLUMEMODE": "Block",
            },
        ),
        (
            PERSISTENTVOLUMES,
            {
                "metadata": meta("pv"),
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Delete",
                    "claimRef": {"namespace": "default", "name": "c"},
                },
                "status": {"phase": "Bound"},
            },
            {
                "NAME": "pv",
                "CAPACITY": "1Gi",
                "ACCESS MODES": "RWO",
                "RECLAIM POLICY": "Delete",
                "STATUS": "Bound",
                "CLAIM": "default/c",
                "STORAGECLASS": "",
                "VOLUMEATTRIBUTESCLASS": "<unset>",
                "REASON": "",
                "AGE": "90s",
                "VOLUMEMODE": "<unset>",
            },
        ),
        (
            STORAGECLASSES,
            {
                "metadata": meta("fast", annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
                "provisioner": "x/y",
                "reclaimPolicy": "Delete",
                "volumeBindingMode": "Immediate",
            },
            {
                "NAME": "fast (default)",
                "PROVISIONER": "x/y",
                "RECLAIMPOLICY": "Delete",
                "VOLUMEBINDINGMODE": "Immediate",
                "ALLOWVOLUMEEXPANSION": False,
                "AGE": "90s",
            },
        ),
        (
            CONFIGMAPS,
            {"metadata": meta(), "data": {"a": "1"}, "binaryData": {"b": ""}},
            {"NAME": "web", "DATA": 2, "AGE": "90s"},
        ),
        (
            SECRETS,
            {"metadata": meta(), "type": "Opaque", "data": {"a": "1"}},
            {"NAME": "web", "TYPE": "Opaque", "DATA": 1, "AGE": "90s"},
        ),
        (SERVICEACCOUNTS, {"metadata": meta()}, {"NAME": "web", "SECRETS": 0, "AGE": "90s"}),
        (
            NAMESPACES,
            {"metadata": meta(), "status": {"phase": "Active"}},
            {"NAME": "web", "STATUS": "Active", "AGE": "90s"},
        ),
        (
            NODES,
            {
                "metadata": meta("n1", labels={"node-role.kubernetes.io/control-plane": "", "a": "b"}),
                "spec": {"unschedulable": True},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                    "nodeInfo": {
                        "kubeletVersion": "v1",
                        "osImage": "Debian",
                        "kernelVersion": "6",
                        "containerRuntimeVersion": "crun://1",
                    },
                },
            },
            {
                "NAME": "n1",
                "STATUS": "Ready,SchedulingDisabled",
                "ROLES": "control-plane",
                "AGE": "90s",
                "VERSION": "v1",
                "INTERNAL-IP": "10.0.0.1",
                "EXTERNAL-IP": "<none>",
                "OS-IMAGE": "Debian",
                "KERNEL-VERSION": "6",
                "CONTAINER-RUNTIME": "crun://1",
            },
        ),
        (
            EVENTS,
            {
                "metadata": meta("e"),
                "involvedObject": {"kind": "PersistentVolumeClaim", "name": "www-web-0"},
                "type": "Warning",
                "reason": "ProvisioningFailed",
                "message": "No provisioner plugin found for the claim!\n",
                "source": {"component": "persistentvolume-controller"},
                "firstTimestamp": ago(300),
                "lastTimestamp": ago(10),
                "count": 22,
            },
            {
                "LAST SEEN": "10s",
                "TYPE": "Warning",
                "REASON": "ProvisioningFailed",
                "OBJECT": "persistentvolumeclaim/www-web-0",
                "SUBOBJECT": "",
                "SOURCE": "persistentvolume-controller",
                "MESSAGE": "No provisioner plugin found for the claim!",
                "FIRST SEEN": "5m",
                "COUNT": 22,
                "NAME": "e",
            },
        ),
        (
            LEASES,
            {"metadata": meta(), "spec": {"holderIdentity": "n1"}},
            {"NAME": "web", "HOLDER": "n1", "AGE": "90s"},
        ),
        (
            CONTROLLERREVISIONS,
            {
                "metadata": meta(
                    ownerReferences=[{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "w", "controller": True}]
                ),
                "revision": 3,
            },
            {"NAME": "web", "CONTROLLER": "statefulset.apps/w", "REVISION": 3, "AGE": "90s"},
        ),
        (ROLES, {"metadata": meta()}, {"NAME": "web", "CREATED AT": ago(90)}),
        (
            ROLEBINDINGS,
            {
                "metadata": meta(),
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [
                    {"kind": "User", "name": "u"},
                    {"kind": "User", "name": "v"},
                    {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
                ],
            },
            {"NAME": "web", "ROLE": "Role/r", "AGE": "90s", "USERS": "u, v", "GROUPS": "", "SERVICEACCOUNTS": "n/s"},
        ),
    ],
)
def test_rows(resource, obj, expected):
    assert row(resource, obj, wide=True) == expected


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ([], "Unknown"),
        ([{"type": "Ready", "status": "False"}], "NotReady"),
        ([{"type": "Ready", "status": "Unknown"}], "NotReady"),
    ],
)
def test_nodes_that_are_not_ready(condition, status):
    assert row(NODES, {"metadata": meta("n"), "status": {"conditions": condition}})["STATUS"] == status


def test_narrow_columns_are_those_people_know():
    expected = {
        "pods": "NAME READY STATUS RESTARTS AGE",
        "petsets": "NAME DESIRED CURRENT AGE",
        "statefulsets": "NAME READY AGE",
        "services": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
        "events": "LAST SEEN TYPE REASON OBJECT MESSAGE",
        "nodes": "NAME STATUS ROLES AGE VERSION",
    }
    for resource in builtin.KINDS:
        if resource.plural in expected and not resource.steps_back:
            assert " ".join(row(resource, {"metadata": meta()})) == expected[resource.plural]


def test_an_unknown_kind_has_name_and_age():
    odd = Kind("example.com", "v1", "odds", "Odd")
    assert row(odd, {"metadata": meta()}) == {"NAME": "web", "AGE": "90s"}
