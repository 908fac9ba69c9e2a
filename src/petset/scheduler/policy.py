"""Where a pod goes: filters say why a node cannot take it, scores prefer one of those that can.

`place` goes through the pods that wait, most important and oldest first, and answers a node or the reasons why not, in
the words kubectl users know; what it has placed counts at once for the next pod. All is pure: the cluster is what the
caches hold, and equal clusters give equal answers (ties go to the first node by name).

Follows the scheduling rules of the pod's API: nodeName, schedulingGates, nodeSelector, affinity, tolerations, requests,
host ports, claims and the topology of volumes. Preemption is not offered.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import well_known
from petset.client.views import View, claims_of
from petset.kinds import node_affinity, pod_phase, requests, storage_class, tolerations
from petset.kinds.node import NODES
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.requests import Amounts
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import meta
from petset.objects.meta import Object
from petset.scheduler import affinity

SCHEDULER_NAME = "default-scheduler"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pod means for the node it is on, read once a version of the pod."""

    amounts: Amounts
    host_ports: tuple[requests.HostPort, ...]
    controller_uid: str
    keeps_apart: bool  # It has required anti-affinity terms.
    has_ended: bool


def demand(pod: Object) -> Demand:
    return Demand(
        amounts=requests.held(pod),
        host_ports=tuple(requests.host_ports(pod)),
        controller_uid=meta.controller_uid(pod),
        keeps_apart=affinity.keeps_apart(pod),
        has_ended=pod_phase.has_ended(pod),
    )


class Load:
    """Pods, and what they come to together."""

    def __init__(self) -> None:
        self.pods: dict[str, Object] = {}  # By key.
        self.keeping_apart: dict[str, Object] = {}
        self.used: Amounts = {}
        self.host_ports: dict[requests.HostPort, int] = {}
        self.of_controller: dict[str, int] = {}  # How many pods, by the controller's uid.

    def add(self, pod: Object, what: Demand) -> None:
        self.pods[meta.key(pod)] = pod
        if what.keeps_apart:
            self.keeping_apart[meta.key(pod)] = pod
        self._count(what, 1)

    def remove(self, pod: Object, what: Demand) -> None:
        del self.pods[meta.key(pod)]
        self.keeping_apart.pop(meta.key(pod), None)
        self._count(what, -1)

    def _count(self, what: Demand, sign: int) -> None:
        for name, amount in what.amounts.items():
            self.used[name] = self.used.get(name, 0) + sign * amount
        for port in what.host_ports:
            _counted(self.host_ports, port, sign)
        _counted(self.of_controller, what.controller_uid, sign)


def _counted(counts: dict[Any, int], what: Any, more: int) -> None:
    count = counts.get(what, 0) + more
    if count:
        counts[what] = count
    else:
        counts.pop(what, None)


class NodeLoad(Load):
    """What is on one node, kept as its pods change (View.kept)."""

    def __init__(self, view: View, node: str):
        super().__init__()
        self.close = view.follow(PODS, "node", node, self._change)

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (before := self.pods.get(meta.key(old))) is not None:
            self.remove(before, demand(before))
        if new is not None and not (what := demand(new)).has_ended:
            self.add(new, what)


class Place:
    """A node with what is on it: what the cache shows, and what was put there since."""

    def __init__(self, node: Object, load: Load | None = None):
        self.node, self.name = node, meta.name(node)
        self._load = load or Load()
        self._placed = Load()

    def add(self, pod: Object, what: Demand) -> None:
        self._placed.add(pod, what)

    def __len__(self) -> int:
        return len(self._load.pods) + len(self._placed.pods)

    @property
    def pods(self) -> Iterator[Object]:
        return itertools.chain(self._load.pods.values(), self._placed.pods.values())

    @property
    def keeping_apart(self) -> Iterator[Object]:
        return itertools.chain(self._load.keeping_apart.values(), self._placed.keeping_apart.values())

    @property
    def host_ports(self) -> Iterator[requests.HostPort]:
        return itertools.chain(self._load.host_ports, self._placed.host_ports)

    def used(self, name: str) -> int:
        return self._load.used.get(name, 0) + self._placed.used.get(name, 0)

    def of_controller(self, uid: str) -> int:
        return self._load.of_controller.get(uid, 0) + self._placed.of_controller.get(uid, 0)


