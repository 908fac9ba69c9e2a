"""Turns at one object: who changes it waits for whoever does, and begins with what that one has committed.

Without turns, clients that write one object at once would meet each other's conflicts and try again, all of them each
time. Who waits is called in the order in which he came; who is cancelled passes his call on. A key of which nobody
takes a turn is not kept.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Changes of one object one after another: each begins with what the one before has committed."""

    def __init__(self) -> None:
        self.waiting: dict[str, deque[asyncio.Future[None]]] = {}  # By a key whose turn is taken.

    def of(self, key: str) -> _Turn:
        """To be left before the next one's."""
        return _Turn(self, key)

    async def called(self, key: str) -> None:
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting[key].append(call)
        try:
            await call
        except asyncio.CancelledError:
            if call.done() and not call.cancelled():  # It was our turn already.
                self.call_next(key)
            raise

    def call_next(self, key: str) -> None:
        waiting = self.waiting[key]
        while waiting:
            call = waiting.popleft()
            if not call.done():  # Who was cancelled has left.
                call.set_result(None)
                return
        del self.waiting[key]


class _Turn:
    """A class, since a generator's context takes longer than all that most writes wait."""

    __slots__ = ("_key", "_turns")

    def __init__(self, turns: Turns, key: str):
        self._turns, self._key = turns, key

    async def __aenter__(self) -> None:
        if self._key in self._turns.waiting:
            await self._turns.called(self._key)
        else:
            self._turns.waiting[self._key] = deque()

    async def __aexit__(self, *exception: object) -> None:
        self._turns.call_next(self._key)
