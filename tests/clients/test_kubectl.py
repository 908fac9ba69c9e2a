"""A real kubectl against a server process: every kind, and every verb that needs no node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from petset.objects import documents, meta

SEEDS = Path(__file__).parent / "seed"

OBJECTS = documents.load_all((Path(__file__).parent / "kinds.yaml").read_bytes())
KINDS = {obj["kind"].lower(): obj for obj in OBJECTS}

# kubectl compares these without knowing their defaults, and may send a patch that changes nothing.
COMPARED_LOOSELY = (
    "endpoints", "endpointslice", "secret", "limitrange", "networkpolicy", "poddisruptionbudget",
    "mutatingwebhookconfiguration", "validatingwebhookconfiguration",
    "mutatingadmissionpolicy", "validatingadmissionpolicy",
)  # fmt: skip
DESCRIBED_BY_BETA = ("servicecidr", "volumeattributesclass")  # By kubectl 1.32, which knows their beta versions alone.
HELD = ("persistentvolumeclaim", "persistentvolume", "namespace")  # Their finalizers are a controller's business.


def text(obj: Any, *changes: tuple[str, Any]) -> str:
    """A manifest of the object, with the values at some dotted paths replaced."""
    for path, value in changes:
        obj = meta.changed(obj, path.split("."), value)
    return json.dumps(obj)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_created_shown_changed_and_deleted(served, kind):
    kubectl, name = served.admin, f"a-{kind}"
    manifest = text(KINDS[kind], ("metadata.name", name))
    assert "created" in kubectl("create", "-f", "-", stdin=manifest)
    again = kubectl.run("create", "-f", "-", stdin=manifest)
    assert again.returncode == 1 and "already exists" in again.stderr

    assert (name if kind != "event" else "it was tested") in kubectl("get", kind, name)
    assert name in kubectl("get", kind, name, "-o", "wide")
    shown = json.loads(kubectl("get", kind, name, "-o", "json"))
    assert shown["metadata"]["uid"] and shown["metadata"]["resourceVersion"]
    assert f"name: {name}" in kubectl("get", kind, name, "-o", "yaml")
    assert name in kubectl("get", kind, "-o", "name", "--field-selector", f"metadata.name={name}")
    if kind not in DESCRIBED_BY_BETA:
        assert name in kubectl("describe", kind, name)

    assert "labeled" in kubectl("label", kind, name, "colour=red")
    assert name in kubectl("get", kind, "-l", "colour=red", "-o", "name")
    assert name not in kubectl("get", kind, "-l", "colour=blue", "-o", "name")
    assert "annotated" in kubectl("annotate", kind, name, "note=1")
    kubectl("apply", "-f", "-", stdin=manifest)
    before = kubectl("get", kind, name, "-o", "jsonpath={.metadata.resourceVersion}")
    again_applied = kubectl("apply", "-f", "-", stdin=manifest)
    assert "unchanged" in again_applied or (kind in COMPARED_LOOSELY and "configured" in again_applied)
    assert kubectl("get", kind, name, "-o", "jsonpath={.metadata.resourceVersion}") == before

    assert "deleted" in kubectl("delete", kind, name, *(("--wait=false",) if kind in HELD else ()))
    if kind not in HELD:
        assert "NotFound" in kubectl.run("get", kind, name).stderr


def test_the_sets_of_2016_are_taken_as_they_are(served, space):
    kubectl = served.admin
    for seed in ("nginx.yaml", "redis-service.yaml", "redis-petset.yaml"):
        assert "created" in kubectl("create", "-n", space, "-f", str(SEEDS / seed))
    lines = kubectl("get", "petset", "-n", space).splitlines()
    assert lines[0].split() == ["NAME", "DESIRED", "CURRENT", "AGE"]
    assert [line.split()[:3] for line in lines[1:]] == [["rd", "3", "0"], ["web", "2", "0"]]
    described = kubectl("describe", "petset", "web", "-n", space)
    assert "Name:" in described and "web" in described


def test_apply_creates_changes_and_leaves_alone(served, space):
    kubectl = served.admin
    manifest = text(KINDS["statefulset"])
    assert "created" in kubectl("apply", "-n", space, "-f", "-", stdin=manifest)
    assert "unchanged" in kubectl("apply", "-n", space, "-f", "-", stdin=manifest)
    changed = manifest.replace('"image": "i"', '"image": "j"')
    assert "image: j" in kubectl.run("diff", "-n", space, "-f", "-", stdin=changed).stdout
    assert "configured" in kubectl("apply", "-n", space, "-f", "-", stdin=changed)
    shown = json.loads(kubectl("get", "sts", "x", "-n", space, "-o", "json"))
    assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "j"
    assert shown["metadata"]["generation"] == 2
    assert kubectl.run("diff", "-n", space, "-f", "-", stdin=changed).returncode == 0


def test_apply_of_a_petset_changes_what_may_change(served, space):
    kubectl = served.admin
    petset = KINDS["petset"]
    kubectl("apply", "-n", space, "-f", "-", stdin=text(petset))
    assert "configured" in kubectl("apply", "-n", space, "-f", "-", stdin=text(petset, ("spec.replicas", 2)))
    refused = kubectl.run("apply", "-n", space, "-f", "-", stdin=text(petset, ("spec.serviceName", "t")))
    assert refused.returncode == 1 and "forbidden" in refused.stderr.lower()


@pytest.mark.parametrize("kind", ["petset", "statefulset"])
def test_scale(served, space, kind):
    kubectl = served.admin
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS[kind]))
    assert "scaled" in kubectl("scale", kind, "x", "-n", space, "--replicas=5")
    assert kubectl("get", kind, "x", "-n", space, "-o", "jsonpath={.spec.replicas}") == "5"
    wrong = kubectl.run("scale", kind, "x", "-n", space, "--replicas=7", "--current-replicas=4")
    assert wrong.returncode == 1 and "Expected replicas to be 4, was 5" in wrong.stderr
    assert kubectl("get", kind, "x", "-n", space, "--subresource=scale", "-o", "jsonpath={.spec.replicas}") == "5"


def test_patches_of_each_kind(served, space):
    kubectl = served.admin
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["statefulset"]))
    kubectl(
        "patch",
        "sts",
        "x",
        "-n",
        space,
        "-p",
        '{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"e"}]}}}}',
    )
    names = "jsonpath={.spec.template.spec.containers[*].name}"
    assert sorted(kubectl("get", "sts", "x", "-n", space, "-o", names).split()) == ["c", "d"]
    kubectl(
        "patch",
        "sts",
        "x",
        "-n",
        space,
        "--type=json",
        "-p",
        '[{"op":"remove","path":"/spec/template/spec/containers/0"}]',
    )
    kubectl("patch", "sts", "x", "-n", space, "--type=merge", "-p", '{"spec":{"replicas":0}}')
    assert kubectl("get", "sts", "x", "-n", space, "-o", "jsonpath={.spec.replicas}") == "0"
    assert "no change" in kubectl("patch", "sts", "x", "-n", space, "--type=merge", "-p", '{"spec":{"replicas":0}}')


def test_edit(served, space):
    kubectl = served.admin
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["configmap"]))
    kubectl.environment = {**kubectl.environment, "EDITOR": "sed -i s/a:.b/a:\\ edited/"}
    assert "edited" in kubectl("edit", "configmap", "x", "-n", space)
    assert kubectl("get", "cm", "x", "-n", space, "-o", "jsonpath={.data.a}") == "edited"


def test_watch_prints_what_comes_and_goes(served, space):
    kubectl = served.admin
    watching = kubectl.start("get", "configmaps", "-n", space, "--watch", "--output-watch-events", "-l", "seen=yes")
    try:
        kubectl("create", "configmap", "other", "-n", space)
        kubectl("create", "configmap", "one", "-n", space)
        kubectl("label", "configmap", "one", "-n", space, "seen=yes")
        kubectl("patch", "configmap", "one", "-n", space, "-p", '{"data":{"k":"v"}}')
        kubectl("label", "configmap", "one", "-n", space, "seen-")
        kubectl("label", "configmap", "other", "-n", space, "seen=yes")
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split()[:3] for _ in range(5)]
    finally:
        watching.terminate()
        watching.wait(10)
    assert lines == [
        ["EVENT", "NAME", "DATA"],
        ["ADDED", "one", "0"],
        ["MODIFIED", "one", "1"],
        ["DELETED", "one", "1"],
        ["ADDED", "other", "0"],
    ]


def test_wait_and_delete_wait_for_what_happens(served, space):
    kubectl = served.admin
    kubectl("create", "configmap", "one", "-n", space)
    waiting = kubectl.start("wait", "--for=delete", "configmap/one", "-n", space, "--timeout=20s")
    kubectl("delete", "configmap", "one", "-n", space)
    assert waiting.wait(20) == 0
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["petset"]))
    assert "met" in kubectl("wait", "--for=jsonpath={.spec.replicas}=1", "petset/x", "-n", space, "--timeout=5s")


def test_events_of_an_object(served, space):
    kubectl = served.admin
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["event"], ("involvedObject.namespace", space)))
    assert "it was tested" in kubectl("events", "-n", space)
    assert "it was tested" in kubectl("events", "--for=pod/x", "-n", space)
    assert "it was tested" not in kubectl("events", "--for=pod/y", "-n", space)
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["pod"]))
    assert "it was tested" in kubectl("get", "events", "-n", space, "--field-selector", "involvedObject.name=x")
    newer = ("get", "events.events.k8s.io", "-n", space)
    assert "it was tested" in kubectl(*newer, "--field-selector", "regarding.name=x")
    assert "it was tested" not in kubectl(*newer, "--field-selector", "regarding.name=y")
    assert kubectl(*newer, "-o", "jsonpath={.items[0].note}") == "it was tested"


def test_delete_by_label_and_all_and_orphan(served, space):
    kubectl = served.admin
    for name in ("one", "two", "three"):
        kubectl("create", "configmap", name, "-n", space)
    kubectl("label", "configmap", "one", "-n", space, "a=b")
    assert kubectl("delete", "configmap", "-n", space, "-l", "a=b").count("deleted") == 1
    assert kubectl("delete", "configmap", "-n", space, "--all").count("deleted") == 2
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["petset"]))
    kubectl("delete", "petset", "x", "-n", space, "--cascade=orphan", "--wait=false")
    shown = json.loads(kubectl("get", "petset", "x", "-n", space, "-o", "json"))
    assert shown["metadata"]["finalizers"] == ["orphan"] and shown["metadata"]["deletionTimestamp"]
    kubectl("patch", "petset", "x", "-n", space, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert "NotFound" in kubectl.run("get", "petset", "x", "-n", space).stderr


def test_dry_runs_store_nothing(served, space):
    kubectl = served.admin
    kubectl("create", "-n", space, "-f", "-", "--dry-run=server", stdin=text(KINDS["configmap"]))
    assert "NotFound" in kubectl.run("get", "cm", "x", "-n", space).stderr
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["configmap"]))
    kubectl("delete", "cm", "x", "-n", space, "--dry-run=server")
    kubectl("patch", "cm", "x", "-n", space, "-p", '{"data":{"a":"c"}}', "--dry-run=server")
    assert kubectl("get", "cm", "x", "-n", space, "-o", "jsonpath={.data.a}") == "b"


def test_unknown_fields_are_refused_or_warned_of(served, space):
    kubectl = served.admin
    manifest = text({**KINDS["configmap"], "wrong": "yes"})
    refused = kubectl.run("create", "-n", space, "-f", "-", stdin=manifest)
    assert refused.returncode == 1 and 'unknown field "wrong"' in refused.stderr
    warned = kubectl.run("create", "-n", space, "-f", "-", "--validate=warn", stdin=manifest)
    assert warned.returncode == 0 and 'Warning: unknown field "wrong"' in warned.stderr


def test_created_by_kubectl_itself(served, space):
    """These commands send protobuf from 1.32 on."""
    kubectl = served.admin
    kubectl("create", "configmap", "c", "-n", space, "--from-literal=a=b")
    assert kubectl("get", "cm", "c", "-n", space, "-o", "jsonpath={.data.a}") == "b"
    kubectl("create", "secret", "generic", "s", "-n", space, "--from-literal=a=b")
    assert kubectl("get", "secret", "s", "-n", space, "-o", "jsonpath={.data.a}") == "Yg=="
    kubectl("create", "serviceaccount", "robot", "-n", space)
    assert kubectl("create", "token", "robot", "-n", space).count(".") == 2
    kubectl("create", "role", "r", "-n", space, "--verb=get,list", "--resource=pods,petsets.apps")
    kubectl("create", "rolebinding", "b", "-n", space, "--role=r", f"--serviceaccount={space}:robot")
    assert (
        kubectl("auth", "can-i", "list", "petsets", "-n", space, f"--as=system:serviceaccount:{space}:robot") == "yes\n"
    )
    no = kubectl.run("auth", "can-i", "delete", "pods", "-n", space, f"--as=system:serviceaccount:{space}:robot")
    assert (no.returncode, no.stdout) == (1, "no\n")
    kubectl("run", "p", "--image=i", "-n", space)
    pod = json.loads(kubectl("get", "pod", "p", "-n", space, "-o", "json"))
    assert pod["status"]["phase"] == "Pending" and pod["spec"]["serviceAccountName"] == "default"
    assert kubectl("create", "service", "clusterip", "h", "-n", space, "--clusterip=None")
    assert kubectl("create", "service", "nodeport", "i", "-n", space, "--tcp=80", "--node-port=30080")
    columns = kubectl("get", "service", "i", "-n", space, "--no-headers").split()
    assert columns[1] == "NodePort" and columns[2].startswith("10.96.") and columns[4] == "80:30080/TCP"


def test_access(served, space):
    admin, jane = served.admin, served.jane
    assert "petset-admin" in admin("auth", "whoami") and "system:masters" in admin("auth", "whoami")
    assert "jane" in jane("auth", "whoami")
    refused = jane.run("get", "pods", "-n", space)
    assert f'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "{space}"' in (
        refused.stderr
    )
    admin("create", "rolebinding", "b", "-n", space, "--clusterrole=view", "--group=developers")
    assert "No resources found" in jane.run("get", "pods", "-n", space).stderr
    assert jane("auth", "can-i", "watch", "petsets", "-n", space) == "yes\n"
    assert "petsets.apps" in jane("auth", "can-i", "--list", "-n", space)
    escalated = jane.run("create", "rolebinding", "c", "-n", space, "--clusterrole=admin", "--user=jane")
    assert escalated.returncode == 1 and "forbidden" in escalated.stderr
    masked = jane.run("get", "pods", "--as=petset-admin", "-n", space)
    assert 'cannot impersonate resource "users"' in masked.stderr


def test_discovery_and_explain(served):
    kubectl = served.admin
    resources = kubectl("api-resources", "--no-headers", "-o", "name").split()
    assert {"pods", "petsets.apps", "statefulsets.apps", "leases.coordination.k8s.io"} <= set(resources)
    versions = kubectl("api-versions").split()
    assert {"v1", "apps/v1", "apps/v1alpha1", "rbac.authorization.k8s.io/v1"} <= set(versions)
    assert "storage of its own" in " ".join(kubectl("explain", "petset").split())
    policy = kubectl("explain", "pods.spec.containers.imagePullPolicy").split()
    assert policy[policy.index("ENUM:") + 1 :][:3] == ["Always", "IfNotPresent", "Never"]
    assert "enum: OrderedReady, Parallel" in kubectl("explain", "petset.spec")
    assert "petset" in kubectl("version")
    assert kubectl("get", "--raw", "/readyz?verbose").startswith("[+]ping ok")


def test_what_is_not_offered_says_so(served, space):
    kubectl = served.admin
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["pod"]))
    kubectl(
        "patch", "pod", "x", "-n", space, "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Running"}}'
    )
    unbound = kubectl.run("exec", "x", "-n", space, "--", "true")
    assert "pod x does not have a host assigned" in unbound.stderr
    unknown = kubectl.run("get", "boats", "-n", space)
    assert "the server doesn't have a resource type" in unknown.stderr


def test_cordon_and_drain(served, space):
    kubectl = served.admin
    kubectl("create", "-f", "-", stdin=text(KINDS["node"], ("metadata.name", "drained")))
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["pod"]))
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "x"}, "target": {"name": "drained"}}
    kubectl("create", "--raw", f"/api/v1/namespaces/{space}/pods/x/binding", "-f", "-", stdin=json.dumps(binding))
    assert kubectl("get", "pod", "x", "-n", space, "-o", "jsonpath={.spec.nodeName}") == "drained"
    assert "cordoned" in kubectl("cordon", "drained")
    assert "SchedulingDisabled" in kubectl("get", "node", "drained")
    assert "evicted" in kubectl("drain", "drained", "--force", "--grace-period=0", "--timeout=20s")
    assert "NotFound" in kubectl.run("get", "pod", "x", "-n", space).stderr


def test_replace_set_and_rollout(served, space):
    kubectl = served.admin
    kubectl("create", "-n", space, "-f", "-", stdin=text(KINDS["statefulset"]))
    shown = json.loads(kubectl("get", "sts", "x", "-n", space, "-o", "json"))
    replaced = text(shown, ("metadata.labels", {"new": "yes"}))
    assert "replaced" in kubectl("replace", "-n", space, "-f", "-", stdin=replaced)
    stale = kubectl.run("replace", "-n", space, "-f", "-", stdin=text(shown, ("metadata.labels", {"old": "yes"})))
    assert stale.returncode == 1 and "Conflict" in stale.stderr
    assert "image updated" in kubectl("set", "image", "statefulset/x", "c=other", "-n", space)
    waiting = kubectl.run("rollout", "status", "statefulset/x", "-n", space, "--timeout=1s")
    assert "Waiting for statefulset spec update to be observed" in waiting.stdout
    assert "restarted" in kubectl("rollout", "restart", "statefulset/x", "-n", space)


def test_the_server_logged_no_bug(served):
    """Runs last in this file: nothing above may have been answered with an internal error."""
    assert "cannot answer" not in served.log


@pytest.mark.parametrize(
    ("version", "kind"), [("apps/v1", "Boat"), ("apps/v1beta1", "StatefulSet"), ("boats.example.com/v1", "Boat")]
)
def test_a_missing_kind(served, version, kind):
    """And not that validation failed, which kubectl would advise to turn off."""
    manifest = json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}})
    done = served.admin.run("apply", "-f", "-", stdin=manifest)
    assert done.returncode == 1 and f'no matches for kind "{kind}" in version "{version}"' in done.stderr
    assert "validat" not in done.stderr


def test_a_file_that_is_one_list(served, space):
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in "ab"]
    done = served.admin(
        "create", "-n", space, "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )
    assert done.splitlines() == ["configmap/a created", "configmap/b created"]


def test_a_debug_container_is_added_to_a_pod(served, space):
    served.admin("run", "x", "--image=i", "-n", space)
    said = ("debug", "x", "--image=tools", "--target=x", "-c", "d", "-n", space, "--attach=false")
    served.admin(*said, "--", "sleep", "9")
    (added,) = served.admin.json("get", "pod", "x", "-n", space)["spec"]["ephemeralContainers"]
    assert (added["name"], added["targetContainerName"], added["image"]) == ("d", "x", "tools")
    assert "Ephemeral Containers:" in served.admin("describe", "pod", "x", "-n", space)


def test_a_copy_of_a_pod_to_debug(served, space):
    served.admin("run", "x", "--image=i", "-n", space)
    copied = ("debug", "x", "--copy-to=y", "--image=tools", "-c", "d", "-n", space, "--attach=false")
    served.admin(*copied, "--share-processes", "--", "sleep", "9")
    names = [one["name"] for one in served.admin.json("get", "pod", "y", "-n", space)["spec"]["containers"]]
    assert names == ["x", "d"]


def test_flow_control_of_a_new_cluster(served):
    shown = {row.split()[0]: row.split()[1:5] for row in served.admin("get", "flowschemas").splitlines()[1:]}
    assert shown["exempt"][:3] == ["exempt", "1", "<none>"]
    assert shown["global-default"][:3] == ["global-default", "9900", "ByUser"]
    levels = {
        row.split()[0]: row.split()[1:6] for row in served.admin("get", "prioritylevelconfigurations").splitlines()
    }
    assert levels["workload-low"] == ["Limited", "100", "128", "6", "50"]
    assert levels["exempt"][:2] == ["Exempt", "0"]
    seen = served.admin.run("get", "configmaps", "-v=8").stderr.lower()
    assert "x-kubernetes-pf-flowschema-uid: " in seen and "x-kubernetes-pf-prioritylevel-uid: " in seen
