"""Exec, attach and logs: the protocol to the client, and what is judged before anything is upgraded."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest

from petset.wire import http, streaming, websocket
from tests.server.conftest import ADMIN, Server, pod, with_pod

PODS = "/api/v1/namespaces/default/pods"
V5 = "v5.channel.k8s.io"


class Session:
    """A process that echoes its input to stdout until that ends, or says END; then says bye on stderr and exits."""

    def __init__(self, code: int):
        self.code = code
        self.sizes: list[tuple[int, int]] = []
        self.closed = False
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        await self._input.put(data)

    def close_input(self) -> None:
        self._input.put_nowait(None)

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while (data := await self._input.get()) not in (None, b"END"):
            yield streaming.STDOUT, data
        yield streaming.STDERR, b"bye"

    async def exit_code(self) -> int:
        return self.code

    async def close(self) -> None:
        self.closed = True


class Node:
    """Knows the sessions it started and one log."""

    def __init__(self) -> None:
        self.code = 0
        self.sessions: list[Session] = []
        self.asked: list[tuple] = []
        self.log = [b"one\n", b"two\n"]
        self.error: streaming.StreamError | None = None
        self.started = asyncio.Event()

    async def exec(self, pod_uid, container, options):
        self.asked.append((container, options))
        if self.error:
            raise self.error
        self.sessions.append(Session(self.code))
        self.started.set()
        return self.sessions[-1]

    attach = exec

    async def logs(self, pod_uid, container, options):
        self.asked.append((container, options))
        if self.error:
            raise self.error
        for piece in self.log if options.tail_lines != 0 else ():
            yield piece


class Pipe:
    """The server's side of an upgraded connection."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.outgoing: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return await self.incoming.get()

    def write(self, data: bytes) -> None:
        if data:
            self.outgoing.put_nowait(data)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self.outgoing.put_nowait(b"")


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def server(node):
    with with_pod(node) as server:
        yield server


def upgrade(server: Server, target: str, protocols=(V5,)) -> tuple[websocket.Client, http.Response]:
    client = websocket.Client(target, protocols)
    request = http.Request("GET", target, (*client.request.headers, ("host", "x")), user=ADMIN)
    return client, server.send(request)


async def converse(response, client, *messages: bytes, is_text: bool = False) -> list[bytes]:
    """Everything the server sends after these messages, until it closes."""
    connection, pipe = client.accepted(response), Pipe()
    serving = asyncio.ensure_future(response.upgraded(pipe))
    for message in messages:
        pipe.incoming.put_nowait(connection.send(message, is_text))
    received: list[bytes] = []
    while True:
        events = connection.feed(await pipe.outgoing.get())
        received += [event.data for event in events if isinstance(event, websocket.Message)]
        assert all(event.is_text is is_text for event in events if isinstance(event, websocket.Message))
        if answer := connection.outgoing():
            pipe.incoming.put_nowait(answer)
        if any(isinstance(event, websocket.Closed) for event in events):
            await serving
            return received


def test_exec_carries_input_output_and_the_exit_code(server, node):
    node.code = 7
    client, response = upgrade(server, f"{PODS}/p/exec?command=cat&command=-&stdin=true&stdout=true&stderr=true")
    assert response.code == 101 and response.header("sec-websocket-protocol") == V5
    received = server.run(converse(response, client, b"\x00hello", b"\x00", b"\xff\x00"))
    assert received[:3] == [b"\x01", b"\x01hello", b"\x02bye"], "the first says that it is connected"
    assert received[3][0] == streaming.ERROR
    status = json.loads(received[3][1:])
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert node.sessions[0].closed
    container, options = node.asked[0]
    assert container == "c" and options.command == ("cat", "-") and options.stdin and not options.tty


def test_success_is_said_too_and_a_terminal_is_resized(server, node):
    client, response = upgrade(
        server, f"{PODS}/p/exec?command=sh&stdin=1&stdout=1&stderr=1&tty=1", (V5, "v4.channel.k8s.io")
    )
    sizes = [b'\x04{"Width":80,"Height":24}', b'\x04{"Width":0,"Height":-1}', b"\x04{", b"\x04[]", b"\x09x", b""]
    received = server.run(converse(response, client, *sizes, b"\xff\x00"))
    assert json.loads(received[-1][1:]) == {"metadata": {}, "status": "Success"}
    assert node.sessions[0].sizes == [(80, 24)]
    assert node.asked[0][1].tty and not node.asked[0][1].stderr, "a terminal has one output"


