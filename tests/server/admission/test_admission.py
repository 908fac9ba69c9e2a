"""What the server fills in or refuses by the state of the cluster."""

from __future__ import annotations

import json

import pytest

from petset.objects import meta
from petset.objects.registry import Kind
from petset.server.admission import admission
from tests.server.conftest import petset, pod
from tests.server.test_bad_input import PETSETS, STATEFULSETS, statefulset

PODS = "/api/v1/namespaces/default/pods"
TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
INIT = [{"name": "first", "image": "i", "args": ["--a"]}]


@pytest.mark.parametrize("name", ["default", "kube-node-lease", "kube-public", "kube-system"])
def test_the_namespaces_of_every_cluster_stay(server, name):
    refused = server("DELETE", f"/api/v1/namespaces/{name}")
    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert refused.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    assert "deletionTimestamp" not in server.get(f"/api/v1/namespaces/{name}")["metadata"]


def annotated(obj: dict, **annotations: str) -> dict:
    named = {key.replace("__", "/").replace("_", "."): value for key, value in annotations.items()}
    return meta.changed(obj, ("metadata", "annotations"), named)


def test_a_pod_gets_its_account_with_token_authority_and_namespace(server):
    made = server.create(pod("p", initContainers=[{"name": "i", "image": "i"}]))["spec"]
    assert made["serviceAccountName"] == made["serviceAccount"] == "default"
    volume = made["volumes"][0]
    assert volume["name"].startswith("kube-api-access-")
    token, authority, namespace = volume["projected"]["sources"]
    assert token["serviceAccountToken"]["path"] == "token" and token["serviceAccountToken"]["expirationSeconds"] == 3607
    assert authority["configMap"]["name"] == "kube-root-ca.crt"
    assert namespace["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"] == "metadata.namespace"
    for container in (*made["containers"], *made["initContainers"]):
        assert container["volumeMounts"] == [{"name": volume["name"], "readOnly": True, "mountPath": TOKEN_DIRECTORY}]


@pytest.mark.parametrize(
    ("of_account", "of_pod", "mounted"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False), (None, False, False)],
)
def test_the_token_can_be_switched_off(server, of_account, of_pod, mounted):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}
    server.create(account if of_account is None else {**account, "automountServiceAccountToken": of_account})
    spec = {} if of_pod is None else {"automountServiceAccountToken": of_pod}
    made = server.create(pod("p", serviceAccountName="a", **spec))["spec"]
    assert bool(made.get("volumes")) is mounted


def test_a_mount_of_ones_own_is_left_alone_and_pull_secrets_are_inherited(server):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}
    server.create({**account, "imagePullSecrets": [{"name": "registry"}]})
    own = {"name": "own", "mountPath": TOKEN_DIRECTORY}
    containers = [{"name": "c", "image": "i", "volumeMounts": [own]}]
    made = server.create(
        pod("p", serviceAccountName="a", containers=containers, volumes=[{"name": "own", "emptyDir": {}}])
    )["spec"]
    assert made["containers"][0]["volumeMounts"] == [own] and len(made["volumes"]) == 1
    assert made["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("stage", ["alpha", "beta"])
def test_init_containers_of_2016_become_fields(server, stage):
    made = server.create(annotated(pod("p"), **{f"pod_{stage}_kubernetes_io__init-containers": json.dumps(INIT)}))
    first = made["spec"]["initContainers"][0]
    assert (first["name"], first["args"]) == ("first", ["--a"])
    assert first["terminationMessagePath"] == "/dev/termination-log" and first["volumeMounts"], (
        "with defaults and token"
    )


def test_a_field_wins_over_an_annotation_and_beta_over_alpha(server):
    field = [{"name": "field", "image": "i"}]
    both = {
        "pod_alpha_kubernetes_io__init-containers": json.dumps(INIT),
        "pod_beta_kubernetes_io__init-containers": json.dumps([{"name": "beta", "image": "i"}]),
    }
    made = server.create(annotated(pod("a", initContainers=field), **both))
    assert [c["name"] for c in made["spec"]["initContainers"]] == ["field"]
    made = server.create(annotated(pod("b"), **both))
    assert [c["name"] for c in made["spec"]["initContainers"]] == ["beta"]


@pytest.mark.parametrize(
    "text", ["{", "{}", "1", '["x"]', '[{"name":"A b","image":"i"}]', '[{"name":"c"}]', '[{"name":1}]']
)
def test_init_containers_that_cannot_be_read_are_refused(server, text):
    answer = server("POST", PODS, annotated(pod("p"), **{"pod_alpha_kubernetes_io__init-containers": text}))
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")


@pytest.mark.parametrize(("path", "made"), [(PETSETS, petset("s")), (STATEFULSETS, statefulset("s"))])
def test_a_set_whose_pods_would_be_refused_for_their_annotation_is_refused(server, path, made):
    """It would be tried again for ever, and nobody but its events would say why."""
    annotation = "pod.alpha.kubernetes.io/init-containers"
    where = ("spec", "template", "metadata", "annotations")
    for text, field in (
        ("[{", f"metadata.annotations[{annotation}]"),
        ('[{"image":"i"}]', "spec.initContainers[0].name"),
    ):
        answer = server("POST", path, meta.changed(made, where, {annotation: text}))
        assert (answer.code, answer.body["details"]["causes"][0]["field"]) == (422, f"spec.template.{field}")
        assert answer.body["details"]["kind"] == made["kind"]
    assert server("POST", path, meta.changed(made, where, {annotation: json.dumps(INIT)})).code == 201
    broken = {"spec": {"template": {"metadata": {"annotations": {annotation: "{"}}}}}
    merge = {"content-type": "application/merge-patch+json"}
    assert server("PATCH", f"{path}/s", broken, headers=merge).code == 422


def test_names_of_2016_become_fields(server):
    names = {"pod_beta_kubernetes_io__hostname": "web-0", "pod_beta_kubernetes_io__subdomain": "nginx"}
    spec = server.create(annotated(pod("p"), **names))["spec"]
    assert (spec["hostname"], spec["subdomain"]) == ("web-0", "nginx")
    wrong = {"pod_beta_kubernetes_io__hostname": "Web 0"}
    assert server("POST", PODS, annotated(pod("q"), **wrong)).code == 422


def test_priority_and_tolerations(server):
    spec = server.create(pod("p"))["spec"]
    assert spec["priority"] == 0 and spec["preemptionPolicy"] == "PreemptLowerPriority"
    assert {t["key"] for t in spec["tolerations"]} == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    everything = [{"operator": "Exists"}]
    assert server.create(pod("q", tolerations=everything))["spec"]["tolerations"] == everything
    own = {"key": "dedicated", "operator": "Exists"}
    changed = server.ok("PUT", f"{PODS}/p", meta.changed(server.get(f"{PODS}/p"), ("spec", "tolerations"), [own]))
    assert changed["spec"]["tolerations"] == [own, *spec["tolerations"]]
    assert server.create(pod("r", priorityClassName="system-node-critical"))["spec"]["priority"] == 2_000_001_000
    assert server("POST", PODS, pod("s", priorityClassName="absent")).code == 403
    assert server("POST", PODS, pod("s", priority=7)).code == 403


def claim(name: str, **more) -> dict:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **more.pop("spec", {})}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, **more}, "spec": spec}


