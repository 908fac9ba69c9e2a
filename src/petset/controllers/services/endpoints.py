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

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from petset.base import well_known
from petset.client.views import View, label_mark
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.controllers.services import behind
from petset.controllers.services.behind import MANAGER, Behind, Endpoint, Maker, Port, endpoint_port, read
from petset.kinds import endpoint_slice
from petset.kinds import service as service_kind
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object

ENDPOINTS_MANAGER = "endpoint-controller"
ADDRESSES_MAX = 1000  # Of all Endpoints of a service.
SLICE_ENDPOINTS_MAX = 100
REST_SECONDS_OF_EACH = 0.00015  # A write costs by who is in it: the more, the more changes it gathers before.
REST_SECONDS_MIN = 0.015

Write = actions.Create | actions.Update | actions.Delete


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The writes that make the endpoints of one service say who is behind it."""
    namespace, name = meta.split_key(key)
    service = view.get(SERVICES, namespace, name)
    if service is None or meta.is_deleting(service):
        view.forget(Behind, key)
        return _forget(namespace, name, view)
    selector = meta.get(service, "spec", "selector", default={})
    if not selector or meta.get(service, "spec", "type") == "ExternalName":
        return []
    kept = view.kept(Behind, key, behind.about(service), view.kept(behind.Zones, "").of)
    writes: list[Write] = [
        *_endpoints_writes(service, kept.first(ADDRESSES_MAX), len(kept), view),
        *_slice_writes(service, kept),
    ]
    looked_at = min(len(kept), ADDRESSES_MAX)
    written = sum(len(step.object.get("endpoints") or ()) for step in writes if not isinstance(step, actions.Delete))
    seconds = REST_SECONDS_OF_EACH * (looked_at + written)
    return [*writes, actions.Rest(seconds)] if seconds > REST_SECONDS_MIN else [*writes]


def _groups(found: Sequence[Endpoint]) -> dict[tuple[Port, ...], list[Endpoint]]:
    """Endpoints by the ports they share."""
    groups: dict[tuple[Port, ...], list[Endpoint]] = {}
    for endpoint in found:
        groups.setdefault(endpoint.ports, []).append(endpoint)
    return dict(sorted(groups.items()))


# Endpoints


def subsets_of(found: Sequence[Endpoint]) -> list[dict[str, Any]]:
    subsets: list[dict[str, Any]] = []
    left = ADDRESSES_MAX
    for ports, members in _groups(found).items():
        ready = [endpoint for endpoint in members if endpoint.ready][:left]
        left -= len(ready)
        not_ready = [endpoint for endpoint in members if not endpoint.ready and not endpoint.is_leaving][:left]
        left -= len(not_ready)
        if ready or not_ready:
            subsets.append(
                {
                    **({"addresses": [_address(endpoint) for endpoint in ready]} if ready else {}),
                    **({"notReadyAddresses": [_address(endpoint) for endpoint in not_ready]} if not_ready else {}),
                    **({"ports": [endpoint_port(port) for port in ports]} if ports else {}),
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


def _endpoints_writes(service: Object, found: Sequence[Endpoint], count: int, view: View) -> list[Write]:
    """`found`: the first of those that are shown, `count`: how many there are."""
    labels = {
        **meta.labels(service),
        well_known.ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGER,
        **({well_known.HEADLESS_LABEL: ""} if service_kind.is_headless(service) else {}),
    }
    wanted = {"apiVersion": "v1", "kind": "Endpoints", "subsets": subsets_of(found)}
    there = view.get(ENDPOINTS, meta.namespace(service), meta.name(service))
    said = dict(meta.annotations(there)) if there is not None else {}
    annotations = {key: value for key, value in said.items() if key != well_known.OVER_CAPACITY_ANNOTATION}
    if count > ADDRESSES_MAX:
        annotations[well_known.OVER_CAPACITY_ANNOTATION] = "truncated"
    about = {"labels": labels, **({"annotations": annotations} if annotations or said else {})}
    if there is None:
        metadata = {"name": meta.name(service), "namespace": meta.namespace(service), **about}
        return [actions.Create({**wanted, "metadata": metadata})]
    is_said = meta.labels(there) == labels and said == annotations
    if is_said and (there.get("subsets") or []) == wanted["subsets"]:
        return []
    return [actions.Update({**wanted, "metadata": {**there["metadata"], **about}})]


# EndpointSlice


def _slice_writes(service: Object, kept: Behind) -> list[Write]:
    """The writes of slices that say something else than is so, and of those that take pods which are in none."""
    if not kept.endpoints:
        return _written(service, [], kept.slices, kept.slices)
    chosen = dict.fromkeys(kept.wrong_slices())
    left = len(kept.unplaced)
    for name, room in kept.with_room((name for name in kept.slices if name not in chosen), SLICE_ENDPOINTS_MAX):
        if left <= 0:
            break
        chosen[name] = None
        left -= room
    said = [uid for name in chosen for uid in kept.said[name] if kept.place(uid) in chosen]
    uids = dict.fromkeys([*said, *kept.unplaced])
    found = sorted((kept.endpoints[uid] for uid in uids if uid in kept.endpoints), key=lambda one: one.order)
    if not found:
        return [actions.Delete(kept.slices[name]) for name in chosen]
    return _written(service, found, {name: kept.slices[name] for name in sorted(chosen)}, kept.slices)


def _written(
    service: Object, found: Sequence[Endpoint], there: Mapping[str, Object], taken: Iterable[str]
) -> list[Write]:
    """The writes that make of the slices that are `there` those of the endpoints found."""
    old = dict(there)
    steps: list[Write] = []
    for slice_ in slices_of(service, found, [there[name] for name in sorted(there)], taken):
        before = old.pop(meta.name(slice_), None)
        if before is None:
            steps.append(actions.Create(slice_))
        elif _says(before) != _says(slice_):
            kept = {**before["metadata"], **slice_["metadata"]}
            steps.append(actions.Update({**slice_, "metadata": kept}))
    return [*steps, *(actions.Delete(slice_) for slice_ in old.values())]


def _says(slice_: Object) -> tuple[Any, ...]:
    owners = [owner["uid"] for owner in slice_["metadata"].get("ownerReferences") or ()]
    return (
        owners,
        meta.labels(slice_),
        slice_.get("addressType"),
        [*meta.parts(slice_, "endpoints")],
        [*meta.parts(slice_, "ports")],
    )


def slices_of(
    service: Object, found: Sequence[Endpoint], there: Sequence[Object] = (), taken: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """The slices of a service: one or more for each set of ports and family of addresses, by those that are `there`.

    A pod that is in a slice stays there; others fill up what has room, and then new ones, whose names nobody has taken.
    """
    make = Maker(service)
    names = _free_names(service, [*taken, *map(meta.name, there)])
    slices: list[dict[str, Any]] = []
    for ports, members in (_groups(found) or {(): []}).items():
        for family in ("IPv4", "IPv6"):
            of_family = [endpoint for endpoint in members if endpoint.family == family]
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
        meta.part(endpoint, "targetRef").get("uid"): number
        for number, slice_ in enumerate(there)
        for endpoint in meta.parts(slice_, "endpoints")
    }
    parts: list[list[Endpoint]] = [[] for _ in there]
    new: list[Endpoint] = []
    for endpoint in members:
        number = where.get(endpoint.target["uid"])
        (new if number is None else parts[number]).append(endpoint)
    filled: list[tuple[str, list[Endpoint]]] = []
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


def _free_names(service: Object, taken: Iterable[str]) -> Iterator[str]:
    taken = dict.fromkeys(taken)
    for number in itertools.count():
        name = f"{meta.name(service)}-{number}"
        if name not in taken:
            yield name


def _forget(namespace: str, name: str, view: View) -> list[actions.Action]:
    """What we made for a service that is gone. The slices go by their owner; Endpoints never had one."""
    there = view.get(ENDPOINTS, namespace, name)
    if there is None or meta.labels(there).get(well_known.ENDPOINTS_MANAGED_BY_LABEL) != ENDPOINTS_MANAGER:
        return []
    return [actions.Delete(there)]


def shown_of(obj: Object) -> Any:
    """What of an object counts here: of a pod, what services show, of a node its zone."""
    if obj["kind"] == NODES.kind:
        return meta.labels(obj).get(well_known.ZONE_LABEL)
    if obj["kind"] != "Pod":
        return obj["metadata"].get("resourceVersion")
    return replace(read(obj), pod={}), meta.labels(obj)


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The services that select the pod."""
    labels, namespace = meta.labels(pod), meta.namespace(pod)
    for label, value in labels.items():
        for service in view.by_index(SERVICES, "selector", label_mark(namespace, label, value)):
            if service["spec"]["selector"].items() <= labels.items():
                yield meta.key(service)


def keys_of_slice(slice_: Object, view: View) -> Iterable[str]:
    managed_by = meta.labels(slice_).get(well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL)
    if managed_by == MANAGER and (service := endpoint_slice.service_of(slice_)):
        yield service


def keys_of_node(node: Object, view: View) -> Iterable[str]:
    """All services that select pods, of a node that is in a zone."""
    if well_known.ZONE_LABEL in meta.labels(node):
        yield from (meta.key(service) for service in view.list(SERVICES) if meta.get(service, "spec", "selector"))


CONTROLLERS = (
    Controller(
        name="endpoints",
        component="endpoint-controller",
        watches=(
            (SERVICES, own_key),
            (PODS, keys_of_pod),
            (ENDPOINTS, own_key),
            (ENDPOINTSLICES, keys_of_slice),
            (NODES, keys_of_node),
        ),
        reconcile=reconcile,
        sees=shown_of,
    ),
)
