"""The DNS codec against dnspython: what it writes is read the same, and no input makes it raise anything unexpected."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.wire import dns as wire

LABEL = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_", min_size=1, max_size=63)
NAME = st.lists(LABEL, min_size=1, max_size=6).map(".".join).filter(wire.is_name)
TYPES = {wire.A: "A", wire.AAAA: "AAAA", wire.SRV: "SRV", wire.CNAME: "CNAME", wire.PTR: "PTR", wire.TXT: "TXT"}


@given(NAME, st.sampled_from(sorted(TYPES)), st.integers(0, 65535), st.none() | st.integers(0, 65535), st.booleans())
def test_a_query_is_read_as_it_was_written(name, type_, id_, payload, dnssec):
    message = dns.message.make_query(
        name, type_, use_edns=payload is not None, payload=payload or 0, want_dnssec=dnssec
    )
    message.id = id_
    query = wire.parse_query(message.to_wire())
    assert (query.id, query.name, query.type, query.klass) == (id_, name.lower(), type_, 1)
    assert query.edns == (message.edns >= 0)
    assert query.udp_bytes == max(512, message.payload if query.edns else 0)


RECORD = st.one_of(
    st.builds(wire.Record, NAME.map(str.lower), st.just(wire.A), st.integers(0, 9), st.binary(min_size=4, max_size=4)),
    st.builds(
        wire.Record, NAME.map(str.lower), st.just(wire.AAAA), st.integers(0, 9), st.binary(min_size=16, max_size=16)
    ),
    st.builds(wire.Record, NAME.map(str.lower), st.just(wire.CNAME), st.integers(0, 9), NAME.map(str.lower)),
    st.builds(
        wire.Record,
        NAME.map(str.lower),
        st.just(wire.SRV),
        st.integers(0, 9),
        st.builds(wire.Srv, st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535), NAME.map(str.lower)),
    ),
)


@given(NAME, st.lists(RECORD, max_size=8), st.booleans(), st.integers(512, 1500))
@settings(max_examples=200)
def test_an_answer_is_read_as_it_was_meant(name, records, edns, limit):
    query = wire.parse_query(dns.message.make_query(name, "A", use_edns=edns).to_wire())
    packet = wire.response(query, answers=records, limit=limit)
    assert len(packet) <= limit
    message = dns.message.from_wire(packet, one_rr_per_rrset=True)
    assert (message.edns >= 0) == edns
    assert message.flags & dns.flags.QR and message.flags & dns.flags.RA
    whole = len(message.answer) == len(records)
    assert bool(message.flags & dns.flags.TC) == (not whole)
    for rrset, record in zip(message.answer, records):
        # Names that end like the question repeat its letter case; only that may differ.
        assert rrset.name == dns.name.from_text(record.name)
        assert (rrset.rdtype, rrset.ttl) == (record.type, record.ttl)
        assert meaning(rrset[0]) == expected(record)


def meaning(data):
    match data.rdtype:
        case wire.A | wire.AAAA:
            return wire.packed_address(data.address)
        case wire.CNAME:
            return data.target.to_text(omit_final_dot=True).lower()
        case wire.SRV:
            return data.priority, data.weight, data.port, data.target.to_text(omit_final_dot=True).lower()


def expected(record):
    return tuple(record.data) if isinstance(record.data, wire.Srv) else record.data


QUERY = dns.message.make_query("web-0.nginx.default.svc.cluster.local", "SRV", use_edns=0).to_wire()


def answered(data):
    """What a server sends for these bytes, as dnspython reads it; None when it sends nothing."""
    try:
        query = wire.parse_query(data)
    except wire.Dropped:
        return None
    except wire.Refused as error:
        return dns.message.from_wire(wire.refusal(error), question_only=True)
    return dns.message.from_wire(wire.response(query))


def test_a_query_cut_anywhere_is_dropped_or_refused():
    for end in range(len(QUERY)):
        answer = answered(QUERY[:end])
        assert answer is None if end < wire.HEADER_BYTES else answer.rcode() == dns.rcode.FORMERR


@given(st.binary(max_size=80))
def test_rubbish_never_raises(data):
    answered(data)
    wire.parse_addresses(data)


@given(st.integers(0, len(QUERY) - 1), st.integers(0, 255), st.binary(max_size=4))
@settings(max_examples=400)
def test_a_damaged_query_never_raises(at, byte, more):
    data = QUERY[:at] + bytes([byte]) + QUERY[at + 1 :] + more
    answer = answered(data)
    assert answer is None or answer.id == int.from_bytes(data[:2])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\0\1\1\0\0\2" + QUERY[6:], dns.rcode.FORMERR, id="two questions"),
        pytest.param(b"\0\1\x28\0" + QUERY[4:], dns.rcode.NOTIMP, id="another operation"),
        pytest.param(b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", dns.rcode.FORMERR, id="a pointer in the question"),
        pytest.param(
            b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\x3fa" * 0 + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",
            1,
            id="a name too long",
        ),
        pytest.param(QUERY + b"\0", dns.rcode.FORMERR, id="bytes after the end"),
    ],
)
def test_refused(data, code):
    answer = answered(data)
    assert answer is not None and answer.rcode() == code


def test_an_unknown_edns_version_is_told():
    query = dns.message.make_query("a.b", "A", use_edns=0)
    query.use_edns(1)
    with pytest.raises(wire.Refused) as refused:
        wire.parse_query(query.to_wire())
    message = dns.message.from_wire(wire.refusal(refused.value))
    assert message.rcode() == dns.rcode.BADVERS


def test_an_answer_is_never_answered():
    with pytest.raises(wire.Dropped):
        wire.parse_query(dns.message.make_response(dns.message.make_query("a.b", "A")).to_wire())


def test_odd_labels_do_not_look_like_plain_names():
    def name_of(question):
        return wire.parse_query(b"\0\1\1\0\0\1\0\0\0\0\0\0" + question + b"\0\1\0\1").name

    assert name_of(b"\x03a.b\x01c\0") == "a\\.b.c"
    assert name_of(b"\x01.\0") == "\\."
    assert name_of(b"\x02\\.\0") == "\\\\\\."
    assert name_of(b"\0") == ""
    assert name_of(b"\x02\xc3\xa4\0") == "\xc3\xa4"


def test_what_does_not_fit_is_left_out_whole():
    query = wire.parse_query(dns.message.make_query("s.n.svc.cluster.local", "SRV").to_wire())
    records = [
        wire.Record("s.n.svc.cluster.local", wire.SRV, 5, wire.Srv(10, 1, 0, f"p-{i}.s.n.svc.cluster.local"))
        for i in range(100)
    ]
    message = dns.message.from_wire(wire.response(query, answers=records, additionals=records[:1], limit=512))
    assert message.flags & dns.flags.TC
    assert 5 < len(message.answer[0]) < 15
    assert not message.additional


def test_additional_records_that_do_not_fit_do_not_truncate():
    query = wire.parse_query(dns.message.make_query("s", "A").to_wire())
    address = [wire.Record("s", wire.A, 5, b"\1\2\3\4")] * 100
    message = dns.message.from_wire(wire.response(query, answers=address[:2], additionals=address, limit=200))
    assert not message.flags & dns.flags.TC
    assert message.additional


@given(st.binary(max_size=64), st.integers(0, 255))
def test_pointers_in_an_answer_come_to_an_end(data, start):
    wire.parse_addresses(b"\0\1\x81\x80\0\0\0\3\0\0\0\0" + bytes([0xC0, start]) + data)


def test_a_resolvers_answer_becomes_the_clients():
    asked = wire.parse_query(dns.message.make_query("Example.ORG", "A").to_wire())
    question = dns.message.from_wire(wire.forwarded(asked, 7))
    assert question.id == 7
    answer = dns.message.make_response(question)
    packet = wire.readdressed(answer.to_wire(), asked)
    assert dns.message.from_wire(packet).id == asked.id
    other = dns.message.make_response(dns.message.make_query("other.org", "A")).to_wire()
    assert wire.readdressed(other, asked) is None
