"""Port-forward: connections of a client to ports inside a pod, many at once over the client's one.

Over SPDY (raw, or in the messages of a WebSocket) a connection is a pair of streams with one request id: what goes
wrong is a text on the stream "error", the bytes go both ways on "data", and either side may end its half. In the older
dialect over WebSocket the ports stand in the query, and each has two channels, opened at once and for good.

Each connection has its own tasks. What the client sends faster than a pod reads is held up to a limit; then the
client's connection is read no further, and a connection that goes on taking nothing while it holds up the others is
given up. A slow client is waited for by those who send to it. The end of the client ends all of it.
Protocol: portforward.k8s.io, and PodPortForwardOptions.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from petset.base import tasks
from petset.objects import errors
from petset.server.pods import spdy_streams, websocket_channels
from petset.server.routes import Call
from petset.wire import channels, http, spdy, streaming, websocket

log = logging.getLogger("petset.server")

TUNNEL = "SPDY/3.1+portforward.k8s.io"
PROTOCOL = TUNNEL.partition("+")[2]
HELD_BYTES_MAX = 1 << 20  # Of a client, for pods that read late.
PIECE_BYTES = 64  # What holding a piece takes beside its bytes.
STALL_SECONDS_MAX = 60.0  # A pod takes nothing while others wait for it: its connection is given up.
PORTS_MAX = 64  # In one request of the older dialect.

Connect = Callable[[int], Awaitable[streaming.PortConnection]]


def accept(call: Call, pod: str, connect: Connect) -> http.Response:
    """The 101 that begins forwarding to the pod. Raises ApiError 400, 403."""
    if call.request.header("upgrade").lower() != "websocket":
        return spdy_streams.accept(call, (PROTOCOL,), lambda spoken, _: Pairs(spoken, pod, connect).serve())
    if TUNNEL in call.request.header_items(websocket.PROTOCOL_HEADER):
        dialects = {TUNNEL: channels.Dialect()}
        return websocket_channels.accept(
            call, dialects, lambda messages: Pairs(spdy_streams.Connection(messages), pod, connect).serve()
        )
    ports = _asked_ports(call)
    return websocket_channels.accept(
        call, channels.PORTS, lambda messages: Numbered(messages, ports, pod, connect).serve()
    )


def _asked_ports(call: Call) -> list[int]:
    """Raises ApiError 400."""
    texts = [text for value in call.query.get("ports", ()) for text in value.split(",")]
    ports = [port for text in texts if (port := _port(text)) is not None]
    if not ports or len(ports) != len(texts):
        raise errors.bad_request(
            "you must specify at least 1 port, each from 1 to 65535, as ports=80: "
            f"or forward them over SPDY, as the WebSocket subprotocol {TUNNEL}"
        )
    if len(ports) > PORTS_MAX:
        raise errors.bad_request(f"cannot forward {len(ports)} ports in one request: {PORTS_MAX} is the most")
    return ports


def _port(text: str) -> int | None:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    return number if 0 < number < 1 << 16 else None


# ---- one connection


class Client(Protocol):
    """The client's end of one connection. Each raises ConnectionError when the client is gone."""

    async def send(self, data: bytes) -> None: ...

    async def tell(self, why: str) -> None: ...

    async def finish(self) -> None:
        """Nothing more comes, and the connection is over."""
        ...


class Held:
    """What a client has sent for its connections and the pod has not yet taken."""

    def __init__(self) -> None:
        self._bytes = 0
        self._changed = tasks.Signal()

    def add(self, size: int) -> None:
        self._bytes += size
        if size < 0:
            self._changed.set()

    async def room(self) -> bool:
        """Wait until more may be held; False when that takes too long."""
        try:
            async with asyncio.timeout(STALL_SECONDS_MAX):
                while self._bytes > HELD_BYTES_MAX:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


