"""What both stores promise: revisions, conflicts, prefixes, watches, limits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from petset.objects import encoding
from petset.store import core, feed, history, memory, sqlite
from petset.store.store import Change, Conflict, Expired, Unavailable
from tests.store.objects import config_map, key, value
from tests.waiting import until

Opener = Callable[..., contextlib.AbstractAsyncContextManager[core.Core]]


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    @contextlib.asynccontextmanager
    async def open_store(**limits: int) -> AsyncIterator[core.Core]:
        if request.param == "memory":
            store: core.Core = memory.MemoryStore(**limits)
        else:
            store = await sqlite.SqliteStore.open(tmp_path / "store.db", **limits)
        try:
            yield store
        finally:
            await store.close()

    return open_store


def run(opened: Opener, test: Callable[[core.Core], Any], **limits: int) -> None:
    async def main() -> None:
        async with opened(**limits) as store, asyncio.timeout(20):
            await test(store)

    asyncio.run(main())


def shown(change: Change) -> tuple[str, str, int, str]:
    return change.type, change.entry.key, change.revision, value(change.entry.object)


def test_a_write_carries_its_revision_in_the_object_and_in_its_bytes(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        entry = await store.put(key("a"), config_map("a", "1"), 0)
        assert (entry.revision, entry.created_revision, store.revision) == (1, 1, 1)
        assert entry.object["metadata"]["resourceVersion"] == "1"
        assert encoding.loads(entry.encoded) == entry.object
        again = await store.put(key("a"), entry.object, 1)
        assert (again.revision, again.created_revision) == (2, 1)
        assert store.get(key("a")) is again

    run(opened, check)


def test_the_object_given_is_not_changed(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        given = config_map("a")
        await store.put(key("a"), given, 0)
        assert given == config_map("a")

    run(opened, check)


def test_a_conflict_names_both_revisions_and_changes_nothing(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        await store.put(key("a"), config_map("a"), 0)
        for write, expected, current in (
            (store.put(key("a"), config_map("a"), 0), 0, 1),
            (store.put(key("a"), config_map("a"), 7), 7, 1),
            (store.put(key("b"), config_map("b"), 1), 1, 0),
            (store.delete(key("a"), 7), 7, 1),
            (store.delete(key("b"), 7), 7, 0),
        ):
            with pytest.raises(Conflict) as conflict:
                await write
            assert (conflict.value.expected, conflict.value.current) == (expected, current)
        assert store.revision == 1

    run(opened, check)


def test_conflicts_are_judged_against_writes_that_are_not_yet_committed(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        results = await asyncio.gather(
            *(store.put(key("a"), config_map("a", str(i)), 0) for i in range(10)), return_exceptions=True
        )
        assert [type(result).__name__ for result in results] == ["Entry"] + ["Conflict"] * 9
        # A chain within one loop turn: each expects the one before.
        chain = await asyncio.gather(
            store.put(key("a"), config_map("a", "x"), 1),
            store.put(key("a"), config_map("a", "y"), 2),
            store.delete(key("a"), 3),
            store.put(key("a"), config_map("a", "z"), 0),
        )
        assert [entry.revision for entry in chain if entry] == [2, 3, 4, 5]
        assert chain[3].created_revision == 5

    run(opened, check)


def test_a_deletion_has_the_last_object_with_the_deletions_revision(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        await store.put(key("a"), config_map("a", "last"), 0)
        gone = await store.delete(key("a"), None)
        assert gone is not None
        assert (gone.revision, gone.created_revision, value(gone.object)) == (2, 1, "last")
        assert encoding.loads(gone.encoded)["metadata"]["resourceVersion"] == "2"
        assert store.get(key("a")) is None
        assert await store.delete(key("a"), None) is None
        assert await store.delete(key("a"), 0) is None
        assert store.revision == 2

    run(opened, check)


def test_a_prefix_lists_its_keys_in_order_and_nothing_else(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        for namespace, name in (("b", "x"), ("a", "y"), ("a", "x"), ("ab", "z")):
            await store.put(key(name, namespace), config_map(name), 0)
        await store.put("/core/configmapsx/a/x", config_map("x"), 0)
        revision, entries = store.list("/core/configmaps/")
        assert revision == 5
        assert [entry.key for entry in entries] == [key("x", "a"), key("y", "a"), key("z", "ab"), key("x", "b")]
        assert [entry.key for entry in store.list("/core/configmaps/a/")[1]] == [key("x", "a"), key("y", "a")]
        assert (store.count("/core/configmaps/a/"), store.count(""), store.count("/none/")) == (2, 5, 0)
        await store.delete(key("x", "a"), None)
        assert [entry.key for entry in store.list("/core/configmaps/a/")[1]] == [key("y", "a")]

    run(opened, check)


def test_a_watch_gives_the_past_and_the_present_once_each_in_order(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        await store.put(key("a"), config_map("a", "1"), 0)
        await store.put("/core/pods/default/p", config_map("p"), 0)
        await store.put(key("a"), config_map("a", "2"), 1)
        with store.watch("/core/configmaps/", since=1) as watch:
            await store.delete(key("a"), None)
            await store.put(key("b"), config_map("b", "3"), 0)
            seen = [await anext(watch), await anext(watch), await anext(watch)]
            assert [shown(change) for change in seen] == [
                ("MODIFIED", key("a"), 3, "2"),
                ("DELETED", key("a"), 4, "2"),
                ("ADDED", key("b"), 5, "3"),
            ]
            assert [change.previous and change.previous.revision for change in seen] == [1, 3, None]
            assert list(watch.pending()) == []

    run(opened, check)


def test_a_watch_waits_and_takes_what_waits_at_once(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        with store.watch("", since=0) as watch:
            first = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(0)
            assert not first.done()
            await asyncio.gather(*(store.put(key(f"k{i}"), config_map("k"), 0) for i in range(5)))
            assert (await first).revision == 1
            assert [change.revision for change in watch.pending()] == [2, 3, 4, 5]

    run(opened, check)


def test_no_change_is_seen_before_the_revision_says_so(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        with store.watch("", since=0) as watch:
            write = asyncio.ensure_future(store.put(key("a"), config_map("a"), 0))
            change = await anext(watch)
            assert (store.revision, store.get(key("a")), store.count("")) == (1, change.entry, 1)
            await write

    run(opened, check)


def test_a_watch_from_the_future_begins_when_that_is_there(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        with store.watch("", since=3) as watch:
            for i in range(6):
                await store.put(key("a"), config_map("a", str(i)), None)
            assert [change.revision for change in watch.pending()] == [4, 5, 6]

    run(opened, check)


def test_a_watch_from_before_the_history_is_expired(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        for i in range(20):
            await store.put(key("a"), config_map("a", str(i)), None)
        for since in (0, 9):
            with pytest.raises(Expired):
                with store.watch("", since=since):
                    pass
        with store.watch("", since=10) as watch:
            assert [change.revision for change in watch.pending()] == list(range(11, 21))

    run(opened, check, history_changes_max=10)


def test_the_history_is_bounded_by_bytes_too(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        for _ in range(20):
            await store.put(key("a"), config_map("a", "x" * 1000), None)
        assert store.stats().history_changes < 10
        assert store._history._bytes == sum(change.kept_bytes for change in store._history._newest) <= 9000
        with store.watch("", since=19) as watch:
            assert [change.revision for change in watch.pending()] == [20]

    run(opened, check, history_bytes_max=9000)


def test_a_watcher_that_falls_behind_is_expired_and_others_are_not(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        with store.watch("", since=0) as slow, store.watch("", since=0) as quick:
            for i in range(10):
                await store.put(key("a"), config_map("a", str(i)), None)
                assert (await anext(quick)).revision == i + 1
            await store.put(key("a"), config_map("a", "more"), None)
            with pytest.raises(Expired):
                slow.pending()
            with pytest.raises(Expired):
                await anext(slow)
            assert (await anext(quick)).revision == 11
            assert store.stats().watchers == 1
        assert store.stats().watchers == 0

    run(opened, check, watch_buffer_events_max=5)


def test_a_watcher_that_keeps_many_bytes_is_expired(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        with store.watch("", since=0) as slow, store.watch("", since=0) as quick:
            assert isinstance(slow, feed.Watch) and isinstance(quick, feed.Watch)
            for i in range(40):
                await store.put(key("a"), config_map("a", "x" * 1000), None)
                if i % 3 == 0:
                    assert (await anext(quick), *quick.pending())[-1].revision == i + 1
                for watch in (slow, quick):
                    assert watch._bytes == sum(change.kept_bytes for change in watch._changes) <= 30_000
            with pytest.raises(Expired):
                slow.pending()

    run(opened, check, watch_buffer_bytes_max=30_000)


def test_one_change_may_be_larger_than_a_watchers_buffer(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        with store.watch("", since=0) as watch:
            await store.put(key("a"), config_map("a", "x" * 1000), None)
            assert [change.revision for change in watch.pending()] == [1]

    run(opened, check, watch_buffer_bytes_max=10)


def test_a_commit_is_bounded_by_bytes_too(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "BATCH_BYTES_MAX", 3500)

    async def check(store: core.Core) -> None:
        await asyncio.gather(*(store.put(key(f"k{i}"), config_map("k", "x" * 1000), 0) for i in range(9)))
        await store.put(key("big"), config_map("big", "x" * 10_000), 0)
        assert (store.stats().writes, store.stats().commits) == (10, 4)

    run(opened, check)


def test_a_long_past_does_not_expire_its_watcher(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        for i in range(20):
            await store.put(key("a"), config_map("a", str(i)), None)
        with store.watch("", since=0) as watch:
            await store.put(key("a"), config_map("a", "live"), None)
            assert [change.revision for change in watch.pending()] == list(range(1, 22))

    run(opened, check, watch_buffer_events_max=5)


def test_a_watch_has_no_gap_under_concurrent_writes(opened: Opener) -> None:
    async def write(store: core.Core, writer: int) -> None:
        for i in range(100):
            await store.put(key(f"w{writer}-{i % 7}"), config_map("w", str(i)), None)
            if i % 10 == 9:
                await store.delete(key(f"w{writer}-{i % 7}"), None)

    async def follow(store: core.Core, start: int) -> list[int]:
        await until(lambda: store.revision >= start)
        since = store.revision
        with store.watch("/core/", since) as watch:
            seen: list[int] = []
            while since + len(seen) < 880:
                seen.append((await anext(watch)).revision)
                seen.extend(change.revision for change in watch.pending())
        assert seen == list(range(since + 1, 881))
        return seen

    async def check(store: core.Core) -> None:
        async with asyncio.TaskGroup() as group:
            for start in (0, 1, 50, 300, 700):
                group.create_task(follow(store, start))
            for writer in range(8):
                group.create_task(write(store, writer))
        assert store.revision == 880

    run(opened, check)


def test_a_closed_watch_is_forgotten(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        with store.watch("/core/pods/", since=0) as watch:
            assert store.stats().watchers == 1
        assert store.stats().watchers == 0
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    run(opened, check)


def test_a_cancelled_writer_leaves_its_write_and_the_others_be(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        writes = [asyncio.ensure_future(store.put(key(f"k{i}"), config_map("k"), 0)) for i in range(3)]
        await asyncio.sleep(0)
        writes[1].cancel()
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        assert (results[0].revision, results[2].revision) == (1, 3)
        assert store.get(key("k1")) is not None
        assert store.revision == 3

    run(opened, check)


def test_closing_waits_for_writes_refuses_later_ones_and_ends_watches(opened: Opener) -> None:
    async def check(store: core.Core) -> None:
        with store.watch("", since=0) as watch:
            write = asyncio.ensure_future(store.put(key("a"), config_map("a"), 0))
            await asyncio.sleep(0)
            await store.close()
            assert write.done()
            assert (await write).revision == 1
            with pytest.raises(Unavailable):
                await store.put(key("a"), config_map("a"), None)
            assert [change.revision async for change in watch] == [1]

    run(opened, check)


def test_a_history_full_of_decoded_trees_is_not_kept(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "DECODED_PAST_BYTES_MAX", 20_000)

    async def check(store: core.Core) -> None:
        for _ in range(50):
            await store.put(key("a"), config_map("a", "x" * 1000), None)
        await store.delete(key("a"), None)
        with store.watch("", since=0) as watch:
            entries = [change.entry for change in watch.pending()]
        decoded = [len(entry.encoded) for entry in entries if entry._object is not None]
        assert 18_000 < sum(decoded) <= 20_000
        assert [entry._object is not None for entry in entries] == [False] * (51 - len(decoded)) + [True] * len(decoded)

    run(opened, check)


def test_what_was_long_ago_is_compacted_at_rest(opened: Opener) -> None:
    async def scene(kept: core.Core) -> None:
        for number in range(3):
            await kept.put(key("a"), config_map("a", str(number)), None)
        kept._compact(0.0)
        await kept.put(key("a"), config_map("a"), None)
        kept._compact(core.HISTORY_SECONDS_MAX - 1)
        with kept.watch("", 0) as watch:
            assert [change.revision for change in watch.pending()] == [1, 2, 3, 4]
        kept._compact(core.HISTORY_SECONDS_MAX)
        with kept.watch("", 3) as watch:
            assert [change.revision for change in watch.pending()] == [4]
        with pytest.raises(Expired), kept.watch("", 2):
            pass
        kept._compact(2 * core.HISTORY_SECONDS_MAX)
        assert kept.stats().history_changes == 0
        with kept.watch("", 4) as watch:
            await kept.put(key("a"), config_map("a"), None)
            assert [change.revision for change in watch.pending()] == [5]

    run(opened, scene)


def test_trees_go_at_rest_but_for_those_that_somebody_holds(opened: Opener) -> None:
    async def scene(kept: core.Core) -> None:
        entries = [await kept.put(key(name), config_map(name, "x"), 0) for name in "ab"]
        held = entries[0].object
        kept._rest()
        assert [entry.is_decoded for entry in entries] == [True, False]
        assert entries[0].object is held
        assert entries[1].object["data"] == held["data"]

    run(opened, scene)
