"""Pod affinity, and which nodes a pod would rather have; which its node terms allow says kinds/node_affinity.py.

A pod (anti-)affinity term looks at the pods of some namespaces that its
selector matches, and at the nodes that share its topology key's value with theirs; anti-affinity holds both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from petset.base import well_known
from petset.kinds import node_affinity
from petset.objects import meta, selectors
from petset.objects.meta import Object


class Place(Protocol):
    """A node with the pods on it."""

    node: Object

    @property
    def pods(self) -> Iterable[Object]: ...

    @property
    def keeping_apart(self) -> Iterable[Object]:
        """Those of them with required anti-affinity terms."""
        ...


def reasons(pod: Object, place: Place, places: Sequence[Place]) -> Sequence[str]:
    """Why the pods that run already keep this one from the node."""
    for term in _required(pod, "podAffinity"):
        if not _affinity_holds(term, pod, place, places):
            return ("node(s) didn't match pod affinity rules",)
    for term in _required(pod, "podAntiAffinity"):
        if any(_term_selects(term, pod, other) for other in _neighbours(term, place, places)):
            return ("node(s) didn't match pod anti-affinity rules",)
    for there in places:
        for other in there.keeping_apart:
            for term in _required(other, "podAntiAffinity"):
                if _same_topology(term, there, place) and _term_selects(term, other, pod):
                    return ("node(s) didn't satisfy existing pods anti-affinity rules",)
    return ()


def _affinity_holds(term: Object, pod: Object, place: Place, places: Sequence[Place]) -> bool:
    if _topology(term, place) is None:
        return False
    if any(_term_selects(term, pod, other) for other in _neighbours(term, place, places)):
        return True
    # The first pod of a group that wants to be together may go anywhere.
    is_first = not any(_term_selects(term, pod, other) for there in places for other in there.pods)
    return is_first and _term_selects(term, pod, pod)


def preference(pod: Object, place: Place) -> int:
    """The weights of the preferred node terms that this node meets, and of pod terms on the node itself."""
    total = 0
    for one in _preferred(pod, "nodeAffinity"):
        if node_affinity.term_matches(meta.part(one, "preference"), place.node):
            total += one.get("weight", 1)
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for one in _preferred(pod, kind):
            term = meta.part(one, "podAffinityTerm")
            if any(_term_selects(term, pod, other) for other in place.pods):
                total += sign * one.get("weight", 1)
    return total


def keeps_apart(pod: Object) -> bool:
    """Whether it says of other pods that they must not be near."""
    return bool(_required(pod, "podAntiAffinity"))


def _required(pod: Object, kind: str) -> Sequence[Object]:
    return meta.parts(pod, "spec", "affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution")


def _preferred(pod: Object, kind: str) -> Sequence[Object]:
    return meta.parts(pod, "spec", "affinity", kind, "preferredDuringSchedulingIgnoredDuringExecution")


def _neighbours(term: Object, place: Place, places: Sequence[Place]) -> Iterable[Object]:
    for there in places:
        if _same_topology(term, there, place):
            yield from there.pods


def _same_topology(term: Object, a: Place, b: Place) -> bool:
    value = _topology(term, a)
    return value is not None and value == _topology(term, b)


def _topology(term: Object, place: Place) -> str | None:
    return meta.labels(place.node).get(term.get("topologyKey", ""))


def _term_selects(term: Object, owner: Object, other: Object) -> bool:
    """Whether the term of one pod means another."""
    namespace = meta.namespace(other)
    named = meta.texts(term, "namespaces")
    chosen = term.get("namespaceSelector")
    if chosen is not None:
        in_space = namespace in named or selectors.from_object(chosen).matches(
            {well_known.NAMESPACE_NAME_LABEL: namespace}
        )
    else:
        in_space = namespace in (named or (meta.namespace(owner),))
    return in_space and selectors.from_object(term.get("labelSelector")).matches(meta.labels(other))
