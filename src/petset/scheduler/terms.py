"""What pods say of other pods' nearness, read once a version of a pod: affinity terms and spread constraints.

A `Term` means the pods of some namespaces that a selector matches, and the nodes that share the value of a label with
theirs. `Selection` is the same without the nodes, its namespaces known: what pictures are kept of.
Follows: podAffinity, podAntiAffinity and topologySpreadConstraints of a PodSpec. What matchLabelKeys add to a selector
was added when the pod was made (kinds/pod_spec/label_keys.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from petset.kinds.pod_spec.placement import PREFERRED, REQUIRED
from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.objects.selectors import Selector

NamespaceLabels = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Term:
    topology: str  # A label of nodes.
    namespaces: tuple[str, ...]
    chosen: Selector | None  # Of namespaces, beside those.
    selector: Selector
    weight: int = 0  # Of a preference.

    def selects(self, pod: Object, labels_of: NamespaceLabels) -> bool:
        if not self.selector.matches(meta.labels(pod)):
            return False
        namespace = meta.namespace(pod)
        return namespace in self.namespaces or (self.chosen is not None and self.chosen.matches(labels_of(namespace)))


@dataclass(frozen=True, slots=True)
class Selection:
    """The pods of these namespaces that the selector matches."""

    namespaces: tuple[str, ...]  # In order.
    selector: Selector

    def matches(self, pod: Object) -> bool:
        return meta.namespace(pod) in self.namespaces and self.selector.matches(meta.labels(pod))


@dataclass(frozen=True, slots=True)
class Spread:
    """How evenly pods are to be over the values of a label of nodes."""

    topology: str
    selection: Selection
    max_skew: int
    min_domains: int
    is_hard: bool
    honors_affinity: bool  # Nodes that the pod's affinity does not allow do not count.
    honors_taints: bool
    counts_itself: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """All that a pod says of others."""

    near: tuple[Term, ...] = ()
    apart: tuple[Term, ...] = ()
    rather_near: tuple[Term, ...] = ()
    rather_apart: tuple[Term, ...] = ()
    spreads: tuple[Spread, ...] = ()


NOTHING = Terms()


def of(pod: Object) -> Terms:
    affinity, spreads = meta.part(pod, "spec", "affinity"), meta.parts(pod, "spec", "topologySpreadConstraints")
    if not spreads and not (affinity.get("podAffinity") or affinity.get("podAntiAffinity")):
        return NOTHING
    near, apart = meta.part(affinity, "podAffinity"), meta.part(affinity, "podAntiAffinity")
    return Terms(
        near=tuple(_term(one, pod) for one in meta.parts(near, REQUIRED)),
        apart=tuple(_term(one, pod) for one in meta.parts(apart, REQUIRED)),
        rather_near=tuple(_weighted(one, pod) for one in meta.parts(near, PREFERRED)),
        rather_apart=tuple(_weighted(one, pod) for one in meta.parts(apart, PREFERRED)),
        spreads=tuple(_spread(one, pod) for one in spreads),
    )


def _weighted(one: Object, pod: Object) -> Term:
    return _term(meta.part(one, "podAffinityTerm"), pod, one.get("weight", 1))


def _term(term: Object, owner: Object, weight: int = 0) -> Term:
    named, chosen = meta.texts(term, "namespaces"), term.get("namespaceSelector")
    own = () if named or chosen is not None else (meta.namespace(owner),)
    return Term(
        topology=term.get("topologyKey", ""),
        namespaces=tuple(sorted({*named, *own})),
        chosen=selectors.from_object(chosen) if chosen is not None else None,
        selector=selectors.from_object(term.get("labelSelector")),
        weight=weight,
    )


def _spread(given: Object, pod: Object) -> Spread:
    selector = selectors.from_object(given.get("labelSelector"))
    return Spread(
        topology=given.get("topologyKey", ""),
        selection=Selection((meta.namespace(pod),), selector),
        max_skew=given.get("maxSkew", 1),
        min_domains=given.get("minDomains") or 1,
        is_hard=given.get("whenUnsatisfiable") != "ScheduleAnyway",
        honors_affinity=(given.get("nodeAffinityPolicy") or "Honor") == "Honor",
        honors_taints=(given.get("nodeTaintsPolicy") or "Ignore") == "Honor",
        counts_itself=selector.matches(meta.labels(pod)),
    )
