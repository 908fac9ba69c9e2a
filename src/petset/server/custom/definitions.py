"""CustomResourceDefinitions at work: their kinds come into the catalog and go, and their statuses say so.

`load` reads them at the start, before anybody is served. `keep` follows them in the store: a change says only "look at
all again". Kinds are in the catalog before a status says that they are established, so whoever reads that can use
them. A definition that is deleted accepts no new objects, is emptied, and goes with the last of them; where an object
has finalizers it waits for whoever they belong to. Kinds of a definition that did not change stay the same objects, so
that their watches go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from petset.base import tasks, well_known
from petset.kinds.custom_resource_definition import CUSTOMRESOURCEDEFINITIONS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kind
from petset.server import rest, writes
from petset.server.custom import converting, kinds, naming
from petset.server.elsewhere import calling
from petset.server.elsewhere.service_targets import Targets
from petset.store import store as stores

REMOVED_AT_ONCE = 100
RETRY_SECONDS = 1.0


# All of a definition that its kinds depend on: its spec, accepted names, stored versions, uid, and whether it goes.
# A spec that nobody wrote is the same tree, and quickly compared.
MadeOf = tuple[Object, Object, Sequence[str], str, bool]


class Definitions:
    def __init__(self, store: stores.Store, objects: rest.Rest, catalog: Catalog, targets: Targets):
        self._store, self._rest, self._catalog = store, objects, catalog
        self._caller = calling.Caller(targets)
        self._made: dict[str, tuple[MadeOf, list[Kind]]] = {}  # By name: what the kinds were made of, and they.
        self._emptying: dict[str, None] = {}  # By uid.

    def load(self) -> None:
        """Have the kinds of all that are established."""
        self._install([(one, meta.part(one, "status")) for one in self._all()])

    async def keep(self) -> None:
        """Follow them until cancelled or the store is closed."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    with self._store.watch(CUSTOMRESOURCEDEFINITIONS.key(), self._store.revision) as watch:
                        await self._follow(watch, group)
                        return
                except stores.Expired:
                    continue  # It fell behind: look again.

    async def _follow(self, watch: stores.Watch, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                await self._look(group)
            except stores.Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if await watch.changes() is None:
                return

    def _all(self) -> list[Object]:
        """In the order in which they came."""
        found = [entry.object for entry in self._store.list(CUSTOMRESOURCEDEFINITIONS.key())[1]]
        return sorted(found, key=meta.by_age)

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """Decide all statuses, have the kinds, then tell of them."""
        definitions, decided = self._all(), dict[str, Object]()
        moment = tasks.rfc3339(tasks.now())
        own_kinds = [kind for kind in self._catalog.now if kind.custom is None]
        by_group: dict[str, list[Object]] = {}
        for definition in definitions:
            by_group.setdefault(definition["spec"]["group"], []).append(definition)
        for definition in definitions:
            api_group = definition["spec"]["group"]
            others = [
                {**one, "status": decided.get(meta.name(one), meta.part(one, "status"))}
                for one in by_group[api_group]
                if one is not definition
            ]
            names = naming.taken(api_group, own_kinds, others)
            decided[meta.name(definition)] = naming.decided(definition, names, moment)
        self._install([(one, decided[meta.name(one)]) for one in definitions])
        for definition in definitions:
            status = decided[meta.name(definition)]
            if status != definition.get("status"):
                await self._write(meta.name(definition), meta.uid(definition), status)
            if kinds.is_held(definition) and meta.uid(definition) not in self._emptying:
                self._emptying[meta.uid(definition)] = None
                tasks.spawn(group, self._empty({**definition, "status": status}), "empty a kind that goes")

    def _install(self, definitions: Sequence[tuple[Object, Object]]) -> None:
        """Have exactly the kinds of those that are established."""
        made: dict[str, tuple[MadeOf, list[Kind]]] = {}
        for definition, status in definitions:
            if not naming.is_served(definition, status):
                continue
            name = meta.name(definition)
            of = (
                definition["spec"],
                meta.part(status, "acceptedNames"),
                meta.texts(status, "storedVersions"),
                meta.uid(definition),
                meta.is_deleting(definition),
            )
            known = self._made.get(name)
            made[name] = known if known and known[0] == of else (of, self._kinds({**definition, "status": status}))
        old = [kind for _, found in self._made.values() for kind in found]
        new = [kind for _, found in made.values() for kind in found]
        self._made = made
        if old != new:
            self._catalog.replace(self._catalog.now.replacing(old, new))

    def _kinds(self, definition: Object) -> list[Kind]:
        by = converting.Converter(self._caller, definition) if converting.is_wanted(definition) else None
        return kinds.of(definition, by)

    async def _write(self, name: str, uid: str, status: Object, finalizer: str = "") -> None:
        """Write what is decided of its status, and take a finalizer away; nothing when it is gone or another."""

        def make(old: Object) -> tuple[Object, tuple[()]]:
            if meta.uid(old) != uid:
                return old, ()
            kept = [one for one in meta.texts(old, "metadata", "finalizers") if one != finalizer]
            metadata = meta.changed(old["metadata"], ("finalizers",), kept)
            metadata = metadata if kept else meta.without(metadata, ("finalizers",))
            decided = {key: status[key] for key in ("acceptedNames", "conditions") if key in status}
            return {**old, "metadata": metadata, "status": {**meta.part(old, "status"), **decided}}, ()

        write = writes.by_server(writes.UPDATE, CUSTOMRESOURCEDEFINITIONS, "", name, is_decided=True)
        try:
            await self._rest.change(write, make)
        except errors.ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _empty(self, definition: Object) -> None:
        """Remove all of its objects, then let it go."""
        name, uid = meta.name(definition), meta.uid(definition)
        served = kinds.of(definition) if naming.is_served(definition, meta.part(definition, "status")) else []
        moment = tasks.rfc3339(tasks.now())
        try:
            if served:
                await self._emptied(served[0])
                told = (False, "InstanceDeletionCompleted", "removed all instances")
            else:
                told = (False, "NeverEstablished", "resource was never established")
            status = naming.ending(definition, *told, moment)
            await self._write(name, uid, status, well_known.CUSTOM_RESOURCE_CLEANUP_FINALIZER)
        finally:
            self._emptying.pop(uid, None)

    async def _emptied(self, kind: Kind) -> None:
        """Until there is none left."""
        while True:
            try:
                with self._store.watch(kind.key(), self._store.revision) as watch:
                    while True:
                        entries = self._store.list(kind.key())[1]
                        if not entries:
                            return
                        going = [entry for entry in entries if not meta.is_deleting(entry.object)]
                        await tasks.side_by_side(
                            going, lambda entry: self._remove(kind, entry), REMOVED_AT_ONCE, "remove one of a kind"
                        )
                        if not going and await watch.changes() is None:
                            return
            except stores.Expired:
                continue
            except stores.Unavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def _remove(self, kind: Kind, entry: stores.Entry) -> None:
        metadata = entry.object["metadata"]
        write = writes.by_server(writes.DELETE, kind, metadata.get("namespace") or "", metadata["name"])
        try:
            await self._rest.remove(write)
        except errors.ApiError as error:
            if error.code not in (404, 409):
                raise
