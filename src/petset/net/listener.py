"""The server's sockets: connections in, whole requests to a handler, answers, streams and upgrades out.

A connection is a protocol object and no task; each request it brings is one task of the listener's group, one at a
time, so pipelined requests wait their turn. A streaming answer is written part by part, waits for slow readers, and its
iterator is closed the moment the client is gone; a plain handler runs to its end, so that no write stops halfway. After
a 101 the connection is a byte stream that the answer's `upgraded` holds until it returns.

Invariants: no input and no handler's failure ends the listener or shows a traceback to a client; every state but a
stream's has a deadline (`Limits`), watched by one timer for all connections; what is opened here is closed here.
wire/http1.py knows HTTP, net/http2.py serves who speaks HTTP/2 alone. TLS is the loop's
(uvloop: 24 KiB a connection; asyncio's is held to 16 KiB buffers below).
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import logging
import math
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from petset.base import tasks
from petset.net import bodies, failures, readers, upgraded
from petset.objects import errors
from petset.wire import http, http1

log = logging.getLogger("petset.listener")

DISCARD_BYTES_MAX = 64 << 20  # Read and thrown away after a refusal, so that the client can read why.
WRITE_BUFFER_BYTES_MAX = 64 << 10  # Of an answer, beyond which its next piece waits for the client.
READ_BYTES_MAX = 64 << 10  # From a connection in one step.
SWEEP_SECONDS_MIN = 0.2  # Deadlines are looked at no more often.


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may take; each has its answer. The defaults are the product's, others are for tests."""

    connections_max: int = 10_000  # 503, closed
    request_seconds_max: float = 30.0  # From its first byte to its last: 408, closed
    idle_seconds_max: float = 180.0  # Between requests: closed
    stall_seconds_max: float = 600.0  # A reader that takes nothing: closed
    linger_seconds_max: float = 2.0  # After a refusal, for the client to read it: closed
    stop_seconds_max: float = 2.0  # For requests under way when the listener ends: closed
    body_bytes_max: int = http1.BODY_BYTES_MAX  # 413, closed
    client_bodies_bytes_max: int = 64 << 20  # Of bodies that are coming in or being answered, of a client: 429, closed
    bodies_bytes_max: int = 256 << 20  # The same of all clients: 429, closed
    client_unread_bytes_max: int = 64 << 20  # Of answers that a client does not read: who waits longest is closed
    unread_bytes_max: int = 256 << 20  # The same of all clients: who waits longest is closed


@asynccontextmanager
async def serve(
    handler: http.Handler,
    host: str | Sequence[str] = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    *,
    socket: Any = None,
    limits: Limits | None = None,
    front_proxies: str | None = "",
) -> AsyncGenerator[Listener]:
    """Listen on host:port (or on a socket that is bound already) for as long as the context lasts.

    `front_proxies` is the name of the authority whose certificates are of who asks for others, and of no users; None:
    whose a certificate is, that TLS has found good, is the handler's to say.
    """
    asyncio.sslproto.SSLProtocol.max_size = 16 << 10  # 39 KiB a connection, not 279.
    loop = asyncio.get_running_loop()
    where: dict[str, Any] = {"sock": socket} if socket is not None else {"host": host, "port": port}
    if tls is not None:
        where |= {"ssl": tls, "ssl_handshake_timeout": 10, "ssl_shutdown_timeout": 2}
    failed: Exception | None = None
    async with asyncio.TaskGroup() as group:
        listener = Listener(handler, group, limits or Limits(), front_proxies)
        server = await loop.create_server(lambda: _Connection(listener), backlog=1024, **where)
        listener.sockets = tuple(server.sockets)
        try:
            yield listener
        except Exception as error:
            failed = error  # The caller's own: raised below as it is, not as a group's.
        finally:
            server.close()
            await listener.stop()
    if failed is not None:
        raise failed


class Connection(Protocol):
    """What the listener needs of one, whatever is spoken on it."""

    deadline: float

    def overdue(self) -> None: ...

    def end(self) -> None: ...

    def abort(self) -> None: ...


