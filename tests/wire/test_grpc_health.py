"""One health check as bytes: whole answers, answers in pieces, and whatever else a server may send."""

from __future__ import annotations

import pytest
from h2 import config, connection, events
from hypothesis import given
from hypothesis import strategies as st

from petset.wire import grpc_health
from petset.wire.grpc_health import Answer

HEAD = [(":status", "200"), ("content-type", "application/grpc")]
SERVING = b"\0\0\0\0\x02\x08\x01"


def check() -> grpc_health.Check:
    return grpc_health.Check("10.0.0.1:80", "db", "kube-probe/1.33")


def answered(head=HEAD, body: bytes = SERVING, trailers=(("grpc-status", "0"),)) -> bytes:
    """What a server sends for this answer, to the first call of a connection."""
    server = connection.H2Connection(config.H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(check().outgoing())
    server.send_headers(1, head, end_stream=not (body or trailers))
    if body:
        server.send_data(1, body)
    if trailers:
        server.send_headers(1, trailers, end_stream=True)
    return server.data_to_send()


def outcome(data: bytes) -> Answer | None:
    return check().feed(data)


def test_the_question_is_one_call():
    server = connection.H2Connection(config.H2Configuration(client_side=False, header_encoding="utf-8"))
    server.initiate_connection()
    happened = server.receive_data(check().outgoing())
    headers = next(dict(event.headers) for event in happened if isinstance(event, events.RequestReceived))
    assert headers[":path"] == "/grpc.health.v1.Health/Check" and headers["te"] == "trailers"
    assert next(event.data for event in happened if isinstance(event, events.DataReceived)) == b"\0\0\0\0\x04\x0a\x02db"


@pytest.mark.parametrize("cut", range(1, len(answered())))
def test_cutting_the_answer_anywhere_changes_nothing(cut):
    data, one = answered(), check()
    assert one.feed(data[:cut]) is None
    one.outgoing()
    assert one.feed(data[cut:]) == Answer(0, service_status="SERVING")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (answered(), Answer(0, service_status="SERVING")),
        (answered(body=b"\0\0\0\0\0"), Answer(0, service_status="UNKNOWN")),
        (answered(body=b"\0\0\0\0\x02\x08\x09"), Answer(0, service_status="9")),
        (answered([*HEAD, ("grpc-status", "12"), ("grpc-message", "no%20such")], b"", ()), Answer(12, "no such")),
        (answered(body=b"", trailers=[("grpc-status", "14"), ("grpc-message", "50%25")]), Answer(14, "50%")),
    ],
)
def test_answers(data, answer):
    assert outcome(data) == answer


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "closed the connection before it answered"),
        (b"\0\0\0\x09\0\0\0\0\7", "does not speak HTTP/2"),
        (answered([(":status", "404")], b"", ()), "does not speak gRPC: it answered with HTTP status 404"),
        (answered(body=b"\1\0\0\0\x02\x08\x01"), "not one uncompressed message"),
        (answered(body=b"\0\0\0\0\x09\x08\x01"), "not one uncompressed message"),
        (answered(body=b"\0\0\0\0\x03\x08\x80\x01"), "not that of the health protocol"),
        (b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\3\0\0\0\0\1" + b"\0\0\0\7", "gave up the call: error code 7"),
        (b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0\0\0\0\2", "gave up the call: error code 2"),
        (b"\0\0\0\4\0\0\0\0\0" * 8000, "sent more than 65536 bytes"),
    ],
)
def test_what_is_no_answer(data, why):
    with pytest.raises(ValueError, match=why):
        outcome(data)


@given(
    st.lists(st.tuples(st.integers(0, len(answered()) - 1), st.integers(0, 255)), max_size=4), st.binary(max_size=40)
)
def test_whatever_comes_is_an_answer_or_a_value_error(changes, more):
    data = bytearray(answered())
    for at, value in changes:
        data[at] = value
    one = check()
    try:
        one.feed(bytes(data))
        one.outgoing()
        one.feed(more)
    except ValueError:
        pass
