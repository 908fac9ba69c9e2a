"""What a store of our own does, whatever keeps its changes: judging of writes, group commit, and what visible.py shows.

A write's way: `put` judges it at once against the newest accepted version, gives it the next revision, encodes it and
waits. The writes of one loop turn, and all that come while a commit is under way, are one batch: `_commit(batch)`
(a subclass's only duty) makes them durable together. Then, back in the loop, the batch becomes visible in order:
index, history, watchers, and only then the writers' answers.

Invariants: nothing of a batch is seen before its commit, not even by a refusal: a write that conflicts with one on its
way waits for that one's commit and is judged again; a failed commit fails every write accepted since, since they were
judged against it, and gives their revisions back; a writer that is cancelled leaves its write to be committed.
No task belongs to a store: an idle one costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from petset.objects import encoding, sharing
from petset.objects.meta import Object
from petset.store import index, packed, store, visible
from petset.store.history import History
from petset.store.store import Change, Conflict, Entry, Unavailable

HISTORY_SECONDS_MAX = 300.0  # Older changes go when there is rest; upstream compacts as often.
BATCH_WRITES_MAX = 1000  # Of one commit, so that making it visible stays a short loop turn.
BATCH_BYTES_MAX = 4 << 20  # Of encoded objects in one commit, unless a single one is larger.


@dataclass(frozen=True, slots=True)
class Stats(visible.Stats):
    """Counts are since its opening."""

    commits: int
    writes: int
    failed_writes: int


class Rest:
    """What a store holds, on its way to rest."""

    def __init__(self, entries: index.Rest, changes: Sequence[Change]):
        self.index, self._changes = entries, changes
        self.stretches = packed.Stretches(())

    def pack(self) -> None:
        self.index.pack()
        self.stretches, self._changes = packed.Stretches(self._changes), ()


class Write:
    """An accepted write on its way to its commit; `previous` is the newest accepted version before it."""

    __slots__ = ("_others", "deleted", "done", "entry", "previous")

    def __init__(self, entry: Entry, previous: Entry | None, deleted: bool, done: asyncio.Future[Entry]):
        self.entry, self.previous, self.deleted, self.done = entry, previous, deleted, done  # `done` is its writer's.
        self._others: tuple[asyncio.Future[Entry], ...] = ()

    def settled(self) -> asyncio.Future[Entry]:
        """For somebody else than its writer, who may have gone before it is."""
        waiting: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._others = (*self._others, waiting)
        return waiting

    def answer(self) -> None:
        if not self.done.done():  # Its writer may have been cancelled.
            self.done.set_result(self.entry)
        for waiting in self._others:
            if not waiting.done():
                waiting.set_result(self.entry)

    def fail(self, error: BaseException) -> None:
        for waiting in (self.done, *self._others):
            if not waiting.done():
                waiting.set_exception(Unavailable(str(error)))
                waiting.exception()  # Who was cancelled meanwhile never reads it: that is no error to report.

    def change(self) -> Change:
        if self.deleted:
            return Change("DELETED", self.entry, self.previous)
        return Change("MODIFIED" if self.previous else "ADDED", self.entry, self.previous)


class Core(visible.Visible):
    """A store but for its `_commit`."""

    def __init__(
        self,
        history_changes_max: int = store.HISTORY_CHANGES_MAX,
        history_bytes_max: int = store.HISTORY_BYTES_MAX,
        **watch_limits: int,
    ):
        self._history = History(history_changes_max, history_bytes_max)
        super().__init__(self._history, **watch_limits)
        self._moments, self._newest_then = array("d"), array("Q")  # The loop's times, and the newest revision then.
        self._accepted_revision = 0
        self._pending: dict[str, Write] = {}  # The newest uncommitted write of each key.
        self._waiting: list[Write] = []  # Accepted, not yet in a commit.
        self._committing: list[Write] = []
        self._flush_is_due = False
        self._commits = self._committed_writes = self._failed_writes = 0
        self.trouble = ""  # Why the last commit failed; "" when it did not.
        self.on_failure: Callable[[str], None] = lambda why: None  # Told of every commit that fails.

    # Reading, beside what visible.py says

    async def fresh(self, prefix: str) -> None:
        pass  # What is committed is seen at once.

    def stats(self) -> Stats:
        return Stats(
            *self._counts(),
            commits=self._commits,
            writes=self._committed_writes,
            failed_writes=self._failed_writes,
        )

    # Writing

    async def put(self, key: str, obj: Object, expected: int | None) -> Entry:
        previous = self._judge(key, expected)
        if isinstance(previous, Write):
            previous = await self._judged(key, expected, previous)
        revision = self._accepted_revision + 1
        tree = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}
        encoded = encoding.dumps(tree)
        tree = sharing.shared(tree, len(encoded), previous.object if previous and previous.is_decoded else None)
        created = previous.created_revision if previous else revision
        return await self._accept(Entry(key, revision, created, encoded, tree), previous, False)

    async def delete(self, key: str, expected: int | None) -> Entry | None:
        previous = self._judge(key, expected)
        if isinstance(previous, Write):
            previous = await self._judged(key, expected, previous)
        if previous is None:
            if key in self._pending:  # "It is gone" is true only once the deletion before is durable.
                await self._pending[key].settled()
            return None
        revision = self._accepted_revision + 1
        last = previous.object
        tree = {**last, "metadata": {**last["metadata"], "resourceVersion": str(revision)}}
        entry = Entry(key, revision, previous.created_revision, encoding.dumps(tree), tree)
        return await self._accept(entry, previous, True)

    def _is_writing(self) -> bool:
        return bool(self._waiting or self._committing)

    def _judge(self, key: str, expected: int | None) -> Entry | Write | None:
        """The newest accepted version of the key, which is what the write expected it to be.

        A write when that stands in the way: it may fail yet, and the refusal be untrue.
        """
        if self._closed:
            raise Unavailable(f"cannot write {key}: the store is closed")
        pending = self._pending.get(key)
        newest = self._index.get(key)
        if pending is not None:
            newest = None if pending.deleted else pending.entry
        current = newest.revision if newest else 0
        if expected is None or expected == current:
            return newest
        if pending is None:
            raise Conflict(key, expected, current)
        return pending

    async def _judged(self, key: str, expected: int | None, waiting_for: Write) -> Entry | None:
        """`_judge`, once there is nothing in the way."""
        found: Entry | Write | None = waiting_for
        while isinstance(found, Write):
            with contextlib.suppress(Unavailable):
                await found.settled()
            found = self._judge(key, expected)
        return found

    def _accept(self, entry: Entry, previous: Entry | None, deleted: bool) -> asyncio.Future[Entry]:
        loop = asyncio.get_running_loop()
        write = Write(entry, previous, deleted, loop.create_future())
        self._accepted_revision = entry.revision
        self._pending[entry.key] = write
        self._waiting.append(write)
        self._waiting_bytes += len(entry.encoded)
        self._flush_soon(loop)
        return write.done

    # Committing

    def _commit(self, batch: Sequence[Write]) -> asyncio.Future[None]:
        """Make a batch durable, all of it or nothing; fails with Unavailable."""
        raise NotImplementedError

    def _flush_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._flush_is_due and not self._committing:
            self._flush_is_due = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if len(self._waiting) <= BATCH_WRITES_MAX and self._waiting_bytes <= BATCH_BYTES_MAX:  # As nearly always.
            self._committing, self._waiting = self._waiting, []
        else:
            count = _batch_length(self._waiting)
            self._committing, self._waiting = self._waiting[:count], self._waiting[count:]
        commit = self._commit(self._committing)
        if commit.done():
            self._committed(commit)
        else:
            commit.add_done_callback(self._committed)

    def _committed(self, commit: asyncio.Future[None]) -> None:
        error = Unavailable("the commit was cancelled") if commit.cancelled() else commit.exception()
        batch, self._committing = self._committing, []
        if error is None:
            for write in batch:
                self._publish(write)
            for write in batch:
                write.answer()
            self.trouble = ""
            self._commits += 1
            self._committed_writes += len(batch)
        else:
            self.trouble = str(error)
            batch, self._waiting = batch + self._waiting, []
            self._accepted_revision = self._revision
            self._pending.clear()
            self._failed_writes += len(batch)
            for write in batch:
                write.fail(error)
            self.on_failure(self.trouble)
        self._waiting_bytes -= sum([len(write.entry.encoded) for write in batch])
        if self._waiting:
            self._flush_soon(asyncio.get_running_loop())
        else:
            self._all_written()

    def _publish(self, write: Write) -> None:
        key = write.entry.key
        if self._pending.get(key) is write:
            del self._pending[key]
        self._show(write.change())

    def _rest(self) -> None:
        """Be as small as it gets. Trees that others hold stay, and their entries with them; the rest is packed."""
        rest = self._resting()
        rest.pack()
        self._settle(rest)

    def _resting(self) -> Rest:
        """What can rest now, to be packed in any thread."""
        self._decoded.clear()
        return Rest(self._index.rest(), self._history.resting())

    def _settle(self, rest: Rest) -> None:
        """What was packed takes its place."""
        for members, run in rest.index.packed:
            self._index.settle(members, run)
        self._history.settle(rest.stretches)

    def _compact(self, now: float) -> None:
        """Let go of what was long ago; called now and then, with the loop's time."""
        self._moments.append(now)
        self._newest_then.append(self._revision)
        while self._moments[0] <= now - HISTORY_SECONDS_MAX:
            self._history.forget(self._newest_then[0], self._revision)
            del self._moments[0], self._newest_then[0]

    def _restore(self, entries: Sequence[Entry], revision: int) -> None:
        """Begin with what was durable at the last stop; the history begins anew."""
        self._index.fill(entries)
        self._revision = self._accepted_revision = revision


def _batch_length(waiting: Sequence[Write]) -> int:
    """How many of the waiting writes the next commit takes."""
    size = 0
    for count, write in enumerate(waiting[:BATCH_WRITES_MAX]):
        size += len(write.entry.encoded)
        if size > BATCH_BYTES_MAX and count:
            return count
    return min(len(waiting), BATCH_WRITES_MAX)
