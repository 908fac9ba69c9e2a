"""Events are kept for an hour after they were last written, whatever they say: upstream's server does it (--event-ttl).

There may be a hundred thousand of them, so of each there is a line, in the order in which they go, in pieces of packed
text (`Due`), and one timer for all: no cache, no look at what they tell. Only of those that a start finds it is read
when they were written. A line of one that was written again since says nothing: it has another, further down.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from array import array
from collections import deque
from collections.abc import Iterable, Sequence

from petset.base import memory, tasks
from petset.kinds.event import EVENTS
from petset.objects import meta
from petset.objects.meta import Object
from petset.store import store as stores

EVENT_SECONDS_MAX = 3600.0
REMOVED_AT_ONCE = 100
RETRY_SECONDS = 10.0  # After a write that could not be made durable.

SEGMENT_LINES_MAX = 500  # Packed within a millisecond.
STALE_LINES_KEPT = 4096  # Beside one for each event, and half as many again.

Line = tuple[float, int, str]  # When an event goes, by the loop's clock; the revision it was written at, and its key.


class Due:
    """When each event goes, in that order. All but the newest few are packed, as they are in the store."""

    def __init__(self, lines: Iterable[Line] = ()):
        self._first: deque[Line] = deque()
        self._packed: deque[bytes] = deque()  # Lines, in pieces,
        self._firsts = array("d")  # and when the first of each goes.
        self._newest: list[Line] = []
        self._count = 0
        for line in lines:
            self.add(line)
        memory.at_rest.add(self._pack)

    def __len__(self) -> int:
        return self._count

    def add(self, line: Line) -> None:
        self._newest.append(line)
        self._count += 1
        if len(self._newest) >= SEGMENT_LINES_MAX:
            self._pack()

    @property
    def next(self) -> float | None:
        """When the next goes."""
        if self._first:
            return self._first[0][0]
        if self._packed:
            return self._firsts[0]
        return self._newest[0][0] if self._newest else None

    def over(self, now: float, most: int) -> list[Line]:
        """Those whose time is over, at most so many; they stay until `remove`."""
        if len(self._first) < most and self._packed and self._firsts[0] <= now:
            self._first.extend(_unpacked(self._packed.popleft()))
            del self._firsts[0]
        if not self._packed:
            self._first.extend(self._newest)
            self._newest = []
        found: list[Line] = []
        for line in self._first:
            if line[0] > now or len(found) >= most:
                break
            found.append(line)
        return found

    def remove(self, count: int) -> None:
        """The first ones."""
        self._count -= count
        for _ in range(count):
            self._first.popleft()

    def keep(self, revisions: dict[str, int]) -> None:
        """Only the lines of events that are at the revision at which they were written."""
        lines = [*self._first, *(line for text in self._packed for line in _unpacked(text)), *self._newest]
        self._first, self._packed, self._firsts, self._newest, self._count = deque(), deque(), array("d"), [], 0
        for line in lines:
            if revisions.get(line[2]) == line[1]:
                self.add(line)

    def _pack(self) -> None:
        if self._first:
            self._packed.appendleft(_packed(self._first))
            self._firsts.insert(0, self._first[0][0])
            self._first = deque()
        if self._newest:
            self._packed.append(_packed(self._newest))
            self._firsts.append(self._newest[0][0])
            self._newest = []


def _packed(lines: Sequence[Line]) -> bytes:
    text = "\n".join([f"{end!r} {revision} {key}" for end, revision, key in lines])
    return zlib.compress(text.encode(), 1)


def _unpacked(text: bytes) -> list[Line]:
    parts = [line.split(" ") for line in zlib.decompress(text).decode().split("\n")]
    return [(float(end), int(revision), key) for end, revision, key in parts]


async def keep(store: stores.Store) -> None:
    """Remove events when their time is over, until cancelled or the store is closed."""
    while True:
        try:
            with store.watch(EVENTS.key(), store.revision) as changes:
                await _follow(store, changes, await _found(store))
                return
        except stores.Expired:
            continue  # It fell behind: look again.


async def _found(store: stores.Store) -> Due:
    now, began = tasks.now(), tasks.monotonic()
    lines: list[Line] = []
    for number, entry in enumerate((await store.snapshot(EVENTS.key()))[1]):
        if number % REMOVED_AT_ONCE == 0:
            await asyncio.sleep(0)
        left = EVENT_SECONDS_MAX - max(0.0, now - last_told(entry.object, now))
        lines.append((began + left, entry.revision, entry.key))
        entry.forget()
    return Due(sorted(lines))


async def _follow(store: stores.Store, watch: stores.Watch, due: Due) -> None:
    while True:
        try:
            async with asyncio.timeout_at(due.next):
                if (changes := await watch.changes()) is None:
                    return
        except TimeoutError:
            changes = tuple(watch.pending())
            if not changes:
                await _remove(store, due)
        end = tasks.monotonic() + EVENT_SECONDS_MAX
        for change in changes:
            if change.type != "DELETED":
                due.add((end, change.revision, change.entry.key))
        changes = change = None  # While it waits.
        if len(due) > STALE_LINES_KEPT and len(due) > 1.5 * store.count(EVENTS.key()) + STALE_LINES_KEPT:
            due.keep({entry.key: entry.revision for entry in (await store.snapshot(EVENTS.key()))[1]})


async def _remove(store: stores.Store, due: Due) -> None:
    """Those whose time is over; one that is written meanwhile stays, and is heard of."""

    async def one(line: Line) -> None:
        _, revision, key = line
        with contextlib.suppress(stores.Conflict):
            await store.delete(key, revision)

    over = due.over(tasks.monotonic(), REMOVED_AT_ONCE)
    try:
        await tasks.side_by_side(over, one, REMOVED_AT_ONCE, "remove an event")
    except stores.Unavailable:
        await asyncio.sleep(RETRY_SECONDS)
        return
    due.remove(len(over))


def last_told(event: Object, now: float) -> float:
    """The latest of its times, which is when it was last written."""
    times = (
        event["metadata"].get("creationTimestamp"),
        event.get("eventTime"),
        event.get("lastTimestamp"),
        meta.get(event, "series", "lastObservedTime"),
    )
    return max((tasks.parse_rfc3339(time) for time in times if time), default=now)
