"""A connection after its upgrade, as http.ByteStream: the same at the listener's and at the dialer's end.

The connection feeds what it receives; a reader that takes its time makes the connection stop reading its socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

READ_AHEAD_BYTES_MAX = 64 << 10  # Held for who reads late; then the socket is not read.


class Connection(Protocol):
    """What a stream needs of the connection under it."""

    is_lost: bool

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


def close(transport: asyncio.Transport) -> None:
    """Close it unless that was done: asyncio's TLS, closed twice, forgets its protocol and fails at any later use."""
    if not transport.is_closing():
        transport.close()


class Stream:
    """`first` came with the upgrade itself."""

    def __init__(self, connection: Connection, first: bytes):
        self._connection = connection
        self._received: deque[bytes] = deque([first] if first else [])
        self._bytes = len(first)
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """From the connection; b"" is the end."""
        if data:
            self._received.append(data)
            self._bytes += len(data)
            if self._bytes > READ_AHEAD_BYTES_MAX:
                self._connection.pause_reading()
        else:
            self._ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        while not self._received:
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = self._received.popleft()
        self._bytes -= len(data)
        if self._bytes <= READ_AHEAD_BYTES_MAX:
            self._connection.resume_reading()
        return data

    def write(self, data: bytes) -> None:
        self._connection.write(data)

    async def drain(self) -> None:
        """Wait until the other end has taken most of what was written. Raises ConnectionResetError when it is gone."""
        await self._connection.drain()
        if self._connection.is_lost:
            raise ConnectionResetError("the other end has closed the connection")

    def close(self) -> None:
        self._connection.close()
