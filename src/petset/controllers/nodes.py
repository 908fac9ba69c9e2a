"""Nodes that fall silent, and what becomes of the pods on them.

A node renews its Lease; when it has not for so many seconds, its Ready condition becomes Unknown and its pods
count as not ready. Its Ready condition decides its taints (not-ready, unreachable), and the NoExecute ones delete the
pods that do not tolerate them, after the seconds they are tolerated. Such a pod stays until its node confirms that it
stopped, since only then may a pet of the same name start elsewhere.

Invariant: time before this process began is not held against a node: nobody listened then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from petset.base import tasks, well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds import tolerations
from petset.kinds.lease import LEASES
from petset.kinds.namespace import NODE_LEASES
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

NODE_LEASE_SECONDS_MAX = 40.0
PRESSURE_TAINTS = {  # By condition.
    "DiskPressure": well_known.DISK_PRESSURE_TAINT,
    "MemoryPressure": well_known.MEMORY_PRESSURE_TAINT,
    "PIDPressure": well_known.PID_PRESSURE_TAINT,
}
OURS = (
    well_known.NOT_READY_TAINT,
    well_known.UNREACHABLE_TAINT,
    well_known.UNSCHEDULABLE_TAINT,
    *PRESSURE_TAINTS.values(),
)


def reconcile(started: float, silence: float, key: str, view: View, now: float) -> list[actions.Action]:
    """Judge one node, which may be silent for so many seconds: its Ready condition by its lease, its taints by that."""
    node = view.get(NODES, "", key)
    if node is None or meta.is_deleting(node):
        return []
    silent_seconds = now - max(started, last_heard(node, view))
    if silent_seconds > silence:
        if (meta.condition(node, "Ready") or {}).get("status") != "Unknown":
            return [
                actions.UpdateStatus(_fallen_silent(node, now)),
                actions.EmitEvent(node, "Normal", "NodeNotReady", f"Node {key} status is now: NodeNotReady"),
            ]
        return [*_taint(node, now), *_pods_not_ready(node, view, now)]
    return [*_taint(node, now), actions.RequeueAfter(silence - silent_seconds + 0.1)]


def last_heard(node: Object, view: View) -> float:
    """When the node last renewed its lease; before its first, when it was made."""
    lease = view.get(LEASES, NODE_LEASES, meta.name(node))
    renewed = meta.get(lease, "spec", "renewTime", default="")
    return tasks.parse_rfc3339(renewed or node["metadata"].get("creationTimestamp", "1970-01-01T00:00:00Z"))


def _fallen_silent(node: Object, now: float) -> Object:
    conditions = meta.get(node, "status", "conditions", default=[])
    unknown = {
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "The node stopped renewing its lease.",
        "lastTransitionTime": tasks.rfc3339(now),
    }
    kinds = dict.fromkeys([*(condition.get("type") for condition in conditions), "Ready"])
    for kind in filter(None, kinds):
        old = meta.condition(node, kind) or {}
        conditions = meta.with_condition(conditions, {**old, "type": kind, **unknown})
    return meta.changed(node, ("status", "conditions"), conditions)


def taints_for(node: Object, now: float) -> list[dict[str, Any]]:
    """The node's taints as its conditions and spec.unschedulable want them; others are kept."""
    there = meta.get(node, "spec", "taints", default=[])
    status = (meta.condition(node, "Ready") or {}).get("status", "False")
    wanted: list[tuple[str, str]] = []
    if status != "True":
        key = well_known.UNREACHABLE_TAINT if status == "Unknown" else well_known.NOT_READY_TAINT
        wanted = [(key, "NoSchedule"), (key, "NoExecute")]
    if meta.get(node, "spec", "unschedulable"):
        wanted.append((well_known.UNSCHEDULABLE_TAINT, "NoSchedule"))
    wanted += [(key, "NoSchedule") for type_, key in PRESSURE_TAINTS.items() if meta.is_condition_true(node, type_)]
    kept = [t for t in there if t.get("key") not in OURS or (t["key"], t.get("effect")) in wanted]
    present = [(taint.get("key"), taint.get("effect")) for taint in kept]
    added = [
        {"key": key, "effect": effect, "timeAdded": tasks.rfc3339(now)}
        for key, effect in wanted
        if (key, effect) not in present
    ]
    return [*kept, *added]


