"""What the layers of an image would unpack to, counted before anything is unpacked.

A layer of a few megabytes may hold ten gigabytes of zeros or a million empty files. `count` reads a layer as its tar
stream and feeds a `Tally`, which follows the headers alone: bytes are what the stream holds and what its sparse files
would grow to, entries are its headers. More than the limits, or a stream that cannot be followed, raises at once.

The tally is sans-I/O and keeps no more than one extended header. What it makes of a header is what unpacking makes of
it: a reader that went astray would meet a wrong checksum.
Follows: OCI image-spec 1.0 (layer), pax(1) for the ustar and extended headers, tar(5) for GNU's sparse files.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

BLOCK_BYTES = 512
CHUNK_BYTES = 1 << 20
EXTENDED_HEADER_BYTES_MAX = 1 << 20

_NO_CONTENT = b"123456"  # Links, devices, directories and pipes: their size means nothing.
_EXTENDED, _SPARSE = b"x", b"S"
_LONG_NAMES = b"LK"  # GNU's: what an extended header said is for the entry that follows them.


class LayerError(Exception):
    """An image that is not unpacked; the message says why."""


class Tally:
    """One image's bytes and entries, fed with the tar streams of its layers, one after the other."""

    def __init__(self, bytes_max: int, entries_max: int):
        self.bytes = self.entries = 0
        self._bytes_max, self._entries_max = bytes_max, entries_max
        self.begin()

    def begin(self) -> None:
        """The next layer."""
        self._buffer = b""
        self._skip = 0  # Bytes until the next header.
        self._extended = 0  # Bytes of an extended header that comes next, with its padding.
        self._sparse_map = False  # A block of an old sparse file's map comes next.
        self._said: dict[bytes, int] = {}  # Numbers of the extended header, for the entry that follows it.
        self._over = False

    def feed(self, data: bytes) -> None:
        """Raises LayerError."""
        self._add(len(data))
        if self._over:
            return
        data, at = self._buffer + data, 0
        while True:
            skipped = min(self._skip, len(data) - at)
            at, self._skip = at + skipped, self._skip - skipped
            needed = self._extended or BLOCK_BYTES
            if self._over or self._skip or len(data) - at < needed:
                break
            self._next(data[at : at + needed])
            at += needed
        self._buffer = b"" if self._over else data[at:]

    def _next(self, block: bytes) -> None:
        if self._extended:
            self._said, self._extended = _numbers(block), 0
        elif self._sparse_map:
            self._sparse_map = bool(block[504])
        elif not block.strip(b"\0"):
            self._over = True
        else:
            self._header(block)

    def _header(self, block: bytes) -> None:
        if not _is_header(block):
            raise LayerError("a layer is no tar archive, or is damaged")
        kind, size = block[156:157], _number(block[124:136])
        if kind == _EXTENDED:
            if size > EXTENDED_HEADER_BYTES_MAX:
                raise LayerError(f"a layer has an extended header of more than {EXTENDED_HEADER_BYTES_MAX} bytes")
            self._extended = _padded(size)
            return
        if kind in _LONG_NAMES:
            self._skip = _padded(size)
            return
        size, said, self._said = self._said.get(b"size", size), self._said, {}
        grows_to = max(said.get(b"GNU.sparse.realsize", 0), said.get(b"GNU.sparse.size", 0))
        if kind == _SPARSE:
            grows_to, self._sparse_map = _number(block[483:495]), bool(block[482])
        self._skip = 0 if kind in _NO_CONTENT else _padded(size)
        self._add(max(0, grows_to - size))
        self.entries += 1
        if self.entries > self._entries_max:
            raise LayerError(f"it has more than {self._entries_max} files")

    def _add(self, number: int) -> None:
        self.bytes += number
        if self.bytes > self._bytes_max:
            raise LayerError(f"it unpacks to more than {self._bytes_max} bytes")


def _is_header(block: bytes) -> bool:
    counted = block[:148] + b" " * 8 + block[156:]
    total = sum(counted)
    above = sum(byte > 127 for byte in counted) if max(counted) > 127 else 0  # Some old programs summed signed bytes.
    return _number(block[148:156]) in (total, total - 256 * above)


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _number(field: bytes) -> int:
    """Octal digits, or GNU's binary form, which begins with the highest bit."""
    if field[0] & 0x80:
        number = int.from_bytes(field) & ~(0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40:
            raise LayerError("a layer has an entry of negative size")
        return number
    digits = field.strip(b"\0 ").partition(b"\0")[0]
    if digits.strip(b"01234567"):
        raise LayerError("a layer is no tar archive, or is damaged")
    return int(digits or b"0", 8)


def _numbers(text: bytes) -> dict[bytes, int]:
    """The records of an extended header whose value is a number: `<length> <key>=<value>` and a newline each."""
    found: dict[bytes, int] = {}
    at = 0
    while at < len(text) and text[at : at + 1] != b"\0":
        length, space, _ = text[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or not int(length) > len(length) + 1:
            raise LayerError("a layer has an extended header that cannot be read")
        key, _, value = text[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        if value.isdigit() and len(value) < 20:
            found[key] = int(value)
        at += int(length)
    return found


def count(file: BinaryIO, media_type: str, tally: Tally) -> None:
    """Feed a layer's blob to the tally. Raises LayerError, OSError."""
    tally.begin()
    if media_type.endswith((".tar", ".diff")):
        pieces = iter(lambda: file.read(CHUNK_BYTES), b"")
    elif media_type.endswith(("+gzip", ".gzip")):
        pieces = _inflated(file)
    else:
        raise LayerError(f"a layer is of type {media_type}, which this release of petset does not unpack")
    for piece in pieces:
        tally.feed(piece)


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """The content of a gzip file, of all its members, never more than CHUNK_BYTES at a time."""
    reader, data = zlib.decompressobj(zlib.MAX_WBITS | 16), file.read(CHUNK_BYTES)
    while data:
        try:
            yield reader.decompress(data, CHUNK_BYTES)
        except zlib.error:
            raise LayerError("a layer is not compressed as it says, or is damaged") from None
        data = reader.unconsumed_tail
        if reader.eof:
            data, reader = reader.unused_data.lstrip(b"\0"), zlib.decompressobj(zlib.MAX_WBITS | 16)
        data = data or file.read(CHUNK_BYTES)


def free(directory: str) -> tuple[int, int]:
    """The bytes and the files that the disk of a directory has room for."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize, found.f_favail
