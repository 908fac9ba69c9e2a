"""Scheduling gates of a pod: they only go, and while there are any, where the pod may run can be narrowed."""

from __future__ import annotations

from typing import Any

import pytest

from petset.kinds import pod as pod_kind
from petset.kinds.pod_spec.placement import REQUIRED
from petset.objects.meta import Object


def pod(*gates: str, **spec: Any) -> Object:
    given = {"containers": [{"name": "c", "image": "i"}], "schedulingGates": [{"name": gate} for gate in gates], **spec}
    return pod_kind.defaults({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": given})


def terms(*given: Any) -> Any:
    found = [{"matchExpressions": [{"key": key, "operator": "Exists"} for key in keys]} for keys in given]
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": found}}}


def refused(new: Object, old: Object) -> list[str]:
    return [f"{error.field}: {error.message.rpartition(': ')[2]}" for error in pod_kind.validate_update(new, old)]


def test_a_gated_pod_says_so_and_has_no_node() -> None:
    gated = pod("a", "a", nodeName="n1")
    errors = [f"{error.field}: {error.message}" for error in pod_kind.validate(gated)]
    assert errors == [
        'spec.schedulingGates[1]: Duplicate value: "a"',
        "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
    ]
    [condition] = pod_kind.prepare(gated, None)["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")


IN_AFFINITY = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
ONLY_MORE = "only additions are allowed (no mutations or deletions)"


@pytest.mark.parametrize(
    ("new", "old", "wrong"),
    [
        (pod(), pod("a"), ""),
        (pod("b"), pod("a", "b"), ""),
        (pod("b"), pod("a"), "spec.schedulingGates[0]: only deletion is allowed, but found new scheduling gate"),
        (pod("a", nodeSelector={"x": "1", "y": "2"}), pod("a", nodeSelector={"x": "1"}), ""),
        (pod(nodeSelector={"x": "1"}), pod("a"), ""),
        (
            pod("a", nodeSelector={"x": "2"}),
            pod("a", nodeSelector={"x": "1"}),
            "spec.nodeSelector: only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        ),
        (pod("a", affinity=terms(["x"])), pod("a"), ""),
        (pod("a", affinity=terms(["x", "y"])), pod("a", affinity=terms(["x"])), ""),
        (pod("a", affinity=terms(["y"])), pod("a", affinity=terms(["x"])), f"{IN_AFFINITY}[0]: {ONLY_MORE}"),
        (
            pod("a", affinity=terms(["x"], ["y"])),
            pod("a", affinity=terms(["x"])),
            f"{IN_AFFINITY}: no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        ),
        (pod("a", affinity=terms(["x"])), pod("a", affinity=terms([])), f"{IN_AFFINITY}[0]: {ONLY_MORE}"),
    ],
)
def test_what_may_change(new: Object, old: Object, wrong: str) -> None:
    assert refused(new, old) == ([wrong] if wrong else [])


def test_what_is_not_about_nodes_is_fixed_all_the_same() -> None:
    near = {"podAffinity": {REQUIRED: [{"topologyKey": "zone", "labelSelector": {}}]}}
    [wrong] = refused(pod("a", affinity=near), pod("a"))
    assert wrong.endswith("this update changes spec.affinity")
    [wrong] = refused(pod(nodeSelector={"x": "1"}), pod())
    assert wrong.endswith("this update changes spec.nodeSelector")
