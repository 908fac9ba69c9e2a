"""What rests, packed: entries and changes as compressed blocks, without an object for any of them.

Python gives memory back by the MiB, and only when none of the small objects in it is alive. What was written while
much else was (the Events of pods that have gone since, the history) would keep all of that memory for its sake. So a
store at rest packs what nobody looks at: rows of bytes, one after another, in blocks that are compressed each for
itself. A `Run` is sorted by key and finds a key by its hash; `Stretches` are a part of the history. Neither ever
changes, but that a run forgets the rows that were taken out of it.

Blocks are compressed in a thread and read on the loop: one takes some 50 µs.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Literal

from petset.store.store import Change, Entry

BLOCK_BYTES_MAX = 16 << 10  # Before it is compressed; one row may be longer.
STRETCH_BYTES_MAX = 128 << 10  # Of changes that are unpacked together.
RUN_ROWS_MAX = 16_384  # So that to take the entries' place stays a short turn of the loop.
COMPRESSION = 1  # Four fifths are saved; what more would save takes four times as long.

_HEAD = struct.Struct("<QQII")  # Revision, created revision, bytes of the key, bytes of the object.
_TYPES: tuple[Literal["ADDED", "MODIFIED", "DELETED"], ...] = ("ADDED", "MODIFIED", "DELETED")


def _row(entry: Entry) -> bytes:
    key = entry.key.encode()
    return b"".join(
        (_HEAD.pack(entry.revision, entry.created_revision, len(key), len(entry.encoded)), key, entry.encoded)
    )


def _entry_at(block: bytes, at: int) -> tuple[Entry, int]:
    """(the entry of the row that begins there, where the next one begins)."""
    revision, created, key_length, length = _HEAD.unpack_from(block, at)
    begin = at + _HEAD.size
    middle = begin + key_length
    end = middle + length
    return Entry(block[begin:middle].decode(), revision, created, block[middle:end]), end


def _key_at(block: bytes, at: int) -> tuple[str, int]:
    _, _, key_length, length = _HEAD.unpack_from(block, at)
    begin = at + _HEAD.size
    return block[begin : begin + key_length].decode(), begin + key_length + length


class Run:
    """Entries in the order of their keys. Beside its block there is little of each: a hash, and whether it is gone."""

    __slots__ = ("_blocks", "_ends", "_firsts", "_gone", "_hashes", "_name_ends", "_names", "_rows", "left")

    def __init__(self, building: Building):
        count = len(building.hashes)
        order = sorted(range(count), key=building.hashes.__getitem__)
        self._hashes = array("q", map(building.hashes.__getitem__, order))
        self._rows = array("I", order)  # By hash.
        self._gone = bytearray(count)
        self._blocks, self._ends = bytes(building.blocks), building.ends
        self._firsts = building.firsts  # The first row of each block, and
        self._names, self._name_ends = bytes(building.names), building.name_ends  # its key.
        self.left = count  # How many are not gone.

    def find(self, key: str) -> tuple[int, Entry] | None:
        """(row, entry) when it is here."""
        wanted = hash(key)
        at = bisect_left(self._hashes, wanted)
        while at < len(self._hashes) and self._hashes[at] == wanted:
            row = self._rows[at]
            if not self._gone[row] and (entry := self._at(row)).key == key:
                return row, entry
            at += 1
        return None

    def take(self, key: str) -> Entry | None:
        """It leaves the run."""
        found = self.find(key)
        if found is None:
            return None
        self.drop(found[0])
        return found[1]

    def drop(self, row: int) -> None:
        self._gone[row] = 1
        self.left -= 1

    def span(self, prefix: str, following: str) -> Span:
        """The rows of now whose keys begin so; `following` is the first key after all such."""
        return Span(self, self._first_from(prefix), self._first_from(following) if following else len(self._gone))

    def count(self, prefix: str, following: str) -> int:
        span = self.span(prefix, following)
        return span.end - span.begin - self._gone.count(1, span.begin, span.end)

    def gone(self, begin: int, end: int) -> bytes:
        return bytes(self._gone[begin:end])

    def is_gone(self, row: int) -> bool:
        return bool(self._gone[row])

    @property
    def is_sparse(self) -> bool:
        return self.left * 2 < len(self._gone)

    def rows(self, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, Entry]]:
        """(row, entry) from one row to another, gone ones, too."""
        end = len(self._gone) if end is None else end
        number = max(0, bisect_right(self._firsts, begin) - 1)
        while number < len(self._firsts) and self._firsts[number] < end:
            block, at, row = self._block(number), 0, self._firsts[number]
            while at < len(block) and row < end:
                if row < begin:
                    at = _key_at(block, at)[1]
                else:
                    entry, at = _entry_at(block, at)
                    yield row, entry
                row += 1
            number += 1

    def _at(self, row: int) -> Entry:
        return next(self.rows(row, row + 1))[1]

    def _block(self, number: int) -> bytes:
        return zlib.decompress(self._blocks[self._ends[number - 1] if number else 0 : self._ends[number]])

    def _first_from(self, key: str) -> int:
        """The first row whose key is this or comes after it."""
        number = bisect_left(_Names(self._names, self._name_ends), key)
        if number == 0:
            return 0
        block, at, row = self._block(number - 1), 0, self._firsts[number - 1]
        while at < len(block):
            found, at = _key_at(block, at)
            if found >= key:
                break
            row += 1
        return row


class _Names(Sequence[str]):
    """Texts in one piece of bytes, to be bisected."""

    def __init__(self, texts: bytes, ends: array[int]):
        self._texts, self._ends = texts, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:  # type: ignore[override]  # Nobody asks for a slice.
        return self._texts[self._ends[number - 1] if number else 0 : self._ends[number]].decode()


class Span:
    """Rows of a run as they were when it was made."""

    __slots__ = ("_gone", "_run", "begin", "end")

    def __init__(self, run: Run, begin: int, end: int):
        self._run, self.begin, self.end = run, begin, end
        self._gone = run.gone(begin, end)

    def entries(self) -> Iterator[Entry]:
        for row, entry in self._run.rows(self.begin, self.end):
            if not self._gone[row - self.begin]:
                yield entry


class Building:
    """A run that is being made: entries are added in the order of their keys."""

    def __init__(self) -> None:
        self.hashes, self.firsts = array("q"), array("I")
        self.blocks, self.ends = bytearray(), array("Q")
        self.names, self.name_ends = bytearray(), array("Q")
        self._open = bytearray()

    def add(self, entry: Entry) -> None:
        if not self._open:
            self.firsts.append(len(self.hashes))
            self.names += entry.key.encode()
            self.name_ends.append(len(self.names))
        self.hashes.append(hash(entry.key))
        self._open += _row(entry)
        if len(self._open) >= BLOCK_BYTES_MAX:
            self._close()

    def done(self) -> Run:
        self._close()
        return Run(self)

    def _close(self) -> None:
        if self._open:
            self.blocks += zlib.compress(self._open, COMPRESSION)
            self.ends.append(len(self.blocks))
            self._open = bytearray()


class Stretches:
    """Consecutive changes in pieces that are unpacked together, to be taken from either end."""

    __slots__ = ("_begin", "_counts", "_end", "_ends", "_first", "_packed")

    def __init__(self, changes: Sequence[Change]):
        self._packed, self._ends, self._counts = b"", array("Q"), array("I")
        self._first = changes[0].revision if changes else 0
        packed, begin, size = bytearray(), 0, 0
        for at, change in enumerate(changes, 1):
            size += change.kept_bytes
            if size > STRETCH_BYTES_MAX or at == len(changes):
                packed += _changes_packed(changes[begin:at])
                self._ends.append(len(packed))
                self._counts.append(at - begin)
                begin, size = at, 0
        self._packed = bytes(packed)
        self._begin, self._end = 0, len(self._counts)

    def __len__(self) -> int:
        """Of the pieces that are left."""
        return self._end - self._begin

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(the first revision, how many) of each piece."""
        first = self._first
        for count in self._counts[self._begin : self._end]:
            yield first, count
            first += count

    def skip(self) -> None:
        self._first += self._counts[self._begin]
        self._begin += 1

    def take_first(self) -> list[Change]:
        self.skip()
        return self._unpacked(self._begin - 1)

    def take_last(self) -> list[Change]:
        self._end -= 1
        return self._unpacked(self._end)

    def _unpacked(self, number: int) -> list[Change]:
        return _changes(zlib.decompress(self._packed[self._ends[number - 1] if number else 0 : self._ends[number]]))


def _changes_packed(changes: Sequence[Change]) -> bytes:
    rows = bytearray()
    for change in changes:
        rows.append(_TYPES.index(change.type) * 2 + (change.previous is not None))
        rows += _row(change.entry)
        if change.previous is not None:
            rows += _row(change.previous)
    return zlib.compress(rows, COMPRESSION)


def _changes(rows: bytes) -> list[Change]:
    at, found = 0, list[Change]()
    while at < len(rows):
        type_, has_previous = divmod(rows[at], 2)
        entry, at = _entry_at(rows, at + 1)
        previous = None
        if has_previous:
            previous, at = _entry_at(rows, at)
        found.append(Change(_TYPES[type_], entry, previous))
    return found
