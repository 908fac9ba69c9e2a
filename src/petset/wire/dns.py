"""DNS messages: a query's bytes in, an answer's bytes out; no sockets and no meaning (RFC 1035, 6891, 2308, 2782).

`parse_query(data)` gives a `Query`, or raises `Dropped` (nothing can or may be answered: too short to hold an id, or
itself an answer) or `Refused` with the response code to send back (`refusal(error)` makes its bytes). `response(...)`
builds the answer: the question is repeated byte for byte, so that a client's 0x20 letter case comes back as it was
sent, names are compressed against it, and what does not fit the limit is left out with TC set. A truncated answer
keeps the records that fit, because there are resolvers that use them and never ask again over TCP.

Invariants: no input raises anything else; no pointer of a query is followed; names in `Query.name` and `Record.name`
are lower case without the final dot ("" is the root); an answer is never longer than its limit.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from petset.base import memory

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
INTERNET, ANY_CLASS = 1, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

NAME_BYTES_MAX = 255
LABEL_BYTES_MAX = 63
HEADER_BYTES = 12
PLAIN_UDP_BYTES_MAX = 512  # Without EDNS.
UDP_BYTES_MAX = 4096  # What we send and offer with EDNS: the wire is a bridge on this machine.
TCP_BYTES_MAX = 65_535
ADDRESSES_REMEMBERED_MAX = 8192  # Parsing one costs as much as the rest of its record.

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")
_SOA = struct.Struct("!IIIII")

_QR, _AA, _TC, _RD, _RA, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
_OPCODE = 0x7800


class Srv(NamedTuple):
    priority: int
    weight: int
    port: int
    target: str


class Soa(NamedTuple):
    primary: str
    mailbox: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


Same = tuple[bytes, str, int, int, bytes]
Data = bytes | str | Srv | Soa  # A, AAAA and TXT as packed bytes; CNAME, NS and PTR as a name.


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    type: int
    ttl: int
    data: Data


@dataclass(frozen=True, slots=True)
class Query:
    id: int
    flags: int
    name: str
    type: int
    klass: int
    question: bytes  # Name, type and class as sent.
    packet: bytes  # All of it, as sent.
    edns: bool = False
    udp_bytes: int = PLAIN_UDP_BYTES_MAX

    @property
    def same(self) -> Same:
        """Equal for two queries that every server answers alike."""
        end = HEADER_BYTES + len(self.question)
        return self.packet[2:HEADER_BYTES], self.name, self.type, self.klass, self.packet[end:]


class Dropped(Exception):
    """A packet that gets no answer."""


class Refused(Exception):
    """A query that gets an answer without records: the response code, and what is known of the query."""

    def __init__(self, code: int, id_: int, flags: int, question: bytes = b"", edns: bool = False):
        super().__init__(f"response code {code}")
        self.code, self.id, self.flags, self.question, self.edns = code, id_, flags, question, edns


class _Short(Exception):
    """The message ends before the field does, or the field is not what it must be."""


def parse_query(data: bytes) -> Query:
    """The one question of a query. Raises Dropped or Refused, nothing else."""
    if len(data) < HEADER_BYTES:
        raise Dropped("too short for a header")
    id_, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    if flags & _QR:
        raise Dropped("an answer, not a query")
    if flags & _OPCODE:
        raise Refused(NOTIMP, id_, flags)
    if questions != 1:
        raise Refused(FORMERR, id_, flags)
    question = b""
    try:
        name, at = _question_name(data)
        type_, klass = struct.unpack_from("!HH", data, at)
        end = at + 4
        question = data[HEADER_BYTES:end]
        edns, udp_bytes, version = False, PLAIN_UDP_BYTES_MAX, 0
        at = end
        for index in range(answers + authorities + additionals):
            root, at = _skip_name(data, at)
            kind, size, extended, length = _RECORD.unpack_from(data, at)
            at += _RECORD.size + length
            if at > len(data):
                raise _Short
            if kind == OPT:
                if edns or not root or index < answers + authorities:
                    raise _Short
                edns, udp_bytes = True, max(size, PLAIN_UDP_BYTES_MAX)
                version = extended >> 16 & 0xFF
        if at != len(data):
            raise _Short
    except (_Short, struct.error, IndexError):
        raise Refused(FORMERR, id_, flags, question) from None
    if version:
        raise Refused(BADVERS, id_, flags, question, edns=True)
    return Query(id_, flags, name, type_, klass, question, data, edns, udp_bytes)


def _question_name(data: bytes) -> tuple[str, int]:
    """(name in lower case, position after it); a question's name is never compressed."""
    at = HEADER_BYTES
    labels: list[bytes] = []
    while length := data[at]:
        if length > LABEL_BYTES_MAX:
            raise _Short
        at += 1
        labels.append(data[at : at + length])
        at += length
    at += 1
    if at - HEADER_BYTES > NAME_BYTES_MAX or at > len(data):
        raise _Short
    return _text(labels), at


