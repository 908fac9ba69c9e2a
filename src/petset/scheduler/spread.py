"""Pods that are to be spread evenly over zones, nodes, or whatever a label of nodes tells apart.

`Evenness` is what the hard constraints of one pod come to: how many pods that it counts there are for each value of a
topology, and the least of them. It is made once for a pod, out of kept pictures, and follows when pods are thought to
be there or away. The soft ones are a score. Where a pod says nothing, those of its controller are spread.
Follows: "Pod Topology Spread Constraints" of the Kubernetes documentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from petset.base import well_known
from petset.kinds import node_affinity, tolerations
from petset.objects import meta
from petset.objects.meta import Object
from petset.scheduler.loads import Place
from petset.scheduler.pictures import Pictures
from petset.scheduler.refusals import Refusal
from petset.scheduler.terms import Spread, Terms

UNEVEN = Refusal(("node(s) didn't match pod topology spread constraints",))
NO_TOPOLOGY = Refusal(("node(s) didn't match pod topology spread constraints (missing required label)",), is_final=True)
REPELLING = ("NoSchedule", "NoExecute")
# What is wished of pods that say nothing: (a label of nodes, the skew that is not minded).
DEFAULTS = ((well_known.HOSTNAME_LABEL, 3), (well_known.ZONE_LABEL, 5))


class Evenness:
    """How many pods there are by the value of each topology, and the least that any value has."""

    def __init__(self, pod: Object, said: Terms, pictures: Pictures, places: Mapping[str, Place]):
        self._constraints = [one for one in said.spreads if one.is_hard]
        all_counts: list[dict[str, int]] = []
        all_counting: list[Mapping[str, None]] = []
        self._least: list[int] | None = None
        self._places, self._namespace = places, meta.namespace(pod)
        candidates = [place for place in places.values() if _has_all(place, self._constraints)]
        for one in self._constraints:
            counting = {place.name: None for place in candidates if counts(one, pod, place)}
            by_value = {places[name].facts.labels[one.topology]: 0 for name in counting}
            for node, count in pictures.counted(one.selection).staying.items():
                if node in counting:
                    by_value[places[node].facts.labels[one.topology]] += count
            all_counts.append(by_value)
            all_counting.append(counting)
        self._counts, self._counting = all_counts, all_counting  # The nodes that count for each.

    @property
    def is_empty(self) -> bool:
        return not self._constraints

    def copy(self) -> Evenness:
        """The same, for thinking."""
        other = object.__new__(Evenness)
        other._constraints, other._counting = self._constraints, self._counting
        other._places, other._namespace = self._places, self._namespace
        other._counts, other._least = [dict(one) for one in self._counts], self._least
        return other

    def change(self, other: Object, node: str, sign: int) -> None:
        """Think another pod to be on the node (1), or away from it (-1)."""
        if meta.namespace(other) != self._namespace or meta.is_deleting(other):
            return
        for one, by_value, counting in zip(self._constraints, self._counts, self._counting, strict=True):
            if node in counting and one.selection.matches(other):
                by_value[self._places[node].facts.labels[one.topology]] += sign
                self._least = None

    def refusal(self, place: Place) -> Refusal | None:
        if self._least is None:
            self._least = [
                min(by_value.values(), default=0) if len(by_value) >= one.min_domains else 0
                for one, by_value in zip(self._constraints, self._counts, strict=True)
            ]
        for one, by_value, least in zip(self._constraints, self._counts, self._least, strict=True):
            value = place.facts.labels.get(one.topology)
            if value is None:
                return NO_TOPOLOGY
            if by_value.get(value, 0) + one.counts_itself - least > one.max_skew:
                return UNEVEN
        return None


def counts(one: Spread, pod: Object, place: Place) -> bool:
    """Whether pods on the node count for the constraint."""
    if one.honors_affinity and not node_affinity.allows(pod, place.node):
        return False
    return not one.honors_taints or not any(
        taint.get("effect") in REPELLING and not tolerations.tolerates(pod, taint) for taint in place.facts.taints
    )


def _has_all(place: Place, constraints: Iterable[Spread]) -> bool:
    return all(one.topology in place.facts.labels for one in constraints)


# The score: the lower, the more even.


def crowding(
    pod: Object,
    said: Terms,
    pictures: Pictures,
    places: Mapping[str, Place],
    fitting: Sequence[Place],
    since: Iterable[tuple[Object, str]],
) -> list[float | None] | None:
    """Of each node that fits, how crowded the pod would find it; None of one that lacks a topology. None: it minds
    nothing."""
    if said.spreads:
        soft = [one for one in said.spreads if not one.is_hard]
        counted = [(one.topology, one.max_skew, _by_node(one, pod, pictures, places, since)) for one in soft]
        is_left_out = [not _has_all(place, soft) for place in fitting]
    elif controller := meta.controller_uid(pod):
        alike = {place.name: count for place in places.values() if (count := place.of_controller(controller))}
        counted = [(topology, skew, alike) for topology, skew in DEFAULTS]
        is_left_out = [False] * len(fitting)
    else:
        return None
    if not counted:
        return None
    total: list[float] = [0.0] * len(fitting)
    for topology, skew, by_node in counted:
        values = [place.facts.labels.get(topology) for place in fitting]
        domains = dict.fromkeys(v for v, out in zip(values, is_left_out, strict=True) if v is not None and not out)
        by_value = dict.fromkeys(domains, 0)
        for node, count in by_node.items():
            place = places.get(node)
            value = place.facts.labels.get(topology) if place is not None else None
            if value in by_value:
                by_value[value] += count
        weight = math.log(len(domains) + 2)
        for at, value in enumerate(values):
            if value is not None and not is_left_out[at]:
                total[at] += by_value[value] * weight + skew - 1
    return [None if out else score for score, out in zip(total, is_left_out, strict=True)]


def _by_node(
    one: Spread,
    pod: Object,
    pictures: Pictures,
    places: Mapping[str, Place],
    since: Iterable[tuple[Object, str]],
) -> Mapping[str, int]:
    found = dict(pictures.counted(one.selection).staying)
    for other, node in since:
        if one.selection.matches(other):
            found[node] = found.get(node, 0) + 1
    return {name: count for name, count in found.items() if name in places and counts(one, pod, places[name])}