class Listener:
    """A running listener: where it listens, and how many connections it has."""

    def __init__(self, handler: http.Handler, group: asyncio.TaskGroup, limits: Limits, front_proxies: str | None):
        self.handler, self.group, self.limits, self.front_proxies = handler, group, limits, front_proxies
        self.sockets: tuple[Any, ...] = ()
        self.connections: dict[Connection, None] = {}
        self.bodies = bodies.Bodies(limits.bodies_bytes_max, limits.client_bodies_bytes_max)
        self.readers = readers.Readers(limits.unread_bytes_max, limits.client_unread_bytes_max)
        self.stopping = False
        self.loop = asyncio.get_running_loop()
        self.turns = bodies.Turns(self.loop)
        self.buffer = memoryview(bytearray(READ_BYTES_MAX))
        self._timer: asyncio.TimerHandle | None = None
        self._look_due = math.inf  # When the timer is.
        self._emptied: asyncio.Future[None] | None = None
        self._date = (0, "")

    @property
    def port(self) -> int:
        return self.sockets[0].getsockname()[1]

    def date(self) -> str:
        now = int(tasks.now())
        if self._date[0] != now:
            self._date = (now, tasks.http_date(now))
        return self._date[1]

    def add(self, connection: Connection) -> None:
        self.connections[connection] = None

    def remove(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        if not self.connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def stop(self) -> None:
        """End streams, let plain requests finish for a moment, close everything."""
        self.stopping = True
        for connection in list(self.connections):
            connection.end()
        if self.connections:
            self._emptied = self.loop.create_future()
            await asyncio.wait([self._emptied], timeout=self.limits.stop_seconds_max)
        for connection in list(self.connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()

    def deadline_set(self, when: float) -> None:
        """Have a look at `when`, unless an earlier look is due anyway."""
        if self._look_due <= when + SWEEP_SECONDS_MIN:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._look_due = self.loop.call_at(when, self._sweep), when

    def _sweep(self) -> None:
        self._timer, self._look_due = None, math.inf
        now, earliest = self.loop.time(), math.inf
        for connection in list(self.connections):
            if connection.deadline <= now:
                connection.overdue()
            earliest = min(earliest, connection.deadline)
        if earliest < math.inf:
            self.deadline_set(max(earliest, now + SWEEP_SECONDS_MIN))


class _Connection(asyncio.BufferedProtocol):
    __slots__ = (
        "_client",
        "_counted_bytes",
        "_discarded_bytes",
        "_drained",
        "_eof",
        "_events",
        "_held",
        "_listener",
        "_parser",
        "_paused_reading",
        "_paused_writing",
        "_state",
        "_stream",
        "_task",
        "_tls",
        "_transport",
        "deadline",
        "is_lost",
    )

    def __init__(self, listener: Listener):
        self._listener = listener
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # Until connection_made.
        self._parser: http1.RequestParser = None  # type: ignore[assignment]  # Likewise.
        self._state = "waiting"  # waiting | busy | streaming | upgraded | refused | closing
        self._task: asyncio.Task[None] | None = None  # Of the request under way.
        self._stream: upgraded.Stream | None = None
        self._events: deque[http1.Event | errors.ApiError] = deque()
        self._held = b""  # Came while a request is under way.
        self._client = ""
        self._discarded_bytes = 0
        self._counted_bytes = 0  # Of the bodies it holds.
        self._paused_reading = self._paused_writing = self._eof = self.is_lost = self._tls = False
        self._drained: asyncio.Future[None] | None = None
        self.deadline = math.inf

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # A Base by name only.
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES_MAX)
        self._tls = transport.get_extra_info("sslcontext") is not None
        peer = _peer(transport, self._listener.front_proxies)
        self._client = peer.certificate_user.name if peer.certificate_user else peer.address
        if self._tls and transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            from petset.net import http2  # Hardly anybody speaks nothing else.

            self._transport.set_protocol(http2.Connection(self._listener, self._transport, peer, self._client))
            return
        self._parser = http1.RequestParser(peer, self._listener.limits.body_bytes_max)
        self._listener.add(self)
        self._set_deadline(self._listener.limits.request_seconds_max)
        if len(self._listener.connections) > self._listener.limits.connections_max:
            self._refuse(failures.failure(_too_many(self._listener.limits.connections_max)))
        elif self._listener.stopping:
            self.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        """One for all connections, copied from at once: to have the loop make one takes longer than to decipher it."""
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._listener.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.feed(data)
        elif self._state == "waiting":
            was_partial = self._parser.is_partial
            self._events.extend(self._parser.feed(data))
            if self._counted_bytes or self._parser.body_bytes:
                self._receive_body()
            self._next()
            if self._state == "waiting":
                if not was_partial and self._parser.is_partial:
                    self._set_deadline(self._listener.limits.request_seconds_max)
                if self._counted_bytes:
                    self.pause_reading()
                    self._listener.turns.wait(self._client, self.resume_reading)
        elif self._state == "refused":
            self._discarded_bytes += len(data)
            if self._discarded_bytes > DISCARD_BYTES_MAX:
                self.abort()
        elif self._state != "closing":
            self._held += data
            if len(self._held) > upgraded.READ_AHEAD_BYTES_MAX:
                self.pause_reading()

    def eof_received(self) -> bool:
        """Whether to keep the writing side open, for an answer that is under way; TLS has no such half-closed state."""
        self._eof = True
        if self._stream is not None:
            self._stream.feed(b"")
            return not self._tls
        return self._state == "busy" and not self._tls

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.deadline = math.inf
        self._listener.readers.went_on(self)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._stream is not None:
            self._stream.feed(b"")
        elif self._task is not None and self._state == "streaming":
            self._task.cancel()
        self._state = "closing"
        self._parser.close()
        self._held = b""
        if self._task is None:  # Otherwise its body is still worked on.
            self._hold(0)
        self._listener.remove(self)

    def pause_writing(self) -> None:
        self._paused_writing = True
        self._listener.readers.wait(self, self._client, self._transport.get_write_buffer_size())
        self._set_deadline(self._listener.limits.stall_seconds_max)

    def resume_writing(self) -> None:
        self._paused_writing = False
        self._listener.readers.went_on(self)
        if self._state != "refused":
            self.deadline = math.inf
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # Called by the listener

    def overdue(self) -> None:
        """The deadline has passed; what that means depends on what was awaited."""
        self.deadline = math.inf
        if self._state == "waiting" and self._parser.is_partial:
            self._refuse(failures.failure(failures.too_slow(self._listener.limits.request_seconds_max)))
        elif self._state == "waiting":
            self.close()
        else:
            self.abort()

    def end(self) -> None:
        """The listener stops: close what waits, end what streams; a plain request may finish."""
        if self._state == "waiting":
            self.close()
        elif self._state in ("streaming", "upgraded") and self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # A request's way

    def _next(self) -> None:
        """Go on with what has come, until a request is under way or nothing is left."""
        while self._state == "waiting":
            if not self._events and self._held:
                held, self._held = self._held, b""
                self._events.extend(self._parser.feed(held))
                self.resume_reading()
            if not self._events:
                self._wait()
                return
            event = self._events.popleft()
            if isinstance(event, http1.Received):
                self._state = "busy"
                self.deadline = math.inf
                if self._counted_bytes or event.request.body:
                    self._hold(len(event.request.body))
                self._task = tasks.spawn(self._listener.group, self._answer(event), "request")
            elif isinstance(event, http1.Continue):
                if self._parser.is_partial:
                    self._transport.write(http1.CONTINUE)
            elif isinstance(event, http1.Refused):
                self._refuse(failures.failure(failures.refusal(event.why)))
            else:
                self._refuse(failures.failure(event))

    def _wait(self) -> None:
        if self._listener.stopping or self._eof:
            self.close()
        elif not self._parser.is_partial and self.deadline == math.inf:
            self._set_deadline(self._listener.limits.idle_seconds_max)
        elif self._parser.is_partial and self.deadline == math.inf:
            self._set_deadline(self._listener.limits.request_seconds_max)

    async def _answer(self, received: http1.Received) -> None:
        try:
            try:
                response = await self._listener.handler(received.request)
            except Exception as error:
                response = failures.of(received.request, error)
            if response.code == 101 and response.upgraded is not None and received.upgrade:
                await self._upgrade(response, received)
                return
            if isinstance(response.body, bytes):
                keep_alive = received.keep_alive and not self._listener.stopping
                self.write(http1.whole(response, response.body, received, keep_alive, self._listener.date()))
                if self._paused_writing:
                    await self.drain()
            else:
                keep_alive = await self._write_stream(response, response.body, received)
        except asyncio.CancelledError:
            upgraded.close(self._transport)
            raise
        finally:
            if self._counted_bytes or self._parser.body_bytes:
                self._hold(self._parser.body_bytes)
        self._task = None
        if self.is_lost:
            return
        if not keep_alive or self._listener.stopping:
            self.close()
            return
        self._state = "waiting"
        if received.upgrade:  # Not granted: what follows is HTTP.
            self._events.extend(self._parser.resume())
        self._next()

    async def _write_stream(
        self, response: http.Response, body: AsyncIterator[bytes], received: http1.Received
    ) -> bool:
        """Write the parts as they come; whether the connection can be used again."""
        keep_alive = received.keep_alive and received.chunks
        self._state = "streaming"
        try:
            if self.is_lost or self._eof:  # Who has closed its side would never be seen to leave.
                return False
            self.write(http1.begin(response, received, keep_alive, self._listener.date()))
            if received.request.method == "HEAD":
                return False  # Its head says chunked; closing leaves no doubt that none come.
            if response.begun is not None and received.chunks:
                response.begun(self)
            async for part in body:
                if part:
                    self.write(http1.chunk(part) if received.chunks else part)
                if self._paused_writing:
                    await self.drain()
            self.write(http1.LAST_CHUNK if received.chunks else b"")
        except asyncio.CancelledError:
            if not self._listener.stopping or self.is_lost:
                raise
            # The listener ends: the client sees a whole answer and asks again elsewhere.
            self.write(http1.LAST_CHUNK if received.chunks else b"")
            return False
        except Exception:
            log.exception("cannot go on answering %s %s", received.request.method, received.request.path)
            self._transport.abort()  # A clean end would pass for a whole answer.
            return False
        finally:
            await readers.end(body)
        return keep_alive

    async def _upgrade(self, response: http.Response, received: http1.Received) -> None:
        assert response.upgraded is not None
        self._state = "upgraded"
        self.write(http1.switch(response, received))
        self._stream = upgraded.Stream(self, self._parser.take_over() + self._held)
        self._held = b""
        self.resume_reading()
        if self.is_lost or self._eof:
            self._stream.feed(b"")
        try:
            await response.upgraded(self._stream)
        except Exception:
            log.exception("cannot go on with the upgraded connection %s", received.request.path)
        finally:
            self._task = None
            upgraded.close(self._transport)

    # Small steps

    def _receive_body(self) -> None:
        before = self._counted_bytes
        self._hold(self._parser.body_bytes)
        if self._counted_bytes > before and (error := self._listener.bodies.excess(self._client)):
            self._events.append(error)

    def _hold(self, size: int) -> None:
        """Of request bodies, so many bytes are here now."""
        now = bodies.counted(size)
        if now != self._counted_bytes:
            self._listener.bodies.change(self._client, now - self._counted_bytes)
            self._counted_bytes = now

    def write(self, data: bytes) -> None:
        if data and not self.is_lost:
            self._transport.write(data)

    def push(self, chunks: bytes) -> bool:
        self.write(chunks)
        return not self._paused_writing and not self.is_lost

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written, or is gone. Several may wait."""
        while self._paused_writing and not self.is_lost:
            if self._drained is None or self._drained.done():
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained])  # Who is cancelled does not take it from the others.

    def _refuse(self, response: http.Response) -> None:
        """Answer and close, but slowly: closing with unread bytes would reset the answer away."""
        assert isinstance(response.body, bytes)
        self._state = "refused"
        self._events.clear()
        self._parser.close()
        self._hold(0)
        self.write(http1.whole(response, response.body, None, False, self._listener.date()))
        self.resume_reading()
        if self._eof:
            self.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._set_deadline(self._listener.limits.linger_seconds_max)

    def close(self) -> None:
        self._state = "closing"
        self.deadline = math.inf
        upgraded.close(self._transport)

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self._listener.loop.time() + seconds
        self._listener.deadline_set(self.deadline)

    def pause_reading(self) -> None:
        if not self._paused_reading and not self.is_lost:
            self._paused_reading = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused_reading:
            self._paused_reading = False
            if not self.is_lost:
                self._transport.resume_reading()


def _peer(transport: asyncio.BaseTransport, front_proxies: str | None) -> http.Peer:
    address: Sequence[str | int] | None = transport.get_extra_info("peername")
    host = str(address[0]) if isinstance(address, (tuple, list)) and address else ""
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return http.Peer(host)
    if front_proxies is None:
        return http.Peer(host, certificate=transport.get_extra_info("ssl_object").getpeercert(True))
    # Both authorities are known to TLS, which has found the one whose name this is; neither makes further ones.
    if front_proxies and _named(certificate, "issuer", "commonName") == [front_proxies]:
        return http.Peer(host, None, "".join(_named(certificate, "subject", "commonName")[:1]))
    return http.Peer(host, certificate_user(certificate))


def certificate_user(certificate: dict[str, Any]) -> http.User | None:
    """Who a verified client certificate names: the common name, in the groups of its organisations."""
    names = _named(certificate, "subject", "commonName")
    return http.User(names[0], tuple(_named(certificate, "subject", "organizationName"))) if names else None


def _named(certificate: dict[str, Any], whom: str, what: str) -> list[str]:
    return [value for names in certificate.get(whom, ()) for kind, value in names if kind == what]


def _too_many(most: int) -> errors.ApiError:
    why = f"cannot serve this connection: {most} are open, which is the most; close some, or try again"
    return errors.unavailable(why, retry_after_seconds=1)