@dataclass(frozen=True, slots=True)
class Decision:
    """A node for the pod; or, without one, why; or claims that are to be told the node first."""

    pod: Object
    node: str = ""
    why: str = ""
    claims_to_tell: tuple[Object, ...] = ()


def place(view: View, pods: Sequence[Object] | None = None) -> list[Decision]:
    """What to do with each of these pods, in order; without any, with each that waits."""
    waiting = next_waiting(view) if pods is None else pods
    if not waiting:
        return []
    places = places_of(view)
    by_name = {place.name: place for place in places}
    decisions: list[Decision] = []
    for pod in waiting:
        decision = decide(pod, places, view)
        if decision.node:
            by_name[decision.node].add(pod, demand(pod))
        decisions.append(decision)
    return decisions


def next_waiting(view: View, tried: Mapping[str, Any] | None = None, most: int | None = None) -> list[Object]:
    """Pods of ours without a node, the most important first, then the oldest: so many, without the `tried` (by uid)."""
    waiting = view.kept(Waiting, "").in_order()
    untried = (pod for pod in waiting if meta.uid(pod) not in (tried or {}))
    return list(itertools.islice(untried, most))


Rank = tuple[int, str, str]


class Waiting:
    """The pods that wait for a node, by rank, kept as they change."""

    def __init__(self, view: View) -> None:
        self._pods: dict[Rank, Object] = {}
        self._ranks: list[Rank] = []
        self.close = view.follow(PODS, "node", "", self._change)

    def in_order(self) -> Iterator[Object]:
        return map(self._pods.__getitem__, self._ranks)

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None and self._pods.pop(rank := _rank(old), None) is not None:
            del self._ranks[bisect_left(self._ranks, rank)]
        if new is not None and is_waiting(new):
            self._pods[_rank(new)] = new
            insort(self._ranks, _rank(new))


def _rank(pod: Object) -> Rank:
    priority = meta.get(pod, "spec", "priority", default=0)
    return -priority, pod["metadata"].get("creationTimestamp") or "", meta.key(pod)


def is_waiting(pod: Object) -> bool:
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and not meta.is_deleting(pod)
        and not spec.get("schedulingGates")
        and (spec.get("schedulerName") or SCHEDULER_NAME) == SCHEDULER_NAME
        and not pod_phase.has_ended(pod)
    )


def places_of(view: View) -> list[Place]:
    return [Place(node, view.kept(NodeLoad, meta.name(node), meta.name(node))) for node in view.list(NODES)]


def decide(pod: Object, places: Sequence[Place], view: View) -> Decision:
    """A node for one pod, or why there is none."""
    total = len(places)
    if not total:
        return Decision(pod, why="no nodes available to schedule pods")
    claims, why = claims_for(pod, view)
    if why:
        return Decision(pod, why=f"0/{total} nodes are available: {why}.")
    fitting: list[Place] = []
    reasons: dict[str, int] = {}
    for candidate in places:
        found = first_reason(pod, candidate, places, claims, view)
        if found:
            for reason in found:
                reasons[reason] = reasons.get(reason, 0) + 1
        else:
            fitting.append(candidate)
    if not fitting:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        return Decision(pod, why=f"0/{total} nodes are available: {told}.")
    best = min(fitting, key=lambda candidate: (-score(pod, candidate), candidate.name))
    to_tell = tuple(claim for claim in claims if not meta.get(claim, "spec", "volumeName"))
    return Decision(pod, best.name, claims_to_tell=to_tell)


