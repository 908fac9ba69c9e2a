"""The client's sockets: one request out, its answer back, over connections that are kept and used again.

`Dialer.send` is http.Transport. An answer whose length is told is read whole; any other (a watch, a followed log) is an
iterator that reads the socket no faster than it is consumed, and whose `aclose` closes the connection. `open` is for
requests to upgrade: on a 101 it gives the raw byte stream too.

Invariants: whatever keeps an answer from coming is a ConnectionError with a sentence that says what and where; only a
request that changes nothing is sent again, once, when a kept connection turns out to be closed. A dialer owns no task.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

from petset.net import upgraded
from petset.wire import http, http1

CONNECT_SECONDS_MAX = 10.0
ANSWER_SECONDS_MAX = 60.0  # From the request to the answer's head.
IDLE_SECONDS_MAX = 60.0  # An older kept connection is not used again; the server closes it later than that.
KEPT_CONNECTIONS_MAX = 32
# Whoever has gone without a word (a machine that is off, a network that is cut) is noticed in half a minute, though
# nothing is sent to him: a watch would wait for ever. As Go's dialer keeps its connections alive.
ALIVE_FIRST_SECONDS, ALIVE_AGAIN_SECONDS, ALIVE_TIMES = 15, 5, 3
UNHEARD_SECONDS_MAX = 30
WHOLE_BYTES_MAX = 64 << 20  # A longer answer is an iterator although its length is known.
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Dialer:
    """Sends requests to one server: `https://host:port/prefix`, `http://...`, or `unix:///path/of/socket`."""

    def __init__(
        self,
        base_url: str,
        tls: ssl.SSLContext | None = None,
        headers: http.Headers = (),
        *,
        connect_seconds_max: float = CONNECT_SECONDS_MAX,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        whole_bytes_max: int = WHOLE_BYTES_MAX,
        address: tuple[str, int] | None = None,
    ):
        """`address` is where the server is, when its URL, and with it its certificate, names another place."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https", "unix") or not (parts.hostname or parts.scheme == "unix"):
            raise ValueError(f"cannot dial {base_url!r}: it is no http, https or unix address")
        self._url, self._headers = base_url, headers
        self._connect_seconds_max, self._answer_seconds_max = connect_seconds_max, answer_seconds_max
        self._unix_path = unquote(parts.path) if parts.scheme == "unix" else ""
        self._prefix = "" if self._unix_path else parts.path.rstrip("/")
        named = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        self._address, self._server_name = address or named, named[0]
        self._whole_bytes_max = whole_bytes_max
        self._host = parts.netloc.rpartition("@")[2] or "localhost"
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._kept: list[_Connection] = []  # The one used last is at the end, and is used next.
        self._open: dict[_Connection, None] = {}
        self._closed = self._retired = False

    async def __aenter__(self) -> Dialer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, request: http.Request) -> http.Response:
        response, stream = await self.open(request)
        if stream is not None:
            stream.close()
            raise ConnectionError(f"cannot use the answer of {self._url}: it is an upgrade nobody asked for")
        return response

    async def open(self, request: http.Request) -> tuple[http.Response, http.ByteStream | None]:
        """The answer, and the byte stream when it is a 101. Raises ConnectionError."""
        target = self._prefix + request.target
        request = http.Request(request.method, target, (*request.headers, *self._headers), request.body)
        sent = http1.request_bytes(request, self._host)
        try:
            connection = self._taken()
            if connection is not None:
                try:
                    return await self._exchange(connection, request.method, sent)
                except _Stale:
                    if request.method not in _SAFE_METHODS:
                        raise
            return await self._exchange(await self._connected(), request.method, sent)
        except TimeoutError:
            raise ConnectionError(
                f"cannot get an answer from {self._url}: none came within {self._answer_seconds_max:g} seconds"
            ) from None
        except (ssl.SSLError, OSError) as error:
            raise ConnectionError(f"cannot reach {self._url}: {_why(error)}") from error

    async def close(self) -> None:
        """Close every connection, also those of streams still open."""
        self._closed = True
        connections = list(self._open)
        for connection in connections:
            connection.close()
        gone = [connection.gone for connection in connections]
        if gone:
            await asyncio.wait(gone, timeout=1.0)
        for connection in connections:
            connection.abort()

    def retire(self) -> None:
        """What is under way goes on to its end, and no connection is kept after it."""
        self._retired = True
        while self._kept:
            self._kept.pop().close()

    @property
    def is_empty(self) -> bool:
        """No connection is open."""
        return not self._open

    async def _exchange(
        self, connection: _Connection, method: str, sent: bytes
    ) -> tuple[http.Response, http.ByteStream | None]:
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                head = await connection.ask(method, sent)
            if head.upgrade:
                return http.Response(head.code, head.headers), connection.switched()
            body = _Body(connection)
            if head.length is None or head.length > self._whole_bytes_max:
                return http.Response(head.code, head.headers, body), None
            return http.Response(head.code, head.headers, await body.whole()), None
        except BaseException:
            connection.abort()
            raise

    def _taken(self) -> _Connection | None:
        """A kept connection that is likely to be open still."""
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS_MAX
        while self._kept:
            connection = self._kept.pop()
            if not connection.is_lost and connection.kept_at >= oldest:
                return connection
            connection.abort()
        return None

    async def _connected(self) -> _Connection:
        if self._closed:
            raise ConnectionError("the dialer is closed")
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if self._tls:
            tls = {"ssl": self._tls, "server_hostname": self._server_name, "ssl_shutdown_timeout": 1}
        try:
            async with asyncio.timeout(self._connect_seconds_max):
                if self._unix_path:
                    _, connection = await loop.create_unix_connection(lambda: _Connection(self), self._unix_path)
                else:
                    transport, connection = await loop.create_connection(
                        lambda: _Connection(self), *self._address, **tls
                    )
                    _keep_alive(transport.get_extra_info("socket"))
        except TimeoutError:
            raise ConnectionError(f"no connection within {self._connect_seconds_max:g} seconds") from None
        return connection

    # Called by connections

    def opened(self, connection: _Connection) -> None:
        self._open[connection] = None

    def lost(self, connection: _Connection) -> None:
        self._open.pop(connection, None)
        if connection in self._kept:
            self._kept.remove(connection)

    def keep(self, connection: _Connection) -> None:
        if self._closed or self._retired or len(self._kept) >= KEPT_CONNECTIONS_MAX:
            connection.close()
        else:
            self._kept.append(connection)


