"""Connections to ports inside pods, for port-forward: from a pod's own loopback, as a client inside it would.

A socket belongs to the network namespace in which it is made, whoever uses it afterwards. So a thread goes in, makes
the socket and comes back; connecting and all the rest is done by the loop. 127.0.0.1 is tried first, then ::1.
Back-pressure is the kernel's: who does not read makes the other end wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from petset.base import tasks
from petset.node import linux
from petset.wire.streaming import PortConnection, StreamError

READ_BYTES = 64 << 10
CONNECT_SECONDS_MAX = 10.0
LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def connect(namespace: Path | None, port: int) -> PortConnection:
    """To a port on the loopback of the network namespace pinned there (None: this machine's). Raises StreamError."""
    tried: list[str] = []
    for family, address in LOOPBACKS:
        try:
            return Connection(await _connected(namespace, family, address, port))
        except TimeoutError:
            tried.append(f"{address}: no answer within {CONNECT_SECONDS_MAX:g} seconds")
        except OSError as error:
            tried.append(f"{address}: {os.strerror(error.errno).lower() if error.errno else error}")
    raise StreamError(500, f"cannot connect to port {port} inside the pod: {'; '.join(tried)}")


async def _connected(namespace: Path | None, family: int, address: str, port: int) -> socket.socket:
    made = await tasks.in_thread(_socket, namespace, family)
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


def _socket(namespace: Path | None, family: int) -> socket.socket:
    with contextlib.ExitStack() as inside:
        if namespace is not None:
            inside.enter_context(linux.in_pinned("net", namespace))
        made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Connection:
    def __init__(self, connected: socket.socket):
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._is_heard = True

    async def read(self) -> bytes:
        try:
            return await self._loop.sock_recv(self._socket, READ_BYTES)
        except OSError:  # It was reset.
            return b""

    async def write(self, data: bytes) -> None:
        if not self._is_heard:
            return
        try:
            await self._loop.sock_sendall(self._socket, data)
        except OSError:
            self._is_heard = False

    def end_input(self) -> None:
        self._is_heard = False
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        self._socket.close()