def test_claims_and_volumes_are_protected_and_get_the_default_class(server):
    assert server.create(claim("a"))["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert "storageClassName" not in server.get("/api/v1/namespaces/default/persistentvolumeclaims/a")["spec"]
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    server.create(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "fast", "annotations": default},
            "provisioner": "x",
        }
    )
    assert server.create(claim("b"))["spec"]["storageClassName"] == "fast"
    assert server.create(claim("c", spec={"storageClassName": ""}))["spec"]["storageClassName"] == ""
    for name, key in (
        ("d", "volume.beta.kubernetes.io/storage-class"),
        ("e", "volume.alpha.kubernetes.io/storage-class"),
    ):
        assert server.create(claim(name, annotations={key: "anything"}))["spec"].get("storageClassName") in (
            None,
            "anything",
        )
    source = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": source}
    assert server.create(volume)["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]


@pytest.mark.parametrize(("class_", "code"), [(None, 403), ("", 403), ("gone", 403), ("fixed", 403), ("elastic", 200)])
def test_a_bound_claim_grows_where_its_class_lets_it(server, class_, code):
    for name, more in (("fixed", {}), ("elastic", {"allowVolumeExpansion": True})):
        kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
        server.create({**kind, "provisioner": "x", **more})
    path = "/api/v1/namespaces/default/persistentvolumeclaims/a"
    larger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    merge = "application/merge-patch+json"
    server.create(claim("a", spec={} if class_ is None else {"storageClassName": class_}))
    assert server("PATCH", path, larger, kind=merge).code == 422  # Not bound yet.
    server.ok("PATCH", f"{path}/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}, kind=merge)
    answer = server("PATCH", path, larger, kind=merge)
    assert answer.code == code
    if code == 403:
        assert answer.body["reason"] == "Forbidden"
        assert answer.message.startswith(
            'persistentvolumeclaims "a" is forbidden: only dynamically provisioned pvc can be resized'
        )
    else:
        assert answer.body["spec"]["resources"]["requests"] == {"storage": "2Gi"}
    assert server("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, kind=merge).code == 200


def test_a_namespace_keeps_its_finalizer_and_label(server):
    path = "/api/v1/namespaces/z"
    server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "z"}})
    merge = {"kind": "application/merge-patch+json"}
    patched = server.ok("PATCH", path, {"spec": {"finalizers": []}, "metadata": {"labels": None}}, **merge)
    assert patched["spec"]["finalizers"] == ["kubernetes"]
    assert patched["metadata"]["labels"] == {"kubernetes.io/metadata.name": "z"}


def test_a_kind_outside_the_table_has_the_hooks_of_all_kinds():
    """Found by the row itself: nothing to look up, so nothing to miss."""
    boats = Kind("example.com", "v1", "boats", "Boat")
    assert admission.hooks_of("create", boats) == (admission.namespace_exists,)
    assert admission.hooks_of("update", boats) == ()


def test_a_sandbox_that_is_not_there_is_not_replaced_by_another(server):
    refused = server("POST", PODS, pod("p", runtimeClassName="gvisor"))
    assert (refused.code, refused.message) == (
        403,
        'pods "p" is forbidden: pod rejected: RuntimeClass "gvisor" not found',
    )
