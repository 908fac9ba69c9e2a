"""In which order pods of one owner go when it has too many: those first whose loss costs least.

First those without a node, then by phase, then those that are not ready, then by the cost that an annotation gives a
pod, then those on a node with many of the same kin, then those ready for a shorter time, with more restarts, younger.
Times are compared by their magnitude (the logarithm of the age), so that with equal chances the oldest does not
always stay; then the uid decides.
Follows: "Scaling down" of ReplicaSet, and "Pod deletion cost", in the Kubernetes documentation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from petset.base import tasks, well_known
from petset.controllers.workloads.members import ready_since
from petset.objects import meta
from petset.objects.meta import Object

PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
Rank = tuple[float, ...]


def in_order(pods: Iterable[Object], kin: Iterable[Object], now: float) -> list[Object]:
    """The pods, those that go first first. `kin`: the active pods that count for how full of them a node is."""
    there = Counter(node for pod in kin if (node := _node(pod)))
    return sorted(pods, key=lambda pod: (_rank(pod, there[_node(pod)], now), meta.uid(pod)))


def _rank(pod: Object, neighbours: int, now: float) -> Rank:
    status = meta.part(pod, "status")
    since = ready_since(pod)
    restarts = max((one.get("restartCount", 0) for one in meta.parts(status, "containerStatuses")), default=0)
    made = pod["metadata"].get("creationTimestamp")
    return (
        1 if _node(pod) else 0,
        PHASES.get(status.get("phase") or "Pending", 2),
        0 if since is None else 1,
        deletion_cost(pod),
        -neighbours,
        _magnitude(since, now),
        -restarts,
        _magnitude(tasks.parse_rfc3339(made) if made else None, now),
    )


def _node(pod: Object) -> str:
    return meta.part(pod, "spec").get("nodeName") or ""


def _magnitude(since: float | None, now: float) -> float:
    """Which power of two the age in nanoseconds has reached; -1 of what has none."""
    if not since or now <= since:
        return -1
    return math.floor(math.log2((now - since) * 1e9))


def deletion_cost(pod: Object) -> int:
    """What its annotation says; 0 when it says no 32-bit number."""
    text = meta.annotations(pod).get(well_known.POD_DELETION_COST_ANNOTATION, "0")
    is_number = text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal() and len(text) <= 11
    cost = int(text) if is_number else 0
    return cost if -(2**31) <= cost < 2**31 else 0
