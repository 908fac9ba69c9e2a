"""Does a history keep what a store with revisions promises? Pure: a history in, the violations out.

First everything anybody was told is put together: revision by revision, what was written (`Facts`). From then on the
order of all writes is known, since a revision is a place in it, and each claim is looked up instead of searched for:

- each write made exactly the next version of its key from the one before (conditions held, patches merged, nothing
  refused was done, nothing done twice, nothing that nobody wrote);
- revision order is the order in time: an operation that began after another had ended has the greater revision, a read
  one that is not smaller. A list carries its revision; a get, and a refusal, is given the smallest at which it is true;
- a list is the state at its revision, whole;
- a watch tells each change after its start once, in order, with its type and the whole object, up to the last
  revision it told; a bookmark leaves nothing out and nothing older follows it. A stream that goes on where another was
  cut begins with what comes next.

What the disk holds after a kill is judged as a list that was read then: it lacks nothing that anybody was told before.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tests.torture import history
from tests.torture.history import History, Operation, Stream, Value, Version

DISK = "disk"  # The reader of what a stop left in the file.


class Violation(NamedTuple):
    law: str
    what: str


def check(told: History) -> list[Violation]:
    """Every way in which the history is not that of such a store; [] when there is none."""
    told = History([replace(operation) for operation in told.operations], told.streams)  # Its copy learns revisions.
    facts = Facts()
    violations: list[Violation] = []
    for version in versions(told):
        violations += facts.learn(version)
    facts.settle()
    violations += writes(facts, told.operations)
    violations += order(facts, told)
    violations += lists(facts, told.operations)
    for stream in told.streams:
        violations += watched(facts, stream)
    return list(dict.fromkeys(violations))


# -- what was written ---------------------------------------------------------------------------------------------


def versions(told: History) -> Iterator[Version]:
    """Every version somebody was told of, deletions included."""
    for operation in told.operations:
        yield from operation.seen
        yield from operation.also
    for stream in told.streams:
        for event in stream.events:
            if event.type in ("ADDED", "MODIFIED"):
                yield event.version
            elif event.type == "DELETED" and not stream.color:  # One that selects says so of what only changed color.
                yield event.version._replace(value=None)


class Facts:
    """The writes by revision, and each key's versions in order."""

    def __init__(self) -> None:
        self.by_revision: dict[int, Version] = {}
        self.revisions: list[int] = []
        self.timelines: dict[str, Timeline] = {}

    def learn(self, version: Version) -> Iterator[Violation]:
        known = self.by_revision.setdefault(version.revision, version)
        if known is version or (known.key == version.key and known.value == version.value):
            if not known.uid and version.uid:
                self.by_revision[version.revision] = version
        else:
            yield Violation("agreement", f"revision {version.revision} is both {shown(known)} and {shown(version)}")

    def settle(self) -> None:
        self.revisions = sorted(self.by_revision)
        for revision in self.revisions:
            version = self.by_revision[revision]
            timeline = self.timelines.get(version.key)
            if timeline is None:
                timeline = self.timelines[version.key] = Timeline()
            timeline.append(version)

    def timeline(self, key: str) -> Timeline:
        return self.timelines.get(key) or Timeline()

    def between(self, since: int, until: int) -> Iterator[Version]:
        """The writes after one revision and up to another."""
        for at in range(bisect_right(self.revisions, since), bisect_right(self.revisions, until)):
            yield self.by_revision[self.revisions[at]]

    def before(self, version: Version) -> Version | None:
        return self.timelines[version.key].at(version.revision - 1)


class Timeline:
    """The versions of one key."""

    def __init__(self) -> None:
        self.revisions: list[int] = []
        self.versions: list[Version] = []

    def append(self, version: Version) -> None:
        self.revisions.append(version.revision)
        self.versions.append(version)

    def at(self, revision: int) -> Version | None:
        """The object at a revision; None when there was none."""
        place = bisect_right(self.revisions, revision)
        version = self.versions[place - 1] if place else None
        return version if version is not None and version.value is not None else None

    def first(self, floor: int, holds: Callable[[Version | None], bool]) -> int | None:
        """The smallest revision from `floor` at which the object is so; None when it never was again."""
        if holds(self.at(floor)):
            return floor
        for place in range(bisect_right(self.revisions, floor), len(self.versions)):
            version = self.versions[place]
            if holds(version if version.value is not None else None):
                return version.revision
        return None


def shown(version: Version | None) -> str:
    if version is None:
        return "nothing"
    what = "deleted" if version.value is None else version.value.get("by", "?")
    return f"{version.key} {what} at {version.revision}"


