"""One schedule of the store: a few writers, readers and watchers, commits that succeed or fail, and crashes.

What runs is the store's own core; what is scripted is the disk beneath it and the order of everything: when a write
begins, when the loop turns, when a commit returns and how, when a watcher takes what waits for it, when all of it
crashes and starts again from what the disk has. A commit that failed may have reached the disk or not, as may one that
a crash cut off. The schedule's history is judged by the same checker as that of a real petset (tests/torture).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.store import core
from petset.store.store import Change, Conflict, Entry, Expired, Unavailable
from petset.world.loop import VirtualLoop
from tests.torture import checker, history
from tests.torture.history import Event, History, Operation, Stream, Version

PREFIX = "/core/configmaps/d/"
KEYS = 3
STEPS_MIN, STEPS_MAX = 12, 40
LIMITS = {"history_changes_max": 6, "watch_buffer_events_max": 4}


class Broken(AssertionError):
    """A schedule that breaks a law."""


class Disk:
    """What survives a crash: writes in order."""

    def __init__(self) -> None:
        self.writes: list[core.Write] = []

    def contents(self) -> tuple[list[Entry], int]:
        latest: dict[str, Entry] = {}
        for write in self.writes:
            if write.deleted:
                latest.pop(write.entry.key, None)
            else:
                latest[write.entry.key] = write.entry
        entries = [Entry(each.key, each.revision, each.created_revision, each.encoded) for each in latest.values()]
        return entries, self.writes[-1].entry.revision if self.writes else 0


class GatedStore(core.Core):
    """Its commits end when and how the schedule says."""

    def __init__(self, disk: Disk, loop: asyncio.AbstractEventLoop):
        super().__init__(**LIMITS)
        self.disk, self.loop = disk, loop
        self.gate: tuple[Sequence[core.Write], asyncio.Future[None]] | None = None
        self._restore(*disk.contents())

    def _commit(self, batch: Sequence[core.Write]) -> asyncio.Future[None]:
        done = self.loop.create_future()
        # What an earlier failure left on the disk goes before anything new comes, as in sqlite.py.
        self.disk.writes = [write for write in self.disk.writes if write.entry.revision <= self._revision]
        self.gate = (list(batch), done)
        return done

    def release(self, succeeds: bool, reaches_the_disk: bool) -> None:
        assert self.gate is not None
        (batch, done), self.gate = self.gate, None
        if succeeds or reaches_the_disk:
            self.disk.writes += batch
        if succeeds:
            done.set_result(None)
        else:
            done.set_exception(Unavailable("the disk failed"))


@dataclass
class Watcher:
    stream: Stream
    context: Any
    watch: Any


@dataclass
class Schedule:
    """The state of one; `said` is what was done, in order."""

    chance: random.Random
    loop: VirtualLoop
    disk: Disk = field(default_factory=Disk)
    told: History = field(default_factory=History)
    said: list[str] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.store = GatedStore(self.disk, self.loop)
        self.running: list[tuple[Operation, asyncio.Task[Any]]] = []
        self.watchers: list[Watcher] = []
        self.known: dict[str, int] = {}
        self.left: dict[str, int] = {}  # Where each watcher that was cut had come to.

    def run(self) -> None:
        chance = self.chance
        for _ in range(chance.randrange(STEPS_MIN, STEPS_MAX)):
            self.now += 1
            chance.choices(STEPS, WEIGHTS)[0](self)
        self.finish()
        violations = checker.check(self.told)
        if violations:
            raise Broken("\n".join([*self.said, *(f"{law}: {what}" for law, what in violations)]))

    # Steps

    def write(self) -> None:
        chance = self.chance
        key = f"k-{chance.randrange(KEYS)}"
        verb = chance.choice(("create", "create", "update", "update", "delete"))
        number = len(self.told.operations)
        operation = Operation(f"w{number}", verb, key, self.now, by="" if verb == "delete" else f"w-{number}")
        expected: int | None = 0
        if verb != "create":
            at = chance.choice((0, self.known.get(key, 0)))
            operation.expected, expected = at, at or None
        operation.value = {} if verb == "delete" else {"by": operation.by}
        self.told.operations.append(operation)
        self.running.append((operation, self.loop.create_task(self.done(operation, expected))))
        self.said.append(f"{verb} {key} for {expected}")

    async def done(self, operation: Operation, expected: int | None) -> tuple[str, Entry | None]:
        """(the outcome, the entry): what the API makes of the store's answer."""
        key = PREFIX + operation.key
        try:
            if operation.verb == "delete":
                found = self.store.get(key)
                if found is None:
                    return history.ABSENT, None
                if expected not in (None, found.revision):
                    return history.CONFLICT, None
                entry = await self.store.delete(key, found.revision)
                return (history.DONE, found) if entry else (history.ABSENT, None)
            if operation.verb == "create":
                uid, condition = operation.by, 0
            else:
                found = self.store.get(key)
                if found is None:
                    return history.ABSENT, None
                uid, condition = found.object["metadata"]["uid"], expected or found.revision
            obj = {"metadata": {"name": operation.key, "uid": uid}, "data": dict(operation.value)}
            return history.DONE, await self.store.put(key, obj, condition)
        except Conflict:
            if operation.verb == "create":
                return history.EXISTS, None
            # For a write that names no revision the API reads again and tries once more; here it was somebody else's.
            return (history.CONFLICT if operation.expected else history.REFUSED), None
        except Unavailable:
            return history.UNKNOWN, None

    def turn(self) -> None:
        """The loop turns once; what was answered is heard."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self.hear()

    def hear(self) -> None:
        waiting: list[tuple[Operation, asyncio.Task[Any]]] = []
        for operation, task in self.running:
            if not task.done():
                waiting.append((operation, task))
                continue
            if task.cancelled():
                raise Broken("\n".join([*self.said, f"{operation.client} is cancelled by somebody else's going away"]))
            outcome, entry = task.result()
            if outcome == history.UNKNOWN:
                continue
            operation.outcome, operation.ended = outcome, self.now
            if entry is not None:
                if operation.verb == "delete":
                    operation.uid = entry.object["metadata"]["uid"]
                else:
                    operation.seen, operation.revision = (version(entry),), entry.revision
                    self.known[operation.key] = entry.revision
        self.running = waiting

    def hang_up(self) -> None:
        """A client goes away while its write is under way."""
        if self.running:
            operation, task = self.running.pop(self.chance.randrange(len(self.running)))
            task.cancel()
            self.said.append(f"{operation.client} hangs up")

    def commit(self) -> None:
        if self.store.gate is None:
            self.turn()
            return
        succeeds = self.chance.random() < 0.8
        reaches = self.chance.random() < 0.5
        self.said.append("commit" if succeeds else f"commit fails, {'' if reaches else 'not '}on the disk")
        self.store.release(succeeds, reaches)

    def get(self) -> None:
        key = f"k-{self.chance.randrange(KEYS)}"
        entry = self.store.get(PREFIX + key)
        operation = Operation("r", "get", key, self.now, self.now, history.DONE if entry else history.ABSENT)
        if entry:
            operation.seen, operation.revision = (version(entry),), entry.revision
            self.known[key] = entry.revision
        self.told.operations.append(operation)
        self.said.append(f"get {key}: {operation.revision}")

    def list(self) -> int:
        revision, entries = self.store.list(PREFIX)
        operation = Operation("r", "list", "", self.now, self.now, history.DONE, revision=revision)
        operation.seen = tuple(map(version, entries))
        self.told.operations.append(operation)
        self.said.append(f"list at {revision}")
        return revision

    def watch(self) -> None:
        """From now, or on from where one was cut, or from somewhere else."""
        chance = self.chance
        name, since = f"v{len(self.told.streams)}", -1
        if self.left and chance.random() < 0.6:
            name = chance.choice(list(self.left))
            since = self.left.pop(name)
        resumed = since >= 0
        if since < 0:
            since = self.list() if chance.random() < 0.7 else chance.randrange(self.store.revision + 2)
        context = self.store.watch(PREFIX, since)
        self.said.append(f"{name} watches from {since}")
        try:
            watch = context.__enter__()
        except Expired:
            self.said.append("expired")
            return
        stream = Stream(name, since, resumed=resumed)
        self.told.streams.append(stream)
        self.watchers.append(Watcher(stream, context, watch))

    def take(self) -> None:
        """A watcher takes what waits for it, and perhaps a bookmark."""
        if not self.watchers:
            self.watch()
            return
        one = self.chance.choice(self.watchers)
        revision = self.store.revision
        try:
            changes = one.watch.pending()
        except Expired:
            self.said.append(f"{one.stream.client} has fallen behind")
            self.drop(one)
            return
        one.stream.events += [Event(self.now, change.type, told(change)) for change in changes]
        if self.chance.random() < 0.3 and revision >= one.stream.since:
            one.stream.events.append(Event(self.now, history.BOOKMARK, Version("", revision, None)))
        self.said.append(f"{one.stream.client} takes {len(changes)}")

    def leave(self) -> None:
        if self.watchers:
            one = self.chance.choice(self.watchers)
            self.left[one.stream.client] = max(
                [one.stream.since, *(each.version.revision for each in one.stream.events)]
            )
            self.said.append(f"{one.stream.client} is cut")
            self.drop(one)

    def drop(self, one: Watcher) -> None:
        one.context.__exit__(None, None, None)
        self.watchers.remove(one)

    def crash(self) -> None:
        """Everything ends but the disk, which may have got what was on its way; then a new start."""
        if self.store.gate is not None and self.chance.random() < 0.5:
            self.disk.writes += self.store.gate[0]
            self.said.append("crash after the disk has it")
        else:
            self.said.append("crash")
        while self.watchers:
            self.leave()
        for _, task in self.running:
            task.cancel()
        self.running = []
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        entries, revision = self.disk.contents()
        operation = Operation(checker.DISK, "list", "", self.now, self.now, history.DONE, revision=revision)
        operation.seen = tuple(map(version, entries))
        operation.also = tuple(
            Version(write.entry.key[len(PREFIX) :], write.entry.revision, None)
            if write.deleted
            else version(write.entry)
            for write in self.disk.writes
        )
        self.told.operations.append(operation)
        self.store = GatedStore(self.disk, self.loop)

    def finish(self) -> None:
        """All that is under way ends well; nobody who waits is forgotten."""
        for _ in range(4 * STEPS_MAX):
            self.now += 1
            if self.store.gate is not None:
                self.store.release(True, True)
            self.turn()
            if not self.running and self.store.gate is None:
                break
        else:
            raise Broken("\n".join([*self.said, "a writer waits for ever"]))
        self.now += 1
        self.list()
        while self.watchers:
            self.take()
            if self.watchers:
                self.drop(self.watchers[0])
        self.chance = random.Random(0)
        self.crash()


def version(entry: Entry) -> Version:
    obj = entry.object
    return Version(entry.key[len(PREFIX) :], entry.revision, obj["data"], obj["metadata"]["uid"])


def told(change: Change) -> Version:
    return version(change.entry)


STEPS = (
    Schedule.write,
    Schedule.turn,
    Schedule.commit,
    Schedule.get,
    Schedule.list,
    Schedule.watch,
    Schedule.take,
    Schedule.leave,
    Schedule.hang_up,
    Schedule.crash,
)
WEIGHTS = (10, 10, 8, 3, 2, 3, 5, 1, 1, 1)


class Runner:
    """Schedules one after another over one loop, which costs more than they do."""

    def __init__(self) -> None:
        self.loop = VirtualLoop(0)
        self.loop.set_exception_handler(lambda loop, context: None)

    def run(self, seed: int) -> str:
        """What was done, in order; raises Broken."""
        schedule = Schedule(random.Random(f"store {seed}"), self.loop)
        self.loop.begin(seed)
        schedule.run()
        return "\n".join(schedule.said)
