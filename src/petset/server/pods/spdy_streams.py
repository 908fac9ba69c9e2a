"""SPDY/3.1 as a transport: the upgrade's answer, events and frames with flow control, and a remote command's channels.

`accept` judges a request to upgrade: the client offers protocols in its own order, and the first that is among ours is
spoken; who offers none speaks the oldest. `Connection` is SPDY over whatever carries bytes: the upgraded connection
itself, or the messages of a WebSocket. `Channels` is streaming.Transport on it: a stream for each channel, opened by
the client, whose header streamtype says which. Waiting for a slow client is the carrier's, reading ahead nobody's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from petset.objects import errors
from petset.server.routes import Call
from petset.wire import http, spdy, streaming

log = logging.getLogger("petset.server")

UPGRADE = "SPDY/3.1"
PROTOCOL_HEADER = "x-stream-protocol-version"
ACCEPTED_HEADER = "x-accepted-stream-protocol-versions"
OPENING_SECONDS_MAX = 30.0  # Until the client has opened all the streams that belong together.
EARLY_BYTES_MAX = 256 << 10  # What a client may send before it has opened all of a session's streams.
EVENT_BYTES = 128  # What holding one takes beside its data.
CLOSE_SECONDS_MAX = 2.0  # For the client to have read the last words.
STREAM_TYPE = "streamtype"
SESSIONS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_CHANNELS: Mapping[str, int] = {
    "stdin": streaming.STDIN,
    "stdout": streaming.STDOUT,
    "stderr": streaming.STDERR,
    "error": streaming.ERROR,
    "resize": streaming.RESIZE,
}


def accept(call: Call, protocols: Sequence[str], serve: Callable[[Connection, str], Awaitable[None]]) -> http.Response:
    """The 101 that begins SPDY and lets `serve` have it, in the protocol agreed on. Raises ApiError 400, 403."""
    request = call.request
    if not request.header("upgrade").lower().startswith("spdy/3.1"):
        raise errors.bad_request(f"cannot upgrade to {request.header('upgrade')[:40]!r}; offer {UPGRADE} or websocket")
    offered = request.header_items(PROTOCOL_HEADER)
    chosen = next((name for name in offered if name in protocols), "" if offered else protocols[-1])
    if not chosen:
        why = f"unable to negotiate protocol: client supports {' '.join(offered)[:200]}, server accepts "
        accepted = tuple((ACCEPTED_HEADER, name) for name in protocols)
        raise errors.ApiError(403, "Forbidden", why + " ".join(protocols), headers=accepted)

    async def upgraded(stream: http.ByteStream) -> None:
        try:
            await serve(Connection(_Bytes(stream)), chosen)
        except ConnectionError as broken:
            log.info("a client left a SPDY connection: %s", broken)

    headers = (("connection", "Upgrade"), ("upgrade", UPGRADE), (PROTOCOL_HEADER, chosen))
    return http.Response(101, headers, upgraded=upgraded)


class Carrier(Protocol):
    """Bytes both ways, in whatever pieces: websocket_channels.Messages is one."""

    async def send(self, message: bytes) -> None:
        """Waits while the client does not read. Raises ConnectionError when it is gone."""
        ...

    async def receive(self) -> bytes | None:
        """None when the client has left. Raises ConnectionError."""
        ...

    async def end(self) -> None: ...


class _Bytes:
    """The upgraded connection itself as a carrier."""

    def __init__(self, stream: http.ByteStream):
        self._stream = stream

    async def send(self, message: bytes) -> None:
        self._stream.write(message)
        await self._stream.drain()

    async def receive(self) -> bytes | None:
        return await self._stream.read() or None

    async def end(self) -> None:
        """The client leaves once it has read everything: closing before that could reset the last words away."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await self._stream.drain()
                while await self._stream.read():
                    pass
        except (TimeoutError, ConnectionError):
            return


