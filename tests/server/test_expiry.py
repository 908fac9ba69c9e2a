"""How long events are kept: an hour after they were last written, also by a start that finds them."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from petset.base import memory as base
from petset.base import tasks
from petset.kinds.event import EVENTS
from petset.objects import meta
from petset.objects.meta import Object
from petset.server import expiry
from petset.store import index, memory, store
from petset.world import loop as virtual

NOW = 1_800_000_000.0
LONG_AGO = "2017-09-19T13:49:16.000000Z"
HOUR = expiry.EVENT_SECONDS_MAX


def event(created: float, name: str = "e", **given: object) -> Object:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": tasks.rfc3339(created)}
    return {"apiVersion": "v1", "kind": "Event", "metadata": metadata, **given}


def key(name: str) -> str:
    return EVENTS.key("default", name)


def run(
    scene: Callable[[memory.MemoryStore], Awaitable[None]], kind: type[memory.MemoryStore] = memory.MemoryStore
) -> None:
    async def main(loop: virtual.VirtualLoop) -> None:
        with tasks.environment(tasks.Environment(lambda: NOW + loop.time(), random.Random(1), threads=False)):
            await scene(kind())

    virtual.run(main, seed=1)


async def keeping(kept: memory.MemoryStore, story: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(expiry.keep(kept))
        await story()
        task.cancel()


def left(kept: memory.MemoryStore) -> list[str]:
    return [meta.name(entry.object) for entry in kept.list(EVENTS.key())[1]]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (event(NOW), HOUR),
        (event(NOW - 3601), 0),
        (event(NOW - 9000, lastTimestamp=tasks.rfc3339(NOW - 600)), HOUR - 600),
        (event(NOW - 9000, series={"count": 2, "lastObservedTime": tasks.rfc3339(NOW - 60)}), HOUR - 60),
        (event(NOW - 9000, series={"count": 2, "lastObservedTime": LONG_AGO}), 0),
        (event(NOW, series={"count": 2, "lastObservedTime": LONG_AGO}), HOUR),
        (event(NOW, eventTime=LONG_AGO, lastTimestamp=None), HOUR),
        (event(NOW, lastTimestamp="0001-01-01T00:00:00Z"), HOUR),
        (event(NOW, lastTimestamp=tasks.rfc3339(NOW + 9000)), HOUR),
    ],
)
def test_one_that_a_start_finds_is_kept_for_an_hour_after_the_latest_that_is_known_of_it(given: Object, seconds: float):
    async def scene(kept: memory.MemoryStore) -> None:
        await kept.put(key("e"), given, 0)

        async def story() -> None:
            if seconds:
                await asyncio.sleep(seconds - 1)
                assert left(kept) == ["e"]
            await asyncio.sleep(2)
            assert left(kept) == []

        await keeping(kept, story)

    run(scene)


def test_they_go_in_the_order_in_which_they_were_last_written():
    async def scene(kept: memory.MemoryStore) -> None:
        async def story() -> None:
            for name in "abc":
                await kept.put(key(name), event(NOW, name), 0)
                await asyncio.sleep(600)
            await kept.put(key("a"), event(NOW, "a", count=2), None)
            await kept.delete(key("b"), None)
            await kept.put(EVENTS.key("default", "d"), event(NOW, "d"), 0)
            await asyncio.sleep(HOUR - 601)
            assert left(kept) == ["a", "c", "d"]
            await asyncio.sleep(2)
            assert left(kept) == ["a", "d"]
            await asyncio.sleep(HOUR)
            assert left(kept) == []

        await keeping(kept, story)

    run(scene)


def test_many_go_at_once():
    async def scene(kept: memory.MemoryStore) -> None:
        for number in range(3 * expiry.REMOVED_AT_ONCE):
            await kept.put(key(f"e{number}"), event(NOW), 0)

        async def story() -> None:
            await asyncio.sleep(HOUR + 1)
            assert left(kept) == []

        await keeping(kept, story)

    run(scene)


def test_they_go_in_time_however_often_they_were_put_to_rest():
    """Of what waits for its hour no object is alive then."""
    others = [id(one) for one in dues()]

    async def scene(kept: memory.MemoryStore) -> None:
        async def story() -> None:
            for number in range(3 * index.RESTING_MIN):
                await kept.put(key(f"e{number}"), event(NOW), 0)
            await asyncio.sleep(600)
            await kept.put(key("e7"), event(NOW, count=2), None)
            await asyncio.sleep(0)
            base.let_go()
            kept._rest()
            assert kept._index.entries == {} and alive_lines(others) == 0
            await asyncio.sleep(HOUR - 601)
            assert kept.count(EVENTS.key()) == 3 * index.RESTING_MIN
            base.let_go()
            await asyncio.sleep(2)
            assert left(kept) == ["e"] and kept.get(key("e7")) is not None
            await asyncio.sleep(600)
            assert left(kept) == []

        await keeping(kept, story)

    run(scene)


def dues() -> list[expiry.Due]:
    """All in this process; a cluster that another test has left running has one, too."""
    gc.collect()
    return [obj for obj in gc.get_objects() if isinstance(obj, expiry.Due)]


def alive_lines(others: Collection[int]) -> int:
    """Of all but those with these ids."""
    return sum(len(due._first) + len(due._newest) for due in dues() if id(due) not in others)


def test_lines_of_what_was_written_again_do_not_pile_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(expiry, "STALE_LINES_KEPT", 50)
    monkeypatch.setattr(expiry, "SEGMENT_LINES_MAX", 20)

    others = [id(one) for one in dues()]

    async def scene(kept: memory.MemoryStore) -> None:
        async def story() -> None:
            for number in range(1000):
                await kept.put(key(f"e{number % 3}"), event(NOW, count=number), None)
                await asyncio.sleep(0)
            (due,) = [one for one in dues() if id(one) not in others and len(one)]
            assert len(due) <= 60
            await asyncio.sleep(HOUR + 1)
            assert left(kept) == []

        await keeping(kept, story)

    run(scene)


class FullDisk(memory.MemoryStore):
    """Cannot delete until somebody has made room."""

    room = False

    async def delete(self, key: str, expected: int | None) -> store.Entry | None:
        if not self.room:
            raise store.Unavailable("disk full")
        return await super().delete(key, expected)


def test_a_full_disk_keeps_them_a_while():
    async def scene(kept: Any) -> None:
        await kept.put(key("e"), event(NOW), 0)

        async def story() -> None:
            await asyncio.sleep(HOUR + 60)
            assert left(kept) == ["e"]
            kept.room = True
            await asyncio.sleep(expiry.RETRY_SECONDS + 1)
            assert left(kept) == []

        await keeping(kept, story)

    run(scene, FullDisk)
