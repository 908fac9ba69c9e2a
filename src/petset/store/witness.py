"""The newest acknowledged revision, kept beside the state file: what a start must find there, or say what is missing.

A page of its own, mapped into memory: to record a revision is to copy a few bytes, with no call of the system, and the
kernel keeps them when the process is killed. It is forced to the disk whenever the state file's log is folded: a power
cut may leave it older than the truth, never newer, since it is written after a commit. Two places take turns, each with
a checksum, so that one that was cut off in the middle leaves the one before. The page is there from the beginning: a
full disk cannot take it away.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from pathlib import Path

from petset.base import state

MAGIC = b"petset-1"
RECORD = struct.Struct("<8sQI")  # Magic, revision, checksum of both.
PLACES = (0, 2048)
FILE_BYTES = 4096


class Unknown(Exception):
    """Why nobody can tell what was acknowledged."""


class Missing(Unknown):
    """There is none, as beside a new file, or one of a petset that kept none."""


def beside(state_file: Path) -> Path:
    return state_file.with_name(state_file.name + ".witness")


def read(path: Path) -> int:
    """The newest acknowledged revision. Raises Unknown."""
    try:
        page = path.read_bytes()
    except FileNotFoundError:
        raise Missing(f"its witness {path} is missing") from None
    revisions = [revision for at in PLACES if (revision := _revision(page, at)) is not None]
    if not revisions or len(page) != FILE_BYTES:
        raise Unknown(f"its witness {path} is damaged")
    return max(revisions)


def create(path: Path, revision: int) -> None:
    """A witness of this revision, in place of any other, on the disk when it returns. Raises OSError."""
    state.write_private(path, _record(revision).ljust(FILE_BYTES, b"\0"))


class Witness:
    """The open witness of a store that runs."""

    def __init__(self, path: Path):
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._page = mmap.mmap(self._descriptor, FILE_BYTES)
        first, second = (_revision(self._page, at) or 0 for at in PLACES)
        self._next = 0 if first < second else 1  # Never over the newest.

    def record(self, revision: int) -> None:
        at = PLACES[self._next]
        self._page[at : at + RECORD.size] = _record(revision)
        self._next = 1 - self._next

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        self._page.close()
        os.close(self._descriptor)


def _record(revision: int) -> bytes:
    text = RECORD.pack(MAGIC, revision, 0)[:-4]
    return text + struct.pack("<I", zlib.crc32(text))


def _revision(page: bytes | mmap.mmap, at: int) -> int | None:
    """What is recorded there, or None where nothing whole is."""
    record = page[at : at + RECORD.size]
    if len(record) < RECORD.size:
        return None
    magic, revision, _ = RECORD.unpack(record)
    return revision if magic == MAGIC and _record(revision) == record else None
