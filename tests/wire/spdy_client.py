"""The client's end of SPDY/3.1, written apart from wire/spdy.py: what the tests speak to it with."""

from __future__ import annotations

import struct
import zlib

from petset.wire import spdy

CONTROL = 0x80030000


class Client:
    """Frames to send; and, of what came, each stream's bytes and how it ended."""

    def __init__(self) -> None:
        self._deflater = zlib.compressobj(9, zdict=spdy.DICTIONARY)
        self._inflater = zlib.decompressobj(zdict=spdy.DICTIONARY)
        self._next = 1
        self._held = b""
        self.replied: list[int] = []
        self.received: dict[int, bytes] = {}
        self.ended: list[int] = []
        self.resets: dict[int, int] = {}
        self.pings: list[int] = []
        self.went_away: list[tuple[int, int]] = []

    def open(self, headers: dict[str, str], flags: int = 0) -> tuple[int, bytes]:
        stream, self._next = self._next, self._next + 2
        body = struct.pack(">IIBB", stream, 0, 0, 0) + self.block(headers)
        return stream, control(1, body, flags)

    def block(self, headers: dict[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for text in (text for pair in headers.items() for text in pair):
            plain += struct.pack(">I", len(text)) + text.encode()
        return self.deflated(plain)

    def deflated(self, plain: bytes) -> bytes:
        return self._deflater.compress(plain) + self._deflater.flush(zlib.Z_SYNC_FLUSH)

    def feed(self, data: bytes) -> None:
        self._held += data
        while len(self._held) >= 8:
            first, second = struct.unpack_from(">II", self._held)
            size = 8 + (second & 0xFFFFFF)
            if len(self._held) < size:
                return
            frame, self._held = self._held[8:size], self._held[size:]
            if first >> 31:
                self._control(first & 0xFFFF, frame)
                continue
            assert first not in self.ended, "data after the end"
            self.received[first] = self.received.get(first, b"") + frame
            if second >> 24 & 1:
                self.ended.append(first)

    def _control(self, kind: int, body: bytes) -> None:
        numbers = struct.unpack_from(f">{len(body) // 4}I", body)
        if kind == 2:
            plain = self._inflater.decompress(body[4:])
            assert plain == struct.pack(">I", 0)
            self.replied.append(numbers[0])
        elif kind == 3:
            self.resets[numbers[0]] = numbers[1]
        elif kind == 6:
            self.pings.append(numbers[0])
        elif kind == 7:
            self.went_away.append((numbers[0], numbers[1]))
        else:
            raise AssertionError(f"a frame of type {kind}")


def control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", CONTROL | kind, flags << 24 | len(body)) + body


def data(stream: int, payload: bytes, is_last: bool = False) -> bytes:
    return struct.pack(">II", stream, is_last << 24 | len(payload)) + payload
