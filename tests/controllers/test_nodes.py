"""Nodes that fall silent: conditions, taints, and how long pods may stay."""

from __future__ import annotations

from typing import Any

import pytest

from petset.base import tasks
from petset.client.views import Snapshot
from petset.controllers import actions, nodes
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers.sets import NOW, told


def node(ready: str = "True", **given: Any) -> Object:
    taints = {"taints": given["taints"]} if "taints" in given else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n", "creationTimestamp": tasks.rfc3339(NOW - 1000)},
        "spec": {**taints, **({"unschedulable": True} if given.get("unschedulable") else {})},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def lease(seconds_ago: float) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "n", "namespace": "kube-node-lease"},
        "spec": {"renewTime": tasks.rfc3339_micro(NOW - seconds_ago)},
    }


def steps(*objects: Object, started: float = 0) -> list[actions.Action]:
    return nodes.reconcile(started, nodes.NODE_LEASE_SECONDS_MAX, "n", Snapshot(objects), NOW)


def taint(key: str, effect: str = "NoExecute", seconds_ago: float = 0) -> dict[str, Any]:
    return {"key": key, "effect": effect, "timeAdded": tasks.rfc3339(NOW - seconds_ago)}


def test_a_node_that_renews_its_lease_is_looked_at_again_in_time() -> None:
    (step,) = steps(node(), lease(10))
    assert isinstance(step, actions.RequeueAfter) and 30 < step.seconds < 31


def test_a_silent_node_is_unknown_and_then_tainted() -> None:
    update, event = steps(node(), lease(41))
    assert isinstance(update, actions.UpdateStatus) and isinstance(event, actions.EmitEvent)
    assert meta.condition(update.object, "Ready")["status"] == "Unknown"  # type: ignore[index]
    (tainted,) = steps(update.object, lease(41))
    assert isinstance(tainted, actions.Update)
    assert [(t["key"], t["effect"]) for t in tainted.object["spec"]["taints"]] == [
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    ]
    assert steps(tainted.object, lease(41)) == []


@pytest.mark.parametrize("conditions", [[], [{}], [{"status": "True"}], [{"type": "DiskPressure", "status": "False"}]])
def test_a_silent_node_is_unknown_whatever_conditions_somebody_wrote(conditions: list[Object]) -> None:
    """A status is not validated as a spec is: what others wrote there must not stop its judge."""
    update, _event = steps(meta.changed(node(), ("status", "conditions"), conditions), lease(41))
    assert isinstance(update, actions.UpdateStatus)
    assert meta.condition(update.object, "Ready")["status"] == "Unknown"  # type: ignore[index]
    assert [step for step in steps(update.object, lease(41)) if isinstance(step, actions.UpdateStatus)] == []


def test_time_before_our_start_is_not_held_against_it() -> None:
    (step,) = steps(node(), lease(10_000), started=NOW - 5)
    assert isinstance(step, actions.RequeueAfter)


def test_its_pods_are_no_longer_ready() -> None:
    unreachable = [taint("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "n"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    update, event = steps(node("Unknown", taints=unreachable), lease(100), pod)
    assert isinstance(update, actions.UpdateStatus) and not meta.is_pod_ready(update.object)
    assert told([event]) == ["event Warning NodeNotReady: Node is not ready"]


def test_taints_follow_the_ready_condition_and_others_stay() -> None:
    mine = {"key": "mine", "effect": "NoSchedule"}
    assert [t["key"] for t in nodes.taints_for(node("False", taints=[mine]), NOW)] == [
        "mine",
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/not-ready",
    ]
    recovered = node("True", taints=[mine, taint("node.kubernetes.io/unreachable")])
    assert nodes.taints_for(recovered, NOW) == [mine]
    assert [t["key"] for t in nodes.taints_for(node(unschedulable=True), NOW)] == ["node.kubernetes.io/unschedulable"]
    pressed = meta.changed(
        node(), ("status", "conditions"), [*node()["status"]["conditions"], {"type": "DiskPressure", "status": "True"}]
    )
    pressure = {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule", "timeAdded": tasks.rfc3339(NOW)}
    assert nodes.taints_for(pressed, NOW) == [pressure]
    assert nodes.taints_for(meta.changed(node(), ("spec", "taints"), [pressure]), NOW) == []


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], -10),
        ([{"key": "a", "operator": "Exists"}], None),
        ([{"key": "a", "operator": "Exists", "tolerationSeconds": 300}], 290),
        ([{"operator": "Exists"}], None),
        ([{"key": "b", "operator": "Exists"}], -10),
        ([{"key": "a", "operator": "Exists", "effect": "NoSchedule"}], -10),
        ([{"key": "a", "tolerationSeconds": 5}, {"key": "a", "tolerationSeconds": 30}], -5),
    ],
)
def test_how_long_a_pod_may_stay(tolerations: list[Any], expected: float | None) -> None:
    pod = {"spec": {"tolerations": tolerations}}
    assert nodes.seconds_to_stay(pod, [taint("a", seconds_ago=10)], NOW) == expected


def test_a_pod_that_came_later_than_the_taint_stays_as_long_as_any() -> None:
    tolerations = [{"key": "a", "operator": "Exists", "tolerationSeconds": 300}]
    made = {"creationTimestamp": tasks.rfc3339(NOW - 900)}
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": tasks.rfc3339(NOW - 20)}
    pod = {"metadata": made, "spec": {"tolerations": tolerations}, "status": {"conditions": [bound]}}
    old = [{**taint("a", "NoExecute", 1000)}]
    assert nodes.seconds_to_stay(pod, old, NOW) == 280
    assert nodes.seconds_to_stay({**pod, "status": {}}, old, NOW) == -600


def test_a_pod_is_evicted_when_its_time_is_over() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "n", "tolerations": [{"operator": "Exists", "tolerationSeconds": 60}]},
    }
    for ago, expected in ((10, ["look again in 50 s"]), (61, ["delete Pod p"])):
        view = Snapshot([pod, node("Unknown", taints=[taint("node.kubernetes.io/unreachable", seconds_ago=ago)])])
        assert told(nodes.reconcile_pod("default/p", view, NOW)) == expected
