"""A live copy of one resource: list once, then watch from the list's revision for ever.

A `Reflector` lists and watches. A watch that ends or breaks is resumed from the last revision seen (bookmarks move it
too); one that answers 410 leads to a new list. An `Informer` is one that fills a cache with what it is told, and sets
`synced`; how a new list differs from the cache is told like changes. Readers get decoded, frozen objects; callbacks are
told (old, new) after the cache has changed, and must be quick: they queue a key and return.

Invariants: the cache is always one state the server had, or on the way from one to the next; `revision` never says
more than the cache holds; nothing polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from petset.base import tasks
from petset.client.client import Client
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

log = logging.getLogger("petset.informer")

Change = Callable[[Object | None, Object | None], None]  # (old, new): None before it existed or after it is gone.
Index = Callable[[Object], Iterable[str]]
Keep = Callable[[Object], Object]  # With its name, namespace, uid and resourceVersion at least.
RECONNECT_SECONDS_MAX = 5.0
ENDED_AT_ONCE = 256  # Objects, before the loop goes on.
Fact = TypeVar("Fact")
Cached = dict[str, Object]  # By key: "namespace/name", or "name".


class Members:
    """Objects by key; those read in key order are sorted only after a key came that was not there."""

    __slots__ = ("_is_sorted", "_last", "_objects")

    def __init__(self) -> None:
        self._objects: Cached = {}
        self._is_sorted, self._last = True, ""

    def __len__(self) -> int:
        return len(self._objects)

    def put(self, key: str, obj: Object) -> None:
        if key not in self._objects:
            self._is_sorted = self._is_sorted and key >= self._last
            self._last = max(self._last, key)
        self._objects[key] = obj

    def remove(self, key: str) -> None:
        self._objects.pop(key, None)

    def in_order(self) -> list[Object]:
        if not self._is_sorted:
            self._objects = dict(sorted(self._objects.items()))
            self._is_sorted = True
        return list(self._objects.values())


NOBODY = Members()
Groups = dict[str, Members]


class Facts(Generic[Fact]):
    """What a pure function says of cached objects, once a version of each."""

    __slots__ = ("_function", "_known", "_objects")

    def __init__(self, function: Callable[[Object], Fact], objects: Cached):
        self._function, self._objects = function, objects
        self._known: dict[int, Fact] = {}  # By the identity of an object that is in the cache.

    def of(self, obj: Object) -> Fact:
        fact = self._known.get(id(obj))
        if fact is None:
            fact = self._function(obj)
            if self._objects.get(meta.key(obj)) is obj:  # Another's identity may be taken over when it is gone.
                self._known[id(obj)] = fact
        return fact

    def forget(self, obj: Object) -> None:
        self._known.pop(id(obj), None)


class Cache:
    """Objects of one resource by key, with indices; what reconcilers and policies read.

    An index is built when it is first asked for, and kept from then on: nobody pays for those that nobody reads.
    """

    def __init__(self, resource: Kind, indices: Mapping[str, Index] | None = None):
        self.resource = resource
        self._objects: Cached = {}
        self._all = Members()
        self._indices: dict[str, Index] = {NAMESPACE_INDEX: _namespaces, **(indices or {})}
        self._indexed: dict[str, Groups] = {}  # Those somebody asked for.
        self._followers: dict[str, dict[str, list[Change]]] = {}  # By index and value.
        self._facts: dict[Callable[[Object], Any], Facts[Any]] = {}

    def get(self, namespace: str, name: str) -> Object | None:
        return self._objects.get(f"{namespace}/{name}" if namespace else name)

    def list(self, namespace: str = "") -> list[Object]:
        """In key order."""
        return self.by_index(NAMESPACE_INDEX, namespace) if namespace else self._all.in_order()

    def by_index(self, index: str, value: str) -> list[Object]:
        """Those the index's function gave this value for, in key order."""
        return self._groups(index).get(value, NOBODY).in_order()

    def count(self, index: str, value: str) -> int:
        return len(self._groups(index).get(value, NOBODY))

    def follow(self, index: str, value: str, change: Change) -> Callable[[], None]:
        """Tell of those the index gives this value for: now (None, object) of each, then (old, new) of every change,
        None where it was not or is no longer among them; until what is returned is called."""
        for obj in self.by_index(index, value):
            change(None, obj)
        followers = self._followers.setdefault(index, {})
        followers.setdefault(value, []).append(change)

        def stop() -> None:
            followers[value].remove(change)
            if not followers[value]:
                del followers[value]

        return stop

    def facts(self, function: Callable[[Object], Fact]) -> Facts[Fact]:
        """A pure function of this cache's objects, computed once for each version of each. It never answers None."""
        found = self._facts.get(function)
        if found is None:
            found = self._facts[function] = Facts(function, self._objects)
        return found

    def __len__(self) -> int:
        return len(self._objects)

    def put(self, obj: Object) -> Object | None:
        """Set it; the version that was there."""
        key = meta.key(obj)
        old = self._objects.get(key)
        self._objects[key] = obj
        self._all.put(key, obj)
        for index, groups in self._indexed.items():
            function = self._indices[index]
            values = dict.fromkeys(function(obj))
            before = dict.fromkeys(function(old)) if old is not None else {}
            _drop(groups, [value for value in before if value not in values], key)
            for value in values:
                members = groups.get(value)
                if members is None:
                    members = groups[value] = Members()
                members.put(key, obj)
            if followers := self._followers.get(index):
                _tell(followers, before, old, values, obj)
        if old is not None:
            self._forget(old)
        return old

    def remove(self, key: str) -> Object | None:
        old = self._objects.pop(key, None)
        if old is None:
            return None
        self._all.remove(key)
        for index, groups in self._indexed.items():
            before = dict.fromkeys(self._indices[index](old))
            _drop(groups, before, key)
            if followers := self._followers.get(index):
                _tell(followers, before, old, {}, None)
        self._forget(old)
        return old

    def _groups(self, index: str) -> Groups:
        groups = self._indexed.get(index)
        if groups is None:
            function = self._indices[index]
            groups = Groups()
            for obj in self._all.in_order():
                for value in dict.fromkeys(function(obj)):
                    groups.setdefault(value, Members()).put(meta.key(obj), obj)
            self._indexed[index] = groups
        return groups

    def _forget(self, old: Object) -> None:
        for facts in self._facts.values():
            facts.forget(old)


