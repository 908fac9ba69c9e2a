"""Keeps nftables as the cluster's objects are: one program of an instance for all of its nodes.

A change of a Service or of its EndpointSlices marks the Service, a node that comes to another zone marks all; when the
last script is in force, the parts of all that are marked are made anew and what differs goes to nft at once
(ruleset.py). What is in force when it begins is replaced as a whole in one step: connections go on, whatever a killed
petset has left. When nft refuses a change, because somebody took the table away, the whole is made once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from petset.base import tasks, well_known
from petset.base.networks import NetworkError
from petset.client import views
from petset.client.client import Client
from petset.client.views import Informers
from petset.kinds import service as service_kind
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.node import NODES
from petset.kinds.service import SERVICES
from petset.node.network import conntrack, nftables, ruleset, services
from petset.node.network.health_ports import HealthPorts
from petset.objects import meta
from petset.objects.meta import Object

LOOKED_AT_AT_ONCE = 32  # Services, or pods, before the loop goes on.
SERVICE_OF = views.indices_of(ENDPOINTSLICES)["service"]


async def run(client: Client, place: services.Place, ready: asyncio.Event | None = None) -> None:
    """Until cancelled; `ready` is set when the rules are in force for the first time."""
    view = Informers(client)
    async with asyncio.TaskGroup() as group:
        health = HealthPorts(group, {name: node.gateway for name, node in place.nodes.items()})
        kept = Services(view, place, health)
        changes = Changes()
        view.of(SERVICES).on_change(lambda old, new: changes.mark(_key(old, new)))
        view.of(ENDPOINTSLICES).on_change(lambda old, new: changes.mark(*_services_of(old, new)))
        view.of(NODES).on_change(lambda old, new: changes.mark(*kept.node_changed(new or old or {}, new is not None)))
        tasks.spawn(group, view.run(), "informers of the proxy")
        await view.synced()
        thread = tasks.Thread("petset-nftables")
        try:
            await keep(thread, kept.table, changes, kept.update, kept.after, ready)
        finally:
            thread.close()


class Changes:
    """The keys that are to be looked at."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._some = asyncio.Event()

    def mark(self, *keys: str) -> None:
        self._keys.update(dict.fromkeys(keys))
        if self._keys:
            self._some.set()

    async def some(self) -> None:
        """Return when there are any."""
        await self._some.wait()

    async def taken(self) -> list[str]:
        """Some, once there are any."""
        await self._some.wait()
        self._some.clear()
        taken, self._keys = list(self._keys), {}
        return taken


async def keep(
    thread: tasks.Thread,
    table: ruleset.Table,
    changes: Changes,
    update: Callable[[Iterable[str]], Awaitable[None]],
    after: Callable[[], Callable[[], object] | None],
    ready: asyncio.Event | None,
) -> None:
    """Put the table in force, and what changes in it, for ever. `update` gives the table the parts of keys; `after`
    says what is to be done, in the thread, when they are in force."""
    in_force = False

    async def attempt() -> None:
        nonlocal in_force
        script = table.changes() if in_force else table.whole()
        why = await thread.call(nftables.apply, script) if script else ""
        in_force = not why
        if why:
            raise NetworkError(why)
        table.done()

    changes.mark("")  # Also where there is nothing: the table is there.
    while True:
        await update([key for key in await changes.taken() if key])
        await tasks.retrying(f"put the rules of {table.name} in force", attempt, NetworkError)
        if (work := after()) is not None:
            with tasks.best_effort("forget connections to endpoints that are gone"):
                await thread.call(work)
        if ready is not None:
            ready.set()


async def in_pieces(keys: Iterable[str], look_at: Callable[[str], None]) -> None:
    """Each key, and the loop goes on in between. What changes meanwhile is marked, and looked at the next time."""
    for number, key in enumerate(keys, 1):
        look_at(key)
        if number % LOOKED_AT_AT_ONCE == 0:
            await asyncio.sleep(0)


class Services:
    """The table of Services' addresses, over the live copies."""

    def __init__(self, view: Informers, place: services.Place, health: HealthPorts):
        self.table = services.table(place)
        self._view, self._place, self._health = view, place, health
        self._ways: dict[str, frozenset[services.Way]] = {}
        self._gone: dict[services.Way, None] = {}

    async def update(self, keys: Iterable[str]) -> None:
        await in_pieces(keys, self._look_at)

    def node_changed(self, node: Object, is_there: bool) -> Iterable[str]:
        """The Services to look at: all when a node has come to another zone."""
        name, zones = meta.name(node), self._place.zones
        zone = meta.labels(node).get(well_known.ZONE_LABEL, "") if is_there else ""
        if name not in self._place.nodes or zones.get(name, "") == zone:
            return ()
        self._place = replace(self._place, zones={**zones, name: zone})
        return [meta.key(service) for service in self._view.list(SERVICES)]

    def _look_at(self, key: str) -> None:
        service = self._view.get(SERVICES, *meta.split_key(key))
        slices = self._view.by_index(ENDPOINTSLICES, "service", key)
        self.table.put(key, services.part(service, slices, self._place))
        self._health.tell(key, service_kind.health_port(service), services.ready_on(slices))
        ways = services.datagram_ways(service, slices, self._place)
        before = self._ways.pop(key, frozenset[services.Way]())
        self._gone.update(dict.fromkeys(sorted(before - ways)))
        if ways:
            self._ways[key] = ways

    def after(self) -> Callable[[], object] | None:
        gone, self._gone = self._gone, {}
        return (lambda: conntrack.forget(gone)) if gone else None


def _key(old: Object | None, new: Object | None) -> str:
    return meta.key(new or old or {})


def _services_of(old: Object | None, new: Object | None) -> Mapping[str, None]:
    """The Services whose slice it is or was."""
    return dict.fromkeys(key for one in (old, new) if one is not None for key in SERVICE_OF(one))
