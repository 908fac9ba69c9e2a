"""Turns: of many that could go on at once only some do, before everybody else on the loop has had a turn.

When thousands of pods start or end together each is ready to look at itself at the same moment; looking all at once
would hold up whoever else is served by this process for as long as all of it takes. Those that ask are let through in
the order in which they came, LOOKS_A_TURN at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque

LOOKS_A_TURN = 8  # A look takes a quarter of a millisecond.
WRITES_SIDE_BY_SIDE_MAX = 8  # Statuses that are being written: more come no faster, and all end in the same turn.


class Turns:
    """Who awaits `mine` goes on at once, unless enough others already did in this turn of the loop."""

    def __init__(self, most: int = LOOKS_A_TURN):
        self._most = self._left = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_counting = False

    async def mine(self) -> None:
        if self._left and not self._waiting:
            self._left -= 1
            self._count()
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        await mine

    def _count(self) -> None:
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """A turn of the loop later."""
        self._is_counting, self._left = False, self._most
        while self._waiting and self._left:
            mine = self._waiting.popleft()
            if not mine.done():  # It may have been cancelled meanwhile.
                mine.set_result(None)
                self._left -= 1
        if self._left < self._most:
            self._count()
