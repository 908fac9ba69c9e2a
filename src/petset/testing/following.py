"""An object, or all objects of some kinds, as they change: for who waits without awaiting.

`one(way, kind, name, namespace)` knows how the object is (`last`) and `next(deadline)` returns when it has changed,
False when it has not until then. `changes(way, kinds)` tells that something has. What is made of a change is decided
between two calls, in the caller's own thread: it may ask the cluster, too.

Invariants: list first, watch from there; a watch that ends begins anew with a list.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TypeVar

from petset.client.client import WatchEvent
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
        self._events: AsyncGenerator[WatchEvent] | None = None
        self.last: Object | None = None

    def begin(self) -> None:
        self._way.run(self._list())

    def next(self, deadline: float) -> bool:
        """Return when it has changed; False when the deadline came first."""
        return self._way.run(self._next(deadline))

    def end(self) -> None:
        if self._events is not None:
            self._way.run(self._close())

    async def _list(self) -> None:
        client = self._way.reached.client
        items, revision = await client.list(self._kind, self._namespace, field_selector=self._fields)
        self.last = items[0] if items else None
        self._events = client.watch(self._kind, self._namespace, revision, field_selector=self._fields)

    async def _next(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                await self._changed()
        except TimeoutError:
            return False
        return True

    async def _changed(self) -> None:
        while True:
            try:
                type_, obj = await anext(self._events) if self._events is not None else ("", None)
            except (StopAsyncIteration, ConnectionError):
                return await self._list()
            except errors.ApiError as error:
                if error.code != 410:
                    raise
                return await self._list()
            if type_ != "BOOKMARK":
                self.last = None if type_ == "DELETED" else obj
                return None

    async def _close(self) -> None:
        if self._events is not None:
            await self._events.aclose()


class Changes:
    """Objects of some kinds: whether anything of them has changed."""

    def __init__(self, way: Way, places: Sequence[tuple[Kind, str]]):
        self._way, self._places = way, places
        self._reading: list[asyncio.Task[None]] = []
        self._changed: asyncio.Event

    def begin(self) -> None:
        self._way.run(self._begin())

    def next(self, deadline: float) -> bool:
        return self._way.run(self._next(deadline))

    def end(self) -> None:
        self._way.run(self._end())

    async def _begin(self) -> None:
        self._changed = asyncio.Event()
        client = self._way.reached.client
        revisions = [(await client.list(kind, namespace))[1] for kind, namespace in self._places]
        for (kind, namespace), revision in zip(self._places, revisions, strict=True):
            work = self._read(kind, namespace, revision)
            self._reading.append(asyncio.get_running_loop().create_task(work, name=f"changes of {kind.plural}"))

    async def _read(self, kind: Kind, namespace: str, revision: str) -> None:
        client = self._way.reached.client
        while True:
            with contextlib.suppress(ConnectionError, errors.ApiError):
                async with contextlib.aclosing(client.watch(kind, namespace, revision)) as events:
                    async for type_, _ in events:
                        if type_ != "BOOKMARK":
                            self._changed.set()
            self._changed.set()
            _, revision = await client.list(kind, namespace)

    async def _next(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
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