def _taint(node: Object, now: float) -> list[actions.Action]:
    wanted = taints_for(node, now)
    if wanted == meta.get(node, "spec", "taints", default=[]):
        return []
    if wanted:
        return [actions.Update(meta.changed(node, ("spec", "taints"), wanted))]
    return [actions.Update(meta.without(node, ("spec", "taints")))]


def _pods_not_ready(node: Object, view: View, now: float) -> list[actions.Action]:
    steps: list[actions.Action] = []
    for pod in view.by_index(PODS, "node", meta.name(node)):
        if meta.is_pod_ready(pod):
            ready = {**(meta.condition(pod, "Ready") or {}), "status": "False", "reason": "NodeNotReady"}
            ready["lastTransitionTime"] = tasks.rfc3339(now)
            conditions = meta.with_condition(meta.get(pod, "status", "conditions", default=()), ready)
            steps.append(actions.UpdateStatus(meta.changed(pod, ("status", "conditions"), conditions)))
            steps.append(actions.EmitEvent(pod, "Warning", "NodeNotReady", "Node is not ready"))
    return steps


# Eviction by taints


def reconcile_pod(key: str, view: View, now: float) -> list[actions.Action]:
    """Delete a pod that no longer tolerates its node's NoExecute taints; or look again when that will be."""
    pod = view.get(PODS, *meta.split_key(key))
    if pod is None or meta.is_deleting(pod) or not pod["spec"].get("nodeName"):
        return []
    node = view.get(NODES, "", pod["spec"]["nodeName"])
    taints = [taint for taint in meta.get(node, "spec", "taints", default=()) if taint.get("effect") == "NoExecute"]
    seconds = seconds_to_stay(pod, taints, now)
    if seconds is None:
        return []
    if seconds > 0:
        return [actions.RequeueAfter(seconds)]
    event = actions.EmitEvent(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {meta.key(pod)}")
    return [actions.Delete(pod, on_success=event)]


def seconds_to_stay(pod: Object, taints: Sequence[Object], now: float) -> float | None:
    """How long the pod may stay under these taints; None: for ever."""
    longest: float | None = None
    for taint in taints:
        allowed = tolerations.seconds(pod, taint)
        if allowed is None:
            continue
        added = tasks.parse_rfc3339(taint["timeAdded"]) if taint.get("timeAdded") else now
        left = max(added, _there_since(pod)) + allowed - now
        longest = left if longest is None else min(longest, left)
    return longest


def _there_since(pod: Object) -> float:
    """When it came to its node, as far as is known: under a taint that is older its time begins then."""
    scheduled = meta.condition(pod, "PodScheduled") or {}
    bound = scheduled.get("lastTransitionTime") if scheduled.get("status") == "True" else None
    moment = bound or meta.get(pod, "metadata", "creationTimestamp")
    return tasks.parse_rfc3339(moment) if moment else 0.0


def keys_of_lease(lease: Object, view: View) -> Iterable[str]:
    """The node, when a renewal changes how it is judged. Else its own timer looks at the lease in time."""
    node = view.get(NODES, "", meta.name(lease)) if meta.namespace(lease) == NODE_LEASES else None
    if node is not None and not meta.is_condition_true(node, "Ready"):
        yield meta.name(node)


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    node = view.get(NODES, "", pod["spec"].get("nodeName") or "-")
    if node is not None and meta.get(node, "spec", "taints"):
        yield meta.key(pod)


def pods_of_node(node: Object, view: View) -> Iterable[str]:
    for pod in view.by_index(PODS, "node", meta.name(node)):
        yield meta.key(pod)


def controllers(started: float, silence: float) -> tuple[Controller, ...]:
    return (
        Controller(
            name="nodes",
            component="node-controller",
            watches=((NODES, own_key), (LEASES, keys_of_lease)),
            reads=(PODS,),
            reconcile=partial(reconcile, started, silence),
        ),
        Controller(
            name="evictions",
            component="taint-eviction-controller",
            watches=((PODS, keys_of_pod), (NODES, pods_of_node)),
            reconcile=reconcile_pod,
        ),
    )
