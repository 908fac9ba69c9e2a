"""A pod as one service sees it, and as an EndpointSlice tells it.

`read` says what services show of a pod, `seer` how one service sees that: an `Endpoint` of every pod with an address. A
service that publishes unready addresses (spec.publishNotReadyAddresses, or 2016's annotation) counts them all as ready,
terminating ones too: that is how pets find each other while they start. A pod whose subdomain is the service's name is
listed with its hostname, which is what gives it a name in DNS. `Maker` writes Endpoints as the slices of a service have
them. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from petset.base import well_known
from petset.kinds import pod_phase
from petset.kinds import service as service_kind
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.objects import meta
from petset.objects.meta import Object

MANAGER = "endpointslice-controller.k8s.io"

Port = tuple[str, str, int, str]  # (name, protocol, number, application protocol)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One pod as a service sees it."""

    address: str
    hostname: str
    node: str
    target: Object  # A reference to the pod.
    order: tuple[int, int, str]  # Of addresses.
    ready: bool  # As published.
    serving: bool
    terminating: bool
    ports: tuple[Port, ...]
    zone: str = ""  # Of its node.
    is_for_its_node: bool = False  # Rather than for others, as long as it is ready.
    for_zone: str = ""  # The same, for those in a zone: its own, or one that it is lent to.

    @property
    def family(self) -> str:
        return "IPv6" if self.order[0] == 6 else "IPv4"

    @property
    def is_leaving(self) -> bool:
        """It is in its slice until it is gone, but no longer an address of Endpoints."""
        return self.terminating and not self.ready


@dataclass(frozen=True, slots=True)
class Shown:
    """What services show of a pod."""

    pod: Object
    address: str
    order: tuple[int, int, str]  # Of addresses.
    hostname: str
    subdomain: str
    node: str
    target: Object
    serving: bool
    terminating: bool


NOTHING = Shown({}, "", (0, 0, ""), "", "", "", {}, False, False)


def read(pod: Object) -> Shown:
    """NOTHING for a pod without an address, or one that has ended."""
    address = meta.get(pod, "status", "podIP", default="")
    if not address or pod_phase.has_ended(pod):
        return NOTHING
    parsed, spec = ipaddress.ip_address(address), pod["spec"]
    return Shown(
        pod=pod,
        address=address,
        order=(parsed.version, int(parsed), meta.name(pod)),
        hostname=spec.get("hostname", ""),
        subdomain=spec.get("subdomain", ""),
        node=spec.get("nodeName", ""),
        target={"kind": "Pod", "name": meta.name(pod), "namespace": meta.namespace(pod), "uid": meta.uid(pod)},
        serving=meta.is_pod_ready(pod),
        terminating=meta.is_deleting(pod),
    )


NO_ZONES: Mapping[str, str] = {}


def endpoints_of(service: Object, pods: Iterable[Shown], zones: Mapping[str, str] = NO_ZONES) -> list[Endpoint]:
    """One Endpoint a pod that is behind the service, sorted by address."""
    seen = map(seer(service, zones), pods)
    return sorted((one for one in seen if one is not None), key=lambda one: one.order)


def seer(service: Object, zones: Mapping[str, str]) -> Callable[[Shown], Endpoint | None]:
    """How a service sees pods: None has no address, or none of its ports."""
    publish_all, name = service_kind.publishes_unready(service), meta.name(service)
    ports_of, for_its_node = _ports_of(service), service_kind.prefers_same_node(service)
    for_its_zone = service_kind.prefers_same_zone(service)
    needs_no_ports = not meta.get(service, "spec", "ports") and service_kind.is_headless(service)

    def see(one: Shown) -> Endpoint | None:
        if not one.address or not ((ports := ports_of(one.pod)) or needs_no_ports):
            return None
        return Endpoint(
            address=one.address,
            hostname=one.hostname if one.subdomain == name else "",
            node=one.node,
            target=one.target,
            order=one.order,
            ready=publish_all or (one.serving and not one.terminating),
            serving=one.serving,
            terminating=one.terminating,
            ports=ports,
            zone=(zone := zones.get(one.node, "")),
            is_for_its_node=for_its_node and bool(one.node),
            for_zone=zone if for_its_zone else "",
        )

    return see


