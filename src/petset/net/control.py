"""An instance's own way in for its commands: one line of JSON each way over a Unix socket in its state directory.

Only who may read the directory reaches it, so nobody is asked who he is. `served` listens for as long as the context
lasts; `ask` is a command's side, which blocks until it is answered. A path of any length will do.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

from petset.base import state, tasks
from petset.objects import encoding, meta
from petset.objects.meta import Object

LINE_BYTES_MAX = 4096
Answer = Callable[[Object], Awaitable[Object]]


class NobodyListens(Exception):
    """There is no such socket, or nobody listens there."""


@contextlib.asynccontextmanager
async def served(path: Path, answer: Answer) -> AsyncGenerator[None]:
    """Answer whoever asks; what was left there by a killed process is replaced."""
    async with asyncio.TaskGroup() as group:
        with state.reachable(path) as short:
            path.unlink(missing_ok=True)
            server = await asyncio.get_running_loop().create_unix_server(lambda: _Asked(group, answer), short)
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)


class _Asked(asyncio.Protocol):
    """One question."""

    def __init__(self, group: asyncio.TaskGroup, answer: Answer):
        self._group, self._answer = group, answer
        self._read = b""
        self._transport: Any

    def connection_made(self, transport: Any) -> None:  # uvloop's are of no class of asyncio's.
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._read.endswith(b"\n"):
            return
        self._read += data
        if self._read.endswith(b"\n"):
            tasks.spawn(self._group, self._work(), "control")
        elif len(self._read) > LINE_BYTES_MAX:
            self._transport.close()

    async def _work(self) -> None:
        try:
            asked: meta.Json = encoding.loads(self._read)
        except ValueError:
            asked = None
        answer = await self._answer(asked) if isinstance(asked, dict) else {"error": "cannot understand the line"}
        if not self._transport.is_closing():
            self._transport.write(encoding.dumps(answer) + b"\n")
            self._transport.close()


def ask(path: Path, question: Object, seconds_max: float) -> Object:
    """The answer. Raises NobodyListens, and OSError (TimeoutError) when it does not come."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(seconds_max)
        try:
            with state.reachable(path) as short:
                asking.connect(short)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NobodyListens from None
        asking.sendall(encoding.dumps(question) + b"\n")
        pieces: list[bytes] = []
        while piece := asking.recv(LINE_BYTES_MAX):
            pieces.append(piece)
    if not pieces:
        raise ConnectionResetError("petset has ended meanwhile")
    return encoding.loads(b"".join(pieces))