def test_a_client_that_leaves_ends_the_session(server, node):
    _, response = upgrade(server, f"{PODS}/p/exec?command=cat&stdin=1&stdout=1")

    async def leave():
        pipe = Pipe()
        serving = asyncio.ensure_future(response.upgraded(pipe))
        await node.started.wait()
        pipe.incoming.put_nowait(b"")
        await serving

    server.run(leave())
    assert node.sessions[0].closed


def test_a_session_that_cannot_start_says_why(server, node):
    node.error = streaming.StreamError(404, "no such program")
    client, response = upgrade(server, f"{PODS}/p/exec?command=cat&stdout=1")
    received = server.run(converse(response, client))
    status = json.loads(received[-1][1:])
    assert status["status"] == "Failure" and status["message"] == "no such program"


OLDER = ("v3.channel.k8s.io", "v2.channel.k8s.io", "v1.channel.k8s.io", "channel.k8s.io")


@pytest.mark.parametrize("protocol", [*OLDER, ""])
def test_older_protocols_end_with_a_sentence_or_in_silence(server, node, protocol):
    """They cannot close the input: the process ends when it likes."""
    target = f"{PODS}/p/exec?command=cat&stdin=1&stdout=1&stderr=1"
    for code, end in ((0, []), (7, [b"\x03command terminated with non-zero exit code: exit status 7"])):
        node.code = code
        client, response = upgrade(server, target, (protocol,) if protocol else ())
        assert response.header("sec-websocket-protocol") == protocol
        received = server.run(converse(response, client, b"\x00hello", b"\xff\x00", b"\x00END"))
        assert received == [b"\x01", b"\x01hello", b"\x02bye", *end]


@pytest.mark.parametrize(("protocol", "is_new"), [("base64.channel.k8s.io", False), ("v4.base64.channel.k8s.io", True)])
def test_channels_in_base64(server, node, protocol, is_new):
    node.code = 7
    client, response = upgrade(server, f"{PODS}/p/exec?command=cat&stdin=1&stdout=1&stderr=1", (protocol,))
    wrong = [b"", b"x", b"0?", b"9aGk="]
    received = server.run(converse(response, client, *wrong, b"0" + base64.b64encode(b"hello"), b"0RU5E", is_text=True))
    assert received[:3] == [b"1", b"1" + base64.b64encode(b"hello"), b"2" + base64.b64encode(b"bye")]
    end = base64.b64decode(received[3][1:])
    said = json.loads(end)["message"] if is_new else end.decode()
    assert received[3][:1] == b"3" and said == "command terminated with non-zero exit code: exit status 7"


def test_of_several_protocols_the_first_that_is_known_is_spoken(server):
    offered = ("v9.channel.k8s.io", "channel.k8s.io", V5)
    _, response = upgrade(server, f"{PODS}/p/exec?command=cat&stdout=1", offered)
    assert response.header("sec-websocket-protocol") == "channel.k8s.io"


@pytest.mark.parametrize(
    ("protocol", "messages"),
    [
        ("", [b"", b"one\n", b"two\n"]),
        ("binary.k8s.io", [b"", b"one\n", b"two\n"]),
        ("base64.binary.k8s.io", [b"", b"b25lCg==", b"dHdvCg=="]),
    ],
)
def test_a_log_over_websocket(server, protocol, messages):
    client, response = upgrade(server, f"{PODS}/p/log", (protocol,) if protocol else ())
    assert response.code == 101 and response.header("sec-websocket-protocol") == protocol
    said = converse(response, client, b"what a client says is not heard", is_text=protocol.startswith("base64"))
    assert server.run(said) == messages


def test_a_log_whose_reader_leaves_is_closed(server, node):
    closed = asyncio.Event()

    async def endless(pod_uid, container, options):
        if options.tail_lines == 0:
            return
        try:
            yield b"one\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    node.logs = endless
    client, response = upgrade(server, f"{PODS}/p/log?follow=true", ("binary.k8s.io",))

    async def leave():
        connection, pipe = client.accepted(response), Pipe()
        serving = asyncio.ensure_future(response.upgraded(pipe))
        while not any(getattr(event, "data", b"") for event in connection.feed(await pipe.outgoing.get())):
            pass
        pipe.incoming.put_nowait(b"")
        await serving

    server.run(leave())
    assert closed.is_set()