class Connection:
    """SPDY on a carrier: one may receive, any number send."""

    def __init__(self, carrier: Carrier):
        self._carrier = carrier
        self._spdy = spdy.Connection()
        self._events: deque[spdy.Event] = deque()

    async def receive(self) -> spdy.Event | None:
        """What comes next; None when the client has left, or speaks no SPDY. Raises ConnectionError."""
        while not self._events:
            data = await self._carrier.receive()
            if data is None:
                return None
            self._events.extend(self._spdy.feed(data))
            await self._send(self._spdy.outgoing())
        event = self._events.popleft()
        if isinstance(event, spdy.Broken):
            log.info("a client speaks no SPDY: %s", event.why)
            self._events.append(event)  # Whoever asks again hears it again.
            return None
        return event

    async def reply(self, stream: int) -> None:
        await self._send(self._spdy.reply(stream))

    async def send(self, stream: int, data: bytes) -> None:
        """Waits while the client does not read; nothing happens on a stream that is over. Raises ConnectionError."""
        await self._send(self._spdy.data(stream, data))

    async def finish(self, stream: int) -> None:
        """Nothing more is sent on it."""
        await self._send(self._spdy.data(stream, b"", True))

    async def reset(self, stream: int, status: int = spdy.CANCEL) -> None:
        await self._send(self._spdy.reset(stream, status))

    async def end(self) -> None:
        await self._carrier.end()

    async def _send(self, frames: bytes) -> None:
        if frames:
            await self._carrier.send(frames)


class Channels:
    """A remote command's transport. `open` first: its channels are the streams that the client opens."""

    def __init__(self, connection: Connection, protocol: str):
        self._connection = connection
        self._streams: dict[int, int] = {}  # By channel.
        self._channels: dict[int, int] = {}  # By stream.
        self._early: deque[spdy.Event] = deque()  # Came before all were open.
        self.tells_status = protocol == SESSIONS[0]
        self._resizes = protocol in SESSIONS[:2]

    async def open(self, options: streaming.ExecOptions) -> bool:
        """Wait for the streams of these options; False when the client leaves, or talks instead of opening them."""
        wanted, early_bytes = [streaming.ERROR], 0
        asked = (options.stdin, options.stdout, options.stderr, options.tty and self._resizes)
        channels = (streaming.STDIN, streaming.STDOUT, streaming.STDERR, streaming.RESIZE)
        wanted += [channel for channel, is_wanted in zip(channels, asked) if is_wanted]
        try:
            async with asyncio.timeout(OPENING_SECONDS_MAX):
                while any(channel not in self._streams for channel in wanted):
                    event = await self._connection.receive()
                    if event is None:
                        return False
                    if isinstance(event, spdy.Opened):
                        await self._take(event, wanted)
                        continue
                    self._early.append(event)
                    early_bytes += EVENT_BYTES + (len(event.data) if isinstance(event, spdy.Data) else 0)
                    if early_bytes > EARLY_BYTES_MAX:
                        return False
        except TimeoutError:
            log.info("a client did not open the streams of its session within %g seconds", OPENING_SECONDS_MAX)
            return False
        return True

    async def _take(self, opened: spdy.Opened, wanted: Sequence[int]) -> None:
        channel = _CHANNELS.get(opened.headers.get(STREAM_TYPE, ""))
        if channel is None or channel not in wanted or channel in self._streams:
            await self._connection.reset(opened.stream, spdy.REFUSED_STREAM)
            return
        self._streams[channel], self._channels[opened.stream] = opened.stream, channel
        await self._connection.reply(opened.stream)

    async def send(self, channel: int, data: bytes) -> None:
        if (stream := self._streams.get(channel)) is not None:
            await self._connection.send(stream, data)

    async def receive(self) -> streaming.Incoming | None:
        while True:
            event = self._early.popleft() if self._early else await self._connection.receive()
            match event:
                case None:
                    return None
                case spdy.Opened(stream):
                    await self._connection.reset(stream, spdy.REFUSED_STREAM)
                case spdy.Data(stream, data) if stream in self._channels:
                    return self._channels[stream], data
                case spdy.Ended(stream) | spdy.Reset(stream) if stream in self._channels:
                    return self._channels[stream], None
                case _:
                    pass

    async def end(self) -> None:
        try:
            for stream in self._channels:
                await self._connection.finish(stream)
        except ConnectionError:
            return
        await self._connection.end()
