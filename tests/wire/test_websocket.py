"""WebSocket, both ends: what one sends the other reads, however it is cut and whatever else comes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.wire import http, websocket

EXEC = "v5.channel.k8s.io"
# What kubectl sends to open an exec session.
KUBECTL = http.Request(
    "GET",
    "/api/v1/namespaces/default/pods/web-0/exec?command=ls&stdout=true",
    (
        ("host", "127.0.0.1:6443"),
        ("user-agent", "kubectl/v1.32.4"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "x3JJHMbDL1EzLkh9GBhXDw=="),
        ("sec-websocket-protocol", EXEC),
        ("sec-websocket-version", "13"),
        ("upgrade", "websocket"),
    ),
)


def pair(**limits: int) -> tuple[websocket.Connection, websocket.Connection]:
    """A client's and a server's end of one WebSocket."""
    asked = websocket.Client("/exec", [EXEC])
    headers, server = websocket.accept(asked.request, [EXEC], **limits)
    return asked.accepted(http.Response(101, headers)), server


def feed(connection: websocket.Connection, data: bytes, cuts: list[int]) -> list[websocket.Event]:
    bounds = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [event for a, b in itertools.pairwise(bounds) if a < b for event in connection.feed(data[a:b])]


def test_kubectls_handshake_is_accepted_as_rfc_6455_says() -> None:
    headers, connection = websocket.accept(KUBECTL, ["v6", EXEC])
    assert dict(headers) == {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": "HSmrc0sMlYUkAGmm5OPpG2HaGWk=",
        "sec-websocket-protocol": EXEC,
    }
    assert connection.subprotocol == EXEC


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("sec-websocket-protocol", "v1", "offers the subprotocols v1; offer one of"),
        ("sec-websocket-key", "short", "Sec-WebSocket-Key"),
        ("sec-websocket-version", "8", "Sec-WebSocket-Version"),
        ("upgrade", "SPDY/3.1", "Upgrade"),
        ("connection", "close", "Connection"),
    ],
)
def test_another_handshake_is_a_bad_request(name: str, value: str, why: str) -> None:
    headers = tuple((key, value if key == name else old) for key, old in KUBECTL.headers)
    with pytest.raises(http.Malformed, match=why) as error:
        websocket.accept(http.Request("GET", "/", headers), [EXEC])
    assert error.value.code == 400
    headers = tuple((key, old) for key, old in KUBECTL.headers if key != name)
    with pytest.raises(http.Malformed):
        websocket.accept(http.Request("GET", "/", headers), [EXEC])


def test_a_client_that_is_refused_says_what_the_server_answered() -> None:
    with pytest.raises(ConnectionError, match="the server answered 403"):
        websocket.Client("/exec", [EXEC]).accepted(http.Response(403))
    with pytest.raises(ConnectionError):
        websocket.Client("/exec", [EXEC]).accepted(http.Response(101, (("upgrade", "websocket"),)))


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 2000), max_size=10))
def test_messages_arrive_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    client, server = pair()
    expected = [websocket.Message(message) for message in messages]
    assert feed(server, b"".join(map(client.send_binary, messages)), cuts) == expected
    assert feed(client, b"".join(map(server.send_binary, messages)), cuts) == expected


def test_fragments_are_one_message_also_with_a_ping_between_them() -> None:
    client, server = pair()
    inner = client._inner
    inner.send_text(b"one ", fin=False)
    inner.send_ping(b"?")
    inner.send_continuation(b"message", fin=True)
    assert server.feed(client.outgoing()) == [websocket.Message(b"one message", is_text=True)]
    assert client.feed(server.outgoing()) == []  # The pong.
    assert client.is_open


def test_closing_takes_both_and_is_told_once() -> None:
    client, server = pair()
    assert client.feed(server.send_close(1000, "done")) == [websocket.Closed(1000, "done")]
    assert server.feed(client.outgoing()) == [websocket.Closed(1000, "done")]
    assert client.is_over
    assert server.is_over
    assert (server.send_binary(b"late"), server.feed(b""), server.feed(b"x")) == (b"", [], [])


def test_a_long_reason_is_cut_to_what_a_close_may_carry() -> None:
    client, server = pair()
    (closed,) = client.feed(server.send_close(1011, "ü" * 200))
    assert isinstance(closed, websocket.Closed)
    assert closed.reason == "ü" * 60


def test_a_connection_that_just_ends_is_closed_without_a_word() -> None:
    _, server = pair()
    assert server.feed(b"") == [websocket.Closed(1006)]
    assert not server.is_open


def test_a_message_over_the_limit_closes_with_1009() -> None:
    client, server = pair(message_bytes_max=1000)
    (closed,) = server.feed(client.send_binary(b"x" * 1001))
    assert isinstance(closed, websocket.Closed)
    assert closed.code == 1009
    (told,) = client.feed(server.outgoing())
    assert isinstance(told, websocket.Closed)
    assert told.code == 1009


@settings(max_examples=300)
@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=4))
def test_no_input_raises(noise: bytes, cuts: list[int]) -> None:
    client, server = pair()
    for connection in (client, server):
        events = feed(connection, noise, cuts)
        connection.outgoing()
        events += connection.feed(b"")
        connection.outgoing()
        assert [isinstance(event, websocket.Closed) for event in events][-1:] == [True]
        assert sum(isinstance(event, websocket.Closed) for event in events) == 1


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_handshake_raises_anything_but_an_api_error(name: str, value: str) -> None:
    for wrong in ("sec-websocket-key", "sec-websocket-protocol", "upgrade", "connection", "sec-websocket-version"):
        headers = tuple((key, value if key == wrong else old) for key, old in KUBECTL.headers)
        try:
            websocket.accept(http.Request("GET", "/", (*headers, (name, value))), [EXEC])
        except http.Malformed:
            pass
