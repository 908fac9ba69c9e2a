"""The server as a process that can be killed, and the links to it: late, lossy, and now and then lying about success.

A `Link` is an `http.Transport`. A request may be late, be lost on its way, be refused (429, 500, 503), meet an object
that somebody else has just changed, be carried out and its answer lost, or be answered late, so that what was read is
old. A watch stalls, ends, breaks, or is told that its revision is gone. All of it is the seed's choice, and
`Faults.none()` ends it.

The server's store survives its death as what was committed; watches and requests under way do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from petset.base import pki
from petset.objects import encoding, errors
from petset.server import api, watch
from petset.store import core, memory, store
from petset.wire import http

TOKEN_KEY = pki.SigningKey()
STALL_SECONDS_MAX = 20.0  # Of a watch.
LAG_SECONDS_MAX = 5.0  # Of a request or its answer.


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong: chances a request, and for watches a mean time between."""

    lag: float = 0.0  # The chance of a delay that is felt.
    lost_request: float = 0.0
    refused: float = 0.0
    conflict: float = 0.0
    lost_answer: float = 0.0
    stall: float = 0.0  # A watch's, for each piece.
    watch_seconds: float = 0.0  # Mean life of a watch; 0: as long as the server lets it.

    @staticmethod
    def none() -> Faults:
        return Faults()

    @property
    def stale_seconds(self) -> float:
        """How old a picture this weather may leave a program with: what is late, and what has to be asked for again."""
        again = 30.0 if self.lost_request or self.refused or self.lost_answer or self.watch_seconds else 0.0
        return again + (3 * LAG_SECONDS_MAX if self.lag else 0.0) + (2 * STALL_SECONDS_MAX if self.stall else 0.0)

    @staticmethod
    def some(chance: random.Random) -> Faults:
        """A weather of its own for each seed: some are rough in one way only."""

        if chance.random() < 0.2:
            return Faults(conflict=0.2 * chance.random())

        def rate(most: float) -> float:
            return most * chance.random() if chance.random() < 0.6 else 0.0

        return Faults(
            lag=rate(0.3),
            lost_request=rate(0.1),
            refused=rate(0.1),
            conflict=rate(0.2),
            lost_answer=rate(0.1),
            stall=rate(0.1),
            watch_seconds=chance.choice((0.0, 20.0, 100.0)),
        )


class SeenStore(memory.MemoryStore):
    """The store's model, telling every change to somebody at the moment it becomes visible."""

    def __init__(self, saw: Callable[[store.Change], None]):
        super().__init__(history_changes_max=500)
        self.saw = saw
        self.dead = False

    def _publish(self, write: core.Write) -> None:
        if self.dead:
            return
        super()._publish(write)
        self.saw(write.change())

    def after_restart(self) -> SeenStore:
        """What is on disk: the committed objects; the history begins anew."""
        self.dead = True
        _, entries = self.list("")
        fresh = SeenStore(self.saw)
        fresh._restore(entries, self.revision)
        return fresh


class Server:
    """The real pipeline over the store, and the requests it is just answering."""

    def __init__(self, store_: SeenStore):
        self.store = store_
        self.api: api.Api | None = None
        self._answering: dict[asyncio.Task[Any], asyncio.Future[http.Response]] = {}
        self._streams: dict[Stream, None] = {}

    def start(self) -> None:
        self.api = api.Api(self.store, api.Options(token_key=TOKEN_KEY))

    def kill(self) -> None:
        """Everything under way is cut; what was committed stays."""
        self.api = None
        self.store = self.store.after_restart()
        for task, answer in list(self._answering.items()):
            if not answer.done():
                answer.set_exception(ConnectionResetError("the server died"))
            task.cancel()
        for stream in list(self._streams):
            stream.cut(ConnectionResetError("the server died"))

    async def handle(self, request: http.Request) -> http.Response:
        """The answer; the request is carried out even if who asked has gone away."""
        if self.api is None:
            raise ConnectionRefusedError("the server is down")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[http.Response] = loop.create_future()
        task = loop.create_task(self.api.handle(request), name=f"{request.method} {request.target}")
        self._answering[task] = answer

        def done(task: asyncio.Task[http.Response]) -> None:
            del self._answering[task]
            if task.cancelled():
                answer.cancel()
            elif error := task.exception():
                answer.set_exception(error)
            elif not answer.done():
                answer.set_result(task.result())

        task.add_done_callback(done)
        return await answer

    def stream(self, body: AsyncIterator[bytes], link: Link) -> Stream:
        stream = Stream(body, link)
        self._streams[stream] = None
        stream.on_end = lambda: self._streams.pop(stream, None)
        return stream


