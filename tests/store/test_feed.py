"""What waits for all watches together is bounded, each change counted once."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.store import memory
from petset.store.feed import Feed
from petset.store.store import Change, Entry, Expired
from tests.store.objects import config_map, key

PREFIXES = ("/a/", "/b/")


def change(prefix: str, revision: int, size: int = 10) -> Change:
    return Change("ADDED", Entry(f"{prefix}{revision}", revision, revision, b"x" * size, {}), None)


def test_who_is_furthest_behind_is_ended_when_all_hold_too_much():
    feed = Feed(100, 1000, 35)
    late, other = feed.subscribe("/a/", 0, ()), feed.subscribe("/b/", 0, ())
    feed.offer(change("/a/", 1))
    for revision in (2, 3, 4):
        feed.offer(change("/b/", revision))
    with pytest.raises(Expired):
        late.pending()
    assert [one.revision for one in other.pending()] == [2, 3, 4] and len(feed) == 1


def test_a_change_that_many_wait_for_counts_once():
    feed = Feed(100, 1000, 35)
    watches = [feed.subscribe("/a/", 0, ()) for _ in range(50)]
    for revision in (1, 2, 3):
        feed.offer(change("/a/", revision))
    assert all(len(watch.pending()) == 3 for watch in watches)
    assert feed._held.bytes == 0


def test_who_leaves_holds_nothing_and_what_waits_at_the_end_can_be_read():
    feed = Feed(100, 1000, 1000)
    gone, stays = feed.subscribe("/a/", 0, [change("/a/", 1)]), feed.subscribe("/a/", 0, ())
    feed.offer(change("/a/", 2))
    feed.unsubscribe(gone)
    feed.end()
    assert len(stays.pending()) == 1
    assert (feed._held.bytes, feed._held._holders, len(feed)) == (0, {}, 0)


@given(
    st.lists(st.tuples(st.sampled_from(["offer", "read", "leave"]), st.integers(0, 3), st.integers(1, 30)), max_size=60)
)
def test_never_more_than_the_limit_waits(steps):
    feed = Feed(4, 60, 100)
    watches = {number: feed.subscribe(PREFIXES[number % 2], 0, ()) for number in range(4)}
    for revision, (step, number, size) in enumerate(steps, 1):
        if step == "offer":
            feed.offer(change(PREFIXES[number % 2], revision, size))
        elif step == "leave":
            feed.unsubscribe(watches[number])
            watches[number] = feed.subscribe(PREFIXES[number % 2], 0, ())
        elif watches[number].subscribed:
            watches[number].pending()
        waiting = {one.revision: one.kept_bytes for watch in watches.values() for one in watch._changes}
        assert feed._held.bytes == sum(waiting.values()) <= 100
        assert len(feed) == sum(watch.subscribed for watch in watches.values())


def test_a_nudge_lets_who_awaits_look_up_once() -> None:
    async def main() -> None:
        kept = memory.MemoryStore()
        with kept.watch("", 0) as watch:
            waiting = asyncio.get_running_loop().create_task(watch.changes())
            await asyncio.sleep(0)
            watch.nudge()
            assert await waiting == ()
            await kept.put(key("a"), config_map("a"), 0)
            await kept.put(key("b"), config_map("b"), 0)
            assert [change.revision for change in await watch.changes() or ()] == [1, 2]
            waiting = asyncio.get_running_loop().create_task(watch.changes())
            await asyncio.sleep(0)
            assert not waiting.done(), "it was nudged once"
            await kept.close()
            assert await waiting is None

    asyncio.run(main())
