"""Many things at once, and who owns them afterwards."""

from __future__ import annotations

import asyncio

import pytest

from petset.base import tasks


def test_so_many_at_once_and_none_begins_after_a_failure() -> None:
    under_way, most, done = 0, 0, list[int]()

    async def work(number: int) -> None:
        nonlocal under_way, most
        under_way, most = under_way + 1, max(most, under_way + 1)
        await asyncio.sleep(0)
        under_way -= 1
        if number == 4:
            raise OSError("four")
        done.append(number)

    with pytest.raises(OSError, match="four"):
        asyncio.run(tasks.side_by_side(range(100), work, 3, "work"))
    assert most == 3 and max(done) < 8


def test_there_are_no_more_workers_than_items() -> None:
    async def work(item: int) -> None:
        workers.append(asyncio.current_task())

    workers = list[asyncio.Task[None] | None]()
    asyncio.run(tasks.side_by_side([1, 2], work, 1_000_000_000, "work"))
    assert len(workers) == 2


def test_after_a_failure_a_timeout_is_still_a_timeout() -> None:
    """The task groups of Python 3.11 and 3.12 make a cancellation of it when their own task failed before."""

    async def fail(item: str) -> None:
        raise OSError(item)

    async def main() -> None:
        with pytest.raises(OSError):
            await tasks.side_by_side(["a", "b"], fail, 2, "fail")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()

    asyncio.run(main())