def _keep_alive(connected: socket.socket) -> None:
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, ALIVE_FIRST_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ALIVE_AGAIN_SECONDS),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, ALIVE_TIMES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_SECONDS_MAX * 1000),
    ):
        connected.setsockopt(level, option, value)


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return f"its name is not known: {error.strerror}"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


class _Stale(ConnectionError):
    """A kept connection was closed before anything of the answer came."""


class _Connection(asyncio.Protocol):
    """One connection: an exchange at a time, then kept or closed."""

    def __init__(self, dialer: Dialer):
        self._dialer = dialer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # Until connection_made.
        self._parser = http1.ResponseParser()
        self._head: asyncio.Future[http1.Head] | None = None
        self._parts: deque[bytes] = deque()
        self._bytes = 0
        self._arrived: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._stream: upgraded.Stream | None = None
        self._paused_reading = self._paused_writing = self._answered_once = self._heard = False
        self.ended: http1.End | http1.Broken | None = None
        self.is_lost = False
        self.kept_at = 0.0
        self.gone: asyncio.Future[None] = self._loop.create_future()

    # An exchange

    async def ask(self, method: str, sent: bytes) -> http1.Head:
        self._parser.expect(method)
        self.ended, self._heard = None, False
        self._head = self._loop.create_future()
        if self.is_lost:
            raise _Stale("the connection was closed")
        self.write(sent)
        return await self._head

    async def next(self) -> bytes:
        """The next part of the answer; b"" at its end. Raises ConnectionError when it was cut off."""
        while not self._parts:
            if isinstance(self.ended, http1.Broken):
                raise ConnectionError(f"the answer was cut off: {self.ended.why}")
            if self.ended is not None:
                return b""
            self._arrived = self._loop.create_future()
            await self._arrived
        part = self._parts.popleft()
        self._bytes -= len(part)
        if self._bytes <= upgraded.READ_AHEAD_BYTES_MAX:
            self.resume_reading()
        return part

    def release(self) -> None:
        """The answer was read, or nobody wants the rest: keep the connection if it can be used again."""
        if isinstance(self.ended, http1.End) and self.ended.keep_alive and not self._parts and not self.is_lost:
            self._answered_once = True
            self.kept_at = self._loop.time()
            self._dialer.keep(self)
        else:
            self.abort()

    def switched(self) -> upgraded.Stream:
        self._stream = upgraded.Stream(self, self._parser.take_over())
        if self.is_lost:
            self._stream.feed(b"")
        return self._stream

    # For the stream, too

    def write(self, data: bytes) -> None:
        if not self.is_lost:
            self._transport.write(data)

    async def drain(self) -> None:
        while self._paused_writing and not self.is_lost:
            if self._drained is None or self._drained.done():
                self._drained = self._loop.create_future()
            await asyncio.wait([self._drained])  # Who is cancelled does not take it from the others.

    def pause_reading(self) -> None:
        if not self._paused_reading and not self.is_lost:
            self._paused_reading = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused_reading and not self.is_lost:
            self._paused_reading = False
            self._transport.resume_reading()

    def close(self) -> None:
        upgraded.close(self._transport)

    def abort(self) -> None:
        self._transport.abort()

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # A Base by name only.
        self._dialer.opened(self)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._stream is not None:
            self._stream.feed(data)
            return
        for event in self._parser.feed(data):
            self._take(event)
        if self._bytes > upgraded.READ_AHEAD_BYTES_MAX:
            self.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._stream is not None:
            self._stream.feed(b"")
        elif self._head is not None and not self._head.done() and self._answered_once and not self._heard:
            self._head.set_exception(_Stale("the server has closed the connection"))
        elif self.ended is None:
            for event in self._parser.feed(b""):
                self._take(event)
        self._wake(self._drained)
        self._wake(self.gone)
        self._parser.close()
        self._dialer.lost(self)

    def pause_writing(self) -> None:
        self._paused_writing = True

    def resume_writing(self) -> None:
        self._paused_writing = False
        self._wake(self._drained)

    def _take(self, event: http1.ResponseEvent) -> None:
        if isinstance(event, http1.Head):
            if self._head is not None and not self._head.done():
                self._head.set_result(event)
            return
        if isinstance(event, http1.Data):
            self._parts.append(event.data)
            self._bytes += len(event.data)
        else:
            self.ended = event
            if isinstance(event, http1.Broken) and self._head is not None and not self._head.done():
                self._head.set_exception(ConnectionError(event.why))
        self._wake(self._arrived)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class _Body:
    """A streaming answer's parts."""

    def __init__(self, connection: _Connection):
        self._connection = connection
        self._done = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._done:
            raise StopAsyncIteration
        part = await self._connection.next()
        if not part:
            await self.aclose()
            raise StopAsyncIteration
        return part

    async def whole(self) -> bytes:
        return b"".join([part async for part in self])

    async def aclose(self) -> None:
        if not self._done:
            self._done = True
            self._connection.release()
