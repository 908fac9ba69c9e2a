"""A signal wakes all who wait, and whoever comes while it is set does not wait."""

from __future__ import annotations

import asyncio

from petset.base import tasks


def test_it_wakes_all_who_wait_and_then_holds_until_it_is_cleared() -> None:
    async def main() -> None:
        signal, woken = tasks.Signal(), []

        async def follow(name: str) -> None:
            await signal.wait()
            woken.append(name)

        async with asyncio.TaskGroup() as group:
            for name in "ab":
                group.create_task(follow(name))
            left = group.create_task(follow("cancelled"))
            await asyncio.sleep(0)
            left.cancel()
            await asyncio.sleep(0)
            assert woken == []
            signal.set()
        await signal.wait()
        signal.clear()
        waiting = asyncio.get_running_loop().create_task(signal.wait())
        await asyncio.sleep(0)
        assert woken == ["a", "b"] and not waiting.done()
        signal.set()
        await waiting

    asyncio.run(main())
