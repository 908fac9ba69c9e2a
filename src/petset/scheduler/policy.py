"""Where a pod goes: filters.py says why a node cannot take it, scores.py which of those that can is the best.

`place` goes through the pods that wait, most important and oldest first, and answers a node or the reasons why not, in
the words kubectl users know; what it has placed counts at once for the next pod. All is pure: the cluster is what the
caches hold, and equal clusters give equal answers.

Follows the scheduling rules of the pod's API: nodeName, schedulingGates, nodeSelector, affinity, tolerations, topology
spread, requests, host ports, claims and the topology of volumes, priority and preemption.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.client.views import View
from petset.kinds import pod_phase
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from petset.scheduler import filters, loads, preemption, refusals, scores
from petset.scheduler.filters import Cluster
from petset.scheduler.loads import Place
from petset.scheduler.profiles import DEFAULT, Profiles
from petset.scheduler.refusals import Refusal

NO_NODES = "no nodes available to schedule pods"


@dataclass(frozen=True, slots=True)
class Decision:
    """A node for the pod; or, without one, why; or claims that are to be told the node first."""

    pod: Object
    node: str = ""
    why: str = ""
    claims_to_tell: tuple[Object, ...] = ()
    promised: Mapping[str, str] = field(default_factory=dict[str, str])  # Volumes that they find there: name to key.
    victims: tuple[Object, ...] = ()  # Pods that are to make room for it.
    waits_for: str | None = None  # The node that it waits for room on; "": none any more; None: as before.


def place(
    view: View,
    pods: Sequence[Object] | None = None,
    profiles: Profiles = DEFAULT,
    promised: dict[str, str] | None = None,
) -> list[Decision]:
    """What to do with each of these pods, in order; without any, with each that waits.

    `promised` are volumes that pods before these are to have, and grows by those that these are.
    """
    waiting = next_waiting(view, profiles=profiles) if pods is None else pods
    if not waiting:
        return []
    cluster = filters.cluster_of(view, profiles, {} if promised is None else promised)
    for pod in _waiting(view, profiles).nominated.values():
        _nominate(cluster, pod, pod["status"]["nominatedNodeName"])
    decisions: list[Decision] = []
    for pod in waiting:
        decision = decide(pod, cluster)
        if decision.node:
            cluster.add(pod, decision.node)
            cluster.promised |= decision.promised
        if decision.node or decision.waits_for is not None:
            _nominate(cluster, pod, "" if decision.node else decision.waits_for or "")
        decisions.append(decision)
    return decisions


def _nominate(cluster: Cluster, pod: Object, node: str) -> None:
    """Remember for which node it waits."""
    for pods in cluster.nominated.values():
        pods.pop(meta.key(pod), None)
    if node:
        cluster.nominated.setdefault(node, {})[meta.key(pod)] = pod


def decide(pod: Object, cluster: Cluster) -> Decision:
    """A node for one pod, or why there is none."""
    total = len(cluster.places)
    if not total:
        return Decision(pod, why=NO_NODES)
    request, why = filters.request_of(pod, cluster)
    if request is None:
        return Decision(pod, why=refusals.told(total, (), why, f"preemption: {preemption.not_helpful(total)}"))
    fitting, refused = _sorted_out(request, cluster)
    if fitting:
        best, to_tell = scores.best(request, fitting, cluster), tuple(one.claim for one in request.volumes.late)
        return Decision(pod, best.name, claims_to_tell=to_tell, promised=request.volumes.found_on(best.node) or {})
    if not request.profile.preempts:
        return Decision(pod, why=refusals.told(total, refused.values()))
    candidate, said, waits_for = preemption.found(request, cluster, refused)
    return Decision(
        pod,
        why=refusals.told(total, refused.values(), after=f"preemption: {said}"),
        victims=candidate.victims if candidate is not None else (),
        waits_for=waits_for,
    )


def _sorted_out(request: filters.Request, cluster: Cluster) -> tuple[list[Place], dict[str, Refusal]]:
    """(the places that can take the pod, why the others cannot); where it waits for room is asked first."""
    first = cluster.places.get(meta.get(request.pod, "status", "nominatedNodeName", default=""))
    if first is not None and cluster.refusal(request, first) is None:
        return [first], {}
    fitting: list[Place] = []
    refused: dict[str, Refusal] = {}
    for candidate in cluster.places.values():
        found = cluster.refusal(request, candidate)
        if found is None:
            fitting.append(candidate)
        else:
            refused[candidate.name] = found
    return fitting, refused


# Who waits


def _waiting(view: View, profiles: Profiles) -> Waiting:
    return view.kept(Waiting, "", tuple(profiles))


def next_waiting(
    view: View, tried: Mapping[str, Any] | None = None, most: int | None = None, profiles: Profiles = DEFAULT
) -> list[Object]:
    """Pods of ours without a node, the most important first, then the oldest: so many, without the `tried` (by uid)."""
    waiting = _waiting(view, profiles).in_order()
    untried = (pod for pod in waiting if meta.uid(pod) not in (tried or {}))
    return list(itertools.islice(untried, most))


def nominated(view: View, node: str, profiles: Profiles = DEFAULT) -> list[Object]:
    """The pods that wait for room on the node."""
    waiting = _waiting(view, profiles).nominated.values() if node else ()
    return [pod for pod in waiting if pod["status"]["nominatedNodeName"] == node]


Rank = tuple[int, str, str]


class Waiting:
    """The pods that wait for a node, by rank, kept as they change."""

    def __init__(self, view: View, schedulers: tuple[str, ...]) -> None:
        self._schedulers = schedulers
        self._pods: dict[Rank, Object] = {}
        self._ranks: list[Rank] = []
        self.nominated: dict[str, Object] = {}  # Those that wait for a node that is being cleared, by key.
        self.close = view.follow(PODS, "node", "", self._change)

    def in_order(self) -> Iterator[Object]:
        return map(self._pods.__getitem__, self._ranks)

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None and self._pods.pop(rank := _rank(old), None) is not None:
            del self._ranks[bisect_left(self._ranks, rank)]
            self.nominated.pop(meta.key(old), None)
        if new is not None and is_waiting(new) and filters.profile_name(new) in self._schedulers:
            self._pods[_rank(new)] = new
            insort(self._ranks, _rank(new))
            if meta.get(new, "status", "nominatedNodeName"):
                self.nominated[meta.key(new)] = new


def _rank(pod: Object) -> Rank:
    return -loads.priority_of(pod), pod["metadata"].get("creationTimestamp") or "", meta.key(pod)


def is_waiting(pod: Object) -> bool:
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and not meta.is_deleting(pod)
        and not spec.get("schedulingGates")
        and not pod_phase.has_ended(pod)
    )
