"""Who is behind a service: Endpoints and EndpointSlice for every service with a selector.

Both are computed from the same list of pods: those selected that have an address, each ready or not. A service that
publishes unready addresses (spec.publishNotReadyAddresses, or 2016's annotation) counts them all as ready, terminating
ones too: that is how pets find each other while they start. A pod whose subdomain is the service's name is listed with
its hostname, which is what gives it a name in DNS.

An EndpointSlice has at most a hundred pods, and a pod stays in the slice it is in: a change of one writes one slice,
however many there are. Endpoints have at most a thousand addresses, and say so when there were more.

Invariants: addresses are sorted, so equal pods give equal objects; nothing is written that says the same; a service
without a selector is left to whoever made its endpoints.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
from petset.objects import meta
from petset.objects.meta import Object

MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_MANAGER = "endpoint-controller"
ADDRESSES_MAX = 1000  # Of all Endpoints of a service.
SLICE_ENDPOINTS_MAX = 100

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


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The writes that make the endpoints of one service say who is behind it."""
    namespace, name = meta.split_key(key)
    service = view.get(SERVICES, namespace, name)
    if service is None or meta.is_deleting(service):
        return _forget(namespace, name, view)
    selector = meta.get(service, "spec", "selector", default={})
    if not selector or meta.get(service, "spec", "type") == "ExternalName":
        return []
    shown = view.facts(PODS, read)
    found = endpoints_of(service, [shown.of(pod) for pod in view.labelled(PODS, namespace, selector)])
    return [*_endpoints_writes(service, found, view), *_slice_writes(service, found, view)]


@dataclass(frozen=True, slots=True)
class Shown:
    """What services show of a pod, read once a version of the pod."""

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
    if not address or meta.get(pod, "status", "phase") in ("Failed", "Succeeded"):
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


def endpoints_of(service: Object, pods: Iterable[Shown]) -> list[Endpoint]:
    """One Endpoint a pod that is shown, sorted by address."""
    publish_all, name = service_kind.publishes_unready(service), meta.name(service)
    ports_of = _ports_of(service)
    return [
        Endpoint(
            address=one.address,
            hostname=one.hostname if one.subdomain == name else "",
            node=one.node,
            target=one.target,
            order=one.order,
            ready=publish_all or (one.serving and not one.terminating),
            serving=one.serving,
            terminating=one.terminating,
            ports=ports_of(one.pod),
        )
        for one in sorted((one for one in pods if one.address), key=lambda one: one.order)
    ]


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


def _groups(service: Object, found: Sequence[Endpoint]) -> dict[tuple[Port, ...], list[Endpoint]]:
    """Endpoints by the ports they share. A pod that has none of the service's ports is not behind it."""
    groups: dict[tuple[Port, ...], list[Endpoint]] = {}
    has_ports = bool(meta.get(service, "spec", "ports"))
    for endpoint in found:
        if endpoint.ports or (not has_ports and service_kind.is_headless(service)):
            groups.setdefault(endpoint.ports, []).append(endpoint)
    return dict(sorted(groups.items()))


# Endpoints


def subsets_of(service: Object, found: Sequence[Endpoint]) -> list[dict[str, Any]]:
    subsets = []
    left = ADDRESSES_MAX
    for ports, members in _groups(service, found).items():
        ready = [endpoint for endpoint in members if endpoint.ready][:left]
        left -= len(ready)
        not_ready = [endpoint for endpoint in members if not endpoint.ready and not endpoint.terminating][:left]
        left -= len(not_ready)
        if ready or not_ready:
            subsets.append(
                {
                    **({"addresses": [_address(endpoint) for endpoint in ready]} if ready else {}),
                    **({"notReadyAddresses": [_address(endpoint) for endpoint in not_ready]} if not_ready else {}),
                    **({"ports": [_endpoint_port(port) for port in ports]} if ports else {}),
                }
            )
    return subsets


