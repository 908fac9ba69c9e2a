"""A listener for tests, whose handler shows what it got, and a raw client that says exactly what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from petset.net import listener
from petset.objects import errors
from petset.wire import http

SECONDS_MAX = 20.0


class Echo:
    """Answers with what it was asked; remembers what became of its streams."""

    def __init__(self) -> None:
        self.requests: list[http.Request] = []
        self.closed: list[str] = []
        self.sent_parts = 0
        self.huge = b"x" * 20_000_000  # No kernel takes that for a client that does not read.
        self.go_on = asyncio.Event()

    async def handle(self, request: http.Request) -> http.Response:
        self.requests.append(request)
        path = request.path
        if path == "/wait":
            await self.go_on.wait()
        if path == "/fail":
            raise ValueError("a defect")
        if path == "/refuse":
            raise errors.too_many_requests("cannot now: too many; wait")
        if path == "/count":
            return http.Response(200, body=self.count(3))
        if path == "/break":
            return http.Response(200, body=self.breaking())
        if path == "/watch":
            return http.Response(200, body=self.forever(path))
        if path == "/flood":
            return http.Response(200, body=self.flood())
        if path == "/held":
            return http.Response(200, body=Held(self.flood(), self.closed))
        if path == "/large":
            return http.Response(200, body=b"x" * 1_000_000)
        if path == "/huge":
            return http.Response(200, body=self.huge)
        if request.header("upgrade") == "shout" or path == "/switch":
            return http.Response(101, (("upgrade", "shout"),), upgraded=self.shout)
        if request.header("upgrade") == "crowd":
            return http.Response(101, (("upgrade", "crowd"),), upgraded=self.crowd)
        return http.Response(
            200, (("content-type", "text/plain"),), f"{request.method} {request.target}".encode() + request.body
        )

    async def crowd(self, stream: http.ByteStream) -> None:
        """More than a client takes at once; three wait until it has, and a fourth no longer."""

        async def wait(name: str) -> None:
            await stream.drain()
            self.closed.append(name)

        stream.write(self.huge)
        async with asyncio.TaskGroup() as group:
            for name in "012":
                group.create_task(wait(name))
            impatient = group.create_task(wait("impatient"))
            await asyncio.sleep(0)
            impatient.cancel()

    async def count(self, most: int) -> AsyncIterator[bytes]:
        for i in range(most):
            yield b"" if i == 1 else b"part %d\n" % i
            await asyncio.sleep(0)

    async def breaking(self) -> AsyncIterator[bytes]:
        yield b"begun"
        raise ValueError("a defect")

    async def forever(self, name: str) -> AsyncIterator[bytes]:
        try:
            yield b"first\n"
            await asyncio.Event().wait()
        finally:
            self.closed.append(name)

    async def flood(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
                self.sent_parts += 1
        finally:
            self.closed.append("/flood")

    async def shout(self, stream: http.ByteStream) -> None:
        while data := await stream.read():
            stream.write(data.upper())
            await stream.drain()
            if data.endswith(b"bye"):
                break
        self.closed.append("shout")


class Held:
    """Parts that are no generator, as those whose end is told of; to close them fails."""

    def __init__(self, parts: AsyncIterator[bytes], closed: list[str]):
        self._parts, self._closed = parts, closed

    def __aiter__(self) -> Held:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._parts)

    async def aclose(self) -> None:
        self._closed.append("held")
        raise ValueError("cannot be closed")


class Raw:
    """A connection that sends what it is given and reads what comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None = None) -> Raw:
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls))

    async def until(self, mark: bytes) -> bytes:
        return await self.reader.readuntil(mark)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """The code and the body of an answer whose length is told."""
        head = await self.until(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length"))
        return int(lines[0].split()[1]), await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await self.reader.read()

    def close(self) -> None:
        self.writer.close()


def get(path: str, *headers: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{''.join(header + chr(13) + chr(10) for header in headers)}\r\n".encode()


def serving(
    test: Callable[[Echo, listener.Listener], Awaitable[None]], runner: Any = asyncio.run, **options: Any
) -> None:
    """Run a test against a listener of its own; `limits` and `tls` as in listener.serve."""

    async def main() -> None:
        echo = Echo()
        async with asyncio.timeout(SECONDS_MAX):
            async with listener.serve(echo.handle, **options) as serving:
                await test(echo, serving)

    runner(main())


@contextlib.asynccontextmanager
async def raw(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    connection = await Raw.open(port, tls)
    try:
        yield connection
    finally:
        connection.close()
