"""Events are kept for an hour after they were last written, whatever they say: upstream's server does it (--event-ttl).

There may be a hundred thousand of them, so of each there is a key and a time, in the order in which they go, and one
timer for all: no cache, no look at what they tell. Only of those that a start finds it is read when they were written.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from petset.base import tasks
from petset.kinds.event import EVENTS
from petset.objects import meta
from petset.objects.meta import Object
from petset.store import store as stores

EVENT_SECONDS_MAX = 3600.0
REMOVED_AT_ONCE = 100
RETRY_SECONDS = 10.0  # After a write that could not be made durable.

Due = dict[str, float]  # When each goes, by the loop's clock and in that order, by the store's key.


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
    left: Due = {}
    for number, entry in enumerate(store.list(EVENTS.key())[1]):
        if number % REMOVED_AT_ONCE == 0:
            await asyncio.sleep(0)
        left[entry.key] = EVENT_SECONDS_MAX - max(0.0, now - last_told(entry.object, now))
        entry.forget()
    return {key: began + left[key] for key in sorted(left, key=left.__getitem__)}


async def _follow(store: stores.Store, watch: stores.Watch, due: Due) -> None:
    while True:
        first = next(iter(due.values()), None)
        try:
            async with asyncio.timeout_at(first):
                if (changes := await watch.changes()) is None:
                    return
        except TimeoutError:
            changes = tuple(watch.pending())
            if not changes:
                await _remove(store, due)
        end = tasks.monotonic() + EVENT_SECONDS_MAX
        for change in changes:
            due.pop(change.entry.key, None)
            if change.type != "DELETED":
                due[change.entry.key] = end


async def _remove(store: stores.Store, due: Due) -> None:
    """Those whose time is over; one that is written meanwhile stays, and is heard of."""

    async def one(entry: stores.Entry) -> None:
        with contextlib.suppress(stores.Conflict):
            await store.delete(entry.key, entry.revision)

    now = tasks.monotonic()
    over = [key for key, end in itertools.islice(due.items(), REMOVED_AT_ONCE) if end <= now]
    entries = [entry for key in over if (entry := store.get(key)) is not None]
    try:
        await tasks.side_by_side(entries, one, REMOVED_AT_ONCE, "remove an event")
    except stores.Unavailable:
        await asyncio.sleep(RETRY_SECONDS)
        return
    for key in over:
        due.pop(key, None)


def last_told(event: Object, now: float) -> float:
    """The latest of its times, which is when it was last written."""
    times = (
        event["metadata"].get("creationTimestamp"),
        event.get("eventTime"),
        event.get("lastTimestamp"),
        meta.get(event, "series", "lastObservedTime"),
    )
    return max((tasks.parse_rfc3339(time) for time in times if time), default=now)
