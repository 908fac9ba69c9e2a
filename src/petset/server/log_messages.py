"""A log over WebSocket: a message a piece, after an empty one that says the connection stands.

What the client sends is read and forgotten; when it leaves, the log is closed. Subprotocols: wire/channels.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from petset.base import tasks
from petset.wire import channels, http, websocket

log = logging.getLogger("petset.server")


class LogMessages:
    def __init__(self, socket: websocket.Connection, pieces: AsyncGenerator[bytes, None]):
        self._socket, self._pieces = socket, pieces
        self._dialect = channels.LOGS[socket.subprotocol]

    async def serve(self, stream: http.ByteStream) -> None:
        """Until the log has ended, or the client has left."""
        try:
            async with asyncio.TaskGroup() as group:
                sending = tasks.spawn(group, self._send(stream), "log messages")
                reading = tasks.spawn(group, self._wait_for_end(stream), "a log's reader")
                await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    await self._close(stream, reading)
                sending.cancel()
                reading.cancel()
        except* ConnectionError as broken:
            log.info("a log's reader broke off: %s", broken.exceptions)
        finally:
            await self._pieces.aclose()

    async def _send(self, stream: http.ByteStream) -> None:
        stream.write(self._message(b""))
        async for piece in self._pieces:
            stream.write(self._message(piece))
            await stream.drain()

    def _message(self, data: bytes) -> bytes:
        return self._socket.send(channels.encode_bare(self._dialect, data), self._dialect.is_base64)

    async def _wait_for_end(self, stream: http.ByteStream) -> None:
        while not self._socket.is_over:
            data = await stream.read()
            self._socket.feed(data)
            stream.write(self._socket.outgoing())
            if not data:
                return

    async def _close(self, stream: http.ByteStream, reading: asyncio.Task[None]) -> None:
        """Say goodbye, and wait for the answer a moment: what is still unread would reset the log away."""
        stream.write(self._socket.send_close())
        await stream.drain()
        await asyncio.wait((reading,), timeout=websocket.CLOSE_SECONDS_MAX)