NAMESPACE_INDEX = "namespace"


def _namespaces(obj: Object) -> Iterable[str]:
    return (meta.namespace(obj),)


def _tell(
    followers: Mapping[str, Sequence[Change]],
    before: Mapping[str, None],
    old: Object | None,
    after: Mapping[str, None],
    new: Object | None,
) -> None:
    for value in (*before, *(value for value in after if value not in before)):
        for change in followers.get(value, ()):
            change(old if value in before else None, new if value in after else None)


def _drop(groups: Groups, values: Iterable[str], key: str) -> None:
    for value in values:
        members = groups.get(value)
        if members is not None:
            members.remove(key)
            if not members:
                del groups[value]


class Reflector:
    """Lists one resource and watches it from there, for ever; who inherits says what becomes of what it is told."""

    def __init__(self, client: Client, resource: Kind, namespace: str = "", selectors: tuple[str, str] = ("", "")):
        """`selectors`: of labels and of fields."""
        self.resource = resource
        self._client, self._namespace, self._selectors = client, namespace, selectors
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.revision = ""  # The resourceVersion up to which all was told; "": nothing was, and all is listed next.
        self.trouble = "nothing was read yet"  # Why it cannot be read since the last time that it could; "": it can.

    async def run(self) -> None:
        """Until cancelled."""
        backoff = tasks.Backoff(first=0.05, most=RECONNECT_SECONDS_MAX)
        while True:
            try:
                if not self.revision:
                    await self._list()
                await self._follow(backoff)
            except errors.ApiError as error:
                if error.code == 410:
                    self.revision = ""
                self._lose(error.message)
            except OSError as error:
                self._lose(str(error))
            # A watch's end is normal and resumed almost at once; one that ends again and again without a word is not.
            await asyncio.sleep(backoff.next())

    async def until(self, true: Callable[[], bool]) -> None:
        """Return when the condition holds; it is looked at after every list, change and bookmark."""
        if true():
            return
        entry = (true, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await entry[1]
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    async def _list(self) -> None:
        await self._read_all()
        self._look_again()

    async def _read_all(self) -> None:
        """And set `revision`."""
        raise NotImplementedError

    def _told(self, type_: str, obj: Object) -> None:
        """Of an event of the watch; set `revision`."""
        raise NotImplementedError

    def _opened(self) -> None:
        """The watch is granted."""
        self.trouble = ""

    def _lose(self, why: str) -> None:
        """It cannot be read."""
        if why != self.trouble:  # Whoever is away for long is told of once.
            log.info("cannot watch %s: %s", self.resource.plural, why)
        self.trouble = why

    async def _follow(self, backoff: tasks.Backoff) -> None:
        watch = self._client.watch(self.resource, self._namespace, self.revision, *self._selectors, opened=self._opened)
        async with contextlib.aclosing(watch) as events:
            async for type_, obj in events:
                backoff.reset()
                self._told(type_, obj)
                self._look_again()
                del obj  # While it waits for the next one.

    def _look_again(self) -> None:
        for entry in list(self._waiting):
            true, future = entry
            if not future.done() and true():
                future.set_result(None)
                self._waiting.remove(entry)


class Informer(Reflector, Cache):
    def __init__(
        self,
        client: Client,
        resource: Kind,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        indices: Mapping[str, Index] | None = None,
        keep: Keep | None = None,
        piece: int = 0,
    ):
        """`keep` says what of an object is kept, `piece` by how many the list is read (0: all at once)."""
        Cache.__init__(self, resource, indices)
        Reflector.__init__(self, client, resource, namespace, (label_selector, field_selector))
        self._keep, self._piece = keep, piece
        self._callbacks: list[Change] = []
        self.synced = asyncio.Event()

    def on_change(self, callback: Change) -> None:
        """Call it for every change from now on; for what is cached already it is called at once as (None, object)."""
        self._callbacks.append(callback)
        for obj in self.list():
            callback(None, obj)

    def has_seen(self, revision: str | int) -> bool:
        """Whether the cache includes the write with this resourceVersion."""
        return self.revision.isdigit() and int(self.revision) >= int(revision)

    async def end(self, told: bool) -> None:
        """After `run`: what was known of the objects goes, `told` of or not, and nobody waits any more."""
        for number, key in enumerate(sorted(self._objects), 1):
            old = self.remove(key)
            if told:
                self._changed(old, None)
            if number % ENDED_AT_ONCE == 0:
                await asyncio.sleep(0)
        self.synced.set()
        for _, future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def _read_all(self) -> None:
        listed: Cached = {}
        pieces = self._client.pieces(self.resource, self._namespace, *self._selectors, self._piece)
        revision = ""
        async with contextlib.aclosing(pieces):
            async for items, of_all in pieces:
                listed |= {meta.key(item): self._kept(item) for item in items}
                revision = of_all
        gone = [key for key in self._objects if key not in listed]
        for key in sorted(gone):
            self._changed(self.remove(key), None)
        for key, item in listed.items():
            old = self._objects.get(key)
            if old is None or old["metadata"].get("resourceVersion") != item["metadata"].get("resourceVersion"):
                self._changed(self.put(item), item)
        self.revision, self.trouble = revision, ""
        self.synced.set()

    def _told(self, type_: str, obj: Object) -> None:
        old = None
        if type_ == "DELETED":
            old = self.remove(meta.key(obj))
        elif type_ != "BOOKMARK":
            obj = self._kept(obj)
            old = self.put(obj)
        self.revision = obj["metadata"]["resourceVersion"]
        if type_ == "DELETED":
            # It may come twice after a resumed watch; a callback hears of it once.
            if old is not None:
                self._changed(old, None)
        elif type_ != "BOOKMARK":
            self._changed(old, obj)

    def _kept(self, obj: Object) -> Object:
        return obj if self._keep is None else self._keep(obj)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        for callback in self._callbacks:
            callback(old, new)
