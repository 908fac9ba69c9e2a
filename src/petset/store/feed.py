"""Who watches what: a change goes to those who want it, and costs nothing for all the others.

Watches are found by their prefix and, below it, by what they are interested in. Of one that has a selector the store
knows one necessary condition (`store.Interest`): a reading of the object, such as its labels or its node, and the
values it must give. All watches with the same reading share one look at the object as it was and as it is; those that
asked for another value are not even counted. So a change costs the number of different readings and of watches that
want it, whether ten others look elsewhere or ten thousand.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

from petset.store.store import Change, Expired, Interest, Reading, Take

HANDED_AT_ONCE = 100  # Watches that are handed changes in one turn of the loop.
HANDED_BYTES_MAX = 64 << 10  # Of encoded objects, to one of them.
PLACES_KEPT_MAX = 1000  # Whose watches are known.

Members = dict["Watch", None]


class Held:
    """The changes that wait in watches' buffers, each counted once, however many watches hold it."""

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}  # By revision.
        self.bytes = 0

    def take(self, change: Change) -> None:
        revision = change.entry.revision
        holders = self._holders.get(revision, 0)
        self._holders[revision] = holders + 1
        if not holders:
            self.bytes += change.kept_bytes

    def leave(self, change: Change) -> None:
        revision = change.entry.revision
        holders = self._holders[revision] - 1
        if holders:
            self._holders[revision] = holders
        else:
            del self._holders[revision]
            self.bytes -= change.kept_bytes


class Handing:
    """The turns in which changes are handed to those who take them as they come (`Watch.handed`).

    One turn of the loop serves many of them: a task for each would have a turn for each, and a way through all that
    waits in it.
    """

    def __init__(self) -> None:
        self._waiting: deque[Watch] = deque()

    def add(self, watch: Watch) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._hand)
        self._waiting.append(watch)

    def _hand(self) -> None:
        waiting = self._waiting
        for _ in range(min(len(waiting), HANDED_AT_ONCE)):
            waiting.popleft().hand()
        if waiting:
            asyncio.get_running_loop().call_soon(self._hand)


