"""Who is behind one service, kept as its pods and its slices change.

`Behind` holds a service's endpoints (seen.py) in the order of their addresses, and which slices say something else of
their pods than is so: all that is looked at when one pod of thousands has changed. What else stands here says which
changes concern which services.

Invariant: it is always what it would be if it were made anew (tests/controllers/services/test_slices.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from petset.base import well_known
from petset.client.informer import NAMESPACE_INDEX
from petset.client.views import View, label_mark
from petset.controllers.services import seen, topology
from petset.controllers.services.seen import Endpoint, Port
from petset.kinds import pod_phase
from petset.kinds import service as service_kind
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object

ADDRESSES_MAX = 1000  # Of all Endpoints of a service.


class Zones:
    """Which zone each node is in, by their names: `of` is another mapping when it has changed."""

    def __init__(self, view: View):
        self.of = seen.NO_ZONES
        self._stop = view.follow(NODES, NAMESPACE_INDEX, "", self._changed)

    def close(self) -> None:
        self._stop()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        node = new or old
        assert node is not None  # What was and is not is no change.
        name = meta.name(node)
        zone = meta.labels(new).get(well_known.ZONE_LABEL, "") if new is not None else ""
        if self.of.get(name, "") != zone:
            others = {known: its for known, its in self.of.items() if known != name}
            self.of = {**others, name: zone} if zone else others


def about(service: Object) -> Object:
    """What of a service its endpoints depend on."""
    given = service["metadata"]
    metadata = {key: value for key, value in given.items() if key not in ("resourceVersion", "managedFields")}
    return {key: service.get(key) for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}


def of(key: str, view: View) -> Behind | None:
    """Who is behind the service with this key; None for one that is gone, and for one that selects nobody."""
    service = view.get(SERVICES, *meta.split_key(key))
    if service is None or meta.is_deleting(service) or not _selects(service):
        view.forget(Behind, key)
        return None
    return view.kept(Behind, key, about(service), view.kept(Zones, "").of)


def _selects(service: Object) -> bool:
    return bool(meta.part(service, "spec", "selector")) and meta.get(service, "spec", "type") != "ExternalName"


# Which changes concern which services


def shown_of(obj: Object) -> Any:
    """What of an object counts here: of a pod, what services show (`read`), of a node its zone and its part of it."""
    if obj["kind"] == NODES.kind:
        return meta.labels(obj).get(well_known.ZONE_LABEL), topology.part_of(obj)
    if obj["kind"] != PODS.kind:
        return obj["metadata"].get("resourceVersion")
    address = meta.get(obj, "status", "podIP", default="")
    if not address or pod_phase.has_ended(obj):
        return meta.labels(obj)
    spec = obj["spec"]
    placed = spec.get("hostname"), spec.get("subdomain"), spec.get("nodeName")
    return meta.labels(obj), meta.uid(obj), address, placed, meta.is_pod_ready(obj), meta.is_deleting(obj)


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The services that select the pod."""
    labels, namespace = meta.labels(pod), meta.namespace(pod)
    for label, value in labels.items():
        for service in view.by_index(SERVICES, "selector", label_mark(namespace, label, value)):
            if service["spec"]["selector"].items() <= labels.items():
                yield meta.key(service)


def keys_of_node(node: Object, view: View) -> Iterable[str]:
    """All services that select pods, of a node that is in a zone; those that zones share, of any node."""
    is_in_zone = well_known.ZONE_LABEL in meta.labels(node)
    for service in view.list(SERVICES):
        if (is_in_zone or service_kind.is_shared_by_zones(service)) and meta.get(service, "spec", "selector"):
            yield meta.key(service)


Order = tuple[int, int, str]
Shelf = tuple[tuple[Port, ...], bool]  # Ports, and whether they are not ready.
Entries = dict[str, Any]  # By the pod's uid.


