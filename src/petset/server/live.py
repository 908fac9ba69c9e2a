"""A prefix of the store, handed on object by object as it changes, just before each look and without a task.

Access rules and the node's references are asked for in every request and change seldom. A `LiveView` keeps a store
watch that nobody awaits: `refresh` hands on the changes that wait (usually none), so there is no task to own, and a
decision is never older than the newest committed write. Who is told keeps what it makes of each object, and makes anew
only what changed. When the watch has fallen behind, the prefix is read again, and only what differs is handed on.

After a start or a long silence much waits: `catch_up`, before a request's first look, hands it on in slices, between
which the loop goes on. All that ask meanwhile wait for the one that does it. `LiveEntries` hands on what is stored, for
those who need not look into all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from petset.base import memory
from petset.objects.meta import Object
from petset.server import weight
from petset.store import store as stores

SLICE_OBJECTS_MAX = weight.RUN_OBJECTS_MAX
SLICE_BYTES_MAX = 256 << 10  # Decoded within a few milliseconds; one object may be larger.

Told = Callable[[str, "Object | None"], None]  # A key, and what stands there now.
ToldEntry = Callable[[str, "stores.Entry | None"], None]


class LiveEntries:
    def __init__(self, store: stores.Store, prefix: str, told: ToldEntry):
        self._store, self._prefix, self._told = store, prefix, told
        self._revisions: dict[str, int] = {}  # Of what was told, by key.
        self._waiting: deque[tuple[str, stores.Entry | None]] = deque()
        self._waiting_bytes = 0
        self._opened: contextlib.ExitStack | None = None
        self._watch: stores.Watch | None = None
        self._seen_revision = -1
        self._catching_up = asyncio.Lock()
        memory.at_rest.add(self._tell_few)

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell; in fewer steps than `refresh`, for who asks at every request."""
        return self._watch is None or self._watch.has_pending

    def refresh(self) -> None:
        """Tell of all that has changed."""
        self._look()
        while self._waiting:
            self._tell()

    async def catch_up(self) -> None:
        """Tell of what has changed in slices, until what is left is one."""
        self._look()
        if self._is_within_a_slice():
            return
        async with self._catching_up:
            while not self._is_within_a_slice():
                self._tell_a_slice()
                await asyncio.sleep(0)
                self._look()

    def _tell_few(self) -> None:
        """At rest, so that nobody keeps what waits until the next look; much is left to that."""
        if self._watch is not None:
            self._look()
            while self._waiting and self._is_within_a_slice():
                self._tell()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = self._watch = None
            self._seen_revision = -1

    def _look(self) -> None:
        """Learn what has changed."""
        revision = self._store.revision
        if self._seen_revision == revision:
            return
        try:
            changes = self._watch.pending() if self._watch is not None else None
        except stores.Expired:
            changes = None
        if changes is None:
            self._read_anew()
        else:
            self._seen_revision = revision
            for change in changes:
                self._wait(change.entry.key, None if change.type == "DELETED" else change.entry)

    def _read_anew(self) -> None:
        self.close()
        revision, entries = self._store.list(self._prefix)
        present = {entry.key: entry for entry in entries}
        self._waiting.clear()
        self._waiting_bytes = 0
        for key in self._revisions:
            if key not in present:
                self._wait(key, None)
        for key, entry in present.items():
            if self._revisions.get(key) != entry.revision:
                self._wait(key, entry)
        self._opened = contextlib.ExitStack()
        self._watch = self._opened.enter_context(self._store.watch(self._prefix, revision))
        self._seen_revision = revision

    def _wait(self, key: str, entry: stores.Entry | None) -> None:
        self._waiting.append((key, entry))
        self._waiting_bytes += _size(entry)

    def _is_within_a_slice(self) -> bool:
        return not self._waiting or (len(self._waiting) <= SLICE_OBJECTS_MAX and self._waiting_bytes <= SLICE_BYTES_MAX)

    def _tell_a_slice(self) -> None:
        count = size = 0
        while self._waiting and count < SLICE_OBJECTS_MAX and size < SLICE_BYTES_MAX:
            count, size = count + 1, size + self._tell()

    def _tell(self) -> int:
        """Of the next; how many bytes it had."""
        key, entry = self._waiting.popleft()
        size = _size(entry)
        self._waiting_bytes -= size
        if entry is None:
            self._revisions.pop(key, None)
            self._told(key, None)
        else:
            self._revisions[key] = entry.revision
            self._told(key, entry)
        return size


class LiveView(LiveEntries):
    def __init__(self, store: stores.Store, prefix: str, told: Told):
        super().__init__(store, prefix, lambda key, entry: told(key, entry.object if entry is not None else None))


def _size(entry: stores.Entry | None) -> int:
    return len(entry.encoded) if entry is not None else 0
