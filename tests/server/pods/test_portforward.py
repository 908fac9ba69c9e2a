"""Port-forward and SPDY: kubectl's way, that of older clients, and the older dialect over WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

import pytest

from petset.server.pods import portforward
from petset.wire import http, spdy, streaming, websocket
from tests.server.conftest import ADMIN, Server, with_pod
from tests.server.pods.test_streams import PODS, Node, Pipe
from tests.wire.spdy_client import Client, data

TUNNEL = "SPDY/3.1+portforward.k8s.io"


class Port:
    """What listens in a pod: sends back what it gets until that ends; "stuck" reads nothing, "rude" ends at once."""

    def __init__(self, manner: str):
        self.manner = manner
        self.taken = 0
        self.closed = False
        self._echo: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return b"" if self.manner == "rude" else await self._echo.get()

    async def write(self, data: bytes) -> None:
        if self.manner == "stuck":
            await asyncio.Event().wait()
        self.taken += len(data)
        self._echo.put_nowait(data)

    def end_input(self) -> None:
        self._echo.put_nowait(b"")

    async def close(self) -> None:
        self.closed = True


class PortNode(Node):
    MANNERS: ClassVar = {80: "echo", 81: "stuck", 82: "rude"}

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Port] = []

    async def connect(self, pod_uid: str, port: int) -> Port:
        if port not in self.MANNERS:
            raise streaming.StreamError(500, f"cannot connect to port {port} inside the pod: connection refused")
        self.ports.append(Port(self.MANNERS[port]))
        return self.ports[-1]


@pytest.fixture
def node():
    return PortNode()


@pytest.fixture
def server(node):
    with with_pod(node) as server:
        yield server


class Raw:
    """A client on an upgraded connection."""

    def __init__(self, response: http.Response):
        assert response.code == 101, response
        self.spdy, self._pipe = Client(), Pipe()
        self._serving = asyncio.ensure_future(response.upgraded(self._pipe))

    def send(self, frames: bytes) -> None:
        self._pipe.incoming.put_nowait(frames)

    async def until(self, condition) -> None:
        while not condition(self.spdy):
            self.take(await self._pipe.outgoing.get())

    def take(self, sent: bytes) -> None:
        self.spdy.feed(sent)

    def open(self, headers: dict[str, str], flags: int = 0) -> int:
        stream, frames = self.spdy.open(headers, flags)
        self.send(frames)
        return stream

    def forward(self, port: int, request: str = "0") -> tuple[int, int]:
        headers = {"port": str(port), "requestid": request}
        return self.open({"streamtype": "error", **headers}, spdy.FIN), self.open({"streamtype": "data", **headers})

    async def leave(self) -> None:
        self._pipe.incoming.put_nowait(b"")
        await self._serving

    async def served(self) -> None:
        await self._serving


class Tunnelled(Raw):
    """The same in the messages of a WebSocket."""

    def __init__(self, response: http.Response, client: websocket.Client):
        # Its slash is against RFC 6455, and the library of the test would not have it.
        without = tuple(pair for pair in response.headers if pair[0] != "sec-websocket-protocol")
        self._socket = client.accepted(http.Response(101, without))
        super().__init__(response)

    def send(self, frames: bytes) -> None:
        super().send(self._socket.send_binary(frames))

    def take(self, sent: bytes) -> None:
        for event in self._socket.feed(sent):
            if isinstance(event, websocket.Message):
                self.spdy.feed(event.data)


def spdy_request(server: Server, target: str, *protocols: str) -> http.Response:
    offered = tuple(("x-stream-protocol-version", name) for name in protocols)
    headers = (("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), *offered)
    return server.send(http.Request("POST", target, headers, user=ADMIN))


def raw(server: Server) -> http.Response:
    response = spdy_request(server, f"{PODS}/p/portforward", "portforward.k8s.io")
    assert response.header("upgrade") == "SPDY/3.1"
    assert response.header("x-stream-protocol-version") == "portforward.k8s.io"
    return response


@pytest.fixture(params=["raw", "tunnelled"])
def talk(request, server):
    """Runs a conversation with a client of either way."""

    def run(conversation) -> None:
        asked = websocket.Client(f"{PODS}/p/portforward", headers=(("sec-websocket-protocol", TUNNEL), ("host", "x")))
        if request.param == "raw":
            response = raw(server)
        else:
            response = server.send(http.Request("GET", asked.request.target, asked.request.headers, user=ADMIN))
            assert response.header("sec-websocket-protocol") == TUNNEL

        async def whole() -> None:
            client = Raw(response) if request.param == "raw" else Tunnelled(response, asked)
            await conversation(client)
            await client.leave()

        server.run(whole())

    return run


def test_a_connection_is_forwarded_both_ways_to_its_end(talk, node):
    async def conversation(client: Raw) -> None:
        error, stream = client.forward(80)
        await client.until(lambda seen: seen.replied == [error, stream])
        client.send(data(stream, b"ping"))
        await client.until(lambda seen: seen.received.get(stream) == b"ping")
        client.send(data(stream, b" pong", True))
        await client.until(lambda seen: sorted(seen.ended) == [error, stream])
        assert client.spdy.received == {stream: b"ping pong", error: b""}
        _, again = client.forward(80)
        client.send(data(again, b"x"))
        await client.until(lambda seen: again in seen.received)

    talk(conversation)
    assert [port.closed for port in node.ports] == [True, True]


def test_a_port_that_nobody_listens_on_is_told_on_the_stream_of_errors(talk):
    async def conversation(client: Raw) -> None:
        error, stream = client.forward(9)
        await client.until(lambda seen: sorted(seen.ended) == [error, stream])
        said = client.spdy.received[error].decode()
        assert said.startswith("error forwarding port 9 to pod p, uid ") and said.endswith("connection refused")

    talk(conversation)


def test_a_pod_that_hangs_up_ends_the_connection(talk, node):
    async def conversation(client: Raw) -> None:
        error, stream = client.forward(82)
        await client.until(lambda seen: sorted(seen.ended) == [error, stream])
        assert client.spdy.received == {error: b"", stream: b""}
        client.send(data(stream, b"too late"))
        other = client.forward(80, "1")
        await client.until(lambda seen: other[1] in seen.replied)

    talk(conversation)


def test_a_hundred_at_once(talk, node):
    async def conversation(client: Raw) -> None:
        streams = [client.forward(80, str(number))[1] for number in range(100)]
        for stream in streams:
            client.send(data(stream, b"%d," % stream))
            client.send(data(stream, b"%d" % stream, True))
        await client.until(lambda seen: all(stream in seen.ended for stream in streams))
        assert all(client.spdy.received[stream] == b"%d,%d" % (stream, stream) for stream in streams)

    talk(conversation)
    assert len(node.ports) == 100 and all(port.closed for port in node.ports)


def test_a_stream_that_the_client_resets_lets_the_pod_go(talk, node):
    async def conversation(client: Raw) -> None:
        error, stream = client.forward(80)
        client.send(data(stream, b"x"))
        await client.until(lambda seen: stream in seen.received)
        client.send(bytes.fromhex("8003000300000008") + stream.to_bytes(4, "big") + (5).to_bytes(4, "big"))
        await client.until(lambda seen: error in seen.resets)
        again = client.forward(80)
        await client.until(lambda seen: again[1] in seen.replied)

    talk(conversation)
    assert node.ports[0].closed


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"streamtype": "data"},
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "8x"},
        {"streamtype": "stdin", "port": "80"},
    ],
)
def test_a_stream_that_means_nothing_is_refused(talk, headers):
    async def conversation(client: Raw) -> None:
        stream = client.open(headers)
        await client.until(lambda seen: seen.resets == {stream: spdy.REFUSED_STREAM})

    talk(conversation)


def test_a_second_stream_of_one_kind_is_refused(talk):
    async def conversation(client: Raw) -> None:
        _, first = client.forward(80)
        second = client.open({"streamtype": "data", "port": "80", "requestid": "0"})
        await client.until(lambda seen: second in seen.resets and first in seen.replied)

    talk(conversation)


def test_clients_without_request_ids_are_understood(talk):
    async def conversation(client: Raw) -> None:
        client.open({"streamtype": "error", "port": "80"}, spdy.FIN)
        stream = client.open({"streamtype": "data", "port": "80"})
        client.send(data(stream, b"x", True))
        await client.until(lambda seen: stream in seen.ended)
        assert client.spdy.received[stream] == b"x"

    talk(conversation)


def test_a_pod_that_does_not_read_is_given_up_when_others_wait(talk, node, monkeypatch):
    monkeypatch.setattr(portforward, "STALL_SECONDS_MAX", 0.0)

    async def conversation(client: Raw) -> None:
        error, stuck = client.forward(81)
        _, other = client.forward(80, "1")
        piece = bytes(portforward.HELD_BYTES_MAX // 8)
        for _ in range(10):
            client.send(data(stuck, piece))
        client.send(data(other, b"mine", True))
        await client.until(lambda seen: other in seen.ended)
        assert client.spdy.received[other] == b"mine" and {stuck, error} <= set(client.spdy.resets)

    talk(conversation)
    assert [port.closed for port in node.ports] == [True, True]


def test_what_a_pod_has_not_read_is_held_up_to_a_limit(server, node):
    async def conversation() -> None:
        client = Raw(response)
        _, stuck = client.forward(81)
        pieces = 4 * portforward.HELD_BYTES_MAX // 65536
        for _ in range(pieces):
            client.send(data(stuck, bytes(65536)))
        await client.until(lambda seen: stuck in seen.replied)
        for _ in range(1000):
            await asyncio.sleep(0)
        unread = client._pipe.incoming.qsize()
        assert unread >= pieces - portforward.HELD_BYTES_MAX // 65536 - 3, "the connection is read no further"
        client._serving.cancel()
        await asyncio.wait([client._serving])

    response = raw(server)
    server.run(conversation())


def test_a_client_that_leaves_closes_what_it_opened(server, node):
    async def conversation() -> None:
        client = Raw(response)
        _, stream = client.forward(80)
        client.send(data(stream, b"x"))
        await client.until(lambda seen: stream in seen.received)
        await client.leave()

    response = raw(server)
    server.run(conversation())
    assert [port.closed for port in node.ports] == [True]


def test_what_is_no_spdy_ends_the_connection(server):
    async def conversation() -> None:
        client = Raw(response)
        client.send(b"GET / HTTP/1.1\r\n\r\n\x80\x02\0\1\0\0\0\0" + bytes(0x205448))
        client.send(b"")
        await client.served()

    response = raw(server)
    server.run(conversation())


# ---- exec, as clients before 1.30 speak it


def exec_(server: Server, query: str, *protocols: str) -> http.Response:
    return spdy_request(server, f"{PODS}/p/exec?command=cat&{query}", *protocols)


KUBECTL = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")


@pytest.mark.parametrize("offered", [KUBECTL, (", ".join(KUBECTL),), KUBECTL[2:], KUBECTL[3:], KUBECTL[4:], ()])
def test_exec_over_spdy(server, node, offered):
    node.code = 7
    response = exec_(server, "stdin=1&stdout=1&stderr=1", *offered)
    spoken = response.header("x-stream-protocol-version")
    assert spoken == next((name for name in KUBECTL[1:] if name in " ".join(offered)), "channel.k8s.io")

    async def conversation() -> None:
        client = Raw(response)
        error, stdin, stdout, stderr = (
            client.open({"streamtype": kind}) for kind in ("error", "stdin", "stdout", "stderr")
        )
        client.send(data(stdin, b"hello"))
        client.send(data(stdin, b"", True))
        await client.until(lambda seen: {error, stdout, stderr} <= set(seen.ended))
        await client.leave()
        seen = client.spdy
        assert seen.replied == [error, stdin, stdout, stderr]
        assert (seen.received[stdout], seen.received[stderr]) == (b"hello", b"bye")
        if spoken == "v4.channel.k8s.io":
            assert json.loads(seen.received[error])["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
        else:
            assert seen.received[error] == b"command terminated with non-zero exit code: exit status 7"

    server.run(conversation())
    assert node.sessions[0].closed


def test_a_terminal_over_spdy_is_resized(server, node):
    response = exec_(server, "stdin=1&stdout=1&stderr=1&tty=1", "v4.channel.k8s.io")

    async def conversation() -> None:
        client = Raw(response)
        error, stdin, stdout, resize = (
            client.open({"streamtype": kind}) for kind in ("error", "stdin", "stdout", "resize")
        )
        extra = client.open({"streamtype": "stderr"})
        client.send(data(resize, b'{"Width":80,"Height":24}'))
        client.send(data(stdin, b"END"))
        await client.until(lambda seen: error in seen.ended and stdout in seen.ended)
        await client.leave()
        assert json.loads(client.spdy.received[error])["status"] == "Success" and extra in client.spdy.resets

    server.run(conversation())
    assert node.sessions[0].sizes == [(80, 24)]


def test_a_session_begins_when_all_its_streams_are_there_and_not_before(server, node):
    response = exec_(server, "stdin=1&stdout=1", "v4.channel.k8s.io")

    async def conversation() -> None:
        client = Raw(response)
        client.open({"streamtype": "error"})
        await client.leave()

    server.run(conversation())
    assert not node.sessions


def test_who_talks_before_all_streams_are_open_is_not_listened_to_for_long(server, node):
    response = exec_(server, "stdin=1&stdout=1", "v4.channel.k8s.io")

    async def conversation() -> None:
        client = Raw(response)
        stdin = client.open({"streamtype": "stdin"})
        for _ in range(3000):
            client.send(data(stdin, bytes(1000)))
        await client.served()
        assert client._pipe.incoming.qsize() > 2000

    server.run(conversation())
    assert not node.sessions


def test_protocols_that_nobody_speaks_are_refused(server):
    response = exec_(server, "stdout=1", "v9.channel.k8s.io")
    assert response.code == 403 and ("x-accepted-stream-protocol-versions", "v4.channel.k8s.io") in response.headers


# ---- the older dialect over WebSocket


def numbered(server: Server, ports: str, protocols=("v4.channel.k8s.io",)):
    client = websocket.Client(f"{PODS}/p/portforward?{ports}", protocols)
    return client, server.send(
        http.Request("GET", client.request.target, (*client.request.headers, ("host", "x")), user=ADMIN)
    )


def test_ports_in_numbered_channels(server, node):
    asked, response = numbered(server, "ports=80&ports=9")

    async def conversation() -> None:
        socket, pipe = asked.accepted(response), Pipe()
        serving = asyncio.ensure_future(response.upgraded(pipe))
        pipe.incoming.put_nowait(socket.send_binary(b"\x00hello") + socket.send_binary(b"\x09no port"))
        received: list[bytes] = []
        while b"\x00hello" not in received or len(received) < 6:
            events = socket.feed(await pipe.outgoing.get())
            received += [event.data for event in events if isinstance(event, websocket.Message)]
        assert received[:4] == [b"\x00P\x00", b"\x01P\x00", b"\x02\x09\x00", b"\x03\x09\x00"]
        assert any(message.startswith(b"\x03error forwarding port 9 to pod p") for message in received)
        pipe.incoming.put_nowait(b"")
        await serving

    server.run(conversation())
    assert node.ports[0].closed


def test_the_websocket_closes_when_every_port_is_over(server):
    asked, response = numbered(server, "ports=82,9", ("v4.base64.channel.k8s.io",))

    async def conversation() -> None:
        socket, pipe = asked.accepted(response), Pipe()
        serving = asyncio.ensure_future(response.upgraded(pipe))
        while not any(isinstance(event, websocket.Closed) for event in socket.feed(await pipe.outgoing.get())):
            pass
        pipe.incoming.put_nowait(socket.outgoing())
        pipe.incoming.put_nowait(b"")
        await serving

    server.run(conversation())


@pytest.mark.parametrize("ports", ["", "ports=0", "ports=80,x", "ports=70000", "&".join(["ports=1"] * 65)])
def test_ports_that_are_none_are_refused(server, ports):
    assert numbered(server, ports)[1].code == 400
