"""Service: a name and an address for some pods (v1).

It keeps the cluster IP that it has. Who shows the addresses of pods that are not ready, and which service has no
address of its own, is asked here by everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.base import well_known
from petset.kinds.pod_spec import containers
from petset.objects import meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, labels, listed, named, one_of, optional


def publishes_unready(service: Object) -> bool:
    """Whether it shows the addresses of pods that are not ready: by its spec, or by the annotation of 2016."""
    annotated = meta.annotations(service).get(well_known.TOLERATE_UNREADY_ANNOTATION, "")
    is_asked = bool(meta.get(service, "spec", "publishNotReadyAddresses"))
    return is_asked or annotated in ("true", "True", "TRUE", "t", "T", "1")


def is_headless(service: Object) -> bool:
    return meta.get(service, "spec", "clusterIP") == "None"


SESSION_AFFINITY_SECONDS = 10_800


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _service_spec)


def _service_spec(spec: Object) -> Object:
    spec = fill_empty(spec, {"type": "ClusterIP", "sessionAffinity": "None"})
    kind = spec["type"]
    if spec["sessionAffinity"] == "ClientIP":
        config = {"clientIP": {"timeoutSeconds": SESSION_AFFINITY_SECONDS}}
        if not meta.get(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds"):
            spec = {**spec, "sessionAffinityConfig": config}
    spec = at(spec, "ports", lambda ports: each(ports, _service_port))
    if kind == "ExternalName":
        return spec
    spec = fill_empty(spec, {"internalTrafficPolicy": "Cluster"})
    if kind in ("NodePort", "LoadBalancer"):
        spec = fill_empty(spec, {"externalTrafficPolicy": "Cluster"})
    if kind == "LoadBalancer":
        spec = fill(spec, {"allocateLoadBalancerNodePorts": True})
    if spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec = {**spec, "clusterIP": spec["clusterIPs"][0]}
    if spec.get("clusterIP"):
        spec = fill_empty(spec, {"clusterIPs": [spec["clusterIP"]]})
    return fill_empty(spec, {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})


def _service_port(port: Object) -> Object:
    return fill_empty(port, {"protocol": "TCP", "targetPort": port.get("port")})


def prepare(new: Object, old: Object | None) -> Object:
    """A service keeps the cluster IP it has when an update leaves it out."""
    if old is None:
        return {**new, "status": {"loadBalancer": {}}}
    given, kept = meta.part(new, "spec"), meta.part(old, "spec")
    if given.get("clusterIP") or not kept.get("clusterIP") or given.get("type") == "ExternalName":
        return new
    spec = {**given, "clusterIP": kept["clusterIP"], "clusterIPs": kept.get("clusterIPs") or [kept["clusterIP"]]}
    return {**new, "spec": spec}


SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")

SESSION_SECONDS_MAX = 86_400


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
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
    yield from _ports(meta.parts(spec, "ports"), "spec.ports", kind in ("LoadBalancer", "NodePort"))
    yield from one_of(spec.get("sessionAffinity"), "spec.sessionAffinity", ("ClientIP", "None"))
    seconds = meta.part(spec, "sessionAffinityConfig", "clientIP").get("timeoutSeconds")
    if seconds is not None and not 0 < seconds <= SESSION_SECONDS_MAX:
        yield FieldError.invalid(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            seconds,
            f"must be greater than 0 and less than {SESSION_SECONDS_MAX}",
        )
    for index, external in enumerate(meta.texts(spec, "externalIPs")):
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
        yield from one_of(port.get("protocol"), f"{where}.protocol", containers.PROTOCOLS)
        yield from containers.port_reference(port.get("targetPort"), f"{where}.targetPort")
        if port.get("nodePort") and not on_nodes:
            yield FieldError.forbidden(f"{where}.nodePort", "may not be used when `type` is 'ClusterIP'")
        key = (port.get("protocol"), port.get("port"))
        if key in numbers:
            shown = {"port": port.get("port"), "protocol": port.get("protocol")}
            yield FieldError.duplicate(where, shown)
        numbers[key] = None


@listed
def validate_update(new: Object, old: Object) -> Errors:
    """A service keeps its cluster IP; only one that becomes or was an ExternalName may take or leave it."""
    wanted, given = meta.part(new, "spec"), meta.part(old, "spec")
    before, after = given.get("clusterIP") or "", wanted.get("clusterIP") or ""
    if before and before != after and "ExternalName" not in (given.get("type"), wanted.get("type")):
        yield FieldError.invalid("spec.clusterIP", after, "may not change once set")


def cells(obj: Object, now: float) -> list[Any]:
    spec = meta.part(obj, "spec")
    kind = spec.get("type") or "ClusterIP"
    cluster_ip = tables.joined((spec.get("clusterIPs") or [spec.get("clusterIP") or ""])[:1])
    ports = [
        f"{port.get('port')}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port.get('protocol', 'TCP')}"
        for port in meta.parts(spec, "ports")
    ]
    external = list(meta.texts(spec, "externalIPs"))
    if kind == "LoadBalancer":
        given = [
            entry.get("ip") or entry.get("hostname") or ""
            for entry in meta.parts(obj, "status", "loadBalancer", "ingress")
        ]
        shown = tables.joined([*given, *external], "<pending>")
    else:
        shown = spec.get("externalName") or "<none>" if kind == "ExternalName" else tables.joined(external)
    return [
        tables.name(obj),
        kind,
        cluster_ip,
        shown,
        tables.joined(ports),
        tables.age(obj, now),
        tables.format_labels(spec.get("selector")),
    ]


SERVICES = Kind(
    "",
    "v1",
    "services",
    "Service",
    short_names=("svc",),
    categories=("all",),
    subresources=("proxy", "status"),
    default=defaults,
    prepare=prepare,
    validate=validate,
    validate_update=validate_update,
    name_rule=names.label_1035,
    fields=selectors.fields("spec.clusterIP", "spec.type"),
    printer=tables.Printer(tables.columns("Name, Type, Cluster-IP, External-IP, Port(s), Age, +Selector"), cells),
)

KINDS = (SERVICES,)
