"""One program's way to the server: late, lossy, and now and then lying about success.

A `Link` is an `http.Transport`; what goes wrong on it, and how often, is said by `faults.Faults`, and its own seeded
chance says when.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable

from petset.objects import encoding, errors
from petset.wire import http
from petset.world.faults import LAG_SECONDS_MAX, Faults
from petset.world.server import Server
from petset.world.stream import Stream


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
        is_cut: Callable[[], bool] = lambda: False,
    ):
        self.server, self.user, self.chance = server, user, chance
        self._faults, self._meddle, self._inspect, self._is_cut = faults, meddle, inspect, is_cut
        self.dead = False
        self._streams: dict[Stream, None] = {}

    @property
    def faults(self) -> Faults:
        return self._faults()

    def cut(self) -> None:
        self.dead = True
        self.sever()

    def sever(self) -> None:
        """What is under way breaks; requests fail for as long as `is_cut` says."""
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
        carried = http.Request(request.method, request.target, request.headers, request.body, request.peer, self.user)
        response = await self.server.handle(carried)
        if isinstance(response.body, bytes):
            if self._happens(self.faults.lost_answer):
                raise ConnectionResetError("the answer was lost")
            await self._travel()
            return response
        stream = self.server.stream(response.body, self.chance, self._faults)
        self._streams[stream] = None
        ended = stream.on_end
        stream.on_end = lambda: (ended(), self._streams.pop(stream, None))
        if self.dead or self._is_cut():
            await stream.aclose()
            raise ConnectionResetError("killed")
        return dataclasses.replace(response, body=stream)

    def _happens(self, rate: float) -> bool:
        return bool(rate) and self.chance.random() < rate

    async def _travel(self) -> None:
        late = self._happens(self.faults.lag)
        await asyncio.sleep(self.chance.uniform(0, LAG_SECONDS_MAX) if late else self.chance.uniform(0.0002, 0.002))
        if self.dead or self._is_cut():
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
