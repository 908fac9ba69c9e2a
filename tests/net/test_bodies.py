"""Bodies that come slowly: what is held of them is bounded, of one client and of all, and small requests go on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest

from petset.net import bodies, listener
from petset.objects import encoding
from tests.net.serving import Echo, Raw, get, raw, serving
from tests.waiting import until

SENT_BYTES = 100_000  # Of a body that is a little longer.
COUNTED_BYTES = bodies.counted(SENT_BYTES)
READ_BYTES = 256 << 10  # What one read may bring.
LIMITS = listener.Limits(client_bodies_bytes_max=COUNTED_BYTES * 3, bodies_bytes_max=COUNTED_BYTES * 5)


def begun(path: str, size: int = SENT_BYTES) -> bytes:
    """A request whose body lacks its last byte."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size + 1}\r\n\r\n".encode() + b"x" * size


@contextlib.asynccontextmanager
async def slow(server: listener.Listener, count: int, address: str = "127.0.0.1"):
    """So many clients that have sent most of a body, and wait."""
    async with contextlib.AsyncExitStack() as opened:
        clients = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
            opened.callback(writer.close)
            writer.write(begun("/slow"))
            clients.append(Raw(reader, writer))
        yield clients


async def refused(client: Raw) -> str:
    """The message of the 429, after which the server closes."""
    answer = await client.rest()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ") and b"retry-after: 1\r\n" in head.lower() + b"\r\n"
    status = encoding.loads(body)
    assert (status["reason"], status["details"]["retryAfterSeconds"]) == ("TooManyRequests", 1)
    return status["message"]


def test_what_one_client_may_have_coming_in_is_bounded() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with slow(server, 3) as first:
            await until(lambda: server.bodies.bytes == COUNTED_BYTES * 3)
            async with slow(server, 40) as others:
                for client in others:
                    assert "this client's bodies" in await refused(client)
                    assert server.bodies.bytes <= COUNTED_BYTES * 3 + READ_BYTES
            async with raw(server.port) as small:
                small.send(begun("/small", 10_000) + b"x")
                assert (await small.answer())[0] == 200
            async with slow(server, 1, "127.0.0.2") as elsewhere:
                await until(lambda: server.bodies.bytes == COUNTED_BYTES * 4)
                for client in (*first, *elsewhere):
                    client.send(b"x")
                    assert (await client.answer())[0] == 200
        await until(lambda: server.bodies.bytes == 0)
        assert not server.bodies._by_client

    serving(check, limits=LIMITS)


def test_what_all_clients_may_have_coming_in_is_bounded() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with slow(server, 3), slow(server, 2, "127.0.0.2"):
            await until(lambda: server.bodies.bytes == COUNTED_BYTES * 5)
            async with slow(server, 1, "127.0.0.3") as (third,):
                assert "the bodies that are being read" in await refused(third)
        await until(lambda: server.bodies.bytes == 0)

    serving(check, limits=LIMITS)


@pytest.mark.parametrize("path", ["/wait", "/watch"])
def test_a_body_counts_until_its_request_is_answered(path: str) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(begun(path) + b"x")
            await until(lambda: len(echo.requests) == 1)
            assert server.bodies.bytes == COUNTED_BYTES + 1
            if path == "/wait":
                echo.go_on.set()
                assert (await client.answer())[0] == 200
                await until(lambda: server.bodies.bytes == 0)
        await until(lambda: server.bodies.bytes == 0)

    serving(check, limits=LIMITS)


def test_a_body_counts_although_its_client_has_left() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(begun("/wait") + b"x")
            await until(lambda: len(echo.requests) == 1)
            connected = client.writer.get_extra_info("socket")  # A reset: who ends its side only may still listen.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()
            await until(lambda: not server.connections)
        assert server.bodies.bytes == COUNTED_BYTES + 1
        echo.go_on.set()
        await until(lambda: server.bodies.bytes == 0)

    serving(check, limits=LIMITS)


def test_what_came_before_a_body_too_many_is_answered_first() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with slow(server, 3):
            await until(lambda: server.bodies.bytes == COUNTED_BYTES * 3)
            async with raw(server.port) as client:
                client.send(get("/a") + begun("/slow"))
                assert await client.answer() == (200, b"GET /a")
                await refused(client)

    serving(check, limits=LIMITS)


class Wire(asyncio.Transport):
    """A connection of an address, of which a test says what comes in."""

    def __init__(self, server: listener.Listener, address: str, reads_on: list[str]):
        super().__init__({"peername": (address, 1)})
        self.connection = listener._Connection(server)
        self._address, self._reads_on = address, reads_on
        self.is_read = True
        self.connection.connection_made(self)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is written here."""

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True
        self._reads_on.append(self._address)

    def abort(self) -> None:
        self.connection.connection_lost(None)


def test_large_bodies_that_come_in_at_once_are_read_one_in_a_turn_of_the_loop() -> None:
    """Clients one after another, however many connections any of them has; small bodies need no turn."""

    async def check(echo: Echo, server: listener.Listener) -> None:
        reads_on: list[str] = []
        wires = [Wire(server, address, reads_on) for address in ("jane", "jane", "jane", "jane", "bob", "eve", "small")]
        for wire in wires:
            wire.connection.data_received(begun("/slow", 10_000 if wire is wires[-1] else SENT_BYTES)[:-20])
        assert [wire.is_read for wire in wires] == [False] * 6 + [True]
        wires[1].abort()  # Its turn is nobody's.
        turns: list[list[str]] = []
        for _ in range(8):
            await asyncio.sleep(0)
            turns.append(list(reads_on))
            reads_on.clear()
        assert [turn for turn in turns if turn] == [["jane"], ["bob"], ["eve"], ["jane"], ["jane"]]
        assert [wire.is_read for wire in wires] == [True, False, *[True] * 5]
        wires[2].connection.data_received(b"x" * 10)
        assert not wires[2].is_read
        for wire in wires:
            if not wire.connection.is_lost:
                wire.abort()

    serving(check)
