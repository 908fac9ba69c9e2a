"""Devices by claims (resource.k8s.io/v1): classes of them, claims, what drivers offer, and what of it is tainted.

petset's nodes have no drivers of devices, so that a claim is kept and never allocated.
Follows: the API reference of resource.k8s.io/v1; KEP-4381.
"""

from __future__ import annotations

from typing import Any

from petset.objects import filling, meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, immutable, listed, named, named_once, one_of

GROUP = "resource.k8s.io"
DRIVER_CHARACTERS_MAX = 63
REQUESTS_MAX = 32
DEVICES_MAX = 128
EFFECTS = ("None", "NoSchedule", "NoExecute")


def _selectors(given: Any, path: str) -> Errors:
    for index, selector in enumerate(given):
        if not meta.get(selector, "cel", "expression"):
            yield FieldError.required(f"{path}[{index}].cel.expression")


@listed
def _class(obj: Object) -> Errors:
    yield from _selectors(meta.parts(obj, "spec", "selectors"), "spec.selectors")


def _claimed(spec: Object, path: str) -> Errors:
    requests = meta.parts(spec, "devices", "requests")
    if len(requests) > REQUESTS_MAX:
        yield FieldError.too_many(f"{path}.devices.requests", len(requests), REQUESTS_MAX)
        return
    seen: dict[str, None] = {}
    for index, request in enumerate(requests):
        where, name = f"{path}.devices.requests[{index}]", request.get("name") or ""
        yield from named_once(name, f"{where}.name", names.label, seen)
        exactly, alternatives = request.get("exactly"), meta.parts(request, "firstAvailable")
        if (exactly is not None) == bool(alternatives):
            yield FieldError.invalid(where, name, "exactly one of `exactly` or `firstAvailable` is required")
        wanted = [(f"{where}.exactly", exactly)] if exactly is not None else []
        wanted += [(f"{where}.firstAvailable[{place}]", one) for place, one in enumerate(alternatives)]
        for place, one in wanted:
            yield from named(one.get("deviceClassName"), f"{place}.deviceClassName", names.subdomain)
            yield from _selectors(meta.parts(one, "selectors"), f"{place}.selectors")


@listed
def _claim(obj: Object) -> Errors:
    yield from _claimed(meta.part(obj, "spec"), "spec")


@listed
def _template(obj: Object) -> Errors:
    yield from _claimed(meta.part(obj, "spec", "spec"), "spec.spec")


@listed
def _fixed(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "spec")


def _driver(name: Any, path: str) -> Errors:
    yield from named(name, path, names.subdomain)
    if len(name or "") > DRIVER_CHARACTERS_MAX:
        yield FieldError.too_long(path, DRIVER_CHARACTERS_MAX)


@listed
def _slice(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    yield from _driver(spec.get("driver"), "spec.driver")
    if not meta.get(spec, "pool", "name"):
        yield FieldError.required("spec.pool.name")
    for field, least in (("generation", 0), ("resourceSliceCount", 1)):
        value = meta.get(spec, "pool", field) or 0
        if value < least:
            yield FieldError.invalid(f"spec.pool.{field}", value, f"must be greater than or equal to {least}")
    where = [field for field in ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection") if spec.get(field)]
    if len(where) != 1 and not meta.parts(spec, "sharedCounters"):
        why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
        yield FieldError.invalid("spec", ", ".join(where), why)
    devices = meta.parts(spec, "devices")
    if len(devices) > DEVICES_MAX:
        yield FieldError.too_many("spec.devices", len(devices), DEVICES_MAX)
        return
    seen: dict[str, None] = {}
    for index, device in enumerate(devices):
        yield from named_once(device.get("name") or "", f"spec.devices[{index}].name", names.label, seen)


@listed
def _slice_stays(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", "driver", "nodeName")
    after, before = (meta.part(obj, "spec", "pool") for obj in (new, old))
    yield from immutable(after, before, "spec.pool", "name")


@listed
def _taint(obj: Object) -> Errors:
    taint = meta.part(obj, "spec", "taint")
    yield from named(taint.get("key"), "spec.taint.key", names.qualified)
    if taint.get("value") and (wrong := names.label_value(taint["value"])):
        yield FieldError.invalid("spec.taint.value", taint["value"], wrong)
    yield from one_of(taint.get("effect") or "", "spec.taint.effect", EFFECTS)


def _state(claim: Object) -> str:
    state = "pending" if meta.get(claim, "status", "allocation") is None else "allocated"
    if state == "allocated" and meta.parts(claim, "status", "reservedFor"):
        state += ",reserved"
    return f"deleted,{state}" if meta.is_deleting(claim) else state


DEVICECLASSES = Kind(
    GROUP, "v1", "deviceclasses", "DeviceClass", False,
    has_generation=True,
    acted_on=False,
    validate=_class,
    printer=tables.Printer(tables.columns("Name, Age"), lambda obj, now: [tables.name(obj), tables.age(obj, now)]),
)  # fmt: skip
DEVICETAINTRULES = Kind(
    GROUP, "v1", "devicetaintrules", "DeviceTaintRule", False,
    subresources=STATUS,
    has_generation=True,
    acted_on=False,
    prepare=filling.status_of_new({}),
    validate=_taint,
)  # fmt: skip
RESOURCECLAIMS = Kind(
    GROUP, "v1", "resourceclaims", "ResourceClaim",
    subresources=STATUS,
    acted_on=False,
    prepare=filling.status_of_new({}),
    validate=_claim,
    validate_update=_fixed,
    printer=tables.Printer(
        tables.columns("Name, State, Age"), lambda obj, now: [tables.name(obj), _state(obj), tables.age(obj, now)]
    ),
)  # fmt: skip
RESOURCECLAIMTEMPLATES = Kind(
    GROUP, "v1", "resourceclaimtemplates", "ResourceClaimTemplate",
    acted_on=False,
    validate=_template,
    validate_update=_fixed,
)  # fmt: skip
RESOURCESLICES = Kind(
    GROUP, "v1", "resourceslices", "ResourceSlice", False,
    has_generation=True,
    acted_on=False,
    validate=_slice,
    validate_update=_slice_stays,
    fields=selectors.fields("spec.driver", "spec.nodeName"),
    printer=tables.Printer(
        tables.columns("Name, Node, Driver, Pool, Age"),
        lambda obj, now: [
            tables.name(obj),
            meta.get(obj, "spec", "nodeName") or "<unset>",
            meta.get(obj, "spec", "driver", default=""),
            meta.get(obj, "spec", "pool", "name", default=""),
            tables.age(obj, now),
        ],
    ),
)  # fmt: skip

KINDS = (DEVICECLASSES, DEVICETAINTRULES, RESOURCECLAIMS, RESOURCECLAIMTEMPLATES, RESOURCESLICES)
