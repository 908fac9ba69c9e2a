"""PriorityClasses and RuntimeClasses, and what pods that name them are given; kinds that nothing acts on say so."""

import pytest

from petset.kinds import builtin
from tests.server.conftest import Server, pod

PODS = "/api/v1/namespaces/default/pods"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
NODE = "node.k8s.io/v1"


def priority(name: str, value: int, **fields: object) -> dict[str, object]:
    named = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}}
    return {**named, "value": value, **fields}


def runtime(name: str, **fields: object) -> dict[str, object]:
    return {"apiVersion": NODE, "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "crun"} | fields


def test_a_cluster_begins_with_two_classes(server: Server) -> None:
    found = {one["metadata"]["name"]: one["value"] for one in server.get(CLASSES)["items"]}
    assert found == {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
    assert server.create(pod("p", priorityClassName="system-node-critical"))["spec"]["priority"] == 2_000_001_000


def test_a_pod_has_its_class_s_priority(server: Server) -> None:
    server.create(priority("high", 1000, preemptionPolicy="Never"))
    spec = server.create(pod("p", priorityClassName="high"))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
    assert server.create(pod("q"))["spec"]["priority"] == 0
    refused = server("POST", PODS, pod("r", priorityClassName="none"))
    assert refused.code == 403 and "no PriorityClass with name none was found" in refused.message
    refused = server("POST", PODS, pod("r", priorityClassName="high", priority=7))
    assert refused.code == 403 and "computed 1000" in refused.message
    refused = server("POST", PODS, pod("r", priorityClassName="high", preemptionPolicy="PreemptLowerPriority"))
    assert refused.code == 403 and "computed Never" in refused.message


def test_a_pod_that_is_replaced_by_what_it_was_made_of_keeps_its_priority(server: Server) -> None:
    server.create(priority("high", 1000, preemptionPolicy="Never"))
    made = pod("p", priorityClassName="high", serviceAccountName="default", automountServiceAccountToken=False)
    server.create(made)
    replaced = server.ok("PUT", f"{PODS}/p", made)
    assert (replaced["spec"]["priority"], replaced["spec"]["preemptionPolicy"]) == (1000, "Never")
    refused = server("PUT", f"{PODS}/p", {**made, "spec": {**made["spec"], "priority": 7}})
    assert refused.code == 422 and "spec.priority" in refused.message


def test_one_class_may_be_the_default(server: Server) -> None:
    server.create(priority("usual", 5, globalDefault=True))
    spec = server.create(pod("p"))["spec"]
    assert (spec["priority"], spec["priorityClassName"]) == (5, "usual")
    refused = server("POST", CLASSES, priority("other", 6, globalDefault=True))
    assert refused.code == 403 and "PriorityClass usual is already marked as default" in refused.message
    server.ok("PATCH", f"{CLASSES}/usual", {"description": "x"}, kind="application/merge-patch+json")


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("system-mine", {}, "'system-' prefix are reserved"),
        ("mine", {"value": 1_000_000_001}, "maximum allowed value of a user defined priority is 1000000000"),
        ("mine", {"preemptionPolicy": "Maybe"}, '"Never", "PreemptLowerPriority"'),
    ],
)
def test_what_a_class_of_a_user_may_not_be(server: Server, name: str, fields: dict[str, object], text: str) -> None:
    refused = server("POST", CLASSES, priority(name, 1) | fields)
    assert refused.code == 422 and text in refused.message


def test_a_class_keeps_its_value(server: Server) -> None:
    server.create(priority("high", 1000))
    refused = server("PATCH", f"{CLASSES}/high", {"value": 7}, kind="application/merge-patch+json")
    assert refused.code == 422 and "may not be changed in an update" in refused.message


def test_a_pod_gets_what_its_runtime_costs_and_goes_where_it_is(server: Server) -> None:
    tolerated = {"key": "sandbox", "operator": "Exists", "effect": "NoSchedule"}
    there = {"nodeSelector": {"runtime": "crun"}, "tolerations": [tolerated]}
    server.create(runtime("own", overhead={"podFixed": {"cpu": "100m"}}, scheduling=there))
    spec = server.create(pod("p", runtimeClassName="own", nodeSelector={"disk": "fast"}))["spec"]
    assert spec["overhead"] == {"cpu": "100m"} and tolerated in spec["tolerations"]
    assert spec["nodeSelector"] == {"disk": "fast", "runtime": "crun"}
    for fields, text in (
        ({"runtimeClassName": "own", "overhead": {"cpu": "1"}}, "doesn't match RuntimeClass's defined Overhead"),
        ({"runtimeClassName": "own", "nodeSelector": {"runtime": "other"}}, "conflict: runtimeClass.scheduling"),
        ({"overhead": {"cpu": "1"}}, "without corresponding RuntimeClass"),
    ):
        refused = server("POST", PODS, pod("q", **fields))
        assert refused.code == 403 and text in refused.message


def test_a_runtime_that_no_node_has_is_for_the_node_to_refuse(server: Server) -> None:
    server.create(runtime("sandbox", handler="runsc"))
    assert server.create(pod("p", runtimeClassName="sandbox"))["spec"]["runtimeClassName"] == "sandbox"
    refused = server("POST", PODS, pod("q", runtimeClassName="none"))
    assert refused.code == 403 and 'RuntimeClass "none" not found' in refused.message


def test_what_nothing_acts_on_is_told_at_creation(server: Server) -> None:
    group = "networking.k8s.io/v1"
    made = {"apiVersion": group, "kind": "IngressClass", "metadata": {"name": "d"}, "spec": {"controller": "a.b/c"}}
    path = f"/apis/{group}/ingressclasses"
    created = server("POST", path, made)
    assert created.code == 201
    assert "keeps objects of kind IngressClass, and no part of it acts on them" in created.headers["warning"]
    again = server("PUT", f"{path}/d", made)
    assert again.code == 200 and "warning" not in again.headers
    quiet = server("POST", CLASSES, priority("high", 1))
    assert quiet.code == 201 and "warning" not in quiet.headers


def test_which_kinds_nothing_acts_on() -> None:
    assert {row.plural for row in builtin.KINDS if not row.acted_on} == {
        *("volumeattributesclasses", "storageversionmigrations"),
        *("deviceclasses", "devicetaintrules", "resourceclaims", "resourceclaimtemplates", "resourceslices"),
        *("ingresses", "ingressclasses"),
        *("volumeattachments", "csidrivers", "csinodes", "csistoragecapacities"),
    }


def test_a_replication_controller_is_scaled(server: Server) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    controller = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "r"}}
    server.create({**controller, "spec": {"template": template}})
    path = "/api/v1/namespaces/default/replicationcontrollers/r/scale"
    assert server.get(path)["status"]["selector"] == "a=b"
    patched = server.ok("PATCH", path, {"spec": {"replicas": 3}}, kind="application/merge-patch+json")
    assert patched["spec"]["replicas"] == 3