def test_attach_ends_without_an_exit_code(server, node):
    node.code = 3
    client, response = upgrade(server, f"{PODS}/p/attach?stdin=1&stdout=1&stderr=1&tty=1")
    received = server.run(converse(response, client, b"\xff\x00"))
    assert json.loads(received[-1][1:])["status"] == "Success"
    assert node.asked[0][1].command == () and not node.asked[0][1].tty, "the container has no terminal"


@pytest.mark.parametrize(
    ("target", "headers", "code", "part"),
    [
        (f"{PODS}/absent/exec?command=a&stdout=1", {}, 404, 'pods "absent" not found'),
        (f"{PODS}/p/exec?command=a&stdout=1&container=x", {}, 400, "container x is not valid for pod p"),
        (f"{PODS}/p/exec?stdout=1", {}, 400, "at least 1 command"),
        (f"{PODS}/p/exec?command=a", {}, 400, "at least 1 of stdin, stdout, stderr"),
        (f"{PODS}/p/exec?command=a&stdout=1", {}, 400, "Upgrade request required"),
        (f"{PODS}/p/exec?command=a&stdout=1", {"upgrade": "h2c"}, 400, "offer SPDY/3.1 or websocket"),
        (f"{PODS}/p/exec?command=a&stdout=1", {"upgrade": "websocket"}, 400, "WebSocket"),
        (f"{PODS}/p/portforward", {}, 400, "Upgrade request required"),
        (f"{PODS}/p/portforward", {"upgrade": "websocket"}, 400, "at least 1 port"),
        (f"{PODS}/unbound/portforward", {"upgrade": "SPDY/3.1"}, 400, "pod unbound does not have a host assigned"),
        (f"{PODS}/absent/portforward", {"upgrade": "SPDY/3.1"}, 404, 'pods "absent" not found'),
        (f"{PODS}/unbound/exec?command=a&stdout=1", {}, 400, "pod unbound does not have a host assigned"),
        (f"{PODS}/done/exec?command=a&stdout=1", {}, 400, "cannot exec into a container in a completed pod"),
        (f"{PODS}/two/exec?command=a&stdout=1", {}, 400, "choose one of: [a b] or one of the init containers: [i]"),
    ],
)
def test_what_is_refused_before_the_upgrade(server, target, headers, code, part):
    server.create(pod("unbound"))
    containers = [{"name": name, "image": "i"} for name in "ab"]
    server.create(pod("two", containers=containers, initContainers=[{"name": "i", "image": "i"}]))
    server.create(pod("done"))
    phase = {"status": {"phase": "Succeeded"}}
    server.ok("PATCH", f"{PODS}/done/status", phase, kind="application/merge-patch+json")
    answer = server("GET", target, headers=headers)
    assert answer.code == code and part in answer.message


def test_a_subprotocol_that_nobody_speaks_is_refused(server):
    _, response = upgrade(server, f"{PODS}/p/exec?command=a&stdout=1", ("chat",))
    assert response.code == 400


def test_the_default_container_is_the_annotated_one(server, node):
    containers = [{"name": name, "image": "i"} for name in "ab"]
    obj = pod("two", containers=containers)
    obj["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "b"}
    server.create(obj)
    server.ok("POST", f"{PODS}/two/binding", {"target": {"name": "n1"}, "metadata": {"name": "two"}})
    assert log(server, "two") == b"one\ntwo\n" and node.asked[-1][0] == "b"


def log(server: Server, name: str, query: str = "") -> bytes:
    response = server.send(http.Request("GET", f"{PODS}/{name}/log?{query}", user=ADMIN))
    assert response.code == 200 and response.header("content-type") == "text/plain", response

    async def whole() -> bytes:
        return b"".join([piece async for piece in response.body])

    return server.run(whole())


def test_logs_and_their_options(server, node):
    assert log(server, "p") == b"one\ntwo\n"
    assert log(server, "p", "limitBytes=5") == b"one\nt"
    log(server, "p", "follow=true&tailLines=3&timestamps=true&sinceTime=2016-08-03T00:00:00Z&container=c")
    assert node.asked[-1][1] == streaming.LogOptions(
        follow=True, timestamps=True, tail_lines=3, since_time="2016-08-03T00:00:00Z"
    )


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("container=x", 400),
        ("tailLines=-1", 400),
        ("limitBytes=0", 422),
        ("sinceSeconds=0", 422),
        ("sinceTime=yesterday", 422),
        ("sinceTime=2016-08-03T00:00:00Z&sinceSeconds=1", 422),
    ],
)
def test_wrong_log_options(server, query, code):
    assert server("GET", f"{PODS}/p/log?{query}").code == code


