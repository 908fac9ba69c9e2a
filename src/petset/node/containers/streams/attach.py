"""A connection to a container's conmon, which copies its output to every client and takes its input from any."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from petset.base import state
from petset.node.containers.records import ContainerRecord
from petset.node.containers.streams import descriptors
from petset.wire.streaming import STDERR, STDOUT, ExecOptions, StreamError

MESSAGE_BYTES = 8192 + 1  # conmon's: the pipe it came from, and the data.
CONMON_STDOUT, CONMON_STDERR = 2, 3


class Attach:
    """A connection to a container's conmon."""

    def __init__(self, directory: Path, options: ExecOptions, record: ContainerRecord):
        self._directory, self._options, self._tty = directory, options, record.tty
        self._outlasts_input = record.stdin_once and not record.tty  # Else the end of its input detaches the client.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        try:
            with state.reachable(self._directory / "attach") as short:
                self._socket.connect(short)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise StreamError(500, f"cannot attach: the container's supervisor does not answer: {error}") from error

    async def write(self, data: bytes) -> None:
        if not self._options.stdin:
            return
        view = memoryview(data)
        while view and not self._done.done():
            try:
                view = view[self._socket.send(view[:MESSAGE_BYTES]) :]
            except BlockingIOError:
                if not await descriptors.writable(self._socket.fileno(), self._done):
                    return
            except OSError:
                return

    def close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        if self._options.stdin and not self._outlasts_input:
            asyncio.get_running_loop().call_later(descriptors.DRAIN_SECONDS_MAX, self._end)

    def resize(self, columns: int, rows: int) -> None:
        if not self._tty:
            return
        with contextlib.suppress(OSError):
            control = os.open(self._directory / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(control, f"1 {rows} {columns}\n".encode())
            finally:
                os.close(control)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        wanted: dict[int, int] = {}
        if self._options.stdout:
            wanted[CONMON_STDOUT] = STDOUT
        if self._options.stderr and not self._tty:
            wanted[CONMON_STDERR] = STDERR
        while not self._done.done():
            if not await descriptors.readable([self._socket.fileno()], self._done):
                return
            try:
                message = self._socket.recv(MESSAGE_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                message = b""
            if not message:
                self._end()
            elif (channel := wanted.get(message[0])) is not None:
                yield channel, message[1:]

    async def exit_code(self) -> int:
        """0: what the container ended with is told by the pod's status."""
        await asyncio.shield(self._done)
        return 0

    async def close(self) -> None:
        self._end()
        self._socket.close()

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)
