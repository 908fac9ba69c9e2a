"""A thread of one's own for calls that come often: in order, with answers and failures, until it is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from petset.base import tasks


def _with_worker(work: Callable[[tasks.Worker], Awaitable[None]]) -> None:
    async def main() -> None:
        worker = tasks.Worker("petset-test")
        try:
            async with asyncio.timeout(20):
                await work(worker)
        finally:
            worker.close()

    asyncio.run(main())


def test_calls_are_carried_out_in_order_in_one_thread_that_is_not_the_loops() -> None:
    done: list[tuple[int, str]] = []

    async def work(worker: tasks.Worker) -> None:
        calls = [worker.submit(lambda n: done.append((n, threading.current_thread().name)) or n, n) for n in range(50)]
        assert [await call for call in calls] == list(range(50))

    _with_worker(work)
    assert done == [(number, "petset-test") for number in range(50)]


def test_a_failure_is_its_callers_alone() -> None:
    def fail() -> None:
        raise OSError("no")

    async def work(worker: tasks.Worker) -> None:
        failing, following = worker.submit(fail), worker.submit(lambda: "well")
        with pytest.raises(OSError, match="no"):
            await failing
        assert await following == "well"

    _with_worker(work)


def test_what_is_cancelled_before_it_begins_is_not_done_and_what_has_begun_is_finished() -> None:
    go_on, begun, done = threading.Event(), threading.Event(), list[str]()

    def wait() -> None:
        begun.set()
        go_on.wait(20)
        done.append("first")

    async def work(worker: tasks.Worker) -> None:
        first, second = worker.submit(wait), worker.submit(done.append, "second")
        third = worker.submit(done.append, "third")
        await tasks.in_thread(begun.wait, 20)
        first.cancel()
        second.cancel()
        go_on.set()
        await third

    _with_worker(work)
    assert done == ["first", "third"]


def test_to_close_is_to_wait_for_all_that_was_submitted_and_it_may_begin_again() -> None:
    done: list[int] = []

    async def work(worker: tasks.Worker) -> None:
        for number in range(5):
            worker.submit(done.append, number)
        worker.close()
        assert done == list(range(5))
        await worker.call(done.append, 5)

    _with_worker(work)
    assert done == list(range(6))


def test_where_there_are_no_threads_a_call_is_done_when_its_future_is_returned() -> None:
    async def main() -> None:
        worker = tasks.Worker("petset-test")
        assert worker.submit(lambda: threading.current_thread()).result() is threading.current_thread()
        assert isinstance(worker.submit(lambda: 1 // 0).exception(), ZeroDivisionError)
        worker.close()

    with tasks.environment(tasks.Environment(threads=False)):
        asyncio.run(main())