class Forward:
    """One connection to a port: what the client sends is given to it, what the pod sends it sends by itself."""

    def __init__(self, port: int, client: Client, held: Held):
        self.port, self.held_bytes = port, 0
        self._client, self._held = client, held
        self._pieces: deque[bytes] = deque()
        self._is_ended = self._is_over = False
        self._came = tasks.Signal()

    def give(self, data: bytes) -> None:
        """From the client."""
        if data and not self._is_ended and not self._is_over:
            self._pieces.append(data)
            self._hold(len(data) + PIECE_BYTES)
            self._came.set()

    def end(self) -> None:
        """The client sends no more."""
        self._is_ended = True
        self._came.set()

    async def run(self, pod: str, connect: Connect) -> None:
        """Until both sides have ended, or the pod has. Raises ConnectionError when the client is gone."""
        try:
            try:
                there = await connect(self.port)
            except streaming.StreamError as error:
                await self._client.tell(f"error forwarding port {self.port} to pod {pod}: {error.message}")
            else:
                try:
                    await self._pump(there)
                finally:
                    await there.close()
        finally:
            self.let_go()
        await self._client.finish()

    def let_go(self) -> None:
        """Hold nothing any more, and take nothing. May be called again."""
        self._is_over = True
        self._pieces.clear()
        self._hold(-self.held_bytes)

    async def _pump(self, there: streaming.PortConnection) -> None:
        async with asyncio.TaskGroup() as both:
            inward = tasks.spawn(both, self._to_pod(there), "port-forward to a pod")
            while data := await there.read():
                await self._client.send(data)
            inward.cancel()

    async def _to_pod(self, there: streaming.PortConnection) -> None:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                await there.write(piece)
                self._hold(-len(piece) - PIECE_BYTES)
            if self._is_ended:
                there.end_input()
                return
            self._came.clear()
            await self._came.wait()

    def _hold(self, size: int) -> None:
        self.held_bytes += size
        if size:
            self._held.add(size)


# ---- pairs of streams over SPDY


class _StreamPair:
    """One request id's streams, and the connection once both are there."""

    def __init__(self, connection: spdy_streams.Connection, request: str, port: int, held: Held):
        self.request, self.data, self.error = request, 0, 0
        self.whole = tasks.Signal()
        self.forward = Forward(port, self, held)
        self._connection = connection

    async def send(self, data: bytes) -> None:
        await self._connection.send(self.data, data)

    async def tell(self, why: str) -> None:
        await self._connection.send(self.error, why.encode())

    async def finish(self) -> None:
        await self._connection.finish(self.data)
        await self._connection.finish(self.error)

    async def reset(self) -> None:
        for stream in (self.data, self.error):
            await self._connection.reset(stream)

    def lacks(self, kind: str, port: int) -> bool:
        """Whether a stream of this kind is the one that is still to come."""
        return self.forward.port == port and not (self.data if kind == "data" else self.error)


