"""Heavy work, done in a thread beside the loop, where users take turns.

Reading, checking and patching cost in proportion to the size of a body, a selector or a Table in proportion to the
objects it is asked over: a millisecond for most, up to a few tenths of a second for the largest. `Work.beside` runs a
pure function at once where the bytes that it works on are few, else in the one thread that is kept for this;
`Work.in_runs` does the same over many objects, a run of them at a time. One thread, because threads share the
interpreter: it hands over every millisecond, so that the loop goes on, and a second one would only take the loop's
turns. Who comes next waits in `Line`: one piece of work of each user in turn, however much any of them has brought.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from petset.base import round_robin, tasks

T = TypeVar("T")
Item = TypeVar("Item")

LOOP_BYTES_MAX = 32 * 1024  # Read, checked and validated within 20 ms, in whatever form.
RUN_OBJECTS_MAX = 200  # Matched, or made rows of a Table, within 20 ms.
RUN_BYTES_MAX = 1 << 20  # Decoded, encoded or written to one reader in a step, during which nothing else is done.

_thread = tasks.Thread("petset-weight")


def is_light(size: int) -> bool:
    """Whether work on so many bytes is done at once."""
    return size <= LOOP_BYTES_MAX


class Line:
    """Who waits for the thread, by user."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting = round_robin.RoundRobin[asyncio.Future[None]]()

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncGenerator[None]:
        if self._is_taken:
            await self._called(user)
        self._is_taken = True
        try:
            yield
        finally:
            self._call_next()

    async def _called(self, user: str) -> None:
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(user, call)
        try:
            await call
        except asyncio.CancelledError:
            if call.done() and not call.cancelled():  # It was our turn already.
                self._call_next()
            raise

    def _call_next(self) -> None:
        while self._waiting:
            call = self._waiting.take()
            if not call.done():  # Who was cancelled has left.
                call.set_result(None)
                return
        self._is_taken = False


@dataclass(slots=True)  # Never changed; to freeze it would take longer than to make it.
class Work:
    """The heavy work of one user's requests."""

    line: Line
    user: str

    # Who is on the way of every write asks `is_light` first, and does what is: to be awaited costs as much as the rest.

    async def beside(self, size: int, work: Callable[..., T], *args: Any) -> T:
        """The result of a pure function that works on so many bytes."""
        if size <= LOOP_BYTES_MAX:
            return work(*args)
        return await self.in_turn(work, *args)

    async def in_turn(self, work: Callable[..., T], *args: Any) -> T:
        """The result of a pure function that is known to take long."""
        async with self.line.turn(self.user):
            return await _thread.call(work, *args)

    async def in_runs(
        self, items: Sequence[Item], size: Callable[[Item], int], work: Callable[..., T], *args: Any
    ) -> AsyncIterator[T]:
        """What a pure function makes of each run of the items; at once where one run has them all."""
        found = list(runs(items, size))
        if len(found) == 1:
            yield work(found[0], *args)
            return
        for run in found:
            yield await self.in_turn(work, run, *args)


def runs(
    items: Sequence[Item],
    size: Callable[[Item], int],
    objects_max: int | None = None,
    bytes_max: int | None = None,
) -> Iterator[Sequence[Item]]:
    """The items in their order, as many at a time as RUN_OBJECTS_MAX and RUN_BYTES_MAX allow, and at least one."""
    objects_max, bytes_max = objects_max or RUN_OBJECTS_MAX, bytes_max or RUN_BYTES_MAX
    totals = list(itertools.accumulate(map(size, items)))  # Of the first, of the first two, ...
    begin = before = 0
    while begin < len(totals):
        end = max(begin + 1, min(begin + objects_max, bisect.bisect_right(totals, before + bytes_max, begin)))
        yield items[begin:end] if begin or end < len(totals) else items
        begin, before = end, totals[min(end, len(totals)) - 1]
