"""A store at rest: packed, and still the same to whoever asks; nobody can tell but by counting what is alive."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.store import index, memory, packed
from petset.store.store import Change, Entry, Expired
from tests.store.objects import config_map, key

MANY = 2 * index.RESTING_MIN


def run(scene: Callable[[memory.MemoryStore], Coroutine[Any, Any, None]], **limits: int) -> None:
    asyncio.run(scene(memory.MemoryStore(**limits)))


async def filled(kept: memory.MemoryStore, count: int = MANY) -> None:
    await asyncio.gather(*(kept.put(key(f"k{i:04}"), config_map(f"k{i:04}", f"{i}"), 0) for i in range(count)))


def plain(entry: Entry) -> tuple[Any, ...]:
    return entry.key, entry.revision, entry.created_revision, entry.encoded


def shown(changes: Any) -> list[Any]:
    return [(one.type, plain(one.entry), one.previous and plain(one.previous)) for one in changes]


def past(kept: memory.MemoryStore, since: int) -> list[Any]:
    with kept.watch("", since) as watch:
        return shown(watch.pending())


def alive(*kinds: type) -> int:
    gc.collect()
    return sum(isinstance(obj, kinds) for obj in gc.get_objects())


def test_of_what_rests_no_object_is_alive():
    async def scene(kept: memory.MemoryStore) -> None:
        before = alive(Entry, Change)
        await filled(kept)
        assert alive(Entry, Change) - before >= 2 * MANY
        await asyncio.sleep(0)  # What was gathered goes.
        kept._rest()
        assert alive(Entry, Change) <= before
        assert kept._index.entries == {} and kept._index._keys == []
        assert kept.stats().objects == MANY and kept.stats().history_changes == MANY

    run(scene)


def test_it_is_listed_counted_watched_and_found_as_before():
    async def scene(kept: memory.MemoryStore) -> None:
        await filled(kept)
        await kept.put(key("k0003"), config_map("k0003", "again"), None)
        await kept.delete(key("k0004"), None)
        prefixes = ("", "/core/", key("k00"), key("k0003"), key("none"), key("a"), key("z"))
        lists = [list(map(plain, kept.list(prefix)[1])) for prefix in prefixes]
        changes = past(kept, 5)
        kept._rest()
        for prefix, listed in zip(prefixes, lists, strict=True):
            assert list(map(plain, kept.list(prefix)[1])) == listed
            assert list(map(plain, (await kept.snapshot(prefix))[1])) == listed
            assert kept.count(prefix) == len(listed)
        assert kept._index.entries == {}, "a list wakes nobody"
        found = kept.get(key("k0003"))
        assert found is not None and found.object["data"]["value"] == "again"
        assert kept.get(key("k0003")) is found, "who was asked for is awake"
        assert kept.get(key("k0004")) is None
        assert past(kept, 5) == changes

    run(scene)


def test_what_rests_is_changed_and_removed_like_anything():
    async def scene(kept: memory.MemoryStore) -> None:
        await filled(kept)
        kept._rest()
        changed = await kept.put(key("k0001"), config_map("k0001", "new"), 2)
        assert changed.created_revision == 2
        gone = await kept.delete(key("k0002"), 3)
        assert gone is not None and gone.object["data"]["value"] == "2"
        assert await kept.delete(key("k0002"), None) is None
        again = await kept.put(key("k0002"), config_map("k0002", "again"), 0)
        assert again.created_revision == again.revision
        assert len(kept.list("")[1]) == kept.count("") == kept.stats().objects == MANY
        assert [one[0] for one in past(kept, MANY)] == ["MODIFIED", "DELETED", "ADDED"]

    run(scene)


def test_a_snapshot_is_of_one_moment():
    async def scene(kept: memory.MemoryStore) -> None:
        await filled(kept, index.SLICE_ENTRIES_MAX + MANY)
        kept._rest()
        _, expected = kept.list("")
        taking = asyncio.ensure_future(kept.snapshot(""))
        await asyncio.sleep(0)
        assert not taking.done(), "the loop goes on meanwhile"
        await kept.delete(expected[-1].key, None)
        revision, entries = await taking
        assert revision == kept.revision - 1
        assert list(map(plain, entries)) == list(map(plain, expected))

    run(scene)


def test_what_changed_while_it_was_packed_is_not_put_to_rest():
    async def scene(kept: memory.MemoryStore) -> None:
        await filled(kept)
        rest = kept._resting()
        rest.pack()
        changed = await kept.put(key("k0001"), config_map("k0001", "new"), None)
        await kept.delete(key("k0002"), None)
        expected = list(map(plain, kept.list("")[1]))
        kept._settle(rest)
        assert list(map(plain, kept.list("")[1])) == expected
        assert list(kept._index.entries) == [key("k0001")]
        assert kept.get(key("k0001")) is changed and kept.get(key("k0002")) is None

    run(scene)


def test_a_tree_that_somebody_holds_keeps_its_entry_awake():
    async def scene(kept: memory.MemoryStore) -> None:
        await filled(kept)
        entry = kept.get(key("k0007"))
        assert entry is not None
        held = entry.object
        kept._rest()
        assert list(kept._index.entries.values()) == [entry] and entry.object is held

    run(scene)


def test_few_are_left_as_they_are():
    async def scene(kept: memory.MemoryStore) -> None:
        await filled(kept, 10)
        kept._rest()
        assert len(kept._index.entries) == 10

    run(scene)


def test_there_are_never_many_runs():
    async def scene(kept: memory.MemoryStore) -> None:
        for generation in range(20):
            await asyncio.gather(
                *(kept.put(key(f"k{generation}-{i}"), config_map("x"), 0) for i in range(index.RESTING_MIN))
            )
            kept._rest()
        assert len(kept.list("")[1]) == 20 * index.RESTING_MIN
        assert len(kept._index._runs) <= 5
        for entry in kept.list("")[1]:
            await kept.delete(entry.key, None)
        await filled(kept)
        kept._rest()
        assert [run.left for run in kept._index._runs] == [MANY], "an empty run goes"

    run(scene)


def test_the_history_keeps_its_bounds_at_rest():
    async def scene(kept: memory.MemoryStore) -> None:
        await filled(kept, 600)
        kept._rest()
        for number in range(30):
            await kept.put(key("a"), config_map("a", str(number)), None)
        assert kept.stats().history_changes == 500
        with pytest.raises(Expired):
            past(kept, 129)
        assert [one[1][1] for one in past(kept, 130)] == list(range(131, 631))

    run(scene, history_changes_max=500)


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "write", "rest", "late rest", "look", "compact"]), st.integers(0, 40)),
    max_size=40,
)


@given(STEPS)
def test_a_history_at_rest_cannot_be_told_from_one_that_never_rests(steps: list[Step]):
    async def scene() -> None:
        restless, resting = (memory.MemoryStore(history_changes_max=60, history_bytes_max=9000) for _ in range(2))
        late = None
        for step, number in steps:
            if step == "write":
                for kept in (restless, resting):
                    await kept.put(key(f"k{number % 7}"), config_map("k", "x" * number * 10), None)
            elif step == "rest":
                resting._rest()
            elif step == "late rest":
                if late is not None:
                    resting._settle(late)
                late = resting._resting()
                late.pack()
            elif step == "compact":
                until = max(restless.revision - number, restless.revision - len(restless._history))
                for kept in (restless, resting):
                    kept._history.forget(until, kept.revision)
            else:
                since = max(0, restless.revision - number)
                assert seen(resting, since) == seen(restless, since)
            assert len(resting._history) == len(restless._history)
        assert [seen(resting, since) for since in range(restless.revision)] == [
            seen(restless, since) for since in range(restless.revision)
        ]

    def seen(kept: memory.MemoryStore, since: int) -> Any:
        try:
            return past(kept, since)
        except Expired:
            return "expired"

    asyncio.run(scene())


def test_to_find_one_costs_a_block_however_many_there_are():
    """And to miss one costs none."""
    entries = [Entry(key(f"k{i:05}"), i, i, b"x" * 700) for i in range(4000)]
    building = packed.Building()
    for entry in entries:
        building.add(entry)
    run = building.done()
    blocks: list[int] = []
    read = packed.Run._block

    def counting(self: packed.Run, number: int) -> bytes:
        blocks.append(number)
        return read(self, number)

    packed.Run._block, restore = counting, packed.Run._block  # type: ignore[method-assign]
    try:
        assert run.take(key("k03999")) is not None and len(blocks) == 1
        assert run.take(key("k03999")) is None and run.take(key("none")) is None
        assert len(blocks) == 1
        assert run.count(key("k01"), key("k02")) == 1000 and len(blocks) == 3
    finally:
        packed.Run._block = restore  # type: ignore[method-assign]
    assert sum(map(len, (entry.encoded for entry in entries))) > 20 * len(run._blocks)
