"""Endpoints: the addresses behind a service, as they were told before there were slices (v1)."""

from __future__ import annotations

from typing import Any

from petset.kinds.pod_spec import containers
from petset.objects import meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill_empty
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed, named, one_of, optional


def defaults(obj: Object) -> Object:
    def subset(given: Object) -> Object:
        return at(given, "ports", lambda ports: each(ports, lambda port: fill_empty(port, {"protocol": "TCP"})))

    return at(obj, "subsets", lambda subsets: each(subsets, subset))


@listed
def validate(obj: Object) -> Errors:
    for index, subset in enumerate(meta.parts(obj, "subsets")):
        where = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield FieldError.required(where, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(meta.parts(subset, field)):
                yield from named(address.get("ip"), f"{where}.{field}[{position}].ip", names.ip)
                yield from optional(address.get("hostname"), f"{where}.{field}[{position}].hostname", names.label)
        several = len(meta.parts(subset, "ports")) > 1
        for position, port in enumerate(meta.parts(subset, "ports")):
            place = f"{where}.ports[{position}]"
            if several and not port.get("name"):
                yield FieldError.required(f"{place}.name")
            yield from optional(port.get("name"), f"{place}.name", names.label)
            if wrong := names.port(port.get("port")):
                yield FieldError.invalid(f"{place}.port", port.get("port"), wrong)
            yield from one_of(port.get("protocol"), f"{place}.protocol", containers.PROTOCOLS)


def cells(obj: Object, now: float) -> list[Any]:
    found: list[str] = []
    for subset in meta.parts(obj, "subsets"):
        ports = meta.parts(subset, "ports")
        for address in meta.parts(subset, "addresses"):
            ip = address.get("ip", "")
            found += [f"{ip}:{port.get('port')}" for port in ports] or [ip]
    return [tables.name(obj), tables.shortened(found, "<none>"), tables.age(obj, now)]


ENDPOINTS = Kind(
    "",
    "v1",
    "endpoints",
    "Endpoints",
    short_names=("ep",),
    default=defaults,
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Endpoints, Age"), cells),
)

KINDS = (ENDPOINTS,)
