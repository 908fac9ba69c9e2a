"""What disruption budgets promise: an eviction leaves as many healthy pods as must stay.

Pods that were lost in another way a moment ago nobody can have known of: for as long as a picture may be old, the law
says nothing of their budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from petset.kinds import disruptions, pod_phase
from petset.kinds.apps import workloads
from petset.objects import meta
from petset.objects.meta import Object

PODS, BUDGETS = "/core/pods/", "/policy/poddisruptionbudgets/"
OWNERS = {"ReplicaSet": "/apps/replicasets/", "StatefulSet": "/apps/statefulsets/"}
BY_EVICTION = "EvictionByEvictionAPI"
Objects = Mapping[str, Object]


class Evictions:
    def __init__(self) -> None:
        self._lost_at: dict[str, float] = {}  # By namespace: when a healthy pod was lost that was not evicted.
        self.seen = 0  # Healthy pods that were evicted.

    def saw(self, key: str, old: Object | None, new: Object, gone: bool, now: float) -> None:
        """Remember what was lost."""
        if not key.startswith(PODS) or old is None or not is_healthy(old) or is_evicted(new):
            return
        if gone or not is_healthy(new):
            self._lost_at[meta.namespace(new)] = now

    def broken_by(
        self, objects: Objects, key: str, old: Object | None, new: Object, now: float, stale_seconds: float
    ) -> Iterator[str]:
        """What the eviction of a pod breaks."""
        if not key.startswith(PODS) or old is None or not is_healthy(old) or is_healthy(new) or not is_evicted(new):
            return
        self.seen += 1
        space = meta.namespace(new)
        if now - self._lost_at.get(space, -1e9) <= stale_seconds:
            return
        pods = [pod for where, pod in objects.items() if where.startswith(f"{PODS}{space}/")]
        budgets = [one for where, one in objects.items() if where.startswith(f"{BUDGETS}{space}/")]
        for budget in disruptions.guarding(new, budgets):
            guarded = [pod for pod in pods if disruptions.guarding(pod, [budget])]
            healthy, least = sum(map(is_healthy, guarded)), least_of(objects, budget, guarded)
            if healthy < least:
                yield f"{meta.key(new)} was evicted: {healthy} healthy pods are left, and {least} must be"


def least_of(objects: Objects, budget: Object, pods: list[Object]) -> int:
    """How many of these a budget wants to stay healthy."""
    spec, owners = budget["spec"], dict[str, int]()
    for pod in pods:
        above = meta.controller_of(pod)
        owner = objects.get(f"{OWNERS.get(above['kind'], '')}{meta.namespace(pod)}/{above['name']}") if above else None
        if owner is not None:
            owners[meta.uid(owner)] = owner["spec"]["replicas"]
    count = sum(owners.values())
    if (most := spec.get("maxUnavailable")) is not None:
        return count - workloads.resolved(most, count, up=True)
    return workloads.resolved(spec.get("minAvailable"), count, up=True)


def is_healthy(pod: Object) -> bool:
    return pod_phase.is_active(pod) and meta.is_pod_ready(pod)


def is_evicted(pod: Object) -> bool:
    condition = meta.condition(pod, disruptions.TARGET)
    return condition is not None and condition.get("reason") == BY_EVICTION