class Group:
    """The watches of one prefix."""

    def __init__(self) -> None:
        self._of_everything: Members = {}
        self._interested: dict[Reading, dict[str, Members]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._of_everything and not self._interested

    def watches(self) -> Iterator[Watch]:
        yield from self._of_everything
        seen: Members = {}
        for by_value in self._interested.values():
            for members in by_value.values():
                seen.update(members)
        yield from seen

    def add(self, watch: Watch) -> None:
        for members in self._places(watch):
            members[watch] = None

    def remove(self, watch: Watch) -> None:
        interest = watch.interest
        if interest is None:
            self._of_everything.pop(watch, None)
            return
        by_value = self._interested.get(interest.reading, {})
        for value in interest.values:
            members = by_value.get(value, {})
            members.pop(watch, None)
            if not members:
                by_value.pop(value, None)
        if not by_value:
            self._interested.pop(interest.reading, None)

    def _places(self, watch: Watch) -> Iterator[Members]:
        interest = watch.interest
        if interest is None:
            yield self._of_everything
            return
        by_value = self._interested.setdefault(interest.reading, {})
        for value in interest.values:
            yield by_value.setdefault(value, {})

    def wanting(self, change: Change) -> Members:
        """Those a change may concern, each once."""
        if not self._interested:
            return self._of_everything
        found = dict(self._of_everything)
        objects = [change.entry.object]
        if change.previous is not None:
            objects.append(change.previous.object)
        for reading, by_value in self._interested.items():
            for obj in objects:
                for value in reading(obj):
                    found.update(by_value.get(value, ()))
        return found


def _is_place(prefix: str) -> bool:
    """Whether it ends where a part of a key does, as nearly every prefix does."""
    return not prefix or prefix.endswith("/")


class Feed:
    """All watches of a store."""

    def __init__(self, buffer_events_max: int, buffer_bytes_max: int, bytes_max: int):
        self._buffer_events_max, self._buffer_bytes_max = buffer_events_max, buffer_bytes_max
        self._bytes_max = bytes_max
        self._held = Held()
        self._handing = Handing()
        self._groups: dict[str, Group] = {}
        self._lengths: list[int] = []  # The distinct lengths of the watched prefixes.
        self._concerned: dict[str, list[Group]] = {}  # By the place of a key (all before its name): who watches there.
        self._inside: dict[str, Group] = {}  # Those whose prefix is no place.
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def subscribe(self, prefix: str, since: int, past: Sequence[Change], interest: Interest | None = None) -> Watch:
        limits = self._buffer_events_max, self._buffer_bytes_max
        watch = Watch(prefix, since, past, *limits, self._held, self._handing, interest)
        group = self._groups.get(prefix)
        if group is None:
            group = self._groups[prefix] = Group()
            self._groups_changed()
        group.add(watch)
        self._count += 1
        return watch

    def unsubscribe(self, watch: Watch) -> None:
        """Nobody reads it any more."""
        watch.close()
        watch.drop()
        self._forget(watch)

    def _forget(self, watch: Watch) -> None:
        if not watch.subscribed:
            return
        watch.subscribed = False
        self._count -= 1
        group = self._groups[watch.prefix]
        group.remove(watch)
        if group.is_empty:
            del self._groups[watch.prefix]
            self._groups_changed()

    def _groups_changed(self) -> None:
        self._lengths = sorted({len(prefix) for prefix in self._groups if _is_place(prefix)})
        self._inside = {prefix: group for prefix, group in self._groups.items() if not _is_place(prefix)}
        self._concerned.clear()

    def _groups_of(self, key: str) -> list[Group]:
        place = key[: key.rfind("/") + 1]
        groups = self._concerned.get(place)
        if groups is None:
            if len(self._concerned) >= PLACES_KEPT_MAX:
                self._concerned.clear()
            found = [self._groups.get(place[:length]) for length in self._lengths if length <= len(place)]
            groups = self._concerned[place] = [group for group in found if group is not None]
        if self._inside:
            return groups + [group for prefix, group in self._inside.items() if key.startswith(prefix)]
        return groups

    def offer(self, change: Change) -> None:
        fallen_behind: list[Watch] = []
        for group in self._groups_of(change.entry.key):
            for watch in group.wanting(change):
                if not watch.offer(change):
                    fallen_behind.append(watch)
        for watch in fallen_behind:
            self._forget(watch)
        while self._held.bytes > self._bytes_max and (slowest := self._slowest()):
            slowest.expire()
            self._forget(slowest)

    def _slowest(self) -> Watch | None:
        """The one whose next change is the oldest."""
        waiting = (watch for group in self._groups.values() for watch in group.watches() if watch.next_revision)
        return min(waiting, key=lambda watch: watch.next_revision, default=None)

    def expire(self) -> None:
        """Nobody knows what was between the last change and the next one: all are to list again."""
        for group in list(self._groups.values()):
            for watch in list(group.watches()):
                watch.expire()
                self._forget(watch)

    def end(self) -> None:
        for group in list(self._groups.values()):
            for watch in list(group.watches()):
                watch.close()
                self._forget(watch)


class Watch:
    """One watcher's buffer: changes go in at a commit and come out in order. Full, it is emptied and Expired.

    It begins with a past, which the history holds anyway, and may take as much again as its limits say.
    """

    __slots__ = (
        "_bytes",
        "_bytes_max",
        "_changes",
        "_changes_max",
        "_closed",
        "_expired",
        "_handing",
        "_held",
        "_is_queued",
        "_nudged",
        "_since",
        "_take",
        "_waiter",
        "interest",
        "prefix",
        "subscribed",
    )

    def __init__(
        self,
        prefix: str,
        since: int,
        past: Sequence[Change],
        changes_max: int,
        bytes_max: int,
        held: Held,
        handing: Handing,
        interest: Interest | None = None,
    ):
        self.prefix, self.interest = prefix, interest
        self.subscribed = True
        self._since = since
        self._changes: deque[Change] = deque(past)
        self._held, self._handing = held, handing
        self._take: Take | None = None  # While changes are handed on as they come.
        self._is_queued = False
        for change in past:
            held.take(change)
        self._bytes = sum(change.kept_bytes for change in past)
        self._changes_max, self._bytes_max = len(past) + changes_max, self._bytes + bytes_max
        self._waiter: asyncio.Future[None] | None = None
        self._expired = self._closed = self._nudged = False

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        while not self._changes:
            if self._expired:
                raise Expired("the watcher fell behind and was dropped; list again")
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        change = self._changes.popleft()
        self._bytes -= change.kept_bytes
        self._held.leave(change)
        return change

    async def changes(self) -> Sequence[Change] | None:
        while not self._changes and not self._nudged:
            if self._expired:
                raise Expired("the watcher fell behind and was dropped; list again")
            if self._closed:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._nudged:
            self._nudged = False
            return ()
        return self.drop()

    async def handed(self, take: Take) -> bool:
        if self._changes or self._nudged or self._expired or self._closed:
            return True
        self._take = take
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
            return self._take is not None
        finally:
            self._take = None

    def hand(self) -> None:
        """What waits is handed on, if it is still wanted so; much of it is taken in pieces by who waits for it."""
        self._is_queued = False
        take = self._take
        if take is None or not self._changes:
            return
        if self._bytes > HANDED_BYTES_MAX:
            self._wake()
        elif not take(self.drop()):
            self._take = None
            self._wake()

    def nudge(self) -> None:
        self._nudged = True
        self._wake()

    @property
    def has_pending(self) -> bool:
        return bool(self._changes) or self._expired

    def pending(self) -> Sequence[Change]:
        if not self._changes:
            if self._expired:  # Who never awaits must learn of it here.
                raise Expired("the watcher fell behind and was dropped; list again")
            return ()
        return self.drop()

    @property
    def next_revision(self) -> int:
        """Of the change that has waited longest; 0 when none waits."""
        return self._changes[0].revision if self._changes else 0

    def offer(self, change: Change) -> bool:
        """Take a change; False when the watcher has fallen behind and is to be dropped."""
        if change.entry.revision <= self._since:  # It began in the future.
            return True
        size = change.kept_bytes
        if len(self._changes) >= self._changes_max or (self._bytes + size > self._bytes_max and self._changes):
            self.expire()
            return False
        self._bytes += size
        self._changes.append(change)
        self._held.take(change)
        if self._take is None:
            self._wake()
        elif not self._is_queued:
            self._is_queued = True
            self._handing.add(self)
        return True

    def expire(self) -> None:
        """It has fallen behind: nothing waits for it any more, and whoever reads it learns so."""
        self.drop()
        self._expired = True
        self._wake()

    def drop(self) -> list[Change]:
        """Let go of what waits, and return it."""
        changes, self._changes, self._bytes = list(self._changes), deque(), 0
        for change in changes:
            self._held.leave(change)
        return changes

    def close(self) -> None:
        """What waits can still be read."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
