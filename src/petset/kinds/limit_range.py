"""LimitRange: how much one container, pod or claim of a namespace may ask for, and what one that asks for nothing gets
(v1).

What is not said follows from what is: a default limit is the maximum, a default request the default limit, else the
minimum. `filled` gives a new pod's containers what they do not say, `violations` tells what of a pod or claim is out
of bounds; of a later version only what it changes. Of a pod as a whole the overhead does not count.
Follows: "Limit Ranges" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from petset.base import well_known
from petset.kinds import requests
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


# -- What it does to pods and claims --------------------------------------------------------------------------------


def size(limit_range: Object) -> int:
    """How many amounts it names."""
    limits = meta.parts(limit_range, "spec", "limits")
    return sum(len(meta.part(limit, field)) for limit in limits for field in _BOUNDS)


Texts = Mapping[str, str]  # Quantities by the names of resources.


def filled(limit_range: Object, pod: Object) -> Object:
    """The pod, each container with what it does not say itself, and with an annotation that says so."""
    requests_, limits = dict[str, str](), dict[str, str]()
    for limit in _of_type(limit_range, "Container"):
        requests_ |= meta.part(limit, "defaultRequest")
        limits |= meta.part(limit, "default")
    if not requests_ and not limits:
        return pod
    told: list[str] = []
    spec = pod["spec"]
    for field, what in (("containers", "container"), ("initContainers", "init container")):
        containers = [_filled(container, requests_, limits, what, told) for container in meta.parts(spec, field)]
        spec = {**spec, field: containers} if containers else spec
    if not told:
        return pod
    said = meta.changed(pod, ("metadata", "annotations", well_known.LIMIT_RANGER_ANNOTATION), SET_BY + "; ".join(told))
    return {**said, "spec": spec}


SET_BY = "LimitRanger plugin set: "


def _filled(container: Object, requests_: Texts, limits: Texts, what: str, told: list[str]) -> Object:
    for field, noun, given in (("requests", "request", requests_), ("limits", "limit", limits)):
        present = meta.part(container, "resources", field)
        missing = {name: given[name] for name in sorted(given) if name not in present}
        if missing:
            container = meta.changed(container, ("resources", field), {**present, **missing})
            told.append(f"{', '.join(missing)} {noun} for {what} {container['name']}")
    return container


def violations(limit_range: Object, pod: Object, old: Object | None) -> Iterator[str]:
    """What is wrong with a pod; with the old one only what is new."""
    for limit in _of_type(limit_range, "Container"):
        for field in ("containers", "initContainers"):
            before = {one["name"]: one for one in meta.parts(old["spec"], field)} if old is not None else {}
            for container in meta.parts(pod["spec"], field):
                was = before.get(container["name"])
                yield from _out_of_bounds(
                    limit, _of_container(container), _of_container(was) if was is not None else None
                )
    for limit in _of_type(limit_range, "Pod"):
        yield from _out_of_bounds(limit, _of_pod(pod), _of_pod(old) if old is not None else None)


def claim_violations(limit_range: Object, claim: Object, old: Object | None) -> Iterator[str]:
    """What is wrong with how much a claim requests; with the old one only what is new."""
    asked, before = (meta.part(one or {}, "spec", "resources", "requests") for one in (claim, old))
    for limit in _of_type(limit_range, "PersistentVolumeClaim"):
        for bound, said in (("min", _too_little), ("max", _requests_too_much)):
            for name, least in sorted(meta.part(limit, bound).items()):
                if name not in asked or not _is_same(name, asked, before):
                    yield from said(name, limit["type"], least, (asked, {}))


Amounts = tuple[Texts, Texts]  # Requests and limits.


def _of_container(container: Object) -> Amounts:
    resources = meta.part(container, "resources")
    return meta.part(resources, "requests"), meta.part(resources, "limits")


def _of_pod(pod: Object) -> Amounts:
    asked, limited = requests.requested(pod["spec"]), requests.limited(pod["spec"])
    return (
        {name: requests.text(name, amount) for name, amount in asked.items()},
        {name: requests.text(name, amount) for name, amount in limited.items()},
    )


def _of_type(limit_range: Object, kind: str) -> list[Object]:
    return [limit for limit in meta.parts(limit_range, "spec", "limits") if limit.get("type") == kind]


def _is_same(name: str, new: Texts, old: Texts) -> bool:
    if name not in new or name not in old:
        return name not in new and name not in old
    return quantity.compare(new[name], old[name]) == 0


def _out_of_bounds(limit: Object, new: Amounts, old: Amounts | None) -> Iterator[str]:
    for bound, said in (("min", _too_little), ("max", _too_much), ("maxLimitRequestRatio", _too_far_apart)):
        for name, enforced in sorted(meta.part(limit, bound).items()):
            if old is None or not all(_is_same(name, after, before) for after, before in zip(new, old, strict=True)):
                yield from said(name, limit["type"], enforced, new)


def _too_little(name: str, kind: str, least: str, amounts: Amounts) -> Iterator[str]:
    request, limit = (texts.get(name) for texts in amounts)
    bound = f"minimum {name} usage per {kind} is {least}"
    if request is None:
        yield f"{bound}.  No request is specified"
    elif quantity.compare(request, least) < 0:
        yield f"{bound}, but request is {request}"
    elif limit is not None and quantity.compare(limit, least) < 0:
        yield f"{bound}, but limit is {limit}"


def _too_much(name: str, kind: str, most: str, amounts: Amounts) -> Iterator[str]:
    request, limit = (texts.get(name) for texts in amounts)
    bound = f"maximum {name} usage per {kind} is {most}"
    if limit is None:
        yield f"{bound}.  No limit is specified"
    elif quantity.compare(limit, most) > 0:
        yield f"{bound}, but limit is {limit}"
    elif request is not None and quantity.compare(request, most) > 0:
        yield f"{bound}, but request is {request}"


def _requests_too_much(name: str, kind: str, most: str, amounts: Amounts) -> Iterator[str]:
    """Of what has no limits."""
    request = amounts[0].get(name)
    bound = f"maximum {name} usage per {kind} is {most}"
    if request is None:
        yield f"{bound}.  No request is specified"
    elif quantity.compare(request, most) > 0:
        yield f"{bound}, but request is {request}"


def _too_far_apart(name: str, kind: str, most: str, amounts: Amounts) -> Iterator[str]:
    request, limit = (quantity.parse(texts.get(name, "0")).value for texts in amounts)
    bound = f"{name} max limit to request ratio per {kind} is {most}"
    if not request:
        yield f"{bound}, but no request is specified or request is 0"
    elif not limit:
        yield f"{bound}, but no limit is specified or limit is 0"
    elif limit / request > quantity.parse(most).value:
        yield f"{bound}, but provided ratio is {_with_six_decimals(limit / request)}"


def _with_six_decimals(ratio: Fraction) -> str:
    whole, rest = divmod(round(ratio * 10**6), 10**6)
    return f"{whole}.{rest:06d}"


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), meta.get(obj, "metadata", "creationTimestamp", default="")]


LIMITRANGES = Kind(
    "",
    "v1",
    "limitranges",
    "LimitRange",
    short_names=("limits",),
    default=defaults,
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Created At"), cells),
)

KINDS = (LIMITRANGES,)