def _text(labels: Sequence[bytes]) -> str:
    """The name as text. A dot or backslash inside a label is escaped, so that no odd name looks like a plain one."""
    text = b".".join(labels)
    if b"\\" in text or text.count(b".") >= max(1, len(labels)):
        text = b".".join(label.replace(b"\\", b"\\\\").replace(b".", b"\\.") for label in labels)
    return text.lower().decode("latin-1")


def _skip_name(data: bytes, at: int) -> tuple[bool, int]:
    """(is it the root, position after the name), a pointer counted as its end."""
    root = data[at] == 0
    while length := data[at]:
        if length >= 0xC0:
            return False, at + 2
        if length > LABEL_BYTES_MAX:
            raise _Short
        at += 1 + length
    return root, at + 1


class _Writer:
    """The growing message, with where each name and its suffixes were first written."""

    def __init__(self, query: Query):
        self.buffer = bytearray(HEADER_BYTES) + query.question
        self.offsets: dict[str, int] = {}
        name, at = query.name, HEADER_BYTES
        while name and "\\" not in name:
            self.offsets[name] = at
            label, _, name = name.partition(".")
            at += len(label) + 1

    def name(self, name: str, compress: bool = True) -> None:
        buffer = self.buffer
        while name:
            offset = self.offsets.get(name) if compress else None
            if offset is not None:
                buffer += (0xC000 | offset).to_bytes(2)
                return
            if compress and len(buffer) < 0x4000:
                self.offsets[name] = len(buffer)
            label, _, name = name.partition(".")
            encoded = label.encode("latin-1")
            buffer.append(len(encoded))
            buffer += encoded
        buffer.append(0)

    def record(self, record: Record) -> None:
        self.name(record.name)
        buffer, data = self.buffer, record.data
        start = len(buffer)
        if isinstance(data, bytes):
            buffer += _RECORD.pack(record.type, INTERNET, record.ttl, len(data))
            buffer += data
            return
        buffer += _RECORD.pack(record.type, INTERNET, record.ttl, 0)
        if isinstance(data, str):
            self.name(data)
        elif isinstance(data, Srv):
            buffer += _SRV.pack(data.priority, data.weight, data.port)
            self.name(data.target, compress=False)  # RFC 2782 forbids it in an SRV's target.
        else:
            self.name(data.primary)
            self.name(data.mailbox)
            buffer += _SOA.pack(*data[2:])
        length = len(buffer) - start - _RECORD.size
        buffer[start + 8 : start + 10] = length.to_bytes(2)

    def records(self, records: Sequence[Record], limit: int) -> int:
        """How many whole records fit."""
        for count, record in enumerate(records):
            before = len(self.buffer)
            self.record(record)
            if len(self.buffer) > limit:
                del self.buffer[before:]
                self.offsets = {name: at for name, at in self.offsets.items() if at < before}
                return count
        return len(records)


def response(
    query: Query,
    code: int = NOERROR,
    answers: Sequence[Record] = (),
    authorities: Sequence[Record] = (),
    additionals: Sequence[Record] = (),
    *,
    limit: int = TCP_BYTES_MAX,
    authoritative: bool = True,
) -> bytes:
    """The answer's bytes, at most `limit` of them; TC is set when an answer or authority record was left out."""
    writer = _Writer(query)
    opt = _opt(code) if query.edns else b""
    room = limit - len(opt)
    answered = writer.records(answers, room)
    truncated = answered < len(answers)
    authority = 0 if truncated else writer.records(authorities, room)
    truncated = truncated or authority < len(authorities)
    additional = 0 if truncated else writer.records(additionals, room)
    flags = _answer_flags(query.flags, code) | (_AA if authoritative else 0) | (_TC if truncated else 0)
    _HEADER.pack_into(writer.buffer, 0, query.id, flags, 1, answered, authority, additional + bool(opt))
    return bytes(writer.buffer + opt)


def refusal(error: Refused) -> bytes:
    """The answer to a query that could not be read as one."""
    opt = _opt(error.code) if error.edns else b""
    flags = _answer_flags(error.flags, error.code)
    return _HEADER.pack(error.id, flags, bool(error.question), 0, 0, bool(opt)) + error.question + opt


def _answer_flags(flags: int, code: int) -> int:
    return flags & (_OPCODE | _RD | _CD) | _QR | _RA | code & 0xF


