"""WebSocket as a transport: the handshake's answer, messages both ways, and numbered channels in them.

`accept` is the one place where a request to upgrade is judged: a wrong handshake is a refusal like any other.
`Messages` is an open WebSocket on an upgraded connection, with flow control; `tell` is for what only the server says,
and `Channels` is streaming.Transport. Pings are answered while somebody receives. Import this module late: see
wire/websocket.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

from petset.base import tasks
from petset.net import failures
from petset.server.routes import Call
from petset.wire import channels, http, streaming, websocket

log = logging.getLogger("petset.server")


def accept(
    call: Call, dialects: Mapping[str, channels.Dialect], serve: Callable[[Messages], Awaitable[None]]
) -> http.Response:
    """The 101 that opens a WebSocket and lets `serve` have it, in one of the dialects. Raises ApiError 400."""
    try:
        headers, socket = websocket.accept(call.request, tuple(dialects))
    except http.Malformed as malformed:
        raise failures.refusal(malformed) from None

    async def upgraded(stream: http.ByteStream) -> None:
        try:
            await serve(Messages(stream, socket, dialects[socket.subprotocol]))
        except ConnectionError as broken:
            log.info("a client left a WebSocket before its first answer: %s", broken)

    return http.Response(101, headers, upgraded=upgraded)


class Messages:
    """Whole messages over an open WebSocket, text or binary as its dialect has it."""

    def __init__(self, stream: http.ByteStream, socket: websocket.Connection, dialect: channels.Dialect):
        self.dialect, self.subprotocol = dialect, socket.subprotocol
        self._stream, self._socket = stream, socket
        self._received: deque[websocket.Event] = deque()

    async def send(self, message: bytes) -> None:
        """Waits while the client does not read. Raises ConnectionError when it is gone."""
        self._stream.write(self._socket.send(message, self.dialect.is_text))
        await self._stream.drain()

    async def receive(self) -> bytes | None:
        """The client's next message; None when it has left. Raises ConnectionError."""
        while not self._received:
            self._received.extend(self._socket.feed(await self._stream.read()))
            if answer := self._socket.outgoing():
                self._stream.write(answer)
                await self._stream.drain()
        event = self._received.popleft()
        if isinstance(event, websocket.Closed):
            self._received.append(event)  # Whoever asks again hears it again.
            return None
        return event.data

    async def end(self) -> None:
        """Say goodbye, and wait for the client's a moment: what is still unread would reset the last words away."""
        try:
            self._stream.write(self._socket.send_close())
            async with asyncio.timeout(websocket.CLOSE_SECONDS_MAX):
                await self._stream.drain()
                while await self.receive() is not None:
                    pass
        except (TimeoutError, ConnectionError):
            return


async def tell(messages: Messages, pieces: AsyncGenerator[bytes, None], telling: Coroutine[Any, Any, None]) -> None:
    """Until what sends the pieces is done, or the client has left; the pieces are closed then."""
    try:
        async with asyncio.TaskGroup() as group:
            sending = tasks.spawn(group, telling, "messages")
            reading = tasks.spawn(group, _wait_for_end(messages), "the reader of messages")
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            sent = sending.done() and not sending.exception()
            sending.cancel()
            reading.cancel()
        if sent:
            await messages.end()
    except* ConnectionError as broken:
        log.info("a reader of messages broke off: %s", broken.exceptions)
    finally:
        await pieces.aclose()


async def _wait_for_end(messages: Messages) -> None:
    while await messages.receive() is not None:
        pass


class Channels:
    """A remote command's transport: each message is its channel's number and bytes, see wire/channels.py."""

    def __init__(self, messages: Messages):
        self._messages, self._dialect = messages, messages.dialect
        self.tells_status = messages.dialect.tells_status

    async def send(self, channel: int, data: bytes) -> None:
        await self._messages.send(channels.encode(self._dialect, channel, data))

    async def receive(self) -> streaming.Incoming | None:
        while (message := await self._messages.receive()) is not None:
            decoded = channels.decode(self._dialect, message)
            if decoded is None:
                continue  # Not of the protocol: ignored, as upstream does.
            channel, data = decoded
            if channel != channels.CLOSE:
                return channel, data
            if self._dialect.can_close and data:
                return data[0], None
        return None

    async def end(self) -> None:
        await self._messages.end()