def claims_for(pod: Object, view: View) -> tuple[list[Object], str]:
    """(the pod's claims, why it must wait for them)."""
    claims: list[Object] = []
    for key in claims_of(pod):
        claim = view.get(PERSISTENTVOLUMECLAIMS, *meta.split_key(key))
        name = meta.split_key(key)[1]
        if claim is None:
            return [], f'persistentvolumeclaim "{name}" not found'
        if meta.is_deleting(claim):
            return [], f'persistentvolumeclaim "{name}" is being deleted'
        phase = meta.get(claim, "status", "phase")
        if phase == "Lost":
            return [], f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume'
        if phase != "Bound" and not storage_class.binds_late(claim, view.list(STORAGECLASSES)):
            return [], UNBOUND
        claims.append(claim)
    return claims, ""


# Filters: each answers the reasons why this node cannot take the pod.


def first_reason(
    pod: Object, place: Place, places: Sequence[Place], claims: Sequence[Object], view: View
) -> Sequence[str]:
    """The reasons of the first filter that has any."""
    for filter_ in FILTERS:
        reasons = filter_(pod, place)
        if reasons:
            return reasons
    return volumes_elsewhere(place, claims, view) or affinity.reasons(pod, place, places)


def unschedulable(pod: Object, place: Place) -> Sequence[str]:
    taint = {"key": well_known.UNSCHEDULABLE_TAINT, "effect": "NoSchedule"}
    if meta.get(place.node, "spec", "unschedulable") and not tolerations.tolerates(pod, taint):
        return ("node(s) were unschedulable",)
    return ()


def other_node(pod: Object, place: Place) -> Sequence[str]:
    if not node_affinity.allows(pod, place.node):
        return ("node(s) didn't match Pod's node affinity/selector",)
    return ()


def tainted(pod: Object, place: Place) -> Sequence[str]:
    taints = list(meta.get(place.node, "spec", "taints", default=()))
    if not meta.is_condition_true(place.node, "Ready"):
        # A node that is not ready takes nothing, also before its taint is there.
        taints.append({"key": well_known.NOT_READY_TAINT, "effect": "NoSchedule"})
    for taint in taints:
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerations.tolerates(pod, taint):
            return (f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}",)
    return ()


def too_little(pod: Object, place: Place) -> Sequence[str]:
    """What the node has not enough of, in the order of names."""
    free = allocatable_of(place.node)
    reasons = ["Too many pods"] if len(place) + 1 > free.get("pods", requests.PODS_PER_NODE_DEFAULT) else []
    for name, amount in sorted(requests.of(pod).items()):
        if amount and place.used(name) + amount > free.get(name, 0):
            reasons.append(f"Insufficient {name}")
    return reasons


def ports_taken(pod: Object, place: Place) -> Sequence[str]:
    if any(mine.collides(theirs) for mine in requests.host_ports(pod) for theirs in place.host_ports):
        return (requests.PORTS_TAKEN,)
    return ()


def volumes_elsewhere(place: Place, claims: Iterable[Object], view: View) -> Sequence[str]:
    for claim in claims:
        volume = view.get(PERSISTENTVOLUMES, "", meta.get(claim, "spec", "volumeName", default="") or "-")
        required = meta.get(volume, "spec", "nodeAffinity", "required")
        if required and not node_affinity.terms_match(required.get("nodeSelectorTerms") or (), place.node):
            return ("node(s) didn't match PersistentVolume's node affinity",)
    return ()


FILTERS: tuple[Callable[[Object, Place], Sequence[str]], ...] = (
    unschedulable,
    tainted,
    other_node,
    ports_taken,
    too_little,
)


def score(pod: Object, place: Place) -> int:
    """Preferred terms first, then few of the same controller, then room."""
    controller = meta.controller_uid(pod)
    same = place.of_controller(controller) if controller else 0
    free = allocatable_of(place.node)
    room = 0
    for name in ("cpu", "memory"):
        if free.get(name):
            room += 50 - min(50, 50 * place.used(name) // free[name])
    return affinity.preference(pod, place) * 10_000 - same * 1_000 + room - len(place)


def allocatable_of(node: Object) -> Amounts:
    return requests.amounts(meta.part(node, "status", "allocatable") or meta.part(node, "status", "capacity"))