def named(operation: Operation) -> str:
    return f"{operation.client}'s {operation.verb} of {operation.key or 'all'} at {operation.began:.4f}"


# -- each write made the next version -----------------------------------------------------------------------------


def writes(facts: Facts, operations: list[Operation]) -> Iterator[Violation]:
    """Versions are made by writes, each by one; fills in the revisions of writes whose writer was not told."""
    by_name = {operation.by: operation for operation in operations if operation.by}
    deletions: dict[str, list[Operation]] = {}
    for operation in operations:
        if operation.verb == "delete":
            deletions.setdefault(operation.key, []).append(operation)
    made: dict[str, int] = {}
    for revision in facts.revisions:
        version = facts.by_revision[revision]
        if version.value is None:
            yield from deleted(facts, version, deletions.get(version.key, []))
            continue
        by = version.value.get("by", "")
        operation = by_name.get(by)
        if operation is None or operation.key != version.key:
            yield Violation("nobody", f"{shown(version)}: nobody wrote that")
            continue
        if made.setdefault(by, revision) != revision:
            yield Violation("once", f"{named(operation)} was done at {made[by]} and again at {revision}")
        if operation.outcome not in (history.DONE, history.UNKNOWN):
            yield Violation("refused", f"{named(operation)} was refused ({operation.outcome}) and done at {revision}")
        if operation.outcome == history.DONE and operation.revision != revision:
            yield Violation("agreement", f"{named(operation)} was told {operation.revision} and done at {revision}")
        operation.revision = revision
        yield from follows(facts, version, operation)
    for operation in operations:
        is_done = operation.outcome == history.DONE and operation.verb in history.WRITES
        if is_done and operation.revision not in facts.by_revision:
            yield Violation("lost", f"{named(operation)} was acknowledged, and nobody saw it")


def follows(facts: Facts, version: Version, operation: Operation) -> Iterator[Violation]:
    """The version is what this write makes of the one before."""
    before = facts.before(version)
    where = f"{named(operation)}, done at {version.revision}"
    if (operation.verb == "create") != (before is None):
        yield Violation("state", f"{where}, came upon {shown(before)}")
        return
    if operation.expected and before is not None and before.revision != operation.expected:
        yield Violation("state", f"{where}, was made for revision {operation.expected} and came upon {shown(before)}")
    if before is not None and before.uid and version.uid and before.uid != version.uid:
        yield Violation("state", f"{where}, changed the uid of {shown(before)}")
    kept: Value = before.value or {} if before is not None and operation.verb == "patch" else {}
    if version.value != {**kept, **operation.value}:
        yield Violation("state", f"{where}, left {version.value} where {shown(before)} was")


def deleted(facts: Facts, version: Version, deletions: list[Operation]) -> Iterator[Violation]:
    """One of the deletions of that key made it: the one that was told this uid, else one that was told nothing."""
    before = facts.before(version)
    if before is None:
        yield Violation("state", f"{shown(version)}, and was not there before")
        return
    for operation in deletions:
        if operation.outcome == history.DONE and operation.uid == before.uid and not operation.revision:
            operation.revision = version.revision
            break
    else:
        candidates = [
            each
            for each in deletions
            if each.outcome == history.UNKNOWN and not each.revision and each.expected in (0, before.revision)
        ]
        if not candidates:
            yield Violation("nobody", f"{shown(version)}: nobody who could have deleted {shown(before)}")
            return
        operation = min(candidates, key=lambda each: each.began)
        operation.revision = version.revision
    if operation.expected and operation.expected != before.revision:
        yield Violation("state", f"{named(operation)} was made for {operation.expected}, and removed {shown(before)}")


# -- revision order is the order in time --------------------------------------------------------------------------


def order(facts: Facts, told: History) -> Iterator[Violation]:
    """One sweep in the order of beginnings, with the greatest revision that anybody was told before each."""
    ended: list[tuple[float, int]] = []
    for stream in told.streams:
        ended += [(event.at, event.version.revision) for event in stream.events]
    heapq.heapify(ended)
    floor = 0
    for operation in sorted(told.operations, key=lambda each: each.began):
        while ended and ended[0][0] < operation.began:
            floor = max(floor, heapq.heappop(ended)[1])
        if operation.outcome in (history.REFUSED, history.UNKNOWN) and not operation.revision:
            continue
        is_write = operation.verb in history.WRITES and operation.outcome in (history.DONE, history.UNKNOWN)
        if is_write or operation.verb == "list":
            at = operation.revision
            if at < floor + is_write:
                yield Violation("real time", f"{named(operation)} has revision {at}; {floor} was told before it began")
        else:
            found = facts.timeline(operation.key).first(floor, explains(operation))
            if found is None:
                yield Violation("stale", f"{named(operation)} was told {answer(operation)}: untrue from {floor} on")
                continue
            at = found
        if operation.ended < math.inf:
            heapq.heappush(ended, (operation.ended, at))


