"""LimitRange: how much one container, pod or claim of a namespace may ask for, and what one that asks for nothing gets
(v1).

What is not said follows from what is: a default limit is the maximum, a default request the default limit, else the
minimum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.objects import meta, names, quantity, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, each
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import NOT_NEGATIVE, Errors, listed

_BOUNDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def defaults(obj: Object) -> Object:
    def spec(given: Object) -> Object:
        return at(given, "limits", lambda limits: each(limits, _limit))

    return at(obj, "spec", spec)


def _limit(limit: Object) -> Object:
    if limit.get("type") != "Container":
        return limit
    highest, lowest = (meta.part(limit, field) for field in ("max", "min"))
    default = {**highest, **meta.part(limit, "default")}
    request = {**lowest, **default, **meta.part(limit, "defaultRequest")}
    filled = {"default": default, "defaultRequest": request}
    missing = {field: values for field, values in filled.items() if values and values != limit.get(field)}
    return {**limit, **missing} if missing else limit


@listed
def validate(obj: Object) -> Errors:
    seen: dict[str, None] = {}
    for index, limit in enumerate(meta.parts(obj, "spec", "limits")):
        where, kind = f"spec.limits[{index}]", limit.get("type") or ""
        if not kind:
            yield FieldError.required(f"{where}.type")
        elif wrong := names.qualified(kind):
            yield FieldError.invalid(f"{where}.type", kind, wrong)
        elif "/" not in kind and kind not in ("Container", "PersistentVolumeClaim", "Pod"):
            yield FieldError.invalid(f"{where}.type", kind, "must be a standard limit type or fully qualified")
        if kind in seen:
            yield FieldError.duplicate(f"{where}.type", kind)
        seen[kind] = None
        yield from _check(limit, where)


def _check(limit: Object, path: str) -> Errors:
    if limit.get("type") == "Pod":
        for field in ("default", "defaultRequest"):
            if limit.get(field):
                yield FieldError.forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
    is_of_claims = limit.get("type") == "PersistentVolumeClaim"
    if is_of_claims and not any(meta.part(limit, field).get("storage") for field in ("max", "min")):
        why = "either minimum or maximum storage value is required, but neither was provided"
        yield FieldError.required(path, why)
    for field in _BOUNDS:
        for name, text in meta.part(limit, field).items():
            if wrong := names.qualified(name):
                yield FieldError.invalid(f"{path}.{field}[{name}]", name, wrong)
            if quantity.parse(text).value < 0:
                yield FieldError.invalid(f"{path}.{field}[{name}]", text, NOT_NEGATIVE)
    bounds = {field: meta.part(limit, field) for field in _BOUNDS}
    for low, high, said in _ORDERED:
        yield from _ordered(bounds, low, high, said, path)
    for name, text in bounds["maxLimitRequestRatio"].items():
        if quantity.compare(text, "1") < 0:
            yield FieldError.invalid(f"{path}.maxLimitRequestRatio[{name}]", text, f"ratio {text} is less than 1")


# What may not be above what, where the error is told, and how the two are called.
_ORDERED: Sequence[tuple[str, str, tuple[str, str]]] = (
    ("min", "max", ("min value {low} is greater than max value {high}", "min")),
    ("min", "defaultRequest", ("min value {low} is greater than default request value {high}", "defaultRequest")),
    ("defaultRequest", "max", ("default request value {low} is greater than max value {high}", "defaultRequest")),
    (
        "defaultRequest",
        "default",
        ("default request value {low} is greater than default limit value {high}", "defaultRequest"),
    ),
    ("min", "default", ("min value {low} is greater than default value {high}", "default")),
    ("default", "max", ("default value {low} is greater than max value {high}", "default")),
)


def _ordered(bounds: Mapping[str, Mapping[str, str]], low: str, high: str, said: tuple[str, str], path: str) -> Errors:
    text, told_at = said
    for name, least in bounds[low].items():
        most = bounds[high].get(name)
        if most is not None and quantity.compare(least, most) > 0:
            shown = bounds[told_at][name]
            yield FieldError.invalid(f"{path}.{told_at}[{name}]", shown, text.format(low=least, high=most))


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), meta.get(obj, "metadata", "creationTimestamp", default="")]


LIMITRANGES = Kind(
    "",
    "v1",
    "limitranges",
    "LimitRange",
    short_names=("limits",),
    acted_on=False,
    default=defaults,
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Created At"), cells),
)

KINDS = (LIMITRANGES,)
