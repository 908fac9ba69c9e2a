"""Service: a name and an address for some pods (v1).

It keeps the cluster IP and the ports of nodes that it has, for as long as its type has any. Who shows the addresses of
pods that are not ready, and what of a service is given out (an address of its own, ports of nodes), is asked here by
everybody. One family of addresses is served: IPv4.
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
from petset.objects.validation import Errors, immutable, labels, listed, named, one_of, optional


def publishes_unready(service: Object) -> bool:
    """Whether it shows the addresses of pods that are not ready: by its spec, or by the annotation of 2016."""
    return bool(meta.get(service, "spec", "publishNotReadyAddresses")) or tolerates_unready(service)


def tolerates_unready(service: Object) -> bool:
    """Whether the annotation of 2016 says so, which Kubernetes reads no more since 1.24."""
    return meta.truth(meta.annotations(service).get(well_known.TOLERATE_UNREADY_ANNOTATION, "")) is True


def is_headless(service: Object) -> bool:
    return meta.get(service, "spec", "clusterIP") == "None"


def has_address(service: Object) -> bool:
    """Whether it has a cluster IP, or is to be given one."""
    spec = meta.part(service, "spec")
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None"


def has_node_ports(service: Object) -> bool:
    """Whether each of its ports may be had at every node."""
    return meta.get(service, "spec", "type") in ON_NODES


def wants_node_ports(service: Object) -> bool:
    """Whether those of its ports that name none are given one."""
    spec = meta.part(service, "spec")
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return spec.get("type") == "NodePort"


def has_health_port(service: Object) -> bool:
    """Whether each node tells at a port whether it has pods of the service."""
    spec = meta.part(service, "spec")
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def health_port(service: Object | None) -> int | None:
    """Where each node tells that; None where nobody asks."""
    if service is None or not has_health_port(service):
        return None
    return meta.get(service, "spec", "healthCheckNodePort")


def is_shared_by_zones(service: Object) -> bool:
    """Whether zones share its endpoints by their CPUs (KEP-2433): nothing else that it prefers counts then."""
    asked = meta.annotations(service)
    mode = asked.get(well_known.TOPOLOGY_HINTS_ANNOTATION, asked.get(well_known.TOPOLOGY_MODE_ANNOTATION))
    return mode in ("Auto", "auto")


def prefers_same_node(service: Object) -> bool:
    """Whether who asks it is led to an endpoint of his own node where there is one (KEP-3015)."""
    preferred = meta.get(service, "spec", "trafficDistribution") == PREFER_SAME_NODE
    return preferred and not is_shared_by_zones(service)


def prefers_same_zone(service: Object) -> bool:
    """Whether he is led to one of his own zone where there is one, and none of his node is preferred."""
    preferred = meta.get(service, "spec", "trafficDistribution") in TRAFFIC_DISTRIBUTIONS
    return preferred and not is_shared_by_zones(service)


def cluster_ips(service: Object) -> Sequence[str]:
    """Its own addresses; none for a headless one."""
    spec = meta.part(service, "spec")
    given = meta.texts(spec, "clusterIPs") or (spec.get("clusterIP") or "",)
    return tuple(address for address in given if address not in ("", "None"))


def node_ports(service: Object) -> Sequence[int]:
    """The ports of nodes that it has, that of its health too; one may be there twice, for two protocols."""
    spec = meta.part(service, "spec")
    found = [port["nodePort"] for port in meta.parts(spec, "ports") if port.get("nodePort")]
    health = spec.get("healthCheckNodePort")
    return (*found, health) if health else found


ON_NODES = ("LoadBalancer", "NodePort")
FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
PREFER_SAME_NODE = "PreferSameNode"
TRAFFIC_DISTRIBUTIONS = ("PreferClose", PREFER_SAME_NODE, "PreferSameZone")
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
    if kind in ON_NODES:
        spec = fill_empty(spec, {"externalTrafficPolicy": "Cluster"})
    if kind == "LoadBalancer":
        spec = fill(spec, {"allocateLoadBalancerNodePorts": True})
    if spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec = {**spec, "clusterIP": spec["clusterIPs"][0]}
    if spec.get("clusterIP"):
        spec = fill_empty(spec, {"clusterIPs": [spec["clusterIP"]]})
    if _is_of_any_family(spec) and spec.get("ipFamilyPolicy") not in FAMILY_POLICIES[:1]:
        families = [*(spec.get("ipFamilies") or ("IPv4",))]
        if len(families) == 1:
            families += [family for family in FAMILIES if family not in families]
        return fill_empty({**spec, "ipFamilies": families}, {"ipFamilyPolicy": "RequireDualStack"})
    return fill_empty(spec, {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})


def _is_of_any_family(spec: Object) -> bool:
    """Headless and without a selector: whoever writes its endpoints decides."""
    return spec.get("clusterIP") == "None" and not spec.get("selector")


def _service_port(port: Object) -> Object:
    return fill_empty(port, {"protocol": "TCP", "targetPort": port.get("port")})


def prepare(new: Object, old: Object | None) -> Object:
    return {**new, "status": {"loadBalancer": {}}} if old is None else kept(new, old)


def kept(new: Object, old: Object) -> Object:
    """With what was given to it and an update leaves out; without that which its new type has not.

    What an update names itself, also of a type that has none, is left for validation to find.
    """
    before = meta.part(old, "spec")
    spec = dict(meta.part(new, "spec"))
    if has_address(old) and before.get("clusterIP"):
        if has_address(new):
            spec["clusterIP"] = spec.get("clusterIP") or before["clusterIP"]
            if not spec.get("clusterIPs") and spec["clusterIP"] == before["clusterIP"]:
                spec["clusterIPs"] = before.get("clusterIPs") or [before["clusterIP"]]
        elif spec.get("type") == "ExternalName" and spec.get("clusterIP") == before["clusterIP"]:
            _drop(spec, before, ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"))
    if has_node_ports(old):
        if has_node_ports(new):
            spec["ports"] = _with_ports_of(meta.parts(spec, "ports"), meta.parts(before, "ports"))
        else:
            _drop(spec, before, ("externalTrafficPolicy",))
            if sorted(node_ports({"spec": {**spec, "healthCheckNodePort": 0}})) == sorted(
                node_ports({"spec": {**before, "healthCheckNodePort": 0}})
            ):
                spec["ports"] = [
                    {field: value for field, value in port.items() if field != "nodePort"}
                    for port in meta.parts(spec, "ports")
                ]
    if has_health_port(old) and before.get("healthCheckNodePort"):
        if has_health_port(new):
            spec["healthCheckNodePort"] = spec.get("healthCheckNodePort") or before["healthCheckNodePort"]
        else:
            _drop(spec, before, ("healthCheckNodePort",))
    if before.get("type") == "LoadBalancer" != spec.get("type"):
        _drop(spec, before, ("allocateLoadBalancerNodePorts", "loadBalancerClass"))
    return new if spec == meta.part(new, "spec") else {**new, "spec": spec}


def _drop(spec: dict[str, Any], before: Object, fields: Sequence[str]) -> None:
    """Those that are as they were: nobody asked for them."""
    for field in fields:
        if field in spec and spec[field] == before.get(field):
            del spec[field]


def _with_ports_of(wanted: Sequence[Object], before: Sequence[Object]) -> list[Object]:
    """A port keeps that of nodes which the same protocol and number had, unless another asks for it."""
    had = {(port.get("protocol"), port.get("port")): port["nodePort"] for port in before if port.get("nodePort")}
    asked = {(port.get("protocol"), port["nodePort"]) for port in wanted if port.get("nodePort")}
    new: list[Object] = []
    for port in wanted:
        found = had.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and found and (port.get("protocol"), found) not in asked:
            port = {**port, "nodePort": found}
        new.append(port)
    return new


SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")

SESSION_SECONDS_MAX = 86_400


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    kind, address = spec.get("type"), spec.get("clusterIP") or ""
    asked = meta.annotations(obj)
    modes = [asked.get(name) for name in (well_known.TOPOLOGY_HINTS_ANNOTATION, well_known.TOPOLOGY_MODE_ANNOTATION)]
    if None not in modes and modes[0] != modes[1]:
        where = f"metadata.annotations[{well_known.TOPOLOGY_MODE_ANNOTATION}]"
        why = f"must match annotations[{well_known.TOPOLOGY_HINTS_ANNOTATION}] when both are specified"
        yield FieldError.invalid(where, modes[1], why)
    yield from one_of(kind, "spec.type", SERVICE_TYPES)
    yield from labels(spec.get("selector"), "spec.selector")
    if kind == "ExternalName":
        yield from named((spec.get("externalName") or "").removesuffix("."), "spec.externalName", names.subdomain)
        if address:
            yield FieldError.forbidden("spec.clusterIP", "may not be set when `type` is 'ExternalName'")
    elif not spec.get("ports") and address != "None":
        yield FieldError.required("spec.ports")
    if address == "None" and kind in ON_NODES:
        yield FieldError.invalid("spec.clusterIP", address, f"may not be set to 'None' for {kind} services")
    elif address not in ("", "None"):
        yield from named(address, "spec.clusterIP", names.ip)
    if spec.get("clusterIPs") and kind != "ExternalName" and spec["clusterIPs"][0] != address:
        yield FieldError.invalid("spec.clusterIPs", list(spec["clusterIPs"]), "first value must match `clusterIP`")
    yield from _families(spec)
    yield from _ports(meta.parts(spec, "ports"), "spec.ports", kind in ON_NODES)
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
    if spec.get("trafficDistribution") is not None:
        yield from one_of(spec["trafficDistribution"], "spec.trafficDistribution", TRAFFIC_DISTRIBUTIONS)
    yield from _outside(obj, spec, kind)


def _outside(obj: Object, spec: Object, kind: object) -> Errors:
    """What only services have that are reached from outside of the cluster."""
    if spec.get("externalTrafficPolicy") and kind not in ON_NODES and not spec.get("externalIPs"):
        why = "may only be set for externally-accessible services"
        yield FieldError.invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], why)
    if (port := spec.get("healthCheckNodePort")) and not has_health_port(obj):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield FieldError.invalid("spec.healthCheckNodePort", port, why)
    if kind != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges"):
            if spec.get(field) not in (None, []):
                yield FieldError.forbidden(f"spec.{field}", "may only be used when `type` is 'LoadBalancer'")
        return
    if class_ := spec.get("loadBalancerClass"):
        yield from named(class_, "spec.loadBalancerClass", names.qualified)
    for index, one in enumerate(meta.texts(spec, "loadBalancerSourceRanges")):
        if wrong := names.cidr(one.strip()):
            yield FieldError.invalid(f"spec.loadBalancerSourceRanges[{index}]", one, wrong)


def _families(spec: Object) -> Errors:
    """One family is served; only who writes endpoints himself may name the other."""
    if spec.get("type") == "ExternalName":
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if spec.get(field):
                yield FieldError.forbidden(f"spec.{field}", "may not be set for ExternalName services")
        return
    policy, families = spec.get("ipFamilyPolicy"), meta.texts(spec, "ipFamilies")
    if policy:
        yield from one_of(policy, "spec.ipFamilyPolicy", FAMILY_POLICIES)
    for index, family in enumerate(families):
        yield from one_of(family, f"spec.ipFamilies[{index}]", FAMILIES)
    if len(families) > len(FAMILIES):
        yield FieldError.invalid("spec.ipFamilies", list(families), "may only hold up to 2 values")
    elif len(families) == len(FAMILIES) and families[0] == families[1]:
        yield FieldError.duplicate("spec.ipFamilies[1]", families[1])
    addresses = meta.texts(spec, "clusterIPs")
    if len(addresses) > len(FAMILIES):
        yield FieldError.invalid("spec.clusterIPs", list(addresses), "may only hold up to 2 values")
    if policy == "SingleStack":
        for given, what in ((addresses, "cluster IPs"), (families, "IP families")):
            if len(given) == len(FAMILIES):
                why = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                yield FieldError.invalid("spec.ipFamilyPolicy", policy, why)
    if _is_of_any_family(spec):
        return
    if policy == "RequireDualStack":
        why = "this cluster is not configured for dual-stack services"
        yield FieldError.invalid("spec.ipFamilyPolicy", policy, why)
    for index, family in enumerate(families):
        if family == "IPv6":
            yield FieldError.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
    for index, address in enumerate(addresses):
        if ":" in address and not names.ip(address):
            why = "IPv6 is not configured on this cluster"
            yield FieldError.invalid(f"spec.clusterIPs[{index}]", address, why)


def _ports(given: Sequence[Object], path: str, on_nodes: bool) -> Errors:
    seen: dict[str, None] = {}
    numbers: dict[tuple[object, object], None] = {}
    at_nodes: dict[tuple[object, object], None] = {}
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
        if number := port.get("nodePort"):
            if not on_nodes:
                yield FieldError.forbidden(f"{where}.nodePort", "may not be used when `type` is 'ClusterIP'")
            if (port.get("protocol"), number) in at_nodes:
                yield FieldError.duplicate(f"{where}.nodePort", number)
            at_nodes[port.get("protocol"), number] = None
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
    if given.get("type") == wanted.get("type") == "LoadBalancer":
        yield from immutable(wanted, given, "spec", "loadBalancerClass")


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
