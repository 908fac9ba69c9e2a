"""HTTP/1.1 parsing: cut anywhere, fed anything, within its limits; and what the two ends write, the other reads."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from petset.net import failures
from petset.objects import encoding
from petset.wire import http, http1

GET = b"GET /api/v1/pods?watch=1&labelSelector=a%3Db HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\nEmpty:\r\n\r\n"
POST = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: ignored\r\n\r\n"
)
EXPECT = b"PUT /api HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
UPGRADE = b"GET /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
OLD = b"GET /old HTTP/1.0\r\n\r\n"


def fed(data: bytes, cuts: list[int] | None = None) -> list[http1.Event]:
    parser = http1.RequestParser()
    bounds = [0, *sorted({cut % (len(data) + 1) for cut in cuts or []}), len(data)]
    return [event for start, end in itertools.pairwise(bounds) for event in parser.feed(data[start:end])]


def refused(data: bytes) -> tuple[int, dict[str, Any]]:
    (event,) = fed(data)
    assert isinstance(event, http1.Refused)
    told = failures.failure(failures.refusal(event.why))  # As the listener answers it.
    assert isinstance(told.body, bytes)
    return told.code, encoding.loads(told.body)


def requests(events: list[http1.Event]) -> list[http.Request]:
    return [event.request for event in events if isinstance(event, http1.Received)]


def test_a_request_is_what_was_sent() -> None:
    (event,) = fed(GET)
    assert isinstance(event, http1.Received)
    request = event.request
    assert (request.method, request.path, request.body) == ("GET", "/api/v1/pods", b"")
    assert request.query == [("watch", "1"), ("labelSelector", "a=b")]
    assert request.header_values("accept") == ["a", "b"]
    assert (request.header("empty", "?"), request.user) == ("", None)
    assert (event.keep_alive, event.upgrade, event.chunks) == (True, False, True)


def test_bodies_by_length_and_by_chunks() -> None:
    assert [request.body for request in requests(fed(POST + CHUNKED + GET))] == [b"hello", b"abcde", b""]
    assert [name for name, _ in requests(fed(CHUNKED + POST))[1].headers] == ["host", "content-length"]


def test_http_1_0_gets_no_chunks_and_no_second_request_unless_it_asks() -> None:
    (event,) = fed(OLD)
    assert isinstance(event, http1.Received)
    assert (event.keep_alive, event.chunks) == (False, False)
    (event,) = fed(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert isinstance(event, http1.Received)
    assert event.keep_alive


def test_leave_to_continue_is_given_once_and_before_the_body() -> None:
    parser = http1.RequestParser()
    assert parser.feed(EXPECT) == [http1.Continue()]
    assert parser.is_partial
    assert [request.body for request in requests(parser.feed(b"hello"))] == [b"hello"]
    assert not parser.is_partial


def test_the_absolute_form_of_a_target_loses_its_authority() -> None:
    for target, path in ((b"http://x/a?b", "/a?b"), (b"http://x", "/"), (b"HTTPS://x?b", "/?b"), (b"*", "*")):
        (event,) = fed(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert isinstance(event, http1.Received), target
        assert event.request.target == path


@given(st.lists(st.integers(0, 2000), max_size=12))
def test_cutting_the_input_anywhere_changes_nothing(cuts: list[int]) -> None:
    data = GET + POST + CHUNKED + GET + CHUNKED + POST
    assert requests(fed(data, cuts)) == requests(fed(data))


def test_cutting_at_every_byte_changes_nothing() -> None:
    data = GET + POST + CHUNKED
    expected = fed(data)
    assert len(expected) == 3
    assert fed(data, list(range(len(data)))) == expected


@given(st.integers(0, len(UPGRADE) + 8))
def test_what_follows_an_upgrade_is_kept_for_who_speaks_next(cut: int) -> None:
    data = UPGRADE + b"\x82\x00raw"
    parser = http1.RequestParser()
    events = parser.feed(data[:cut]) + parser.feed(data[cut:])
    assert [event.upgrade for event in events if isinstance(event, http1.Received)] == [True]
    assert parser.take_over() == b"\x82\x00raw"


def test_an_upgrade_that_is_not_granted_goes_on_as_http() -> None:
    parser = http1.RequestParser()
    first = parser.feed(UPGRADE + GET[:10])
    assert requests(first)[0].path == "/exec"
    assert parser.feed(GET[10:]) == []  # Undecided: it could be anything.
    assert requests(parser.resume()) == requests(fed(GET))
    assert requests(parser.feed(POST)) == requests(fed(POST))


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (400, b"nonsense\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),  # TLS to a plain port.
        (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),  # No Host.
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx"),
        (405, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3145729\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999\r\n\r\n"),
        (414, b"GET /" + b"a" * (http1.TARGET_BYTES_MAX + 1) + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        (417, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 300 + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"),
    ],
)
def test_what_is_no_request_is_refused_with_a_status(code: int, data: bytes) -> None:
    answered, status = refused(data)
    assert (answered, status["code"], status["kind"]) == (code, code, "Status")
    assert status["message"].startswith("cannot ")


def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory() -> None:
    parser = http1.RequestParser()
    events = parser.feed(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
    for _ in range(100):
        events += parser.feed(b"a" * 1000)
    assert [type(event) for event in events] == [http1.Refused]
    assert parser.feed(b"\r\n\r\n" + GET) == []


def test_chunks_are_counted() -> None:
    parser = http1.RequestParser(body_bytes_max=100)
    events = parser.feed(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10):
        events += parser.feed(b"b\r\nhello world\r\n")
    assert [event.why.code for event in events if isinstance(event, http1.Refused)] == [413]


def test_trailers_are_counted_as_headers() -> None:
    parser = http1.RequestParser()
    events = parser.feed(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    for _ in range(3000):
        events += parser.feed(b"Trailer: " + b"a" * 100 + b"\r\n")
    assert [event.why.code for event in events if isinstance(event, http1.Refused)] == [431]


PIECES = st.sampled_from(
    [
        GET,
        POST,
        CHUNKED,
        EXPECT,
        UPGRADE,
        OLD,
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b":",
        b"0\r\n\r\n",
        b"HTTP/1.1",
        b"\xff",
    ]
)


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=40), PIECES), max_size=8), st.lists(st.integers(0, 3000), max_size=5))
@example([GET[:20], b"\0"], [])
def test_no_input_raises_and_a_refusal_is_the_last_word(pieces: list[bytes], cuts: list[int]) -> None:
    events = fed(b"".join(pieces), cuts)
    assert all(not isinstance(event, http1.Refused) for event in events[:-1])


@settings(max_examples=300)
@given(st.integers(0, 2000), st.integers(0, 255))
def test_one_wrong_byte_raises_nothing(position: int, byte: int) -> None:
    data = bytearray(GET + POST + CHUNKED + EXPECT + b"hello" + UPGRADE)
    data[position % len(data)] = byte
    fed(bytes(data), [position])


# Answers, read by the client's side


def answer(response: http.Response, method: str = "GET", **options: Any) -> bytes:
    received = http1.Received(http.Request(method, "/"))
    assert isinstance(response.body, bytes)
    return http1.whole(response, response.body, received, options.pop("keep_alive", True), **options)


def read(data: bytes, method: str = "GET", cuts: list[int] | None = None) -> list[http1.ResponseEvent]:
    parser = http1.ResponseParser()
    parser.expect(method)
    bounds = [0, *sorted({cut % (len(data) + 1) for cut in cuts or []}), len(data)]
    return [event for a, b in itertools.pairwise(bounds) if a < b for event in parser.feed(data[a:b])]


def body(events: list[http1.ResponseEvent]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, http1.Data))


def test_an_answer_is_read_as_it_was_written() -> None:
    response = http.Response(200, (("content-type", "application/json"), ("warning", '299 - "ü"')), b"{}")
    head, *rest = read(answer(response, date="today"))
    assert isinstance(head, http1.Head)
    assert (head.code, head.length) == (200, 2)
    assert head.headers == (*response.headers, ("date", "today"), ("content-length", "2"))
    assert body(rest) == b"{}"
    assert rest[-1] == http1.End(True)
    assert read(answer(response, keep_alive=False))[-1] == http1.End(False)


def test_no_header_value_can_begin_a_header() -> None:
    written = answer(http.Response(200, (("x", "a\r\nevil: b\n\0"),), b""))
    assert b"\r\nevil" not in written
    assert isinstance(read(written)[0], http1.Head)


def test_a_handler_does_not_set_what_frames_the_answer() -> None:
    written = answer(http.Response(200, (("Content-Length", "9"), ("transfer-encoding", "chunked")), b"abc"))
    assert body(read(written)) == b"abc"


@pytest.mark.parametrize(("code", "method"), [(204, "GET"), (304, "GET"), (200, "HEAD")])
def test_some_answers_have_no_body(code: int, method: str) -> None:
    written = answer(http.Response(code, (), b"body"), method)
    assert written.endswith(b"\r\n\r\n")
    events = read(written, method)
    assert body(events) == b""
    assert isinstance(events[-1], http1.End)


def test_the_answer_after_a_leave_to_continue_is_the_one_that_counts() -> None:
    head, *_ = read(http1.CONTINUE + answer(http.Response(201, (), b"x")))
    assert isinstance(head, http1.Head)
    assert head.code == 201


@given(st.lists(st.integers(0, 400), max_size=10), st.lists(st.binary(min_size=1, max_size=30), max_size=5))
def test_a_stream_is_read_part_by_part_however_it_is_cut(cuts: list[int], parts: list[bytes]) -> None:
    received = http1.Received(http.Request("GET", "/"))
    written = http1.begin(http.Response(200), received, True)
    written += b"".join(map(http1.chunk, parts)) + http1.LAST_CHUNK
    head, *rest = read(written, "GET", cuts)
    assert isinstance(head, http1.Head)
    assert head.length is None
    assert body(rest) == b"".join(parts)
    assert rest[-1] == http1.End(True)


def test_a_body_without_length_lasts_until_the_connection_ends() -> None:
    parser = http1.ResponseParser()
    parser.expect("GET")
    events = parser.feed(b"HTTP/1.0 200 OK\r\n\r\nabc") + parser.feed(b"def") + parser.feed(b"")
    assert body(events) == b"abcdef"
    assert events[-1] == http1.End(False)


def test_an_answer_that_is_cut_off_is_broken() -> None:
    whole = answer(http.Response(200, (), b"hello"))
    for end in range(1, len(whole)):
        parser = http1.ResponseParser()
        parser.expect("GET")
        parser.feed(whole[:end])
        assert isinstance(parser.feed(b"")[-1], http1.Broken)


@given(st.integers(0, 200))
def test_what_follows_a_101_is_kept(cut: int) -> None:
    received = http1.Received(http.Request("GET", "/", (("upgrade", "websocket"),)), upgrade=True)
    data = http1.switch(http.Response(101, (("x", "y"),)), received) + b"raw bytes"
    parser = http1.ResponseParser()
    parser.expect("GET")
    events = [event for part in (data[:cut], data[cut:]) if part for event in parser.feed(part)]
    assert isinstance(events[0], http1.Head)
    assert events[0].upgrade
    assert ("upgrade", "websocket") in events[0].headers
    assert parser.take_over() == b"raw bytes"


@settings(max_examples=300)
@given(st.integers(0, 2000), st.integers(0, 255), st.binary(max_size=50))
def test_no_answer_raises(position: int, byte: int, noise: bytes) -> None:
    data = bytearray(answer(http.Response(200, (("a", "b"),), b"hello")) + noise)
    data[position % len(data)] = byte
    parser = http1.ResponseParser()
    parser.expect("GET")
    parser.feed(bytes(data[:7]))
    parser.feed(bytes(data[7:]))
    parser.feed(b"")


@given(st.binary(max_size=100), st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
def test_a_request_is_read_as_the_client_wrote_it(content: bytes, method: str) -> None:
    sent = http.Request(method, "/a?b=c", (("accept", "x"), ("user-agent", "petset")), content)
    (received,) = requests(fed(http1.request_bytes(sent, "host:1")))
    assert (received.method, received.target, received.body) == (method, "/a?b=c", content)
    assert received.header("host") == "host:1"
    assert received.header("user-agent") == "petset"
