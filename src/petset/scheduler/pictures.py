"""What is kept of pods that others look at, so that nobody walks over pods to place one.

`Counted` says how many pods of a selection are on each node, `Saying` which terms the pods on the nodes have, found by
the labels of those that they may mean. Both follow the pods' changes. `Pictures` holds them all: a few hundred of the
first, the ones that were asked for last, and the labels of namespaces.

Invariant: each is always what it would be if it were made anew (tests/scheduler/test_pictures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from petset.client.informer import NAMESPACE_INDEX
from petset.client.views import View
from petset.kinds import pod_phase
from petset.kinds.namespace import NAMESPACES
from petset.kinds.pod import PODS
from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.scheduler import terms
from petset.scheduler.loads import counted
from petset.scheduler.terms import Selection, Term

COUNTED_MAX = 256
AFFINITY_INDEX = "affinity"
HARD_WEIGHT = 1  # Of a term that must hold for a pod that is there, among the preferences of one that comes.


def node_of(pod: Object) -> str:
    """The node that a pod takes room of; "" when none."""
    return "" if pod_phase.has_ended(pod) else pod["spec"].get("nodeName") or ""


class Counted:
    """How many pods there are on each node that all of the selections match."""

    def __init__(self, view: View, selections: tuple[Selection, ...]):
        self._selections = selections
        self.all: dict[str, int] = {}  # By node.
        self.staying: dict[str, int] = {}  # Without those that are being deleted.
        self._stops = [view.follow(PODS, index, value, self._change) for index, value in _places(selections[0])]

    def close(self) -> None:
        for stop in self._stops:
            stop()

    def matches(self, pod: Object) -> bool:
        return all(one.matches(pod) for one in self._selections)

    def _change(self, old: Object | None, new: Object | None) -> None:
        for pod, sign in ((old, -1), (new, 1)):
            if pod is not None and (node := node_of(pod)) and self.matches(pod):
                counted(self.all, node, sign)
                if not meta.is_deleting(pod):
                    counted(self.staying, node, sign)


def _places(selection: Selection) -> Iterator[tuple[str, str]]:
    """(index, value) of few pods among which all are that it matches."""
    if selection.selector.nothing:
        return
    marks = [mark for mark in dict.fromkeys(selection.selector.narrowest()) if "=" in mark]
    for namespace in selection.namespaces:
        if marks:
            yield from (("label", f"{namespace}/{mark}") for mark in marks)
        else:
            yield NAMESPACE_INDEX, namespace


class Saying:
    """The terms of one sort that pods on nodes have, with how many pods of each node have them."""

    def __init__(self, view: View, sort: Callable[[terms.Terms], Sequence[Term]]):
        self._sort, self._read = sort, view.facts(PODS, terms.of)
        self._counts: dict[Term, dict[str, int]] = {}
        self._by_mark: dict[str, dict[Term, None]] = {}  # By a label of those that a term means; "": of anybody.
        self.close = view.follow(PODS, AFFINITY_INDEX, "yes", self._change)

    def _change(self, old: Object | None, new: Object | None) -> None:
        for pod, sign in ((old, -1), (new, 1)):
            if pod is None or not (node := node_of(pod)):
                continue
            for term in self._sort(self._read.of(pod)):
                self._count(term, node, sign)

    def _count(self, term: Term, node: str, sign: int) -> None:
        counts = self._counts.get(term)
        if counts is None:
            counts = self._counts[term] = {}
            for mark in _marks(term):
                self._by_mark.setdefault(mark, {})[term] = None
        counted(counts, node, sign)
        if not counts:
            del self._counts[term]
            for mark in _marks(term):
                del self._by_mark[mark][term]
                if not self._by_mark[mark]:
                    del self._by_mark[mark]

    def about(self, pod: Object, labels_of: terms.NamespaceLabels) -> Iterator[tuple[Term, Mapping[str, int]]]:
        """Those that mean the pod, and on which nodes how many pods say so."""
        for mark in ("", *selectors.label_marks(pod)):
            for term in self._by_mark.get(mark, ()):
                if term.selects(pod, labels_of):
                    yield term, self._counts[term]


def _marks(term: Term) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term.selector.narrowest())) or ("",)


class Pictures:
    """All that are kept (View.kept)."""

    def __init__(self, view: View):
        self._view = view
        self._counted: dict[tuple[Selection, ...], Counted] = {}  # Those asked for last at the end.
        self._labels: dict[str, Mapping[str, str]] = {}  # Of namespaces.
        self._stop = view.follow(NAMESPACES, NAMESPACE_INDEX, "", self._change)
        self.apart = Saying(view, lambda said: said.apart)
        self.weighing = Saying(view, weighing)

    def close(self) -> None:
        self._stop()
        self.apart.close()
        self.weighing.close()
        for one in self._counted.values():
            one.close()

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            self._labels.pop(meta.name(old), None)
        if new is not None:
            self._labels[meta.name(new)] = meta.labels(new)

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        return self._labels.get(namespace, {})

    def selection(self, term: Term) -> Selection:
        """Of the pods that a term means, by the namespaces that there are now."""
        if term.chosen is None:
            return Selection(term.namespaces, term.selector)
        chosen = [name for name, labels in self._labels.items() if term.chosen.matches(labels)]
        return Selection(tuple(sorted({*term.namespaces, *chosen})), term.selector)

    def counted(self, *selections: Selection) -> Counted:
        """How many pods of each node all of them match."""
        found = self._counted.pop(selections, None) or Counted(self._view, selections)
        self._counted[selections] = found
        while len(self._counted) > COUNTED_MAX:
            self._counted.pop(next(iter(self._counted))).close()
        return found


def weighing(said: terms.Terms) -> list[Term]:
    """The preferences of a pod that is there, those for distance below 0."""
    return [
        *(_weighted(term, HARD_WEIGHT) for term in said.near),
        *said.rather_near,
        *(_weighted(term, -term.weight) for term in said.rather_apart),
    ]


def _weighted(term: Term, weight: int) -> Term:
    return Term(term.topology, term.namespaces, term.chosen, term.selector, weight)


def of(view: View) -> Pictures:
    return view.kept(Pictures, "")
