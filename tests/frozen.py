"""Objects are frozen: whoever changes one that a store or a cache holds is found, in every test.

A store's entry has the bytes that were committed, a cache's object is fingerprinted when it comes. Both are compared
with the tree as it is now when another version takes its place, when the tree is let go, and for all that is held
when the test ends. `watch` puts this around `Core`, `Entry` and `Cache`; tests/conftest.py does so for the whole run.
It is no proof: a change that is taken back between two looks, or made in a tree that nobody holds, is not seen.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import pytest

from petset.client import informer
from petset.objects import encoding
from petset.store import core, store

STORES_HELD_MAX = 4  # Of one test, the latest: its own variables are gone when it has ended.
CACHES_HELD_MAX = 40


class Frozen:
    """What was found changed since the last `take`."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._stores: deque[core.Core] = deque()
        self._caches: deque[informer.Cache] = deque()
        self._prints: weakref.WeakKeyDictionary[informer.Cache, dict[str, int]] = weakref.WeakKeyDictionary()

    def take(self) -> list[str]:
        """Look at all that is held and let it go; where a tree has been changed, in words."""
        while self._stores:
            self.look_at_store(self._stores.popleft())
        while self._caches:
            self.look_at_cache(self._caches.popleft())
        found, self._found = self._found, []
        return found

    def hold_store(self, each: core.Core) -> None:
        self._stores.append(each)
        if len(self._stores) > STORES_HELD_MAX:
            self.look_at_store(self._stores.popleft())

    def hold_cache(self, each: informer.Cache) -> None:
        self._prints[each] = {}
        self._caches.append(each)
        if len(self._caches) > CACHES_HELD_MAX:
            self.look_at_cache(self._caches.popleft())

    def look_at_store(self, each: core.Core) -> None:
        for entry in each.list("")[1]:
            self.look_at_entry(entry)

    def look_at_entry(self, entry: store.Entry) -> None:
        tree = entry._object  # Not decoded for this.
        if tree is not None and encoding.dumps(tree) != entry.encoded:
            self._found.append(f"a tree of the store, {entry!r}: {_difference(entry.encoded, tree)}")

    def look_at_cache(self, each: informer.Cache) -> None:
        for key, obj in list(each._objects.items()):
            self.look_at_cached(each, key, obj)

    def look_at_cached(self, cache: informer.Cache, key: str, obj: Any) -> None:
        known = self._prints[cache].get(key)
        if known is not None and known != _print_of(obj):
            self._found.append(f"a cached object: {cache.resource.plural} {key}")

    def cached(self, cache: informer.Cache, key: str, obj: Any) -> None:
        self._prints[cache][key] = _print_of(obj)


def _print_of(obj: Any) -> int:
    return hash(encoding.dumps(obj))


def _difference(encoded: bytes, tree: Any) -> str:
    before = encoding.loads_answer(encoded)
    return ", ".join(
        f"{key} was {before.get(key)!r}, is {value!r}" for key, value in tree.items() if before.get(key) != value
    )


def watch(patch: pytest.MonkeyPatch) -> Frozen:
    """Have every store and cache that is made from now on looked at."""
    frozen = Frozen()
    store_init, publish, forget = core.Core.__init__, core.Core._publish, store.Entry.forget
    cache_init, put = informer.Cache.__init__, informer.Cache.put

    def made(self: core.Core, *args: Any, **named: Any) -> None:
        store_init(self, *args, **named)
        frozen.hold_store(self)

    def published(self: core.Core, write: core.Write) -> None:
        if write.previous is not None:
            frozen.look_at_entry(write.previous)
        publish(self, write)

    def forgotten(self: store.Entry) -> None:
        frozen.look_at_entry(self)
        forget(self)

    def cache_made(self: informer.Cache, *args: Any, **named: Any) -> None:
        cache_init(self, *args, **named)
        frozen.hold_cache(self)

    def cached(self: informer.Cache, obj: Any) -> Any:
        old = put(self, obj)
        key = informer.meta.key(obj)
        if old is not None:
            frozen.look_at_cached(self, key, old)
        frozen.cached(self, key, obj)
        return old

    patch.setattr(core.Core, "__init__", made)
    patch.setattr(core.Core, "_publish", published)
    patch.setattr(store.Entry, "forget", forgotten)
    patch.setattr(informer.Cache, "__init__", cache_made)
    patch.setattr(informer.Cache, "put", cached)
    return frozen
