"""Checks of services and of the addresses behind them: Service, Endpoints, EndpointSlice."""

from __future__ import annotations

from collections.abc import Sequence

from petset.kinds.validation_container import PROTOCOLS, port_reference
from petset.objects import names
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import Errors, immutable, labels, listed, named, one_of, optional

SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
ENDPOINTS_MAX, ADDRESSES_MAX, SLICE_PORTS_MAX = 1000, 100, 100
SESSION_SECONDS_MAX = 86_400
_RULES = {"IPv4": names.ip, "IPv6": names.ip, "FQDN": names.subdomain}


@listed
def service(obj: Object) -> Errors:
    spec = obj.get("spec") or {}
    kind, address = spec.get("type"), spec.get("clusterIP") or ""
    yield from one_of(kind, "spec.type", SERVICE_TYPES)
    yield from labels(spec.get("selector"), "spec.selector")
    if kind == "ExternalName":
        yield from named((spec.get("externalName") or "").removesuffix("."), "spec.externalName", names.subdomain)
        if address:
            yield FieldError.forbidden("spec.clusterIP", "may not be set when `type` is 'ExternalName'")
    elif not spec.get("ports") and address != "None":
        yield FieldError.required("spec.ports")
    if address == "None" and kind in ("LoadBalancer", "NodePort"):
        yield FieldError.invalid("spec.clusterIP", address, f"may not be set to 'None' for {kind} services")
    elif address not in ("", "None"):
        yield from named(address, "spec.clusterIP", names.ip)
    if spec.get("clusterIPs") and kind != "ExternalName" and spec["clusterIPs"][0] != address:
        yield FieldError.invalid("spec.clusterIPs", list(spec["clusterIPs"]), "first value must match `clusterIP`")
    yield from _ports(spec.get("ports") or (), "spec.ports", kind in ("LoadBalancer", "NodePort"))
    yield from one_of(spec.get("sessionAffinity"), "spec.sessionAffinity", ("ClientIP", "None"))
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if seconds is not None and not 0 < seconds <= SESSION_SECONDS_MAX:
        yield FieldError.invalid(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            seconds,
            f"must be greater than 0 and less than {SESSION_SECONDS_MAX}",
        )
    for index, external in enumerate(spec.get("externalIPs") or ()):
        yield from named(external, f"spec.externalIPs[{index}]", names.ip)
    for field in ("internalTrafficPolicy", "externalTrafficPolicy"):
        if spec.get(field):
            yield from one_of(spec[field], f"spec.{field}", ("Cluster", "Local"))


def _ports(given: Sequence[Object], path: str, on_nodes: bool) -> Errors:
    seen: dict[str, None] = {}
    numbers: dict[tuple[object, object], None] = {}
    for index, port in enumerate(given):
        where, name = f"{path}[{index}]", port.get("name") or ""
        if not name and len(given) > 1:
            yield FieldError.required(f"{where}.name")
        yield from optional(name, f"{where}.name", names.label)
        if name and name in seen:
            yield FieldError.duplicate(f"{where}.name", name)
        seen[name] = None
        if wrong := names.port(port.get("port")):
            yield FieldError.invalid(f"{where}.port", port.get("port"), wrong)
        yield from one_of(port.get("protocol"), f"{where}.protocol", PROTOCOLS)
        yield from port_reference(port.get("targetPort"), f"{where}.targetPort")
        if port.get("nodePort") and not on_nodes:
            yield FieldError.forbidden(f"{where}.nodePort", "may not be used when `type` is 'ClusterIP'")
        key = (port.get("protocol"), port.get("port"))
        if key in numbers:
            shown = {"port": port.get("port"), "protocol": port.get("protocol")}
            yield FieldError.duplicate(where, shown)
        numbers[key] = None


@listed
def service_update(new: Object, old: Object) -> Errors:
    """A service keeps its cluster IP; only one that becomes or was an ExternalName may take or leave it."""
    wanted, given = new.get("spec") or {}, old.get("spec") or {}
    before, after = given.get("clusterIP") or "", wanted.get("clusterIP") or ""
    if before and before != after and "ExternalName" not in (given.get("type"), wanted.get("type")):
        yield FieldError.invalid("spec.clusterIP", after, "may not change once set")


@listed
def endpoints(obj: Object) -> Errors:
    for index, subset in enumerate(obj.get("subsets") or ()):
        where = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield FieldError.required(where, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(field) or ()):
                yield from named(address.get("ip"), f"{where}.{field}[{position}].ip", names.ip)
                yield from optional(address.get("hostname"), f"{where}.{field}[{position}].hostname", names.label)
        several = len(subset.get("ports") or ()) > 1
        for position, port in enumerate(subset.get("ports") or ()):
            at = f"{where}.ports[{position}]"
            if several and not port.get("name"):
                yield FieldError.required(f"{at}.name")
            yield from optional(port.get("name"), f"{at}.name", names.label)
            if wrong := names.port(port.get("port")):
                yield FieldError.invalid(f"{at}.port", port.get("port"), wrong)
            yield from one_of(port.get("protocol"), f"{at}.protocol", PROTOCOLS)


@listed
def endpoint_slice(obj: Object) -> Errors:
    kind = obj.get("addressType")
    yield from one_of(kind, "addressType", tuple(_RULES))
    given, ports = obj.get("endpoints") or (), obj.get("ports") or ()
    if len(given) > ENDPOINTS_MAX:
        yield FieldError.too_many("endpoints", len(given), ENDPOINTS_MAX)
    if len(ports) > SLICE_PORTS_MAX:
        yield FieldError.too_many("ports", len(ports), SLICE_PORTS_MAX)
    for index, endpoint in enumerate(given):
        where, addresses = f"endpoints[{index}]", endpoint.get("addresses") or ()
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
        yield from one_of(port.get("protocol"), f"{where}.protocol", PROTOCOLS)


@listed
def endpoint_slice_update(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "addressType")
