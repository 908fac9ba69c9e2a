"""SPDY/3.1 without a socket, the server's end: bytes in, events out; what is to be sent, as bytes.

A client opens streams with headers and sends data on them; either side ends its half of a stream, or resets it. `feed`
gives events in order; afterwards `outgoing` holds what the protocol answers by itself (pings, refused streams). Data is
handed on as it comes, a frame's beginning before its end. `reply`, `data` and `reset` return bytes to write.

Invariants: no input raises; one that breaks the protocol or a limit is one `Broken`, then nothing, and `outgoing` says
GOAWAY. Headers are inflated no further than their limit. Windows are not kept: Kubernetes' clients never open one
wider, so a server that heeded them would stop after 64 KiB; who writes waits for the connection instead.
Follows: SPDY Protocol, draft 3.1, as moby/spdystream speaks it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

STREAMS_MAX = 1024  # Open at once on a connection: a further one is refused.
CONTROL_BYTES_MAX = 16 << 10  # Of a control frame, as it comes.
HEADERS_BYTES_MAX = 32 << 10  # Of a frame's headers, inflated.
HEADERS_MAX = 64
DATA_FRAME_BYTES_MAX = 64 << 10  # Of one that is sent; one that comes may be as long as SPDY lets it.

# Control frames that mean something; SETTINGS (4) change nothing.
SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 6, 7, 8, 9
INVALID_STREAM, REFUSED_STREAM, CANCEL, FLOW_CONTROL_ERROR = 2, 3, 5, 7
GOAWAY_PROTOCOL_ERROR = 1
VERSION = 3
FIN, UNIDIRECTIONAL = 1, 2

# The draft's dictionary: words with their lengths before them, then a text. Both ends' zlib begins with it.
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = [word.replace("_", " ").encode() for word in _WORDS.split(" ")]
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + _TEXT.encode()


DICTIONARY = _dictionary()


@dataclass(frozen=True, slots=True)
class Opened:
    stream: int
    headers: Mapping[str, str]  # Lower-case names; several values of one name are joined by NUL.


@dataclass(frozen=True, slots=True)
class Data:
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The client sends no more on this stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The stream is over, both ways."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The client opens no more streams."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What came was no SPDY, or too large; nothing follows."""

    why: str


Event = Opened | Data | Ended | Reset | GoneAway | Broken


class _Wrong(Exception):
    pass


@dataclass(slots=True)
class _Half:
    """Which halves of a stream are still open."""

    receiving: bool = True
    sending: bool = True


