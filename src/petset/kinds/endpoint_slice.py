"""EndpointSlice: a part of the addresses behind a service (discovery.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from petset.base import well_known
from petset.kinds.pod_spec import containers
from petset.objects import meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill, fill_empty
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, immutable, listed, named, one_of, optional


def service_of(obj: Object) -> str:
    """The namespace/name of the service that a slice is of; "" of none."""
    name = meta.labels(obj).get(well_known.SERVICE_NAME_LABEL)
    return f"{meta.namespace(obj)}/{name}" if name else ""


def is_ready(endpoint: Object) -> bool:
    """Whether an endpoint takes new connections; one that does not say is taken to."""
    return meta.part(endpoint, "conditions").get("ready") is not False


def address_of(endpoint: Object) -> str:
    """The one that is used of an endpoint's addresses, which all mean the same."""
    return meta.texts(endpoint, "addresses")[0]


def defaults(obj: Object) -> Object:
    def port(given: Object) -> Object:
        return fill(fill_empty(given, {"protocol": "TCP"}), {"name": ""})

    return at(obj, "ports", lambda ports: each(ports, port))


ENDPOINTS_MAX, ADDRESSES_MAX, SLICE_PORTS_MAX = 1000, 100, 100

_RULES = {"IPv4": names.ip, "IPv6": names.ip, "FQDN": names.subdomain}


@listed
def validate(obj: Object) -> Errors:
    kind = obj.get("addressType")
    yield from one_of(kind, "addressType", tuple(_RULES))
    given, ports = meta.parts(obj, "endpoints"), meta.parts(obj, "ports")
    if len(given) > ENDPOINTS_MAX:
        yield FieldError.too_many("endpoints", len(given), ENDPOINTS_MAX)
    if len(ports) > SLICE_PORTS_MAX:
        yield FieldError.too_many("ports", len(ports), SLICE_PORTS_MAX)
    for index, endpoint in enumerate(given):
        where, addresses = f"endpoints[{index}]", meta.texts(endpoint, "addresses")
        if not addresses:
            yield FieldError.required(f"{where}.addresses", "must contain at least 1 address")
        if len(addresses) > ADDRESSES_MAX:
            yield FieldError.too_many(f"{where}.addresses", len(addresses), ADDRESSES_MAX)
        for position, address in enumerate(addresses):
            yield from named(address, f"{where}.addresses[{position}]", _RULES.get(kind or "", names.subdomain))
        yield from optional(endpoint.get("hostname"), f"{where}.hostname", names.label)
    seen: dict[str, None] = {}
    for index, port in enumerate(ports):
        where, name = f"ports[{index}]", port.get("name") or ""
        yield from optional(name, f"{where}.name", names.label)
        if name in seen:
            yield FieldError.duplicate(f"{where}.name", name)
        seen[name] = None
        if port.get("port") is not None and (wrong := names.port(port["port"])):
            yield FieldError.invalid(f"{where}.port", port["port"], wrong)
        yield from one_of(port.get("protocol"), f"{where}.protocol", containers.PROTOCOLS)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "addressType")


def cells(obj: Object, now: float) -> list[Any]:
    ports = [str(port["port"]) if port.get("port") else "*" for port in meta.parts(obj, "ports")]
    addresses = [ip for endpoint in meta.parts(obj, "endpoints") for ip in meta.texts(endpoint, "addresses")]
    return [
        tables.name(obj),
        obj.get("addressType", ""),
        tables.shortened(ports, "<unset>"),
        tables.shortened(addresses, "<unset>"),
        tables.age(obj, now),
    ]


ENDPOINTSLICES = Kind(
    "discovery.k8s.io",
    "v1",
    "endpointslices",
    "EndpointSlice",
    default=defaults,
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, AddressType, Ports, Endpoints, Age"), cells),
)

KINDS = (ENDPOINTSLICES,)
