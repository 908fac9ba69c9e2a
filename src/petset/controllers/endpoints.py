"""Who is behind a service: Endpoints and EndpointSlice for every service with a selector.

Both are computed from the same list of pods: those selected that have an address, each ready or not. A service that
publishes unready addresses (spec.publishNotReadyAddresses, or 2016's annotation) counts them all as ready, terminating
ones too: that is how pets find each other while they start. A pod whose subdomain is the service's name is listed with
its hostname, which is what gives it a name in DNS.

Invariants: addresses are sorted, so equal pods give equal objects; nothing is written that says the same; a service
without a selector is left to whoever made its endpoints.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds import service as service_kind
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta, selectors
from petset.objects.meta import Object

MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_MANAGER = "endpoint-controller"
ADDRESSES_MAX = 1000

Port = tuple[str, str, int, str]  # (name, protocol, number, application protocol)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One pod as a service sees it."""

    address: str
    hostname: str
    node: str
    pod: Object
    ready: bool  # As published.
    serving: bool
    terminating: bool
    ports: tuple[Port, ...]


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The writes that make the endpoints of one service say who is behind it."""
    namespace, name = meta.split_key(key)
    service = view.get(SERVICES, namespace, name)
    if service is None or meta.is_deleting(service):
        return _forget(namespace, name, view)
    selector = meta.get(service, "spec", "selector", default={})
    if not selector or meta.get(service, "spec", "type") == "ExternalName":
        return []
    pods = [pod for pod in view.list(PODS, namespace) if selectors.from_map(selector).matches(meta.labels(pod))]
    found = endpoints_of(service, pods)
    return [*_endpoints_writes(service, found, view), *_slice_writes(service, found, view)]


def endpoints_of(service: Object, pods: Iterable[Object]) -> list[Endpoint]:
    """One Endpoint a pod that has an address and has not ended, sorted by address."""
    publish_all = service_kind.publishes_unready(service)
    found: list[Endpoint] = []
    for pod in pods:
        address = meta.get(pod, "status", "podIP", default="")
        phase = meta.get(pod, "status", "phase")
        if not address or phase in ("Failed", "Succeeded"):
            continue
        serving, terminating = meta.is_pod_ready(pod), meta.is_deleting(pod)
        spec = pod["spec"]
        hostname = spec.get("hostname", "") if spec.get("subdomain") == meta.name(service) else ""
        found.append(
            Endpoint(
                address=address,
                hostname=hostname,
                node=spec.get("nodeName", ""),
                pod=pod,
                ready=publish_all or (serving and not terminating),
                serving=serving,
                terminating=terminating,
                ports=_ports_for(service, pod),
            )
        )
    return sorted(found, key=lambda endpoint: (_address_order(endpoint.address), meta.name(endpoint.pod)))


def _address_order(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


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
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == target and port.get("protocol", "TCP") == protocol:
                return port["containerPort"]
    return None


def _groups(service: Object, found: Sequence[Endpoint]) -> dict[tuple[Port, ...], list[Endpoint]]:
    """Endpoints by the ports they share. A pod that has none of the service's ports is not behind it."""
    groups: dict[tuple[Port, ...], list[Endpoint]] = {}
    has_ports = bool(meta.get(service, "spec", "ports"))
    for endpoint in found:
        if endpoint.ports or (not has_ports and service_kind.is_headless(service)):
            groups.setdefault(endpoint.ports, []).append(endpoint)
    return dict(sorted(groups.items()))


def _target(pod: Object) -> dict[str, Any]:
    return {"kind": "Pod", "name": meta.name(pod), "namespace": meta.namespace(pod), "uid": meta.uid(pod)}


# Endpoints


def subsets_of(service: Object, found: Sequence[Endpoint]) -> list[dict[str, Any]]:
    subsets = []
    for ports, members in _groups(service, found).items():
        ready = [_address(endpoint) for endpoint in members if endpoint.ready][:ADDRESSES_MAX]
        not_ready = [_address(endpoint) for endpoint in members if not endpoint.ready and not endpoint.terminating]
        if ready or not_ready:
            subsets.append(
                {
                    **({"addresses": ready} if ready else {}),
                    **({"notReadyAddresses": not_ready[:ADDRESSES_MAX]} if not_ready else {}),
                    **({"ports": [_endpoint_port(port) for port in ports]} if ports else {}),
                }
            )
    return subsets


def _address(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "ip": endpoint.address,
        **({"hostname": endpoint.hostname} if endpoint.hostname else {}),
        **({"nodeName": endpoint.node} if endpoint.node else {}),
        "targetRef": _target(endpoint.pod),
    }


def _endpoint_port(port: Port) -> dict[str, Any]:
    name, protocol, number, app_protocol = port
    return {
        **({"name": name} if name else {}),
        "port": number,
        "protocol": protocol,
        **({"appProtocol": app_protocol} if app_protocol else {}),
    }


