"""The server as a process that can be killed: the real pipeline over the store's model.

Its store survives its death as what was committed; watches and requests under way do not. Every change is told to
somebody (the laws) in the turn in which it becomes visible.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from petset import cluster
from petset.kinds import builtin
from petset.objects.registry import Kinds
from petset.store import core, memory, store
from petset.wire import http, streaming
from petset.world.faults import Faults
from petset.world.stream import Stream


class SeenStore(memory.MemoryStore):
    """The store's model, telling every change to somebody at the moment it becomes visible."""

    def __init__(self, saw: Callable[[store.Change], None], like: core.Core | None = None):
        super().__init__(like, history_changes_max=500)
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

    def __init__(
        self,
        store_: SeenStore,
        config: cluster.Config,
        streams_of: streaming.StreamsOf,
        servers_of: streaming.ServersOf,
        kinds: Kinds = builtin.KINDS,
    ):
        self.store, self._config = store_, config
        self._streams_of, self._servers_of, self._kinds = streams_of, servers_of, kinds
        self._plane: cluster.ControlPlane | None = None
        self._answering: dict[asyncio.Task[Any], asyncio.Future[http.Response]] = {}
        self._streams: dict[Stream, None] = {}

    @property
    def plane(self) -> cluster.ControlPlane | None:
        """None while it is dead."""
        return self._plane

    async def begin(self) -> None:
        """Start for the first time."""
        await self.start().begin()

    def start(self) -> cluster.ControlPlane:
        """Start over what was committed."""
        self._plane = cluster.ControlPlane(self.store, self._config, self._streams_of, self._kinds, self._servers_of)
        return self._plane

    def kill(self) -> None:
        """Everything under way is cut; what was committed stays."""
        self._plane = None
        self.store = self.store.after_restart()
        for task, answer in list(self._answering.items()):
            if not answer.done():
                answer.set_exception(ConnectionResetError("the server died"))
            task.cancel()
        for stream in list(self._streams):
            stream.cut(ConnectionResetError("the server died"))

    async def handle(self, request: http.Request) -> http.Response:
        """The answer; the request is carried out even if who asked has gone away."""
        if self._plane is None:
            raise ConnectionRefusedError("the server is down")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[http.Response] = loop.create_future()
        task = loop.create_task(self._plane.api.handle(request), name=f"{request.method} {request.target}")
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

    def stream(self, body: AsyncIterator[bytes], chance: random.Random, faults: Callable[[], Faults]) -> Stream:
        """The body of an answer on its way; it is cut when the server dies."""
        stream = Stream(body, chance, faults)
        self._streams[stream] = None
        stream.on_end = lambda: self._streams.pop(stream, None)
        return stream
