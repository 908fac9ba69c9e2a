"""An object, or all objects of some kinds, as they change: for who waits without awaiting.

`one(way, kind, name, namespace)` knows how the object is (`last`) and `next(deadline)` returns when it has changed,
False when it has not until then. `changes(way, kinds)` tells that something has. What is made of a change is decided
between two calls, in the caller's own thread: it may ask the cluster, too.

Invariants: list first, watch from there; a watch that ends begins anew with a list.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import TypeVar

from petset.client import following
from petset.objects import errors
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.testing.ways import Way

T = TypeVar("T")


class Following:
    """One object."""

    def __init__(self, way: Way, kind: Kind, name: str, namespace: str):
        self._way, self._kind, self._namespace = way, kind, namespace
        self._fields = f"metadata.name={name}"
        self._states: AsyncGenerator[Mapping[str, Object]]
        self.last: Object | None = None

    def begin(self) -> None:
        self._way.run(self._begin())

    def next(self, deadline: float) -> bool:
        """Return when it has changed; False when the deadline came first."""
        return self._way.run(self._next(deadline))

    def end(self) -> None:
        self._way.run(self._close())

    async def _begin(self) -> None:
        client = self._way.reached.client
        self._states = following.states(client, self._kind, self._namespace, field_selector=self._fields)
        await self._changed()

    async def _next(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                await self._changed()
        except TimeoutError:
            return False
        return True

    async def _changed(self) -> None:
        there = await anext(self._states)
        self.last = next(iter(there.values()), None)

    async def _close(self) -> None:
        await self._states.aclose()


class Changes:
    """Objects of some kinds: whether anything of them has changed."""

    def __init__(self, way: Way, places: Sequence[tuple[Kind, str]]):
        self._way, self._places = way, places
        self._reading: list[asyncio.Task[None]] = []
        self._changed: asyncio.Event
        self._failed: Exception | None = None

    def begin(self) -> None:
        self._way.run(self._begin())

    def next(self, deadline: float) -> bool:
        """Return when something has changed; False when the deadline came first. Raises ApiError, OSError."""
        return self._way.run(self._next(deadline))

    def end(self) -> None:
        self._way.run(self._end())

    async def _begin(self) -> None:
        self._changed = asyncio.Event()
        for kind, namespace in self._places:
            work = self._read(kind, namespace)
            self._reading.append(asyncio.get_running_loop().create_task(work, name=f"changes of {kind.plural}"))

    async def _read(self, kind: Kind, namespace: str) -> None:
        """The first state, too, is something to look at: what was there before nobody has looked at with it in mind."""
        try:
            async with contextlib.aclosing(following.states(self._way.reached.client, kind, namespace)) as states:
                async for _ in states:
                    self._changed.set()
        except (OSError, errors.ApiError) as error:
            self._failed = error
            self._changed.set()

    async def _next(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        if self._failed is not None:
            raise self._failed
        return True

    async def _end(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.wait(self._reading)


@contextlib.contextmanager
def one(way: Way, kind: Kind, name: str, namespace: str) -> Generator[Following]:
    followed = Following(way, kind, name, namespace)
    followed.begin()
    try:
        yield followed
    finally:
        followed.end()


@contextlib.contextmanager
def changes(way: Way, places: Sequence[tuple[Kind, str]]) -> Generator[Changes]:
    followed = Changes(way, places)
    followed.begin()
    try:
        yield followed
    finally:
        followed.end()
