"""A watch's way to its reader: its pieces arrive in order and late, and it may be cut at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Callable

from petset.server import watch
from petset.world.faults import STALL_SECONDS_MAX, Faults


class Stream:
    """A watch's way to its reader: pieces arrive in order, late; it can be cut at any moment, which is seen at once."""

    def __init__(self, body: AsyncIterator[bytes], chance: random.Random, faults: Callable[[], Faults]):
        self._body, self._chance, self._faults = body, chance, faults
        self._pieces: deque[tuple[float, bytes]] = deque()  # (when it arrives, piece)
        self._wake: asyncio.Event = asyncio.Event()
        self._end: BaseException | None = None
        loop = asyncio.get_running_loop()
        self._pump = loop.create_task(self._pumping(), name="stream")
        self.on_end: Callable[[], object] = lambda: None
        self._timer: asyncio.TimerHandle | None = None
        mean = faults().watch_seconds
        if mean:
            self._timer = loop.call_later(chance.expovariate(1 / mean), self._break)

    async def _pumping(self) -> None:
        loop = asyncio.get_running_loop()
        arrives = 0.0
        try:
            async for piece in self._body:
                chance, faults = self._chance, self._faults()
                delay = (
                    chance.uniform(0, STALL_SECONDS_MAX) if faults.stall and chance.random() < faults.stall else 0.001
                )
                arrives = max(arrives, loop.time() + delay)
                self._pieces.append((arrives, piece))
                self._wake.set()
        finally:
            with contextlib.suppress(Exception):
                await self._body.aclose()  # type: ignore[attr-defined]  # Some bodies are generators.
            self._end = self._end or StopAsyncIteration()
            self._wake.set()

    def _break(self) -> None:
        """One of the ways in which a watch ends before its time."""
        kind = self._chance.randrange(3)
        if kind == 0:
            self.cut(ConnectionResetError("the watch broke"))
        elif kind == 1:
            self.cut(StopAsyncIteration())
        else:
            self._pieces.append((0.0, watch.gone("compacted by the world")))
            self.cut(StopAsyncIteration(), at_once=False)

    def cut(self, why: BaseException, at_once: bool = True) -> None:
        if at_once:
            self._pieces.clear()
        self._end = self._end or why
        self._pump.cancel()
        self._wake.set()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            if self._pieces:
                arrives, piece = self._pieces[0]
                if arrives <= loop.time():
                    self._pieces.popleft()
                    return piece
                self._wake.clear()
                timer = loop.call_at(arrives, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()
                continue
            if self._end is not None:
                await self.aclose()
                raise self._end
            self._wake.clear()
            await self._wake.wait()

    async def aclose(self) -> None:
        self.on_end()
        if self._timer is not None:
            self._timer.cancel()
        self._pump.cancel()
