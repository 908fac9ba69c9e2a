"""SPDY/3.1: what a client sends, however it is cut, whatever else comes; and what it is told."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.wire import spdy
from petset.wire.spdy import Broken, Data, Ended, GoneAway, Opened, Reset
from tests.wire.spdy_client import Client, control, data

HEADERS = {"streamtype": "data", "port": "80", "requestid": "0"}


def conversation() -> tuple[bytes, list[spdy.Event]]:
    """What kubectl sends that forwards a port, and what that means."""
    client = Client()
    error, first = client.open({**HEADERS, "streamtype": "error"})
    stream, second = client.open(HEADERS)
    sent = [
        first,
        data(error, b"", True),
        second,
        control(4, struct.pack(">III", 1, 7, 65536)),
        data(stream, b"GET / HTTP/1.0\r\n"),
        control(spdy.PING, struct.pack(">I", 1)),
        control(spdy.WINDOW_UPDATE, struct.pack(">II", stream, 1024)),
        control(spdy.HEADERS, struct.pack(">I", stream) + client.block({"late": "x"})),
        control(77, b"of a type that nobody knows"),
        data(stream, b"\r\n", True),
        control(spdy.GOAWAY, struct.pack(">II", 0, 0)),
    ]
    return b"".join(sent), [
        Opened(error, {**HEADERS, "streamtype": "error"}),
        Ended(error),
        Opened(stream, HEADERS),
        Data(stream, b"GET / HTTP/1.0\r\n"),
        Data(stream, b"\r\n"),
        Ended(stream),
        GoneAway(),
    ]


def joined(events: list[spdy.Event]) -> list[spdy.Event]:
    """With the data in one piece that comes in several."""
    whole: list[spdy.Event] = []
    for event in events:
        if isinstance(event, Data) and whole and isinstance(whole[-1], Data) and whole[-1].stream == event.stream:
            whole[-1] = Data(event.stream, whole[-1].data + event.data)
        else:
            whole.append(event)
    return whole


def test_the_dictionary_is_the_drafts():
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_cut_at_every_byte():
    sent, meant = conversation()
    for cut in range(len(sent) + 1):
        connection = spdy.Connection()
        assert joined([*connection.feed(sent[:cut]), *connection.feed(sent[cut:])]) == joined(meant)
        assert connection.outgoing() == control(spdy.PING, struct.pack(">I", 1))
    connection = spdy.Connection()
    assert joined([event for byte in sent for event in connection.feed(bytes([byte]))]) == joined(meant)


@given(st.binary(max_size=400))
def test_whatever_comes_raises_nothing(noise):
    connection = spdy.Connection()
    events = connection.feed(noise)
    if any(isinstance(event, Broken) for event in events):
        assert isinstance(events[-1], Broken) and connection.feed(noise) == []


@given(st.data())
def test_a_conversation_with_some_bytes_changed_raises_nothing(chosen):
    sent = bytearray(conversation()[0])
    for _ in range(chosen.draw(st.integers(1, 4))):
        sent[chosen.draw(st.integers(0, len(sent) - 1))] = chosen.draw(st.integers(0, 255))
    connection = spdy.Connection()
    known: list[int] = []
    for event in connection.feed(bytes(sent)):
        if isinstance(event, Opened):
            assert event.stream not in known
            known.append(event.stream)
        elif isinstance(event, (Data, Ended, Reset)):
            assert event.stream in known
    Client().feed(connection.outgoing())


SYN = struct.pack(">IIBB", 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (lambda client: struct.pack(">II", 0x80020001, 10) + SYN, "version 2"),
        (lambda client: struct.pack(">II", 0x80030001, 0xFFFFFF), "a control frame of 16777215 bytes"),
        (lambda client: control(1, SYN + client.deflated(struct.pack(">I", 65))), "65 headers"),
        (lambda client: control(1, SYN + client.deflated(struct.pack(">II", 1, 9) + b"x")), "end early"),
        (lambda client: control(1, SYN + client.deflated(struct.pack(">I", 0) + b"x")), "behind them"),
        (lambda client: control(1, SYN + client.deflated(bytes(spdy.HEADERS_BYTES_MAX + 1))), "headers of more than"),
        (lambda client: control(1, SYN + b"no zlib"), ""),
        (lambda client: control(1, b"\0"), ""),
        (lambda client: control(3, b"\0"), ""),
        (lambda client: control(6, b"12345"), ""),
        (lambda client: data(0, b"x"), "stream 0"),
        (lambda client: client.open({})[1] + control(1, SYN + client.block({})), "stream 1 opened after stream 1"),
        (lambda client: control(1, struct.pack(">IIBB", 2, 0, 0, 0) + client.block({})), "stream 2"),
    ],
)
def test_what_breaks_the_protocol_ends_it(sent, why):
    client, connection = Client(), spdy.Connection()
    events = connection.feed(sent(client))
    assert isinstance(events[-1], Broken) and why in events[-1].why
    client.feed(connection.outgoing())
    assert [status for _, status in client.went_away] == [1]
    assert connection.feed(data(1, b"x")) == [] and connection.outgoing() == b""


def test_headers_are_inflated_no_further_than_their_limit():
    client, connection = Client(), spdy.Connection()
    block = client.deflated(bytes(8 << 20))
    assert len(block) < spdy.CONTROL_BYTES_MAX
    inflated: list[int] = []
    plain = connection._inflater

    class Counting:
        unconsumed_tail = b""

        def decompress(self, data: bytes, most: int) -> bytes:
            out = plain.decompress(data, most)
            inflated.append(len(out))
            self.unconsumed_tail = plain.unconsumed_tail
            return out

    connection._inflater = Counting()
    assert isinstance(connection.feed(control(1, SYN + block))[-1], Broken)
    assert inflated == [spdy.HEADERS_BYTES_MAX + 1]


def test_more_streams_than_may_be_are_refused():
    client, connection = Client(), spdy.Connection()
    for _ in range(spdy.STREAMS_MAX):
        assert len(connection.feed(client.open({})[1])) == 1
    refused, sent = client.open({})
    assert connection.feed(sent) == []
    client.feed(connection.outgoing())
    assert client.resets == {refused: spdy.REFUSED_STREAM}
    connection.reset(1, spdy.CANCEL)
    assert len(connection.feed(client.open({})[1])) == 1


def test_data_is_handed_on_before_its_frame_is_whole():
    client, connection = Client(), spdy.Connection()
    connection.feed(client.open({})[1])
    assert connection.feed(struct.pack(">II", 1, 1 << 24 | 16_000_000) + b"abc") == [Data(1, b"abc")]
    assert connection.feed(b"de") == [Data(1, b"de")]


def test_what_is_sent_is_read_by_the_client():
    client, connection = Client(), spdy.Connection()
    connection.feed(client.open({})[1] + client.open({})[1] + client.open({})[1])
    payload = bytes(range(256)) * 1000
    for sent in (
        connection.reply(1),
        connection.reply(3),
        connection.data(1, payload),
        connection.data(3, b"x", True),
        connection.data(1, b"", True),
        connection.data(1, b"too late"),
        connection.reset(5, spdy.CANCEL),
        connection.data(5, b"too late"),
    ):
        client.feed(sent)
    assert (client.replied, client.ended, client.resets) == ([1, 3], [3, 1], {5: spdy.CANCEL})
    assert client.received == {1: payload, 3: b"x"}


def test_a_stream_that_is_over_both_ways_makes_place_for_another():
    client, connection = Client(), spdy.Connection()
    for _ in range(spdy.STREAMS_MAX + 5):
        stream, sent = client.open({}, spdy.FIN)
        assert connection.feed(sent) == [Opened(stream, {}), Ended(stream)]
        client.feed(connection.data(stream, b"", True))
    assert connection.outgoing() == b"" and not connection._streams


def test_resets_and_windows_that_cannot_be():
    client, connection = Client(), spdy.Connection()
    connection.feed(client.open({})[1] + client.open({})[1])
    assert connection.feed(control(3, struct.pack(">II", 1, 5))) == [Reset(1, 5)]
    assert connection.feed(control(3, struct.pack(">II", 1, 5)) + data(1, b"late")) == []
    assert connection.feed(control(9, struct.pack(">II", 3, 0))) == [Reset(3, spdy.FLOW_CONTROL_ERROR)]
    connection.feed(data(99, b"never opened"))
    client.feed(connection.outgoing())
    assert client.resets == {3: spdy.FLOW_CONTROL_ERROR, 99: spdy.INVALID_STREAM}
