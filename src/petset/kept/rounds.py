"""A question that many have at once is asked once for all of them, after the last of them came.

Who comes while it is being asked waits for the next round: what is answered now may have been true before he came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from petset.base.turns import Turns
from petset.store.store import Unavailable


@dataclass(frozen=True, slots=True)
class Round:
    began: int  # By the count of all who came and all that began.
    failure: Unavailable | None


class Rounds:
    """Rounds of the questions about each of some things, by their names."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._count = 0
        self._waiting: dict[str, int] = {}
        self._last: dict[str, Round] = {}  # Of those somebody waits for.

    async def asked(self, about: str, question: Callable[[], Awaitable[None]]) -> None:
        """Return when a round that began after this call has ended. Raises Unavailable, as it did."""
        came = self._counted()
        self._waiting[about] = self._waiting.get(about, 0) + 1
        try:
            async with self._turns.of(about):
                last = self._last.get(about)
                if last is None or last.began < came:
                    last = self._last[about] = await self._round(question)
            if last.failure is not None:
                raise Unavailable(str(last.failure), last.failure.advice)
        finally:
            self._waiting[about] -= 1
            if not self._waiting[about]:
                del self._waiting[about]
                self._last.pop(about, None)

    async def _round(self, question: Callable[[], Awaitable[None]]) -> Round:
        began = self._counted()
        try:
            await question()
        except Unavailable as error:
            return Round(began, error)
        return Round(began, None)

    def _counted(self) -> int:
        self._count += 1
        return self._count