def explains(operation: Operation) -> Callable[[Version | None], bool]:
    """Whether a state of the key is the reason for the answer."""
    if operation.outcome == history.ABSENT:
        return lambda version: version is None
    if operation.outcome == history.EXISTS:
        return lambda version: version is not None
    if operation.outcome == history.CONFLICT:
        return lambda version: version is None or version.revision != operation.expected
    return lambda version: version is not None and version.revision == operation.revision


def answer(operation: Operation) -> str:
    return f"revision {operation.revision}" if operation.outcome == history.DONE else operation.outcome


# -- lists --------------------------------------------------------------------------------------------------------


def lists(facts: Facts, operations: list[Operation]) -> Iterator[Violation]:
    """All lists in the order of their revisions, beside the state as it grows."""
    state: dict[str, Version] = {}
    at = 0
    done = [each for each in operations if each.verb == "list" and each.outcome == history.DONE]
    for operation in sorted(done, key=lambda each: each.revision):
        for version in facts.between(at, operation.revision):
            if version.value is None:
                state.pop(version.key, None)
            else:
                state[version.key] = version
        at = max(at, operation.revision)
        seen = {version.key: version.revision for version in operation.seen}
        if len(seen) != len(operation.seen):
            yield Violation("list", f"{named(operation)} names a key twice")
        for key in {**seen, **state}:
            there = state.get(key)
            if seen.get(key) != (there.revision if there else None):
                law = "lost" if operation.client == DISK and there and key not in seen else "list"
                told = f"{key} at {seen[key]}" if key in seen else f"no {key}"
                yield Violation(law, f"{named(operation)} at revision {at} has {told}; there is {shown(there)}")


# -- watches ------------------------------------------------------------------------------------------------------


def watched(facts: Facts, stream: Stream) -> Iterator[Violation]:
    """One stream beside the events that the writes make of themselves."""
    name = f"{stream.client}'s watch from {stream.since}" + (f" of {stream.color}" if stream.color else "")
    last = stream.since
    told: dict[int, history.Event] = {}
    for event in stream.events:
        revision = event.version.revision
        if event.type == history.BOOKMARK:
            if revision < last:
                yield Violation("bookmark", f"{name}: a bookmark says {revision} after {last}")
        elif revision in told:
            yield Violation("unique", f"{name}: {revision} came twice")
        elif revision <= last:
            yield Violation("ordered", f"{name}: {revision} came after {last}")
        if event.type != history.BOOKMARK:
            told.setdefault(revision, event)
        last = max(last, revision)
    first = min(told, default=last)
    for version in facts.between(stream.since, last):
        wanted, value = expected(facts, version, stream.color)
        event = told.pop(version.revision, None)
        if wanted and event is None:
            law = "resumable" if stream.resumed and version.revision < first else "reliable"
            yield Violation(law, f"{name}: {wanted} {shown(version)} never came, and {last} did")
        elif event is not None and not wanted:
            yield Violation("atomic", f"{name}: {event.type} {shown(version)} came, which it does not select")
        elif event is not None and (event.type, event.version.key) != (wanted, version.key):
            yield Violation("atomic", f"{name}: {event.type} {shown(event.version)}; it is {wanted} {shown(version)}")
        elif event is not None and event.version.value != value:
            yield Violation("atomic", f"{name}: {wanted} {shown(version)} came with {event.version.value}")
    for revision, event in told.items():
        if revision > stream.since:
            yield Violation("nobody", f"{name}: {event.type} {shown(event.version)}: no write made it")


def expected(facts: Facts, version: Version, color: str) -> tuple[str, Value | None]:
    """(the type of event this write is to such a watch, "" for none; what it carries)."""
    before = facts.before(version)
    was = before is not None and (not color or (before.value or {}).get("color") == color)
    is_ = version.value is not None and (not color or version.value.get("color") == color)
    if is_:
        return ("MODIFIED" if was else "ADDED"), version.value
    return ("DELETED", before.value if before else None) if was else ("", None)