def _ports_of(service: Object) -> Callable[[Object], tuple[Port, ...]]:
    """Which ports a pod has of the service's: all the same, unless one is looked up by its name."""
    named = any(isinstance(port.get("targetPort"), str) for port in meta.get(service, "spec", "ports", default=()))
    if named:
        return partial(_ports_for, service)
    same = _ports_for(service, {})
    return lambda pod: same


def _ports_for(service: Object, pod: Object) -> tuple[Port, ...]:
    """The service's ports as this pod has them: a named target is looked up among its containers."""
    ports: list[Port] = []
    for port in meta.get(service, "spec", "ports", default=()):
        protocol = port.get("protocol", "TCP")
        number = target_number(port.get("targetPort") or port["port"], protocol, pod)
        if number is not None:
            ports.append((port.get("name", ""), protocol, number, port.get("appProtocol", "")))
    return tuple(ports)


def target_number(target: int | str, protocol: str, pod: Object) -> int | None:
    if isinstance(target, int):
        return target
    if target.isdigit():
        return int(target)
    for container in meta.get(pod, "spec", "containers", default=()):
        for port in container.get("ports") or ():
            if port.get("name") == target and port.get("protocol", "TCP") == protocol:
                return port["containerPort"]
    return None


def endpoint_port(port: Port) -> dict[str, Any]:
    name, protocol, number, app_protocol = port
    return {
        **({"name": name} if name else {}),
        "port": number,
        "protocol": protocol,
        **({"appProtocol": app_protocol} if app_protocol else {}),
    }


class Maker:
    """Makes the slices of one service."""

    def __init__(self, service: Object):
        self._service = service
        self._labels = {
            **meta.labels(service),
            well_known.SERVICE_NAME_LABEL: meta.name(service),
            well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL: MANAGER,
            **({well_known.HEADLESS_LABEL: ""} if service_kind.is_headless(service) else {}),
        }

    def is_made_so(self, slice_: Object) -> bool:
        """Whether, but for who is in it, a slice is one of those made here."""
        owners = [owner.get("uid") for owner in slice_["metadata"].get("ownerReferences") or ()]
        return owners == [meta.uid(self._service)] and meta.labels(slice_) == self._labels

    def ports(self, ports: Sequence[Port]) -> list[dict[str, Any]]:
        """A slice says the name of an unnamed port, too."""
        return [{"name": "", **endpoint_port(port)} for port in ports]

    def slice(self, name: str, family: str, ports: Sequence[Object], members: Sequence[Endpoint]) -> dict[str, Any]:
        return {
            "apiVersion": ENDPOINTSLICES.api_version,
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "generateName": f"{meta.name(self._service)}-",
                "namespace": meta.namespace(self._service),
                "labels": self._labels,
                "ownerReferences": [meta.owner_reference(self._service)],
            },
            "addressType": family,
            "endpoints": [slice_endpoint(endpoint) for endpoint in members],
            "ports": list(ports),
        }


def slice_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "addresses": [endpoint.address],
        "conditions": {"ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating},
        **({"hostname": endpoint.hostname} if endpoint.hostname else {}),
        **({"nodeName": endpoint.node} if endpoint.node else {}),
        "targetRef": endpoint.target,
        **({"zone": endpoint.zone} if endpoint.zone else {}),
        **({"hints": hints} if (hints := _hints(endpoint)) else {}),
    }


def _hints(endpoint: Endpoint) -> dict[str, Any]:
    """For whom it is rather than for others, as long as it is ready."""
    for_zones = {"forZones": [{"name": endpoint.for_zone}]} if endpoint.for_zone else {}
    for_nodes = {"forNodes": [{"name": endpoint.node}]} if endpoint.is_for_its_node else {}
    return {**for_zones, **for_nodes} if endpoint.ready else {}


def by_ports(found: Iterable[Endpoint]) -> dict[tuple[Port, ...], list[Endpoint]]:
    """Endpoints by the ports they share."""
    groups: dict[tuple[Port, ...], list[Endpoint]] = {}
    for endpoint in found:
        groups.setdefault(endpoint.ports, []).append(endpoint)
    return dict(sorted(groups.items()))


def is_ours(slice_: Object) -> bool:
    return meta.labels(slice_).get(well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL) == MANAGER
