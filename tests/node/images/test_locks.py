"""Locks of the image store: who waits is told, by whoever lets go and by the kernel when that was killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from petset.node.images import locks

SOURCES = str(Path(__file__).parents[3] / "src")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a story in which nothing happens by the clock: what is not told hangs until the runner's limit."""

    def play(story: Coroutine[Any, Any, None]) -> None:
        async def in_time() -> None:
            async with asyncio.timeout(30):
                await story

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(in_time())

    return play


@pytest.fixture
def tries(monkeypatch) -> list[str]:
    """Every look at whether a lock is free."""
    found: list[str] = []
    real = locks.taken

    def counted(path: str, shared: bool) -> int | None:
        found.append(path)
        return real(path, shared)

    monkeypatch.setattr(locks, "taken", counted)
    return found


async def begun(task: asyncio.Task[Any]) -> None:
    """Let it come to where it waits."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()


def test_one_at_a_time_and_who_waits_is_told(run, tmp_path, tries):
    path, inside, most = str(tmp_path / "lock"), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with locks.held(path) as had:
            assert had
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async def story() -> None:
        threads = threading.active_count()
        async with asyncio.TaskGroup() as group:
            async with locks.held(path):
                waiting = [group.create_task(work()) for _ in range(20)]
                await begun(waiting[-1])
                looked = len(tries)
                for _ in range(100):  # However long it takes, nobody looks again before he is told.
                    await asyncio.sleep(0)
                assert len(tries) == looked and threading.active_count() == threads
        assert most == 1

    run(story())


def test_several_share_and_one_who_does_not_waits_for_all(run, tmp_path):
    path = str(tmp_path / "lock")

    async def alone() -> None:
        async with locks.held(path):
            pass

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            async with locks.held(path, shared=True), contextlib.AsyncExitStack() as other:
                await other.enter_async_context(locks.held(path, shared=True))
                waiting = group.create_task(alone())
                await begun(waiting)
                async with locks.held(path, wait=False) as had:
                    assert not had
                await other.aclose()
                await begun(waiting)
        async with locks.held(path, wait=False) as had:
            assert had

    run(story())


def test_a_waiter_that_is_cancelled_never_has_it(run, tmp_path):
    path = str(tmp_path / "lock")

    async def forever() -> None:
        async with locks.held(path):
            await asyncio.get_running_loop().create_future()

    async def story() -> None:
        descriptors = len(os.listdir("/proc/self/fd"))
        async with locks.held(path):
            waiting = asyncio.get_running_loop().create_task(forever())
            await begun(waiting)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
        async with locks.held(path, wait=False) as had:
            assert had
        assert len(os.listdir("/proc/self/fd")) == descriptors

    run(story())


HOLDER = """
import asyncio, sys
from petset.node.images import locks

async def main():
    async with locks.held(sys.argv[1]):
        print("held", flush=True)
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


def test_a_process_that_is_killed_lets_go(run, tmp_path):
    path = str(tmp_path / "lock")

    async def take() -> None:
        async with locks.held(path) as had:
            assert had

    async def story() -> None:
        waiting = asyncio.get_running_loop().create_task(take())
        await begun(waiting)
        holder.kill()
        await waiting

    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": SOURCES}
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        run(story())
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
