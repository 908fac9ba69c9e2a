"""The virtual loop itself: time jumps, order is the seed's, owners keep their order, spinning and deadlock are told."""

from __future__ import annotations

import asyncio

import pytest

from petset.world import loop as virtual


def trace_of(seed):
    async def main(loop):
        seen = []

        async def work(name):
            for step in range(3):
                await asyncio.sleep(1)
                seen.append((round(loop.time(), 3), name, step))

        async with asyncio.TaskGroup() as group:
            for name in "abcdef":
                group.create_task(work(name))
        return seen

    return virtual.run(main, seed)


def test_time_jumps_and_a_seed_is_one_order():
    assert trace_of(1) == trace_of(1)
    assert len({str(trace_of(seed)) for seed in range(20)}) > 15
    assert trace_of(1)[-1][0] == 3


def test_a_failing_group_cancels_its_children_in_one_order():
    def cancelled(seed):
        async def main(loop):
            seen = []

            async def wait(number):
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    seen.append(number)
                    raise

            async def fail():
                await asyncio.sleep(1)
                raise ValueError

            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    for number in range(30):
                        group.create_task(wait(number))
                    group.create_task(fail())
            return seen

        return virtual.run(main, seed)

    assert cancelled(3) == cancelled(3)
    assert sorted(cancelled(3)) == list(range(30))


def test_callbacks_of_one_owner_keep_their_order():
    class Stream:
        def __init__(self):
            self.seen = []

        def data(self, number):
            self.seen.append(number)

    async def main(loop):
        streams = [Stream() for _ in range(5)]
        for number in range(50):
            for stream in streams:
                loop.call_soon(stream.data, number)
        await asyncio.sleep(1)
        return [stream.seen for stream in streams]

    assert virtual.run(main, 5) == [list(range(50))] * 5


def test_deadlock_and_spinning_are_told():
    async def waits(loop):
        await loop.create_future()

    async def spins(loop):
        for _ in range(virtual.TURNS_WITHOUT_TIME_MAX + 10):
            await asyncio.sleep(0)

    with pytest.raises(virtual.Stuck, match="every task waits"):
        virtual.run(waits, 1)
    with pytest.raises(virtual.Stuck, match="spins"):
        virtual.run(spins, 1)


def test_trying_again_without_a_pause_is_told(monkeypatch):
    async def tries(loop):
        for _ in range(10_000):
            await asyncio.sleep(0.001)

    monkeypatch.setattr(virtual, "TURNS_MAX", 1000)
    with pytest.raises(virtual.Stuck, match="without a pause"):
        virtual.run(tries, 1)


def test_threads_run_inline():
    async def main(loop):
        return await asyncio.to_thread(lambda: loop.time())

    assert virtual.run(main, 1) == 0
