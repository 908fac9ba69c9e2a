"""API servers that keep their objects in the world's cluster (kept/store.py), and what must hold of all of them.

A `Replica` is a store that lives off the world's server over a link in the world's weather, is killed and comes back.
The `Ledger` sees the cluster's own order of changes, and holds what replicas answer against it.

The laws: what was acknowledged is there, at the revision that was answered; a write that was refused, by a conflict or
because the cluster was not to be had, is never there, not even later; a read that was fresh shows everything that was
there when it was asked for; a watch tells every change after its revision, in order, none twice, or ends with Expired.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from petset import cluster
from petset.client.client import Client
from petset.kept.store import KeptStore
from petset.kinds import stored_pet_set
from petset.kinds.pet_set import PETSETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.store import store as stores
from petset.wire import http
from petset.world.process import Process
from petset.world.world import World

HOME = "petset-system"
USER = http.User("system:serviceaccount:petset-system:petset", ("system:masters",))
_STORED = f"{stored_pet_set.STORED_PETSETS.key()}{HOME}/"
VALUE = "world/value"  # An annotation that says which write it was: no two writes have the same.


def pet_set(name: str, value: str) -> Object:
    metadata = {"name": name, "namespace": "default", "uid": value, "annotations": {VALUE: value}}
    return {"apiVersion": PETSETS.api_version, "kind": PETSETS.kind, "metadata": metadata, "spec": {"replicas": 0}}


def value_of(obj: Object) -> str:
    return meta.part(obj, "metadata", "annotations")[VALUE]


@dataclass(frozen=True, slots=True)
class Told:
    """A change in the cluster's own order."""

    type: str
    key: str
    revision: int
    value: str


def told(change: stores.Change) -> Told:
    return Told(change.type, change.entry.key, change.revision, value_of(change.entry.object))


class Ledger:
    """All changes of what replicas keep, as the cluster has made them, and what replicas said of them."""

    def __init__(self, world: World):
        self._world, self.changes = world, list[Told]()
        self._by_revision: dict[int, Told] = {}
        self._values: dict[str, None] = {}  # Of all that was ever there.
        self._refused: dict[str, str] = {}  # Of writes that were, and how.
        self._now: dict[str, int] = {}  # Where each key is.
        before = world.server.store.saw

        def saw(change: stores.Change) -> None:
            before(change)
            self._saw(change)

        world.server.store.saw = saw

    def _saw(self, change: stores.Change) -> None:
        if not change.entry.key.startswith(_STORED):
            return
        kept = stored_pet_set.read(change.entry.object)
        if kept is None:
            self._world.laws.breaks(f"{change.entry.key} is unreadable")
            return
        this = Told(change.type, kept.key, kept.revision, value_of(kept.obj))
        self.changes.append(this)
        self._by_revision[this.revision] = this
        self._values[this.value] = None
        if this.type == "DELETED":
            del self._now[this.key]
        else:
            self._now[this.key] = this.revision
            if how := self._refused.get(this.value):
                self._world.laws.breaks(f"{this.key} is {this.value}, whose write was refused: {how}")

    def at(self, key: str) -> int:
        """The revision that a key is at; 0 when it is nowhere."""
        return self._now.get(key, 0)

    def acknowledges(self, who: str, entry: stores.Entry, *, deleted: bool) -> None:
        """A deletion may be answered with a later revision than its own, of a list that came in its place."""
        if deleted:
            value = value_of(entry.object)
            if not any(one.type == "DELETED" and one.value == value and one.key == entry.key for one in self.changes):
                self._world.laws.breaks(
                    f"{who} acknowledged the deletion of {entry} with {value}, which is still there"
                )
            return
        this = self._by_revision.get(entry.revision)
        if this is None or this.key != entry.key or this.type == "DELETED" or this.value != value_of(entry.object):
            self._world.laws.breaks(f"{who} acknowledged {entry} with {value_of(entry.object)}, and there it is {this}")

    def refuses(self, who: str, value: str, how: str) -> None:
        self._refused[value] = how
        if value in self._values:
            self._world.laws.breaks(f"{who} refused {value}, which is there: {how}")

    def shows(self, who: str, key: str, found: stores.Entry | None, asked_at: int, newest_then: int) -> None:
        """A fresh read of a key, which was at a revision when it was asked for, as the cluster was at `newest_then`."""
        is_old = found is not None and found.revision < asked_at
        is_gone = found is not None and not asked_at and found.revision <= newest_then
        is_missing = found is None and asked_at and self._now.get(key) == asked_at
        if is_old or is_gone or is_missing:
            self._world.laws.breaks(f"{who} shows {found} of {key}, which was at {asked_at} before it was asked")

    def watched(self, who: str, since: int, seen: Sequence[Told]) -> None:
        """What one watch told after a revision, from its beginning."""
        until = seen[-1].revision if seen else since
        made = [change for change in self.changes if since < change.revision <= until]
        if list(seen) != made:
            missing = [change for change in made if change not in seen]
            self._world.laws.breaks(f"{who} told {len(seen)} changes after {since} and not these: {missing[:3]}")


class Replica:
    """One API server's store, through all its lives."""

    def __init__(self, world: World, ledger: Ledger, name: str):
        self.name = name
        self._ledger = ledger
        self.store: KeptStore | None = None  # None while it is down.
        self.process = Process(world, cluster.Program(name, USER, self._main, "petset"))
        self.process.on_death = self._died

    async def _main(self, client: Client) -> None:
        store = self.store = KeptStore(client, HOME, history_changes_max=50)
        async with asyncio.TaskGroup() as group:
            group.create_task(store.keep(), name=f"{self.name} follows")
            group.create_task(self._watching(store), name=f"{self.name} is watched")

    def _died(self) -> None:
        self.store = None

    async def _watching(self, store: KeptStore) -> None:
        """Somebody who watches all there is, lists again when he has to, and is slow now and then."""
        await store.ready()
        while True:
            since, seen = store.revision, list[Told]()
            with contextlib.suppress(stores.Expired), store.watch(PETSETS.key(), since) as watch:
                async for change in watch:
                    seen.append(told(change))
                    self._ledger.watched(self.name, since, seen)
            await asyncio.sleep(1)