def test_a_log_that_is_not_there_says_so(server, node):
    waiting = {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}, "restartCount": 0}
    waiting |= {"ready": False, "image": "i", "imageID": ""}
    merge = {"kind": "application/merge-patch+json"}
    server.ok("PATCH", f"{PODS}/p/status", {"status": {"containerStatuses": [waiting]}}, **merge)
    answer = server("GET", f"{PODS}/p/log")
    assert answer.code == 400 and "is waiting to start: trying and failing to pull image" in answer.message
    running = {**waiting, "state": {"running": {"startedAt": "2016-08-03T00:00:00Z"}}}
    server.ok("PATCH", f"{PODS}/p/status", {"status": {"containerStatuses": [running]}}, **merge)
    answer = server("GET", f"{PODS}/p/log?previous=true")
    assert answer.message == 'previous terminated container "c" in pod "p" not found'
    node.error = streaming.StreamError(404, "the log was rotated away")
    answer = server("GET", f"{PODS}/p/log")
    assert (answer.code, answer.message) == (404, "the log was rotated away")


def test_a_server_without_a_node_says_so():
    alone = Server()
    alone.create(pod("p"))
    alone.ok("POST", f"{PODS}/p/binding", {"target": {"name": "n1"}, "metadata": {"name": "p"}})
    assert alone("GET", f"{PODS}/p/log").code == 503
    alone.close()


@pytest.mark.parametrize("target", [f"{PODS}/p/exec?command=cat&stdout=1", f"{PODS}/p/log"])
def test_a_client_that_is_gone_before_the_first_word_is_no_failure(server, target):
    """The listener would log the trace of anything that is raised."""
    client, response = upgrade(server, target, ())

    class Gone(Pipe):
        async def drain(self) -> None:
            raise ConnectionResetError("gone")

    client.accepted(response)
    pipe = Gone()
    pipe.incoming.put_nowait(b"")
    server.run(response.upgraded(pipe))


@pytest.mark.parametrize("path", ["exec?command=a&stdout=1", "attach?stdout=1", "log"])
def test_a_wrong_handshake_is_refused_like_anything_else(server, path, monkeypatch):
    noted = []
    monkeypatch.setattr(server.api._refusals, "note", lambda request, error: noted.append(error.code))
    answer = server("GET", f"{PODS}/p/{path}", headers={"upgrade": "websocket"})
    assert (answer.code, answer.body["reason"]) == (400, "BadRequest") and noted == [400]


# -- A watch in messages


def test_a_watch_over_websocket_has_an_event_a_message(server):
    listed = server.get(PODS)
    target = f"{PODS}?watch=true&timeoutSeconds=1&resourceVersion={listed['metadata']['resourceVersion']}"
    client, response = upgrade(server, target, ())
    assert response.code == 101
    for name in ("q", "r"):
        server.create(pod(name))
    said = [json.loads(message) for message in server.run(converse(response, client, is_text=True))]
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in said] == [("ADDED", "q"), ("ADDED", "r")]


def test_a_watch_over_websocket_whose_reader_leaves_is_closed(server):
    client, response = upgrade(server, f"{PODS}?watch=true", ())

    async def leave() -> None:
        connection, pipe = client.accepted(response), Pipe()
        serving = asyncio.ensure_future(response.upgraded(pipe))
        await pipe.outgoing.get()
        assert server.api.watches.open_count == 1
        pipe.incoming.put_nowait(connection.send_close())
        await serving

    server.run(leave())
    assert server.api.watches.open_count == 0