class Pairs:
    """All connections of one client that speaks SPDY."""

    def __init__(self, connection: spdy_streams.Connection, pod: str, connect: Connect):
        self._connection, self._pod, self._connect = connection, pod, connect
        self._held = Held()
        self._pairs: dict[str, _StreamPair] = {}  # By request id.
        self._of_data: dict[int, _StreamPair] = {}  # By the stream of the data.
        self._running: dict[str, asyncio.Task[None]] = {}  # By request id.

    async def serve(self) -> None:
        """Until the client leaves."""
        try:
            async with asyncio.TaskGroup() as group:
                while (event := await self._connection.receive()) is not None:
                    await self._handle(event, group)
                for running in self._running.values():
                    running.cancel()
        except* ConnectionError as broken:
            log.info("a port-forward broke off: %s", broken.exceptions[0])
        await self._connection.end()

    async def _handle(self, event: spdy.Event, group: asyncio.TaskGroup) -> None:
        match event:
            case spdy.Opened(stream, headers):
                await self._open(stream, headers, group)
            case spdy.Data(stream, data) if stream in self._of_data:
                self._of_data[stream].forward.give(data)
                if not await self._held.room():
                    await self._give_up(max(self._of_data.values(), key=lambda pair: pair.forward.held_bytes))
            case spdy.Ended(stream) if stream in self._of_data:
                self._of_data[stream].forward.end()
            case spdy.Reset(stream) if stream in self._of_data:
                await self._give_up(self._of_data[stream])
            case _:
                pass  # What a client says on a stream of errors concerns nobody.

    async def _open(self, stream: int, headers: Mapping[str, str], group: asyncio.TaskGroup) -> None:
        kind, port = headers.get(spdy_streams.STREAM_TYPE, ""), _port(headers.get("port", ""))
        # Clients from before request ids open a pair's streams one after the other, its errors' first.
        request = headers.get("requestid") or str(stream if kind == "error" else stream - 2)
        pair = self._pairs.get(request)
        if kind not in ("data", "error") or port is None or (pair is not None and not pair.lacks(kind, port)):
            await self._connection.reset(stream, spdy.REFUSED_STREAM)
            return
        if pair is None:
            pair = self._pairs[request] = _StreamPair(self._connection, request, port, self._held)
            self._running[request] = tasks.spawn(group, self._forward(pair), "port-forward")
        if kind == "error":
            pair.error = stream
        else:
            pair.data = stream
            self._of_data[stream] = pair
        await self._connection.reply(stream)
        if pair.data and pair.error:
            pair.whole.set()

    async def _forward(self, pair: _StreamPair) -> None:
        try:
            async with asyncio.timeout(spdy_streams.OPENING_SECONDS_MAX):
                await pair.whole.wait()
        except TimeoutError:
            await self._give_up(pair)
            return
        await pair.forward.run(self._pod, self._connect)
        self._forget(pair)

    async def _give_up(self, pair: _StreamPair) -> None:
        """Its client has, or its pod does not read, or its other stream never came."""
        running = self._running[pair.request]
        if running is not asyncio.current_task():
            running.cancel()
        self._forget(pair)
        await pair.reset()

    def _forget(self, pair: _StreamPair) -> None:
        pair.forward.let_go()
        self._of_data.pop(pair.data, None)
        del self._pairs[pair.request], self._running[pair.request]


# ---- numbered channels over WebSocket


class _ChannelPair:
    def __init__(self, messages: websocket_channels.Messages, number: int):
        self._messages, self._number = messages, number

    async def begin(self, port: int) -> None:
        for channel in (2 * self._number, 2 * self._number + 1):
            await self._send(channel, port.to_bytes(2, "little"))

    async def send(self, data: bytes) -> None:
        await self._send(2 * self._number, data)

    async def tell(self, why: str) -> None:
        await self._send(2 * self._number + 1, why.encode())

    async def finish(self) -> None:
        return  # There is no word for it; when all are over the WebSocket closes.

    async def _send(self, channel: int, data: bytes) -> None:
        await self._messages.send(channels.encode(self._messages.dialect, channel, data))


class Numbered:
    """The connections of one client that speaks the older dialect: one a port."""

    def __init__(self, messages: websocket_channels.Messages, ports: list[int], pod: str, connect: Connect):
        self._messages, self._pod, self._connect = messages, pod, connect
        self._held = Held()
        self._clients = [_ChannelPair(messages, number) for number in range(len(ports))]
        self._forwards = [Forward(port, client, self._held) for port, client in zip(ports, self._clients)]

    async def serve(self) -> None:
        """Until the client leaves, or every port's connection is over."""
        try:
            async with asyncio.TaskGroup() as group:
                for forward, client in zip(self._forwards, self._clients):
                    await client.begin(forward.port)
                running = [
                    tasks.spawn(group, forward.run(self._pod, self._connect), "port-forward")
                    for forward in self._forwards
                ]
                reading = tasks.spawn(group, self._read(), "port-forward from a client")
                ended = tasks.spawn(group, _all(running), "port-forward's end")
                await asyncio.wait((reading, ended), return_when=asyncio.FIRST_COMPLETED)
                for task in (*running, reading, ended):
                    task.cancel()
        except* ConnectionError as broken:
            log.info("a port-forward broke off: %s", broken.exceptions[0])
        await self._messages.end()

    async def _read(self) -> None:
        while (message := await self._messages.receive()) is not None:
            decoded = channels.decode(self._messages.dialect, message)
            if decoded is None:
                continue
            channel, data = decoded
            number, is_error = divmod(channel, 2)
            if is_error or number >= len(self._forwards):
                continue  # Not of the protocol: ignored.
            self._forwards[number].give(data)
            if not await self._held.room():
                return


async def _all(running: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(running)