def _address(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "ip": endpoint.address,
        **({"hostname": endpoint.hostname} if endpoint.hostname else {}),
        **({"nodeName": endpoint.node} if endpoint.node else {}),
        "targetRef": endpoint.target,
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
    said = dict(meta.annotations(there)) if there is not None else {}
    annotations = {key: value for key, value in said.items() if key != well_known.OVER_CAPACITY_ANNOTATION}
    shown = [endpoint for members in _groups(service, found).values() for endpoint in members]
    if sum(endpoint.ready or not endpoint.terminating for endpoint in shown) > ADDRESSES_MAX:
        annotations[well_known.OVER_CAPACITY_ANNOTATION] = "truncated"
    about = {"labels": labels, **({"annotations": annotations} if annotations or said else {})}
    if there is None:
        return [actions.Create({**wanted, "metadata": {**wanted["metadata"], **about}})]
    is_said = meta.labels(there) == labels and said == annotations
    if is_said and (there.get("subsets") or []) == wanted["subsets"]:
        return []
    return [actions.Update({**wanted, "metadata": {**there["metadata"], **about}})]


# EndpointSlice


def _slice_writes(service: Object, found: Sequence[Endpoint], view: View) -> list[actions.Action]:
    key = f"{meta.namespace(service)}/{meta.name(service)}"
    there = [
        slice_
        for slice_ in view.by_index(ENDPOINTSLICES, "service", key)
        if meta.labels(slice_).get(well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL) == MANAGER
    ]
    old = {meta.name(slice_): slice_ for slice_ in there}
    steps: list[actions.Action] = []
    for slice_ in slices_of(service, found, there):
        before = old.pop(meta.name(slice_), None)
        if before is None:
            steps.append(actions.Create(slice_))
        elif _says(before) != _says(slice_):
            kept = {**before["metadata"], **slice_["metadata"]}
            steps.append(actions.Update({**slice_, "metadata": kept}))
    return steps + [actions.Delete(slice_) for slice_ in old.values()]


def _says(slice_: Object) -> tuple[Any, ...]:
    ports = slice_.get("ports") or []
    owners = [owner["uid"] for owner in slice_["metadata"].get("ownerReferences") or ()]
    return owners, meta.labels(slice_), slice_.get("addressType"), slice_.get("endpoints") or [], ports


def slices_of(service: Object, found: Sequence[Endpoint], there: Sequence[Object] = ()) -> list[dict[str, Any]]:
    """The slices of a service: one or more for each set of ports and family of addresses, by those that are `there`.

    A pod that is in a slice stays there; others fill up what has room, and then new ones.
    """
    make = _Maker(service)
    names = _free_names(service, there)
    slices: list[dict[str, Any]] = []
    for ports, members in (_groups(service, found) or {(): []}).items():
        for family in ("IPv4", "IPv6"):
            of_family = [e for e in members if (":" in e.address) == (family == "IPv6")]
            if not of_family and (family == "IPv6" or members):
                continue
            told = make.ports(ports)
            same = [one for one in there if one.get("addressType") == family and (one.get("ports") or []) == told]
            for name, part in _parts(of_family, same):
                slices.append(make.slice(name or next(names), family, told, part))
    return slices


def _parts(members: Sequence[Endpoint], there: Sequence[Object]) -> list[tuple[str, list[Endpoint]]]:
    """(a slice's name, "" for a new one; who is in it), at least one."""
    where = {
        (endpoint.get("targetRef") or {}).get("uid"): number
        for number, slice_ in enumerate(there)
        for endpoint in slice_.get("endpoints") or ()
    }
    parts: list[list[Endpoint]] = [[] for _ in there]
    new: list[Endpoint] = []
    for endpoint in members:
        number = where.get(endpoint.target["uid"])
        (new if number is None else parts[number]).append(endpoint)
    filled = []
    for number, part in enumerate(parts):
        room = SLICE_ENDPOINTS_MAX - len(part) if part else 0
        joined = sorted([*part, *new[:room]], key=lambda endpoint: endpoint.order) if room > 0 and new else part
        new = new[max(0, room) :]
        for first in range(0, len(joined), SLICE_ENDPOINTS_MAX):
            name = meta.name(there[number]) if not first else ""
            filled.append((name, joined[first : first + SLICE_ENDPOINTS_MAX]))
    for first in range(0, len(new), SLICE_ENDPOINTS_MAX):
        filled.append(("", new[first : first + SLICE_ENDPOINTS_MAX]))
    unused = iter(meta.name(slice_) for number, slice_ in enumerate(there) if not parts[number])
    named = [(name or next(unused, ""), part) for name, part in filled]
    return named or [(next(unused, ""), [])]


def _free_names(service: Object, there: Sequence[Object]) -> Iterator[str]:
    taken = {meta.name(slice_): True for slice_ in there}
    for number in itertools.count():
        name = f"{meta.name(service)}-{number}"
        if name not in taken:
            yield name


class _Maker:
    """Makes the slices of one service."""

    def __init__(self, service: Object):
        self._service = service
        self._labels = {
            **meta.labels(service),
            well_known.SERVICE_NAME_LABEL: meta.name(service),
            well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL: MANAGER,
            **({well_known.HEADLESS_LABEL: ""} if service_kind.is_headless(service) else {}),
        }

    def ports(self, ports: Sequence[Port]) -> list[dict[str, Any]]:
        """A slice says the name of an unnamed port, too."""
        return [{"name": "", **_endpoint_port(port)} for port in ports]

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
            "endpoints": [_slice_endpoint(endpoint) for endpoint in members],
            "ports": list(ports),
        }


def _slice_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "addresses": [endpoint.address],
        "conditions": {"ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating},
        **({"hostname": endpoint.hostname} if endpoint.hostname else {}),
        **({"nodeName": endpoint.node} if endpoint.node else {}),
        "targetRef": endpoint.target,
    }


def _forget(namespace: str, name: str, view: View) -> list[actions.Action]:
    """What we made for a service that is gone. The slices go by their owner; Endpoints never had one."""
    there = view.get(ENDPOINTS, namespace, name)
    if there is None or meta.labels(there).get(well_known.ENDPOINTS_MANAGED_BY_LABEL) != ENDPOINTS_MANAGER:
        return []
    return [actions.Delete(there)]


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The services that select the pod."""
    labels = meta.labels(pod).items()
    for service in view.list(SERVICES, meta.namespace(pod)):
        selector = service["spec"].get("selector")
        if selector and selector.items() <= labels:
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
