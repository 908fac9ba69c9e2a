"""matchLabelKeys and mismatchLabelKeys: labels of the pod itself that its terms about other pods are to have, or not.

A new pod's selectors are given them once and for all, so that who reads the pod sees whom it means. To do so again
changes nothing.
Follows: matchLabelKeys of PodAffinityTerm (KEP-3633) and of TopologySpreadConstraint (KEP-3243).
"""

from __future__ import annotations

from collections.abc import Mapping

from petset.kinds.pod_spec.placement import PREFERRED, REQUIRED
from petset.objects import meta
from petset.objects.filling import at, each
from petset.objects.meta import Object


def merged(pod: Object) -> Object:
    """The pod with the selectors of its affinity terms and spread constraints as its own labels make them."""
    spec, labels = pod["spec"], meta.labels(pod)
    affinity = meta.part(spec, "affinity")
    if affinity.get("podAffinity") or affinity.get("podAntiAffinity"):
        spec = at(spec, "affinity", lambda given: _affinity(given, labels))
    spec = at(spec, "topologySpreadConstraints", lambda given: each(given, lambda one: _term(one, labels)))
    return pod if spec is pod["spec"] else {**pod, "spec": spec}


def _affinity(given: Object, labels: Mapping[str, str]) -> Object:
    def term(one: Object) -> Object:
        return _term(one, labels)

    def weighted(one: Object) -> Object:
        return at(one, "podAffinityTerm", term)

    def terms(kind: Object) -> Object:
        kind = at(kind, REQUIRED, lambda found: each(found, term))
        return at(kind, PREFERRED, lambda found: each(found, weighted))

    for field in ("podAffinity", "podAntiAffinity"):
        given = at(given, field, terms)
    return given


def _term(term: Object, labels: Mapping[str, str]) -> Object:
    selector = term.get("labelSelector")
    if selector is None:  # It means nobody, and still does.
        return term
    found = list(meta.parts(selector, "matchExpressions"))
    known = {(one.get("key"), one.get("operator"), *meta.texts(one, "values")): None for one in found}
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in meta.texts(term, field):
            if key in labels and (key, operator, labels[key]) not in known:
                found.append({"key": key, "operator": operator, "values": [labels[key]]})
    if len(found) == len(meta.parts(selector, "matchExpressions")):
        return term
    return {**term, "labelSelector": {**selector, "matchExpressions": found}}
