"""One ResourceQuota as it is applied: which objects it counts, what each of them is charged, and what is too much.

`read` takes a quota apart once. A quota counts an object when it limits something that objects of that kind use, and
when the object is in all of its scopes; only pods and claims are in any. What it is charged is what it uses of what is
limited. The server asks before it writes, the controller to tell how much is used: both by these functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petset.kinds import quality_of_service, requests
from petset.kinds.quotas import usage
from petset.objects import meta
from petset.objects.meta import Object


@dataclass(frozen=True, slots=True)
class Term:
    """A scope, and of which values of it."""

    scope: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    name: str
    hard: Mapping[str, int]
    terms: tuple[Term, ...]
    names: Mapping[str, tuple[str, ...]]  # What it limits, by the resource that uses it.

    def charge(self, resource: str, obj: Object, used: Mapping[str, int]) -> Mapping[str, int]:
        """What an object that uses so much takes of what is limited; empty when it does not count."""
        names = self.names.get(resource)
        if names is None or not self.counts(resource, obj):
            return {}
        return {name: used[name] for name in names if used.get(name)}

    def counts(self, resource: str, obj: Object) -> bool:
        return resource in self.names and all(_is_in(term, resource, obj) for term in self.terms)

    def unsaid(self, resource: str, obj: Object) -> Mapping[str, Sequence[str]]:
        """What a pod that counts must say and does not: names, and the containers that lack them."""
        if resource != usage.PODS or not self.counts(resource, obj):
            return {}
        return usage.missing(obj, self.names[resource])

    def exceeded(self, used: Mapping[str, int], more: Mapping[str, int]) -> Sequence[str]:
        """The names of which there would be too much."""
        return [name for name in sorted(more) if used.get(name, 0) + more[name] > self.hard[name]]


def read(obj: Object) -> Quota:
    spec = meta.part(obj, "spec")
    hard = requests.amounts(meta.part(spec, "hard"))
    names: dict[str, tuple[str, ...]] = {}
    for name in sorted(hard):
        if resource := usage.limited_by(name):
            names[resource] = (*names.get(resource, ()), name)
    selected = meta.parts(spec, "scopeSelector", "matchExpressions")
    terms = (
        *(Term(scope, "Exists") for scope in meta.texts(spec, "scopes")),
        *(Term(one["scopeName"], one["operator"], tuple(meta.texts(one, "values"))) for one in selected),
    )
    return Quota(meta.name(obj), hard, terms, names)


def shown(amounts: Mapping[str, int]) -> str:
    return ",".join(f"{name}={requests.text(name, amounts[name])}" for name in sorted(amounts))


def _is_in(term: Term, resource: str, obj: Object) -> bool:
    spec = meta.part(obj, "spec")
    if resource == usage.CLAIMS:
        return term.scope == "VolumeAttributesClass" and _is_selected(term, _attributes_classes(obj))
    if resource != usage.PODS:
        return False
    match term.scope:
        case "Terminating" | "NotTerminating":
            return (spec.get("activeDeadlineSeconds") is not None) == (term.scope == "Terminating")
        case "BestEffort" | "NotBestEffort":
            return (quality_of_service.of(obj) == "BestEffort") == (term.scope == "BestEffort")
        case "PriorityClass":
            return _is_selected(term, (spec.get("priorityClassName") or "",))
        case "CrossNamespacePodAffinity":
            return _looks_elsewhere(spec)
        case _:
            return False


def _is_selected(term: Term, values: Sequence[str]) -> bool:
    """As a label selector is: who has none is not in any, and not out of them either."""
    present = [value for value in values if value]
    match term.operator:
        case "Exists":
            return bool(present)
        case "DoesNotExist":
            return not present
        case "In":
            return any(value in term.values for value in present)
        case _:
            return not present or any(value not in term.values for value in present)


def _attributes_classes(claim: Object) -> Sequence[str]:
    status = meta.part(claim, "status")
    target = meta.part(status, "modifyVolumeStatus").get("targetVolumeAttributesClassName")
    asked = meta.part(claim, "spec").get("volumeAttributesClassName")
    return [name for name in (asked, status.get("currentVolumeAttributesClassName"), target) if name]


def _looks_elsewhere(spec: Object) -> bool:
    """Whether a term of its pod affinity is about pods of other namespaces."""
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = meta.part(spec, "affinity", kind)
        weighted = meta.parts(affinity, "preferredDuringSchedulingIgnoredDuringExecution")
        required = meta.parts(affinity, "requiredDuringSchedulingIgnoredDuringExecution")
        for term in (*required, *(meta.part(one, "podAffinityTerm") for one in weighted)):
            if term.get("namespaces") or term.get("namespaceSelector") is not None:
                return True
    return False
