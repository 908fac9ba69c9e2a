"""A cable that can be cut: TCP on loopback, from a client to the API and back, until somebody interferes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

PIECE_BYTES_MAX = 64 << 10


class Proxy:
    def __init__(self, target_port: int):
        self._target_port = target_port
        self._open: dict[asyncio.StreamWriter, None] = {}
        self._flows = {"requests": asyncio.Event(), "answers": asyncio.Event()}
        self.heal()
        self.port = 0

    def cut(self) -> None:
        """Every connection ends at once, in the middle of whatever it was."""
        for writer in list(self._open):
            writer.transport.abort()

    def stall(self, direction: str) -> None:
        """Nothing gets through one way, "requests" or "answers", and nobody is told."""
        self._flows[direction].clear()

    def heal(self) -> None:
        for flow in self._flows.values():
            flow.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = None
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            self._close(writer)
            return
        self._open[back] = None
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, back, "requests"))
                both.create_task(self._copy(there, writer, "answers"))
        finally:
            self._close(writer)
            self._close(back)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE_BYTES_MAX):
                await self._flows[direction].wait()
                writer.write(piece)
                await writer.drain()
        self._close(writer)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.pop(writer, None)
        writer.close()


@contextlib.asynccontextmanager
async def running(target_port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(target_port)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.heal()
        proxy.cut()
