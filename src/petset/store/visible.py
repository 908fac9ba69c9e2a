"""What is seen of a store: the latest entries, the changes before them, and who watches; whoever decides on writes.

`_show` makes one change visible, in its order: index, history, watchers. Everything that reads is here, and how a store
ends, so that stores differ only in how a change comes about (core.py, and the one that a cluster keeps, kept/store.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from petset.store import index, store
from petset.store.feed import Feed, Watch
from petset.store.history import Decoded
from petset.store.store import Change, Entry, Interest

DECODED_BYTES_MAX = 1 << 20  # Of the versions written last, encoded, that keep the tree they came as for its own sake.


@dataclass(frozen=True, slots=True)
class Stats:
    """What an operator wants to see of any store."""

    revision: int
    objects: int
    watchers: int
    history_changes: int


class Past(Protocol):
    """The changes that a watch may still begin before."""

    def __len__(self) -> int: ...

    def append(self, change: Change) -> None: ...

    def after(self, since: int, newest: int) -> Sequence[Change]:
        """Those with a greater revision. Raises Expired."""
        ...


class Visible:
    """What a store shows."""

    def __init__(
        self,
        past: Past,
        watch_buffer_events_max: int = store.WATCH_BUFFER_EVENTS_MAX,
        watch_buffer_bytes_max: int = store.WATCH_BUFFER_BYTES_MAX,
        watches_bytes_max: int = store.WATCHES_BYTES_MAX,
    ):
        self._past = past
        self._index = index.Index()
        self._decoded = Decoded(DECODED_BYTES_MAX)
        self._feed = Feed(watch_buffer_events_max, watch_buffer_bytes_max, watches_bytes_max)
        self._revision = 0
        self._waiting_bytes: int = 0  # Of all writes under way.
        self._closed = False
        self._quiet: asyncio.Future[None] | None = None  # What close() waits for.

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    def get(self, key: str) -> Entry | None:
        return self._index.get(key)

    def list(self, prefix: str) -> tuple[int, Sequence[Entry]]:
        return self._revision, self._index.under(prefix)

    async def snapshot(self, prefix: str) -> tuple[int, Sequence[Entry]]:
        if not self._index.anything_rests:
            return self.list(prefix)
        revision, found = self._revision, list[Entry]()
        for entries in self._index.slices(prefix):
            if found:
                await asyncio.sleep(0)
            found += entries
        return revision, sorted(found, key=operator.attrgetter("key"))

    def count(self, prefix: str) -> int:
        return self._index.count(prefix)

    def watch(
        self, prefix: str, since: int, interest: Interest | None = None
    ) -> contextlib.AbstractContextManager[Watch]:
        return self._watching(prefix, since, interest)

    @contextlib.contextmanager
    def _watching(self, prefix: str, since: int, interest: Interest | None) -> Generator[Watch]:
        past = self._past.after(since, self._revision)
        own = [change for change in past if change.entry.key.startswith(prefix)]
        watch = self._feed.subscribe(prefix, since, own, interest)
        try:
            yield watch
        finally:
            self._feed.unsubscribe(watch)

    async def close(self) -> None:
        self._closed = True
        if self._is_writing():
            self._quiet = self._quiet or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._quiet)
        self._feed.end()

    def _is_writing(self) -> bool:
        """Whether writes are under way. `_all_written` is called when none is any more."""
        raise NotImplementedError

    def _all_written(self) -> None:
        if self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def _counts(self) -> tuple[int, int, int, int]:
        """What the `Stats` of any store begin with."""
        return self._revision, len(self._index), len(self._feed), len(self._past)

    def _show(self, change: Change) -> None:
        entry = change.entry
        self._revision = entry.revision
        if change.type == "DELETED":
            self._index.remove(entry.key)
        else:
            self._index.set(entry)
            self._decoded.keep(entry)
        self._past.append(change)
        self._feed.offer(change)
