"""ResourceQuota: how much all objects of a namespace may ask for together, and how many there may be (v1).

Scopes say which pods count; what is limited must be something that the pods of those scopes have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petset.objects import filling, meta, names, quantity, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import NOT_NEGATIVE, Errors, immutable, listed

_OF_PODS = (
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
)
_COUNTS = (
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
)
STANDARD = (*_OF_PODS, *_COUNTS, "requests.storage")

SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)
_OPPOSED = (("BestEffort", "NotBestEffort"), ("NotTerminating", "Terminating"))


def _resource(name: str) -> str:
    if "/" not in name and name not in STANDARD and not name.startswith(("requests.", "limits.", "hugepages-")):
        return names.qualified(name) or "must be a standard resource for quota"
    return names.qualified(name)


def _amounts(given: Mapping[str, str], path: str) -> Errors:
    for name, text in given.items():
        where, amount = f"{path}[{name}]", quantity.parse(text).value
        if wrong := _resource(name):
            yield FieldError.invalid(where, name, wrong)
        if amount < 0:
            yield FieldError.invalid(where, text, NOT_NEGATIVE)
        if (name in _COUNTS or name.startswith("count/")) and amount != int(amount):
            yield FieldError.invalid(where, text, "must be an integer")


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    yield from _amounts(meta.part(spec, "hard"), "spec.hard")
    scopes = meta.texts(spec, "scopes")
    for scope in scopes:
        if scope not in SCOPES:
            yield FieldError.invalid("spec.scopes", list(scopes), "unsupported scope")
            break
    for pair in _OPPOSED:
        if all(scope in scopes for scope in pair):
            yield FieldError.invalid("spec.scopes", list(scopes), "conflicting scopes")
    if "BestEffort" in scopes:
        for name in meta.part(spec, "hard"):
            if name not in ("pods", "count/pods"):
                yield FieldError.invalid("spec.scopes", list(scopes), "unsupported scope applied to resource")
                break
    for index, term in enumerate(meta.parts(spec, "scopeSelector", "matchExpressions")):
        yield from _term(term, f"spec.scopeSelector.matchExpressions[{index}]")
    for field in ("hard", "used"):
        yield from _amounts(meta.part(obj, "status", field), f"status.{field}")


def _term(term: Object, path: str) -> Errors:
    scope, operator, values = term.get("scopeName") or "", term.get("operator"), meta.texts(term, "values")
    if scope not in SCOPES:
        yield FieldError.invalid(f"{path}.scopeName", scope, "unsupported scope")
    elif scope not in ("PriorityClass", "VolumeAttributesClass") and operator != "Exists":
        why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
        why += "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
        why += "ResourceQuotaScopeCrossNamespacePodAffinity"
        yield FieldError.invalid(f"{path}.operator", operator, why)
    if operator in ("In", "NotIn"):
        if not values:
            why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            yield FieldError.required(f"{path}.values", why)
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            yield FieldError.invalid(f"{path}.values", list(values), why)
    else:
        yield FieldError.invalid(f"{path}.operator", operator, "not a valid selector operator")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", "scopes", "scopeSelector")


def cells(obj: Object, now: float) -> list[Any]:
    hard, used = meta.part(obj, "status", "hard"), meta.part(obj, "status", "used")
    shown = {name: f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)}
    limits = [text for name, text in shown.items() if name.startswith("limits.")]
    requests = [text for name, text in shown.items() if not name.startswith("limits.")]
    return [tables.name(obj), ", ".join(requests), ", ".join(limits), tables.age(obj, now)]


RESOURCEQUOTAS = Kind(
    "",
    "v1",
    "resourcequotas",
    "ResourceQuota",
    short_names=("quota",),
    subresources=STATUS,
    prepare=filling.status_of_new({}),
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, Request, Limit, Age"), cells),
)

KINDS = (RESOURCEQUOTAS,)