class Stream:
    """A watch's way to its reader: pieces arrive in order, late; it can be cut at any moment, which is seen at once."""

    def __init__(self, body: AsyncIterator[bytes], link: Link):
        self._body, self._link = body, link
        self._pieces: deque[tuple[float, bytes]] = deque()  # (when it arrives, piece)
        self._wake: asyncio.Event = asyncio.Event()
        self._end: BaseException | None = None
        loop = asyncio.get_running_loop()
        self._pump = loop.create_task(self._pumping(), name="stream")
        self.on_end: Callable[[], object] = lambda: None
        self._timer: asyncio.TimerHandle | None = None
        mean = link.faults.watch_seconds
        if mean:
            self._timer = loop.call_later(link.chance.expovariate(1 / mean), self._break)

    async def _pumping(self) -> None:
        loop = asyncio.get_running_loop()
        arrives = 0.0
        try:
            async for piece in self._body:
                chance, faults = self._link.chance, self._link.faults
                delay = (
                    chance.uniform(0, STALL_SECONDS_MAX) if faults.stall and chance.random() < faults.stall else 0.001
                )
                arrives = max(arrives, loop.time() + delay)
                self._pieces.append((arrives, piece))
                self._wake.set()
        finally:
            with contextlib.suppress(Exception):
                await self._body.aclose()  # type: ignore[attr-defined]
            self._end = self._end or StopAsyncIteration()
            self._wake.set()

    def _break(self) -> None:
        """One of the ways in which a watch ends before its time."""
        kind = self._link.chance.randrange(3)
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
                with contextlib.suppress(TimeoutError):
                    self._wake.clear()
                    async with asyncio.timeout_at(arrives):
                        await self._wake.wait()
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


class Link:
    """One process's way to the server. `cut` is its death: nothing goes or comes any more."""

    def __init__(
        self,
        server: Server,
        user: http.User,
        chance: random.Random,
        faults: Callable[[], Faults],
        meddle: Callable[[http.Request], Awaitable[None]] | None = None,
        inspect: Callable[[http.Request], None] = lambda request: None,
    ):
        self.server, self.user, self.chance = server, user, chance
        self._faults, self._meddle, self._inspect = faults, meddle, inspect
        self.dead = False
        self._streams: dict[Stream, None] = {}

    @property
    def faults(self) -> Faults:
        return self._faults()

    def cut(self) -> None:
        self.dead = True
        for stream in list(self._streams):
            stream.cut(ConnectionResetError("killed"))

    async def send(self, request: http.Request) -> http.Response:
        self._inspect(request)
        await self._travel()
        if self._happens(self.faults.lost_request):
            raise ConnectionResetError("lost on its way")
        if self._happens(self.faults.refused):
            return self._refusal()
        if self._meddle is not None and request.method in ("PUT", "PATCH") and self._happens(self.faults.conflict):
            await self._meddle(request)
        response = await self.server.handle(dataclasses.replace(request, user=self.user, takes_objects=False))
        if isinstance(response.body, bytes):
            if self._happens(self.faults.lost_answer):
                raise ConnectionResetError("the answer was lost")
            await self._travel()
            return response
        stream = self.server.stream(response.body, self)
        self._streams[stream] = None
        ended = stream.on_end
        stream.on_end = lambda: (ended(), self._streams.pop(stream, None))
        if self.dead:
            await stream.aclose()
            raise ConnectionResetError("killed")
        return dataclasses.replace(response, body=stream)

    def _happens(self, rate: float) -> bool:
        return bool(rate) and self.chance.random() < rate

    async def _travel(self) -> None:
        late = self._happens(self.faults.lag)
        await asyncio.sleep(self.chance.uniform(0, LAG_SECONDS_MAX) if late else self.chance.uniform(0.0002, 0.002))
        if self.dead:
            raise ConnectionResetError("killed")

    def _refusal(self) -> http.Response:
        error = self.chance.choice(
            (
                errors.unavailable("cannot serve: the world does not want it; try again"),
                errors.too_many_requests("cannot serve: too many requests; try again"),
                errors.ApiError(500, "InternalError", "cannot serve: the world is broken; try again"),
            )
        )
        return http.Response(error.code, (("content-type", "application/json"),), encoding.dumps(error.status()))
