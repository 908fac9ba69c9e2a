"""A program of the world: it has a link of its own to the server, can be killed at any moment, and comes back.

Killing cuts the link first, so that nothing of the program's cleaning up is seen by anybody; it starts again with
nothing but what the store and its machine have kept. A program that ends by itself breaks a law.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from petset import cluster
from petset.client.client import Client
from petset.objects import errors
from petset.objects.registry import Catalog
from petset.world import link

if TYPE_CHECKING:
    from petset.world.world import World


class Process:
    """One program, through all its lives."""

    def __init__(self, world: World, program: cluster.Program):
        self.world, self._program = world, program
        self.down_seconds = 0.0
        self._is_last_life = False
        self.link: link.Link | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_death: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return self._program.name

    async def live(self) -> None:
        """Run it, again and again, until this is cancelled, it is killed for good or it ends by itself."""
        while True:
            self.link = self.world.link(self.name, self._program.user)
            kinds = Catalog(self.world.kinds)
            work = self._program.main(Client(self.link, self._program.agent, kinds, is_near=True))
            self.task = asyncio.get_running_loop().create_task(work, name=self.name)
            try:
                await asyncio.wait([self.task])
            finally:
                self.link.cut()
                self.task.cancel()
            if not self.task.cancelled():
                self.world.laws.breaks(f"{self.name} ended by itself: {told(self.task.exception())}")
                return
            self.world.laws.note(f"DEAD     {self.name} for {self.down_seconds:.1f} s")
            await asyncio.sleep(self.down_seconds)
            if self._is_last_life:
                return
            self.world.laws.note(f"ALIVE    {self.name}")

    def kill(self, down_seconds: float) -> None:
        """Like kill -9; it is started again after so many seconds."""
        if self.link is not None and self.task is not None and not self.task.done():
            self.down_seconds = down_seconds
            self.link.cut()
            self.on_death()
            self.task.cancel()

    def kill_for_good(self) -> None:
        """It comes back no more, also when it is down already."""
        self._is_last_life = True
        self.kill(0.0)

    @property
    def is_up(self) -> bool:
        return self.task is not None and not self.task.done()


def told(error: BaseException | None) -> str:
    """An exception with what is inside its groups."""
    inside: Sequence[BaseException] = getattr(error, "exceptions", ())
    return "; ".join(map(told, inside)) if inside else repr(error)


async def persistently(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Somebody who tries until the server answers; "it is there already" and "it is gone" are answers."""
    while True:
        try:
            return await attempt()
        except errors.ApiError as error:
            if error.code in (404, 409):
                return None
            if error.code < 500:
                raise
        except OSError:
            pass
        await asyncio.sleep(1)
