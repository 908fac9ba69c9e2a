"""Many that could go on at once: in order, some in each turn of the loop, nobody forgotten."""

from __future__ import annotations

import asyncio

from petset.node.pods.turns import Turns


def test_in_one_turn_of_the_loop_only_some_go_on() -> None:
    went: list[tuple[int, int]] = []

    async def main() -> None:
        turns, turn = Turns(most=3), 0

        async def go(number: int) -> None:
            await turns.mine()
            went.append((number, turn))

        tasks = [asyncio.create_task(go(number)) for number in range(20)]
        await asyncio.sleep(0)
        while not all(task.done() for task in tasks):
            turn += 1
            await asyncio.sleep(0)

    asyncio.run(main())
    assert [number for number, _ in went] == list(range(20))
    assert max([turn for _, turn in went].count(n) for n in range(60)) <= 3


def test_who_was_cancelled_takes_nobodys_turn() -> None:
    async def main() -> None:
        turns = Turns(most=1)
        await turns.mine()
        waiting = [asyncio.create_task(turns.mine()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait_for(asyncio.gather(*waiting[1:]), 1)

    asyncio.run(main())
