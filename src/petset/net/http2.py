"""A connection of a listener whose client speaks nothing but HTTP/2: many requests at once, a task each.

The listener hands it over when TLS has settled on it, and keeps its limits and its end. Its answers wait for two
things: the client's window of their stream, and the socket; who waits for long, or holds too much, is given up, stream
by stream. A plain handler runs to its end, as in HTTP/1.1; a stream's iterator is closed the moment nobody wants it.
wire/http2.py knows the protocol.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from petset.base import tasks
from petset.net import bodies, failures, readers, upgraded
from petset.objects import errors
from petset.wire import http, http2

if TYPE_CHECKING:
    from petset.net.listener import Listener

log = logging.getLogger("petset.listener")


class _Answer:
    """One stream's, from its request on."""

    __slots__ = ("_connection", "is_left", "is_streaming", "room", "size", "stream", "task")

    def __init__(self, connection: Connection, stream: int, size: int):
        self._connection, self.stream, self.size = connection, stream, size
        self.is_streaming = self.is_left = False
        self.room = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def abort(self) -> None:
        """Give it up: its client does not read it."""
        self._connection.give_up(self)


class Connection(asyncio.Protocol):
    def __init__(self, listener: Listener, transport: asyncio.Transport, peer: http.Peer, client: str):
        self._listener, self._transport, self._client = listener, transport, client
        self._http2 = http2.ServerConnection(peer, listener.limits.body_bytes_max)
        self._answers: dict[int, _Answer] = {}
        self._counted_bytes = 0  # Of the bodies it holds.
        self._paused: dict[str, None] = {}  # Why nothing is read.
        self._writable = asyncio.Event()
        self._writable.set()
        self.is_lost = self._is_closing = False
        self._awaited_seconds = self.deadline = math.inf
        listener.add(self)
        self._set_deadline(listener.limits.request_seconds_max)
        self._flush()
        if listener.stopping or len(listener.connections) > listener.limits.connections_max:
            self.close()

    # Called by the loop

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        for event in self._http2.feed(data):
            self._take(event)
        self._hold()
        if excess := self._listener.bodies.excess(self._client) if self._http2.body_bytes else None:
            for stream in self._http2.partial:
                self._refuse(stream, excess)
        self._flush()
        self._await_next()
        if self._counted_bytes and self._http2.body_bytes:
            self._pause("turn")
            self._listener.turns.wait(self._client, lambda: self._resume("turn"))

    def eof_received(self) -> bool:
        return False  # TLS has no half-closed state.

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = self._is_closing = True
        self.deadline = math.inf
        self._writable.set()
        for answer in list(self._answers.values()):
            self._leave(answer)
        for stream in self._http2.partial:
            self._http2.drop(stream)
        self._hold()
        self._listener.remove(self)

    def pause_writing(self) -> None:
        self._writable.clear()
        self._pause("writing")  # What it asks meanwhile would only have more written.
        self._set_deadline(self._listener.limits.stall_seconds_max)

    def resume_writing(self) -> None:
        self._writable.set()
        self._resume("writing")
        self._await_next()

    # Called by the listener

    def overdue(self) -> None:
        self._awaited_seconds = self.deadline = math.inf
        if not self._writable.is_set():
            self.abort()
            return
        if not self._http2.partial and not self._answers:
            self.close()
            return
        for stream in self._http2.partial:
            self._refuse(stream, failures.too_slow(self._listener.limits.request_seconds_max))
        self._flush()
        self._await_next()

    def end(self) -> None:
        for answer in list(self._answers.values()):
            if answer.is_streaming and answer.task is not None:
                answer.task.cancel()
        if not self._answers:
            self.close()

    def abort(self) -> None:
        for answer in list(self._answers.values()):
            if answer.task is not None:
                answer.task.cancel()
        self._transport.abort()

    # A request's way

    def _take(self, event: http2.Event) -> None:
        match event:
            case http2.Received() if len(self._answers) >= http2.STREAMS_MAX or self._listener.stopping:
                self._http2.refuse(event.stream)  # Who leaves what he asked has not ended it.
            case http2.Received():
                answer = self._answers[event.stream] = _Answer(self, event.stream, len(event.request.body))
                answer.task = tasks.spawn(self._listener.group, self._answer(answer, event.request), "request")
            case http2.Refused():
                self._refuse(event.stream, failures.refusal(event.why))
            case http2.Left():
                if (answer := self._answers.get(event.stream)) is not None:
                    self._leave(answer)
            case http2.Room():
                for answer in self._answers.values():
                    answer.room.set()
            case http2.Ended():
                self.close()

    def _leave(self, answer: _Answer) -> None:
        """Nobody wants it any more; what is no stream runs to its end all the same."""
        answer.is_left = True
        answer.room.set()
        if answer.is_streaming and answer.task is not None:
            answer.task.cancel()

    def give_up(self, answer: _Answer) -> None:
        self._http2.reset(answer.stream)
        self._flush()
        self._leave(answer)

    async def _answer(self, answer: _Answer, request: http.Request) -> None:
        try:
            try:
                response = await self._listener.handler(request)
            except Exception as error:
                response = failures.of(request, error)
            if response.code == 101:
                self._http2.reset(answer.stream, speaks_1_1=True)
            elif isinstance(response.body, bytes):
                await self._write_whole(answer, request, response, response.body)
            else:
                await self._write_stream(answer, request, response, response.body)
        except http2.Gone:
            pass
        finally:
            del self._answers[answer.stream]
            self._hold()
            self._flush()
            self._await_next()
            if self._listener.stopping and not self._answers:
                self.close()

    async def _write_whole(self, answer: _Answer, request: http.Request, response: http.Response, body: bytes) -> None:
        is_bare = request.method == "HEAD" or not body
        self._http2.begin(answer.stream, response, self._listener.date(), len(body), is_bare)
        if not is_bare:
            await self._write(answer, body)
            self._http2.end(answer.stream)

    async def _write_stream(
        self, answer: _Answer, request: http.Request, response: http.Response, body: AsyncIterator[bytes]
    ) -> None:
        answer.is_streaming = True
        try:
            if answer.is_left or self.is_lost:
                return
            self._http2.begin(answer.stream, response, self._listener.date(), None, request.method == "HEAD")
            self._flush()
            if request.method == "HEAD":
                return
            async for part in body:
                if part:
                    await self._write(answer, part)
            self._http2.end(answer.stream)
        except asyncio.CancelledError:
            if answer.is_left or self.is_lost or not self._listener.stopping:
                raise
            self._http2.end(answer.stream)  # The listener ends: the client sees a whole answer and asks again.
        except http2.Gone:
            raise
        except Exception:
            log.exception("cannot go on answering %s %s", request.method, request.path)
            self._http2.reset(answer.stream)  # A clean end would pass for a whole answer.
        finally:
            answer.is_streaming = False
            await readers.end(body)

    async def _write(self, answer: _Answer, data: bytes) -> None:
        """All of it, as the client has room for it. Raises Gone."""
        left = memoryview(data)
        while left:
            if answer.is_left or self.is_lost:
                raise http2.Gone
            answer.room.clear()
            taken = self._http2.write(answer.stream, left)
            left = left[taken:]
            self._flush()
            if not self._writable.is_set():
                await self._wait(answer, self._writable, len(left))
            elif left and not taken:
                await self._wait(answer, answer.room, len(left))
            elif left:
                await asyncio.sleep(0)  # Another stream's turn.

    async def _wait(self, answer: _Answer, until: asyncio.Event, size: int) -> None:
        """For room in a client that reads slowly. Raises Gone when it is given up."""
        self._listener.readers.wait(answer, self._client, size)
        try:
            async with asyncio.timeout(self._listener.limits.stall_seconds_max):
                await until.wait()
        except TimeoutError:
            self._http2.reset(answer.stream)
            raise http2.Gone from None
        finally:
            self._listener.readers.went_on(answer)

    # Small steps

    def _refuse(self, stream: int, error: errors.ApiError) -> None:
        """Answer what is no whole request, and read no more of it."""
        response = failures.failure(error)
        assert isinstance(response.body, bytes)
        self._http2.drop(stream)
        try:
            self._http2.begin(stream, response, self._listener.date(), len(response.body), False)
            self._http2.write(stream, memoryview(response.body))
            self._http2.end(stream)
        except http2.Gone:
            pass
        self._http2.reset(stream)

    def _hold(self) -> None:
        """Count the bodies that are here now."""
        size = self._http2.body_bytes + sum(answer.size for answer in self._answers.values())
        now = bodies.counted(size)
        if now != self._counted_bytes:
            self._listener.bodies.change(self._client, now - self._counted_bytes)
            self._counted_bytes = now

    def _await_next(self) -> None:
        """Set the deadline of what is awaited now, unless that was awaited before."""
        if self.is_lost or not self._writable.is_set():
            return
        limits = self._listener.limits
        waits = limits.request_seconds_max if self._http2.partial else math.inf
        if not self._answers and not self._http2.partial:
            waits = limits.idle_seconds_max
        if waits != self._awaited_seconds:
            self._set_deadline(waits)

    def _flush(self) -> None:
        data = self._http2.outgoing()
        if data and not self.is_lost:
            self._transport.write(data)

    def close(self) -> None:
        self._is_closing = True
        self.deadline = math.inf
        self._http2.close()
        self._flush()
        upgraded.close(self._transport)

    def _set_deadline(self, seconds: float) -> None:
        self._awaited_seconds, self.deadline = seconds, self._listener.loop.time() + seconds
        if seconds < math.inf:
            self._listener.deadline_set(self.deadline)

    def _pause(self, why: str) -> None:
        if not self._paused and not self.is_lost:
            self._transport.pause_reading()
        self._paused[why] = None

    def _resume(self, why: str) -> None:
        self._paused.pop(why, None)
        if not self._paused and not self.is_lost and not self._transport.is_closing():
            self._transport.resume_reading()
