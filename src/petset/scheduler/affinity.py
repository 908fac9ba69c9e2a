"""Pods that want to be near others, or apart from them: which nodes that leaves, and which of them are better.

`Near` is what the terms of one pod, and those of the pods that are there, come to for each value of their topology: it
is made once for a pod out of kept pictures, and follows when pods are thought to be there or away. Anti-affinity holds
both ways. A required affinity term counts pods that all such terms of the pod mean; the first pod of a group that wants
to be together may go anywhere.
Follows: "Inter-pod affinity and anti-affinity" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from petset.objects.meta import Object
from petset.scheduler import terms
from petset.scheduler.loads import Place, counted
from petset.scheduler.pictures import Pictures, weighing
from petset.scheduler.refusals import Refusal
from petset.scheduler.terms import Term

NOT_NEAR = Refusal(("node(s) didn't match pod affinity rules",), is_final=True)
NOT_APART = Refusal(("node(s) didn't match pod anti-affinity rules",))
UNWANTED = Refusal(("node(s) didn't satisfy existing pods anti-affinity rules",))

Pair = tuple[str, str]  # A label of nodes and its value.
Places = Mapping[str, Place]


class Near:
    """What keeps one pod from nodes, or binds it to them, on behalf of other pods."""

    def __init__(self, pod: Object, said: terms.Terms, pictures: Pictures, places: Places):
        self._pod, self._said, self._pictures, self._places = pod, said, pictures, places
        self._wanted: dict[Pair, int] = {}
        self._apart: dict[Pair, int] = {}
        self._unwanted: dict[Pair, int] = {}
        if said.near:
            all_of_them = pictures.counted(*map(pictures.selection, said.near))
            for term in said.near:
                self._add(self._wanted, term, all_of_them.all)
        for term in said.apart:
            self._add(self._apart, term, pictures.counted(pictures.selection(term)).all)
        for term, by_node in pictures.apart.about(pod, pictures.labels_of):
            self._add(self._unwanted, term, by_node)

    @property
    def is_empty(self) -> bool:
        return not (self._said.near or self._said.apart or self._unwanted)

    def copy(self) -> Near:
        """The same, for thinking."""
        other = object.__new__(Near)
        other._pod, other._said, other._pictures, other._places = self._pod, self._said, self._pictures, self._places
        other._wanted, other._apart, other._unwanted = dict(self._wanted), dict(self._apart), dict(self._unwanted)
        return other

    def _add(self, pairs: dict[Pair, int], term: Term, by_node: Mapping[str, int], sign: int = 1) -> None:
        for node, count in by_node.items():
            value = _value(term, self._places.get(node))
            if value is not None:
                counted(pairs, (term.topology, value), sign * count)

    def change(self, other: Object, what: terms.Terms, node: str, sign: int) -> None:
        """Think another pod to be on the node (1), or away from it (-1)."""
        here, labels_of = {node: 1}, self._pictures.labels_of
        if self._said.near and all(term.selects(other, labels_of) for term in self._said.near):
            for term in self._said.near:
                self._add(self._wanted, term, here, sign)
        for term in self._said.apart:
            if term.selects(other, labels_of):
                self._add(self._apart, term, here, sign)
        for term in what.apart:
            if term.selects(self._pod, labels_of):
                self._add(self._unwanted, term, here, sign)

    def refusal(self, place: Place) -> Refusal | None:
        if self._said.near and not self._finds_others(place):
            return NOT_NEAR
        if any(self._apart.get(_pair(term, place), 0) > 0 for term in self._said.apart):
            return NOT_APART
        if self._unwanted and any(self._unwanted.get(pair, 0) > 0 for pair in place.facts.labels.items()):
            return UNWANTED
        return None

    def _finds_others(self, place: Place) -> bool:
        if any(_value(term, place) is None for term in self._said.near):
            return False
        if all(self._wanted.get(_pair(term, place), 0) > 0 for term in self._said.near):
            return True
        is_first = not any(count > 0 for count in self._wanted.values())
        return is_first and all(term.selects(self._pod, self._pictures.labels_of) for term in self._said.near)


def _value(term: Term, place: Place | None) -> str | None:
    return place.facts.labels.get(term.topology) if place is not None else None


def _pair(term: Term, place: Place) -> Pair:
    return term.topology, place.facts.labels.get(term.topology, "")


def preferences(
    pod: Object,
    said: terms.Terms,
    pictures: Pictures,
    places: Places,
    since: Iterable[tuple[Object, terms.Terms, str]],
) -> Mapping[Pair, int]:
    """What each value of a topology is worth to the pod, and to those that are there or came `since` (with their
    nodes)."""
    worth: dict[Pair, int] = {}

    def add(term: Term, by_node: Mapping[str, int], weight: int) -> None:
        for node, count in by_node.items():
            value = _value(term, places.get(node))
            if value is not None:
                counted(worth, (term.topology, value), weight * count)

    own = [*((term, term.weight) for term in said.rather_near), *((one, -one.weight) for one in said.rather_apart)]
    for term, weight in own:
        add(term, pictures.counted(pictures.selection(term)).all, weight)
    for term, by_node in pictures.weighing.about(pod, pictures.labels_of):
        add(term, by_node, term.weight)
    for other, what, node in since:
        for term, weight in own:
            if term.selects(other, pictures.labels_of):
                add(term, {node: 1}, weight)
        for term in weighing(what):
            if term.selects(pod, pictures.labels_of):
                add(term, {node: 1}, term.weight)
    return worth


def worth(preferred: Mapping[Pair, int], place: Place) -> int:
    return sum(preferred.get(pair, 0) for pair in place.facts.labels.items()) if preferred else 0
