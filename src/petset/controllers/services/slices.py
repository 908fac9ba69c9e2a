"""EndpointSlices of every service with a selector: who is behind it, a hundred pods each.

A pod stays in the slice it is in: a change of one writes one slice, however many there are. Names and the nodes' rules
are made of slices alone, and pods wait until one shows them (node/pods/worker.py): so nothing else that is said of a
service is waited for here; endpoints.py writes Endpoints.

Invariants: endpoints are sorted by address, so equal pods give equal slices; nothing is written that says the same; a
service without a selector is left to whoever made its slices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.controllers.services import behind, seen, topology
from petset.controllers.services.behind import Behind
from petset.controllers.services.seen import Endpoint
from petset.kinds import endpoint_slice
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES, is_shared_by_zones
from petset.objects import meta
from petset.objects.meta import Object

SLICE_ENDPOINTS_MAX = 100
REST_SECONDS_OF_EACH = 0.0003  # A write costs by who is in it: the more, the more changes the next one gathers.
REST_SECONDS_MIN = 0.015

Write = actions.Create | actions.Update | actions.Delete


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The writes that make the slices of one service say who is behind it."""
    kept = behind.of(key, view)
    if kept is None:
        return []  # They go by their owner, the service.
    events = _shared_out(kept, view.kept(topology.Shares, "")) if is_shared_by_zones(kept.service) else []
    writes = _writes(kept)
    written = sum(len(step.object["endpoints"]) for step in writes if not isinstance(step, actions.Delete))
    seconds = REST_SECONDS_OF_EACH * written
    steps = [*writes, *events]
    return [*steps, actions.Rest(seconds)] if seconds > REST_SECONDS_MIN else steps


def _shared_out(kept: Behind, shares: topology.Shares) -> list[actions.Action]:
    """Have each endpoint be for a zone, or none of them; what is to be told of it, once."""
    ready = sorted((one.order, uid, one.zone) for uid, one in kept.endpoints.items() if one.ready)
    had, told_before = kept.has_hints(), kept.told
    try:
        kept.share(topology.hints([(uid, zone) for _, uid, zone in ready], shares.by_zone()))
        kept.told = ""
    except topology.NoHints as why:
        kept.share({})
        kept.told = f"Endpoints are not shared out among zones: {why}"
        told = actions.EmitEvent(kept.service, "Warning", topology.DISABLED, kept.told)
        return [told] if kept.told != told_before else []
    message = "Endpoints are shared out among zones by their CPUs"
    return [] if had else [actions.EmitEvent(kept.service, "Normal", topology.ENABLED, message)]


def _writes(kept: Behind) -> list[Write]:
    """The writes of slices that say something else than is so, and of those that take pods which are in none."""
    if not kept.endpoints:
        return _written(kept.service, [], kept.slices, kept.slices)
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
    return _written(kept.service, found, {name: kept.slices[name] for name in sorted(chosen)}, kept.slices)


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
    make = seen.Maker(service)
    names = _free_names(service, [*taken, *map(meta.name, there)])
    slices: list[dict[str, Any]] = []
    for ports, members in (seen.by_ports(found) or {(): []}).items():
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


def keys_of_slice(slice_: Object, view: View) -> Iterable[str]:
    if seen.is_ours(slice_) and (service := endpoint_slice.service_of(slice_)):
        yield service


CONTROLLERS = (
    Controller(
        name="endpointslices",
        component="endpoint-slice-controller",
        watches=(
            (SERVICES, own_key),
            (PODS, behind.keys_of_pod),
            (ENDPOINTSLICES, keys_of_slice),
            (NODES, behind.keys_of_node),
        ),
        reconcile=reconcile,
        sees=behind.shown_of,
    ),
)