def _opt(code: int) -> bytes:
    return b"\0" + _RECORD.pack(OPT, UDP_BYTES_MAX, code >> 4 << 24, 0)


def udp_limit(query: Query) -> int:
    return min(query.udp_bytes, UDP_BYTES_MAX)


def forwarded(query: Query, id_: int) -> bytes:
    """The same question under another id."""
    return id_.to_bytes(2) + query.packet[2:]


def readdressed(answer: bytes, query: Query) -> bytes | None:
    """A resolver's answer as the answer to this query: its id and letter case; None when it answers something else."""
    end = HEADER_BYTES + len(query.question)
    if len(answer) < end or not answer[2] & 0x80 or int.from_bytes(answer[4:6]) != 1:
        return None
    if answer[HEADER_BYTES:end].lower() != query.question.lower():
        return None
    return query.id.to_bytes(2) + answer[2:HEADER_BYTES] + query.question + answer[end:]


def response_code(answer: bytes) -> int:
    return answer[3] & 0xF if len(answer) > 3 else SERVFAIL


def query_bytes(id_: int, name: str, type_: int, udp_bytes: int = UDP_BYTES_MAX) -> bytes:
    """A recursive query of our own, with EDNS."""
    return _HEADER.pack(id_, _RD, 1, 0, 0, 1) + encoded_name(name) + struct.pack("!HH", type_, INTERNET) + _opt(0)


def encoded_name(name: str) -> bytes:
    """The uncompressed wire form of a name for which `is_name` holds."""
    labels = name.split(".") if name else []
    return b"".join(len(label).to_bytes(1) + label.encode("latin-1") for label in labels) + b"\0"


def is_name(text: str) -> bool:
    """Can it be written as a name: labels of 1 to 63 bytes, 255 bytes in all, ASCII without escapes."""
    if not text.isascii() or "\\" in text or len(text) + 2 > NAME_BYTES_MAX:
        return False
    return all(0 < len(label) <= LABEL_BYTES_MAX for label in text.split("."))


def is_label(text: str) -> bool:
    return 0 < len(text) <= LABEL_BYTES_MAX and text.isascii() and "." not in text and "\\" not in text


def parse_addresses(answer: bytes) -> list[Record]:
    """The A, AAAA and CNAME records of a resolver's answer section; [] when it cannot be read."""
    records: list[Record] = []
    try:
        _, _, questions, answers, _, _ = _HEADER.unpack_from(answer)
        at = HEADER_BYTES
        for _ in range(questions):
            at = _skip_name(answer, at)[1] + 4
        for _ in range(answers):
            name, at = _pointed_name(answer, at)
            kind, klass, ttl, length = _RECORD.unpack_from(answer, at)
            at += _RECORD.size
            data = answer[at : at + length]
            if len(data) < length:
                raise _Short
            if klass == INTERNET and (kind, length) in ((A, 4), (AAAA, 16)):
                records.append(Record(name, kind, ttl, data))
            elif klass == INTERNET and kind == CNAME:
                records.append(Record(name, kind, ttl, _pointed_name(answer, at)[0]))
            at += length
    except (_Short, struct.error, IndexError):
        return []
    return records


def _pointed_name(data: bytes, at: int) -> tuple[str, int]:
    """(name, position after it), pointers followed backwards only, so that there is an end to it."""
    labels: list[bytes] = []
    after, lowest, total = None, at, 0
    while length := data[at]:
        if length >= 0xC0:
            target = int.from_bytes(data[at : at + 2]) & 0x3FFF
            after = at + 2 if after is None else after
            if target >= lowest:
                raise _Short
            at = lowest = target
            continue
        total += length + 1
        if length > LABEL_BYTES_MAX or total > NAME_BYTES_MAX:
            raise _Short
        labels.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    text = _text(labels)
    if text and not is_name(text):
        raise _Short  # A name that we could not write again.
    return text, at + 1 if after is None else after


@memory.cached(ADDRESSES_REMEMBERED_MAX)
def packed_address(text: str) -> bytes | None:
    """4 or 16 bytes, or None when the text is not an address."""
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        return None


@memory.cached(ADDRESSES_REMEMBERED_MAX)
def reverse_name(text: str) -> str:
    """The name under in-addr.arpa or ip6.arpa that a PTR query for the address asks."""
    return ipaddress.ip_address(text).reverse_pointer


def packed_text(text: str) -> bytes:
    """A TXT record's data: one string of up to 255 bytes."""
    encoded = text.encode()[:255]
    return len(encoded).to_bytes(1) + encoded