class Behind:
    """The endpoints of a service, and how far its slices say so."""

    def __init__(self, view: View, service: Object, zones: Mapping[str, str]):
        self.service, self._selector = service, service["spec"]["selector"]
        self._see, self._make = seen.seer(service, zones), seen.Maker(service)
        self.endpoints: dict[str, Endpoint] = {}  # By the pod's uid; those that are behind it.
        self._shelves: dict[Shelf, list[Order]] = {}
        self._in_order: dict[Order, Endpoint] = {}
        self._first: list[Endpoint] | None = None  # What `first` said, until that changes,
        self._said_of: dict[Shelf, int] = {}  # and of how many it did, of shelves that it did not say all of.
        self.slices: dict[str, Object] = {}  # By name.
        self.said: dict[str, Entries] = {}  # By slice.
        self._where: dict[str, dict[str, None]] = {}  # The slices that name a pod, by its uid.
        self._wrong: dict[str, dict[str, None]] = {}  # By slice: the pods of which it says what is not so.
        self._askew: dict[str, None] = {}  # Slices that are not as they are made here.
        self.unplaced: dict[str, None] = {}  # Pods that are in no slice.
        self.told = ""  # Why zones do not share them.
        namespace = meta.namespace(service)
        marks = [label_mark(namespace, label, value) for label, value in self._selector.items()]
        fewest = min(marks, key=lambda mark: len(view.by_index(PODS, "label", mark)))
        stops = [
            view.follow(ENDPOINTSLICES, "service", meta.key(service), self._slice_changed),
            view.follow(PODS, "label", fewest, self._pod_changed),
        ]
        self._stops = stops

    def close(self) -> None:
        for stop in self._stops:
            stop()

    # What there is

    def first(self) -> Sequence[Endpoint]:
        """Those that Endpoints have room for: by ports the lowest addresses, of the ready before the others; who leaves
        is left. The same sequence until one of them changes."""
        if self._first is None:
            self._first, self._said_of, left = [], {}, ADDRESSES_MAX
            for shelf, orders in sorted(self._shelves.items()):
                shown = orders[:left]
                self._first += map(self._in_order.__getitem__, shown)
                left -= len(shown)
                if not left:
                    self._said_of[shelf] = len(shown)
        return self._first

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))

    def share(self, zones: Mapping[str, str]) -> None:
        """Who is for which zone, by the pod's uid; who is not named is for none."""
        for uid, endpoint in list(self.endpoints.items()):
            if endpoint.for_zone != (zone := zones.get(uid, "")):
                self._set(uid, replace(endpoint, for_zone=zone))

    def has_hints(self) -> bool:
        return any("hints" in entry for entries in self.said.values() for entry in entries.values())

    def wrong_slices(self) -> Iterator[str]:
        """The slices that have to change, and those that have nobody while there is somebody."""
        yield from self._askew
        yield from self._wrong
        if self.endpoints:
            yield from (name for name, entries in self.said.items() if not entries)

    def place(self, uid: str) -> str:
        """The slice where a pod stays, of all that name it."""
        return max(self._where[uid])

    def with_room(self, names: Iterable[str], most: int) -> Iterator[tuple[str, int]]:
        """(a slice, how many more it can have) of those that fit pods which are in none."""
        groups = dict.fromkeys((one.family, one.ports) for one in map(self.endpoints.__getitem__, self.unplaced))
        kinds = [(family, self._make.ports(ports)) for family, ports in groups]
        for name in sorted(names):
            slice_ = self.slices[name]
            room = most - len(self.said[name])
            if room > 0 and (slice_.get("addressType"), slice_.get("ports") or []) in kinds:
                yield name, room

    # Changes

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
            self._set(meta.uid(old), None)
        if new is not None:
            is_selected = self._selector.items() <= meta.labels(new).items()
            self._set(meta.uid(new), self._see(seen.read(new)) if is_selected else None)

    def _set(self, uid: str, endpoint: Endpoint | None) -> None:
        before = self.endpoints.get(uid)
        if endpoint == before:
            return
        if before is not None:
            del self.endpoints[uid]
            self._in_order.pop(before.order, None)
            if not before.is_leaving:
                orders, place = self._place(before)
                del orders[place]
        if endpoint is not None:
            self.endpoints[uid] = self._in_order[endpoint.order] = endpoint
            if not endpoint.is_leaving:
                orders, place = self._place(endpoint)
                orders.insert(place, endpoint.order)
        self._judge(uid)

    def _place(self, changing: Endpoint) -> tuple[list[Order], int]:
        """On its shelf."""
        shelf = changing.ports, not changing.ready
        orders = self._shelves.setdefault(shelf, [])
        place = bisect_left(orders, changing.order)
        if place < self._said_of.get(shelf, ADDRESSES_MAX):
            self._first = None
        return orders, place

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        touched: dict[str, None] = {}
        if old is not None and seen.is_ours(old):
            name = meta.name(old)
            del self.slices[name]
            for uid in self.said.pop(name):
                touched[uid] = None
                del self._where[uid][name]
            self._wrong.pop(name, None)
            self._askew.pop(name, None)
        if new is not None and seen.is_ours(new):
            name = meta.name(new)
            self.slices[name] = new
            entries = self.said[name] = {_uid_of(entry): entry for entry in new.get("endpoints") or ()}
            for uid in entries:
                touched[uid] = None
                self._where.setdefault(uid, {})[name] = None
            if len(entries) < len(new.get("endpoints") or ()) or not self._make.is_made_so(new):
                self._askew[name] = None
        for uid in touched:
            self._judge(uid)

    def _judge(self, uid: str) -> None:
        """What is said of one pod, where, and whether it is so."""
        endpoint, places = self.endpoints.get(uid), self._where.get(uid)
        if not places:
            self._where.pop(uid, None)
            if endpoint is not None:
                self.unplaced[uid] = None
            else:
                self.unplaced.pop(uid, None)
            return
        self.unplaced.pop(uid, None)
        last = self.place(uid)
        for name in places:
            if endpoint is not None and name == last and self._is_so(endpoint, name, self.said[name][uid]):
                wrong = self._wrong.get(name, {})
                wrong.pop(uid, None)
                if not wrong:
                    self._wrong.pop(name, None)
            else:
                self._wrong.setdefault(name, {})[uid] = None

    def _is_so(self, endpoint: Endpoint, name: str, entry: Object) -> bool:
        slice_ = self.slices[name]
        is_in_group = slice_.get("addressType") == endpoint.family
        return (
            is_in_group
            and list(meta.parts(slice_, "ports")) == self._make.ports(endpoint.ports)
            and entry == seen.slice_endpoint(endpoint)
        )


def _uid_of(entry: Object) -> str:
    return meta.part(entry, "targetRef").get("uid") or ""