class Connection:
    def __init__(self) -> None:
        self._held = b""  # Of a frame that has not wholly come.
        self._left = 0  # Bytes of a data frame still to come.
        self._data_stream, self._data_is_last = 0, False
        self._inflater = zlib.decompressobj(zdict=DICTIONARY)
        # A window of 4 KiB does: what we send has few headers, or none.
        self._deflater = zlib.compressobj(zlib.Z_BEST_SPEED, wbits=12, memLevel=2, zdict=DICTIONARY)
        self._streams: dict[int, _Half] = {}
        self._latest = 0
        self._answers: list[bytes] = []
        self._broken = False

    # ---- what comes

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if self._broken:
            return events
        view = memoryview(self._held + data if self._held else data)
        at = 0
        try:
            while True:
                if self._left:
                    piece = bytes(view[at : at + self._left])
                    at += len(piece)
                    self._left -= len(piece)
                    self._receive(piece, events)
                    if self._left:
                        break
                if len(view) - at < 8:
                    break
                first, second = struct.unpack_from(">II", view, at)
                length = second & 0xFFFFFF
                if first >> 31:
                    _check_control(first, length)
                    if len(view) - at < 8 + length:
                        break
                    self._control(first & 0xFFFF, second >> 24, bytes(view[at + 8 : at + 8 + length]), events)
                    at += 8 + length
                else:
                    at += 8
                    self._begin_data(first, bool(second >> 24 & FIN), length, events)
        except (_Wrong, struct.error, zlib.error) as wrong:
            self._broken = True
            self._held = b""
            self._answers.append(_control_frame(GOAWAY, struct.pack(">II", self._latest, GOAWAY_PROTOCOL_ERROR)))
            events.append(Broken(str(wrong)))
            return events
        self._held = bytes(view[at:])
        return events

    def outgoing(self) -> bytes:
        """What is to be written after `feed`; b"" when nothing is."""
        answers, self._answers = self._answers, []
        return b"".join(answers)

    def _begin_data(self, stream: int, is_last: bool, length: int, events: list[Event]) -> None:
        if stream == 0:
            raise _Wrong("data on stream 0")
        if stream not in self._streams and stream > self._latest:
            self._answers.append(_reset(stream, INVALID_STREAM))
        self._data_stream, self._data_is_last, self._left = stream, is_last, length
        if not length:
            self._receive(b"", events)

    def _receive(self, piece: bytes, events: list[Event]) -> None:
        half = self._streams.get(self._data_stream)
        if half is None or not half.receiving:
            return  # Of a stream that is over: it was under way when that was said.
        if piece:
            events.append(Data(self._data_stream, piece))
        if self._data_is_last and not self._left:
            self._end_receiving(self._data_stream, half, events)

    def _end_receiving(self, stream: int, half: _Half, events: list[Event]) -> None:
        if half.receiving:
            half.receiving = False
            events.append(Ended(stream))
            self._forget(stream, half)

    def _forget(self, stream: int, half: _Half) -> None:
        if not half.receiving and not half.sending:
            self._streams.pop(stream, None)

    def _control(self, kind: int, flags: int, body: bytes, events: list[Event]) -> None:
        if kind == SYN_STREAM:
            (stream,) = struct.unpack_from(">I", body)
            self._open(stream & 0x7FFFFFFF, flags, self._inflated(body[10:]), events)
        elif kind in (SYN_REPLY, HEADERS):
            (stream,) = struct.unpack_from(">I", body)
            self._inflated(body[4:])  # Nobody asks what they say, but the next headers build on it.
            if flags & FIN and (half := self._streams.get(stream)) is not None:
                self._end_receiving(stream, half, events)
        elif kind == RST_STREAM:
            stream, status = struct.unpack(">II", body)
            if self._streams.pop(stream, None) is not None:
                events.append(Reset(stream, status))
        elif kind == PING:
            (number,) = struct.unpack(">I", body)
            if number % 2:  # The even ones are ours, and we send none.
                self._answers.append(_control_frame(PING, body))
        elif kind == GOAWAY:
            struct.unpack(">II", body)
            events.append(GoneAway())
        elif kind == WINDOW_UPDATE:
            stream, delta = struct.unpack(">II", body)
            if not 0 < delta < 1 << 31 and self._streams.pop(stream, None) is not None:
                self._answers.append(_reset(stream, FLOW_CONTROL_ERROR))
                events.append(Reset(stream, FLOW_CONTROL_ERROR))

    def _open(self, stream: int, flags: int, headers: dict[str, str], events: list[Event]) -> None:
        if stream % 2 == 0 or stream <= self._latest:
            raise _Wrong(f"stream {stream} opened after stream {self._latest}")
        self._latest = stream
        if len(self._streams) >= STREAMS_MAX:
            self._answers.append(_reset(stream, REFUSED_STREAM))
            return
        half = self._streams[stream] = _Half(sending=not flags & UNIDIRECTIONAL)
        events.append(Opened(stream, headers))
        if flags & FIN:
            self._end_receiving(stream, half, events)

    def _inflated(self, block: bytes) -> dict[str, str]:
        plain = self._inflater.decompress(block, HEADERS_BYTES_MAX + 1)
        if len(plain) > HEADERS_BYTES_MAX or self._inflater.unconsumed_tail:
            raise _Wrong(f"headers of more than {HEADERS_BYTES_MAX} bytes")
        return parse_headers(plain)

    # ---- what is sent

    def is_sending(self, stream: int) -> bool:
        """Whether something may still be sent on it."""
        half = self._streams.get(stream)
        return half is not None and half.sending

    def reply(self, stream: int) -> bytes:
        """Accept a stream that was opened."""
        if not self.is_sending(stream):
            return b""
        block = self._deflater.compress(struct.pack(">I", 0)) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        return _control_frame(SYN_REPLY, struct.pack(">I", stream) + block)

    def data(self, stream: int, payload: bytes, is_last: bool = False) -> bytes:
        """b"" when the stream is over: nobody would read it."""
        if not self.is_sending(stream):
            return b""
        half = self._streams[stream]
        frames: list[bytes] = []
        for start in range(0, max(len(payload), 1), DATA_FRAME_BYTES_MAX):
            piece = payload[start : start + DATA_FRAME_BYTES_MAX]
            ends = is_last and start + DATA_FRAME_BYTES_MAX >= len(payload)
            if piece or ends:
                frames.append(struct.pack(">II", stream, ends << 24 | len(piece)) + piece)
        if is_last:
            half.sending = False
            self._forget(stream, half)
        return b"".join(frames)

    def reset(self, stream: int, status: int) -> bytes:
        """End a stream both ways, at once."""
        return _reset(stream, status) if self._streams.pop(stream, None) is not None else b""


def _check_control(first: int, length: int) -> None:
    version = first >> 16 & 0x7FFF
    if version != VERSION:
        raise _Wrong(f"a control frame of version {version}")
    if length > CONTROL_BYTES_MAX:
        raise _Wrong(f"a control frame of {length} bytes, and {CONTROL_BYTES_MAX} is the most")


def parse_headers(plain: bytes) -> dict[str, str]:
    """Raises struct.error, or _Wrong, for what is not a block of headers."""
    (count,) = struct.unpack_from(">I", plain)
    if count > HEADERS_MAX:
        raise _Wrong(f"{count} headers, and {HEADERS_MAX} is the most")
    at, texts = 4, list[str]()
    for _ in range(2 * count):
        (length,) = struct.unpack_from(">I", plain, at)
        at += 4 + length
        if at > len(plain):
            raise _Wrong("headers that end early")
        texts.append(plain[at - length : at].decode("utf-8", "replace"))
    if at != len(plain):
        raise _Wrong("headers with something behind them")
    return {name.lower(): value for name, value in zip(texts[::2], texts[1::2])}


def _control_frame(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, kind, len(body)) + body


def _reset(stream: int, status: int) -> bytes:
    return _control_frame(RST_STREAM, struct.pack(">II", stream, status))
