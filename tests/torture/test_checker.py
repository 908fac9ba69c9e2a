"""The checker on made-up histories: it has nothing to say about good ones, and finds each kind of lie by its law."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.torture import checker, history
from tests.torture.history import Event, History, Operation, Stream, Version


class Story:
    """A store that never lies, told from outside: each call is an operation after the one before."""

    def __init__(self) -> None:
        self.told = History()
        self.now = 0.0
        self.revision = 0
        self.objects: dict[str, Version] = {}

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    def write(self, verb: str, key: str, color: str = "red", client: str = "a", **given: object) -> Operation:
        by = f"{client}-{len(self.told.operations)}"
        operation = Operation(client, verb, key, self.tick(), by="" if verb == "delete" else by)
        before = self.objects.get(key)
        self.revision += 1
        if verb == "delete":
            assert before is not None
            version = Version(key, self.revision, None, before.uid)
            del self.objects[key]
            last = before._replace(revision=self.revision)
            operation.uid = before.uid
            self.emit("DELETED", last, before)
        else:
            change = {"by": by, "color": color}
            kept = before.value or {} if verb == "patch" and before else {}
            operation.value = change
            uid = before.uid if before else f"uid-{self.revision}"
            version = Version(key, self.revision, {**kept, **change}, uid)
            self.objects[key] = version
            operation.seen = (version,)
            operation.revision = self.revision
            self.emit("MODIFIED" if before else "ADDED", version, before)
        operation.ended, operation.outcome = self.tick(), history.DONE
        for name, value in given.items():
            setattr(operation, name, value)
        self.told.operations.append(operation)
        return operation

    def emit(self, kind: str, version: Version, before: Version | None) -> None:
        for stream in self.told.streams:
            now = kind
            if stream.color:
                was = before is not None and (before.value or {}).get("color") == stream.color
                is_ = kind != "DELETED" and (version.value or {}).get("color") == stream.color
                now = ("MODIFIED" if was else "ADDED") if is_ else ("DELETED" if was else "")
            told = version
            if now == "DELETED":
                assert before is not None
                told = version._replace(value=before.value)
            if now:
                stream.events.append(Event(self.now + 0.5, now, told))

    def watch(self, color: str = "", since: int | None = None, resumed: bool = False) -> Stream:
        stream = Stream("w", self.revision if since is None else since, color, resumed)
        self.told.streams.append(stream)
        return stream

    def bookmark(self, stream: Stream) -> None:
        stream.events.append(Event(self.tick(), history.BOOKMARK, Version("", self.revision, None)))

    def get(self, key: str) -> Operation:
        found = self.objects.get(key)
        operation = Operation("r", "get", key, self.tick(), self.tick(), history.DONE if found else history.ABSENT)
        if found:
            operation.seen, operation.revision = (found,), found.revision
        self.told.operations.append(operation)
        return operation

    def list(self, client: str = "r") -> Operation:
        seen = tuple(self.objects.values())
        operation = Operation(client, "list", "", self.tick(), self.tick(), history.DONE, revision=self.revision)
        operation.seen = seen
        self.told.operations.append(operation)
        return operation


def good() -> Story:
    """Two keys, their whole lives, three watches, gets and lists in between."""
    story = Story()
    everything, red = story.watch(), story.watch("red")
    story.write("create", "k")
    story.get("k")
    story.write("create", "l", "blue")
    story.write("update", "k", "blue", expected=1)
    story.bookmark(everything)
    story.list()
    story.write("patch", "k", "red", client="b")
    story.write("delete", "l")
    story.get("l")
    story.bookmark(red)
    story.write("create", "l", client="b")
    story.list(checker.DISK)
    story.watch(since=story.revision, resumed=True)
    story.write("update", "l", "blue")
    story.get("k")
    story.list()
    return story


def laws(told: History) -> list[str]:
    return list(dict.fromkeys(violation.law for violation in checker.check(told)))


def test_a_good_history_breaks_nothing_and_is_the_same_from_a_file(tmp_path: Path):
    told = good().told
    assert checker.check(told) == []
    assert checker.check(told) == []  # It changed nothing in it.
    told.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json") == told


def an_unacknowledged_write_that_was_done(told: History) -> None:
    update = told.operations[3]
    update.outcome, update.ended, update.revision, update.seen = history.UNKNOWN, math.inf, 0, ()


def an_unacknowledged_write_that_was_not_done(told: History) -> None:
    told.operations.append(Operation("a", "update", "k", 3.0, by="never", value={"by": "never"}))


def an_unacknowledged_deletion_that_was_done(told: History) -> None:
    deletion = next(each for each in told.operations if each.verb == "delete")
    deletion.outcome, deletion.ended, deletion.uid = history.UNKNOWN, math.inf, ""


def a_refusal_with_a_reason(told: History) -> None:
    told.operations += [
        Operation("a", "create", "k", 7.5, 7.6, history.EXISTS, by="x"),
        Operation("a", "update", "k", 9.5, 9.6, history.CONFLICT, by="y", expected=1),
        Operation("a", "update", "m", 9.5, 9.6, history.ABSENT, by="z"),
        Operation("a", "create", "m", 9.5, 9.6, history.REFUSED, by="v"),
    ]


def reads_at_the_same_time_as_a_write(told: History) -> None:
    """Either version is true while the update is under way."""
    update = told.operations[3]
    first, second = told.operations[0].seen[0], update.seen[0]
    middle = (update.began + update.ended) / 2
    for version in (first, second):
        told.operations.append(
            Operation("r", "get", "k", middle, middle, history.DONE, revision=version.revision, seen=(version,))
        )


@pytest.mark.parametrize(
    "change",
    [
        an_unacknowledged_write_that_was_done,
        an_unacknowledged_write_that_was_not_done,
        an_unacknowledged_deletion_that_was_done,
        a_refusal_with_a_reason,
        reads_at_the_same_time_as_a_write,
    ],
)
def test_what_may_happen_breaks_nothing(change: Callable[[History], None]):
    told = good().told
    change(told)
    assert checker.check(told) == []


# -- lies, each with the law it breaks first ----------------------------------------------------------------------

Lie = Callable[[History], None]
LIES: list[tuple[str, Lie]] = []


def lie(law: str) -> Callable[[Lie], Lie]:
    def kept(change: Lie) -> Lie:
        LIES.append((law, change))
        return change

    return kept


@lie("lost")
def an_acknowledged_write_is_not_on_the_disk(told: History) -> None:
    disk = next(each for each in told.operations if each.client == checker.DISK)
    disk.seen = disk.seen[:-1]


@lie("real time")
def the_disk_ends_before_an_acknowledged_write(told: History) -> None:
    disk = next(each for each in told.operations if each.client == checker.DISK)
    disk.revision -= 1
    disk.seen = disk.seen[:-1]


@lie("lost")
def a_deletion_was_acknowledged_and_never_done(told: History) -> None:
    created = told.operations[0]
    told.operations.append(Operation("a", "delete", "k", 90.0, 91.0, history.DONE, uid=created.seen[0].uid))


@lie("agreement")
def a_revision_is_given_twice(told: History) -> None:
    """What was seen before its commit, and lost with it, comes back as another write."""
    for stream in told.streams:
        stream.events = [event for event in stream.events if event.version.revision != 3]
    read = told.operations[3].seen[0]
    told.operations.append(
        Operation(
            "r",
            "get",
            "k",
            9.5,
            9.6,
            history.DONE,
            revision=3,
            seen=(read._replace(value={"by": "ghost", "color": "red"}),),
        )
    )


@lie("agreement")
def a_write_was_told_another_revision(told: History) -> None:
    told.operations[3].revision += 10
    told.operations[3].seen = ()


@lie("nobody")
def a_version_comes_from_nowhere(told: History) -> None:
    ghost = Version("m", 99, {"by": "ghost"}, "u")
    told.operations.append(Operation("r", "get", "m", 90, 91, history.DONE, revision=99, seen=(ghost,)))


@lie("nobody")
def something_is_deleted_by_nobody(told: History) -> None:
    told.operations = [each for each in told.operations if each.verb != "delete"]


@lie("once")
def a_write_is_done_twice(told: History) -> None:
    again = told.operations[3].seen[0]._replace(revision=99)
    told.operations.append(Operation("r", "get", "k", 90, 91, history.DONE, revision=99, seen=(again,)))


@lie("refused")
def a_refused_write_is_done(told: History) -> None:
    told.operations[3].outcome = history.CONFLICT


@lie("state")
def an_update_for_an_older_revision_is_done(told: History) -> None:
    patch = next(each for each in told.operations if each.verb == "patch")
    patch.verb, patch.expected = "update", 1


@lie("state")
def a_create_comes_upon_an_object(told: History) -> None:
    told.operations[3].verb = "create"


@lie("state")
def a_patch_loses_what_was_there(told: History) -> None:
    """The value before has a field that the patch does not name."""
    created = told.operations[3]
    created.value = {**created.value, "kept": "yes"}
    old = created.seen[0]
    new = old._replace(value={**(old.value or {}), "kept": "yes"})
    created.seen = (new,)
    for stream in told.streams:
        stream.events = [
            event._replace(version=event.version._replace(value=new.value))
            if event.version.value == old.value
            else event
            for event in stream.events
        ]


@lie("real time")
def a_later_write_has_the_smaller_revision(told: History) -> None:
    told.operations[3].began, told.operations[3].ended = 100.0, 101.0


@lie("stale")
def a_read_shows_what_was_overwritten_before(told: History) -> None:
    first = told.operations[0].seen[0]
    told.operations.append(Operation("r", "get", "k", 90, 91, history.DONE, revision=1, seen=(first,)))


@lie("stale")
def a_read_shows_nothing_where_something_was(told: History) -> None:
    told.operations.append(Operation("r", "get", "k", 90, 91, history.ABSENT))


@lie("stale")
def a_second_read_goes_back_in_time(told: History) -> None:
    """Both while one update is under way: each is true alone, the old value after the new one is not."""
    update = told.operations[3]
    span = update.ended - update.began
    for version, at in ((update.seen[0], 0.2), (told.operations[0].seen[0], 0.6)):
        began = update.began + span * at
        told.operations.append(
            Operation("r", "get", "k", began, began + span * 0.2, history.DONE, revision=version[1], seen=(version,))
        )


@lie("stale")
def a_conflict_has_no_reason(told: History) -> None:
    told.operations.append(Operation("a", "update", "k", 90, 91, history.CONFLICT, by="x", expected=4))


@lie("real time")
def a_list_is_older_than_what_was_told(told: History) -> None:
    told.operations[-1].revision, told.operations[-1].seen = 1, told.operations[0].seen


@lie("list")
def a_list_lacks_an_object(told: History) -> None:
    told.operations[-1].seen = told.operations[-1].seen[:-1]


@lie("list")
def a_list_has_an_object_of_before(told: History) -> None:
    old = told.operations[0].seen[0]
    told.operations[-1].seen = (old, *told.operations[-1].seen[1:])


@lie("ordered")
def a_watch_tells_two_events_the_wrong_way_round(told: History) -> None:
    events = told.streams[0].events
    events[0], events[1] = events[1], events[0]


@lie("unique")
def a_watch_tells_an_event_twice(told: History) -> None:
    told.streams[0].events.insert(1, told.streams[0].events[0])


@lie("reliable")
def a_watch_leaves_an_event_out(told: History) -> None:
    del told.streams[0].events[1]


@lie("resumable")
def a_resumed_watch_begins_too_late(told: History) -> None:
    told.streams[2].since -= 2


@lie("bookmark")
def a_bookmark_goes_back(told: History) -> None:
    told.streams[0].events.append(Event(90, history.BOOKMARK, Version("", 1, None)))


@lie("ordered")
def an_older_event_follows_a_bookmark(told: History) -> None:
    place = next(i for i, event in enumerate(told.streams[0].events) if event.type == history.BOOKMARK)
    events = told.streams[0].events
    events[place - 1], events[place] = events[place], events[place - 1]


@lie("reliable")
def a_bookmark_says_more_than_was_told(told: History) -> None:
    told.streams[0].events = told.streams[0].events[:1]
    told.streams[0].events.append(Event(90, history.BOOKMARK, Version("", 4, None)))


@lie("atomic")
def a_watch_tells_half_an_object(told: History) -> None:
    event = told.streams[1].events[-1]  # The watch that selects: what it says is no witness of what was written.
    assert event.type == "DELETED"
    told.streams[1].events[-1] = event._replace(version=event.version._replace(value={"by": "half"}))


@lie("atomic")
def a_watch_calls_a_change_an_addition(told: History) -> None:
    events = told.streams[0].events
    place = next(i for i, event in enumerate(events) if event.type == "MODIFIED")
    events[place] = events[place]._replace(type="ADDED")


@lie("atomic")
def a_watch_tells_what_it_does_not_select(told: History) -> None:
    blue = told.operations[2].seen[0]
    told.streams[1].events.insert(1, Event(5.0, "ADDED", blue))


@pytest.mark.parametrize(("law", "change"), LIES, ids=[change.__name__ for _, change in LIES])
def test_each_lie_is_found(law: str, change: Lie):
    told = good().told
    change(told)
    assert law in laws(told), checker.check(told)


def test_every_law_has_its_lie():
    source = Path(checker.__file__).read_text()
    found = {word.split('"')[0] for word in source.split('Violation("')[1:]} | {"lost", "list", "reliable", "resumable"}
    assert {law for law, _ in LIES} == found


@pytest.mark.parametrize("seed", range(50))
def test_a_random_history_is_good_and_no_event_of_it_can_be_left_out(seed: int):
    chance = random.Random(seed)
    story = Story()
    story.watch()
    story.watch("red")
    story.watch()  # Another witness of what is left out.
    for _ in range(60):
        key = chance.choice("klmn")
        there = story.objects.get(key)
        verb = chance.choice(("update", "patch", "delete", "get", "list")) if there else "create"
        if verb == "get":
            story.get(key)
        elif verb == "list":
            story.list()
        else:
            story.write(verb, key, chance.choice(("red", "blue")))
    assert checker.check(story.told) == []
    stream = story.told.streams[seed % 2]
    at = chance.randrange(len(stream.events) - 1)
    cut = replace(stream, events=[*stream.events[:at], *stream.events[at + 1 :]])
    story.told.streams[seed % 2] = cut
    assert laws(story.told) == ["reliable"]