def _endpoints_writes(service: Object, found: Sequence[Endpoint], view: View) -> list[actions.Action]:
    labels = {
        **meta.labels(service),
        well_known.ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGER,
        **({well_known.HEADLESS_LABEL: ""} if service_kind.is_headless(service) else {}),
    }
    wanted = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": meta.name(service), "namespace": meta.namespace(service), "labels": labels},
        "subsets": subsets_of(service, found),
    }
    there = view.get(ENDPOINTS, meta.namespace(service), meta.name(service))
    if there is None:
        return [actions.Create(wanted)]
    if meta.labels(there) == labels and (there.get("subsets") or []) == wanted["subsets"]:
        return []
    return [actions.Update({**wanted, "metadata": {**there["metadata"], "labels": labels}})]


# EndpointSlice


def _slice_writes(service: Object, found: Sequence[Endpoint], view: View) -> list[actions.Action]:
    """One slice for each set of ports and family of addresses (and each thousand), named after the service."""
    wanted = slices_of(service, found)
    key = f"{meta.namespace(service)}/{meta.name(service)}"
    there = {
        meta.name(slice_): slice_
        for slice_ in view.by_index(ENDPOINTSLICES, "service", key)
        if meta.labels(slice_).get(well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL) == MANAGER
    }
    steps: list[actions.Action] = []
    for slice_ in wanted:
        old = there.pop(meta.name(slice_), None)
        if old is None:
            steps.append(actions.Create(slice_))
        elif _says(old) != _says(slice_):
            kept = {**old["metadata"], **slice_["metadata"]}
            steps.append(actions.Update({**slice_, "metadata": kept}))
    return steps + [actions.Delete(old) for old in there.values()]


def _says(slice_: Object) -> tuple[Any, ...]:
    ports = slice_.get("ports") or []
    owners = [owner["uid"] for owner in slice_["metadata"].get("ownerReferences") or ()]
    return owners, meta.labels(slice_), slice_.get("addressType"), slice_.get("endpoints") or [], ports


def slices_of(service: Object, found: Sequence[Endpoint]) -> list[dict[str, Any]]:
    slices: list[dict[str, Any]] = []
    groups = _groups(service, found) or {(): []}
    for ports, members in groups.items():
        for family in ("IPv4", "IPv6"):
            of_family = [e for e in members if (":" in e.address) == (family == "IPv6")]
            if not of_family and (family == "IPv6" or members):
                continue
            for first in range(0, max(1, len(of_family)), ADDRESSES_MAX):
                slices.append(_slice(service, ports, family, of_family[first : first + ADDRESSES_MAX], len(slices)))
    return slices


def _slice(
    service: Object, ports: Sequence[Port], family: str, members: Sequence[Endpoint], number: int
) -> dict[str, Any]:
    labels = {
        **meta.labels(service),
        well_known.SERVICE_NAME_LABEL: meta.name(service),
        well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL: MANAGER,
        **({well_known.HEADLESS_LABEL: ""} if service_kind.is_headless(service) else {}),
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta.name(service)}-{number}",
            "generateName": f"{meta.name(service)}-",
            "namespace": meta.namespace(service),
            "labels": labels,
            "ownerReferences": [meta.owner_reference(service)],
        },
        "addressType": family,
        "endpoints": [_slice_endpoint(endpoint) for endpoint in members],
        "ports": [
            # A slice says the name of an unnamed port, too.
            {"name": "", **_endpoint_port(port)}
            for port in ports
        ],
    }


def _slice_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "addresses": [endpoint.address],
        "conditions": {"ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating},
        **({"hostname": endpoint.hostname} if endpoint.hostname else {}),
        **({"nodeName": endpoint.node} if endpoint.node else {}),
        "targetRef": _target(endpoint.pod),
    }


def _forget(namespace: str, name: str, view: View) -> list[actions.Action]:
    """What we made for a service that is gone. The slices go by their owner; Endpoints never had one."""
    there = view.get(ENDPOINTS, namespace, name)
    if there is None or meta.labels(there).get(well_known.ENDPOINTS_MANAGED_BY_LABEL) != ENDPOINTS_MANAGER:
        return []
    return [actions.Delete(there)]


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The services that select the pod."""
    labels = meta.labels(pod)
    for service in view.list(SERVICES, meta.namespace(pod)):
        selector = meta.get(service, "spec", "selector", default={})
        if selector and selectors.from_map(selector).matches(labels):
            yield meta.key(service)


def keys_of_slice(slice_: Object, view: View) -> Iterable[str]:
    name = meta.labels(slice_).get(well_known.SERVICE_NAME_LABEL)
    if name and meta.labels(slice_).get(well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL) == MANAGER:
        yield f"{meta.namespace(slice_)}/{name}"


CONTROLLERS = (
    Controller(
        name="endpoints",
        component="endpoint-controller",
        watches=(
            (SERVICES, own_key),
            (PODS, keys_of_pod),
            (ENDPOINTS, own_key),
            (ENDPOINTSLICES, keys_of_slice),
        ),
        reconcile=reconcile,
    ),
)
