"""Which nodes a pod's selector and required node affinity allow: the scheduler and DaemonSets ask here.

Terms are or-ed, the expressions of one are and-ed; a term without any matches nothing.
Follows: "Assigning Pods to Nodes" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.base import well_known
from petset.objects import meta, selectors
from petset.objects.meta import Object


def allows(pod: Object, node: Object) -> bool:
    """Whether the node has the labels of the pod's nodeSelector, and matches its required terms."""
    wanted = meta.part(pod, "spec", "nodeSelector")
    return wanted.items() <= meta.labels(node).items() and _matches(pod, node)


def _matches(pod: Object, node: Object) -> bool:
    required = meta.part(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = required.get("nodeSelectorTerms")
    return terms is None or terms_match(terms, node)


def has_volume(node: Object, volume: Object | None) -> bool:
    """Whether a volume can be used on a node; one that names no nodes can be on any."""
    required = meta.get(volume, "spec", "nodeAffinity", "required")
    return not required or terms_match(meta.parts(required, "nodeSelectorTerms"), node)


def only(node: Object) -> Object:
    """The nodeAffinity of a volume that is on this node alone."""
    label = well_known.HOSTNAME_LABEL
    expression = {"key": label, "operator": "In", "values": [meta.labels(node).get(label) or meta.name(node)]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}


def terms_match(terms: Iterable[Object], node: Object) -> bool:
    """Any of the terms; an empty term matches nothing."""
    return any(term_matches(term, node) for term in terms)


def term_matches(term: Object, node: Object) -> bool:
    expressions, fields = meta.parts(term, "matchExpressions"), meta.parts(term, "matchFields")
    if not expressions and not fields:
        return False
    by_field = {"metadata.name": meta.name(node)}
    return _all_hold(expressions, meta.labels(node)) and _all_hold(fields, by_field)


def _all_hold(expressions: Iterable[Object], labels: Object) -> bool:
    return all(
        selectors.Requirement(one["key"], one["operator"], tuple(meta.texts(one, "values"))).holds(labels)
        for one in expressions
    )
