"""A container's log as conmon writes it, read as `kubectl logs` asks for it: tail, since, limit, timestamps, follow.

Each line of the file is `<time> <stdout|stderr> <F|P> <text>`; P is a part of a longer line. `read` starts at the
place that tail says, filters, strips, and, when it follows, waits for the kernel to say that the file grew (inotify)
until the container has ended and everything is read.

A log that grew beyond LOG_BYTES_MAX has been rotated: `container.log.1` is the newest older file; a read goes through
all that are left, oldest first. Nothing polls. Follows: the CRI's log format, inotify(7).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from petset.base import tasks
from petset.node import linux, paths
from petset.wire.streaming import LogOptions

CHUNK_BYTES = 64 * 1024
LOG_BYTES_MAX = 10 << 20
LOG_FILES_MAX = 5


def files(path: str) -> list[Path]:
    """The files of one log, oldest first."""
    found = [Path(f"{path}.{number}") for number in range(LOG_FILES_MAX - 1, 0, -1)]
    return [*(one for one in found if one.exists()), Path(path)]


def _opened(path: str) -> list[BinaryIO]:
    """All files of a log, each once, oldest first. Opened newest first: a rotation meanwhile shows one of them twice by
    its names, but hides none."""
    found: dict[int, BinaryIO] = {}
    for name in (path, *(f"{path}.{number}" for number in range(LOG_FILES_MAX))):
        with contextlib.suppress(FileNotFoundError):
            file = paths.regular(name)
            if found.setdefault(os.fstat(file.fileno()).st_ino, file) is not file:
                file.close()
    return list(reversed(found.values()))


async def read(
    path: str, options: LogOptions, watcher: Watcher, has_ended: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """The log's bytes; with `follow`, until `has_ended` says so and the file is read to its end."""
    reader = await tasks.in_thread(Reader, path, options)
    left = options.limit_bytes
    try:
        with watcher.watch(path) if options.follow else contextlib.nullcontext(asyncio.Event()) as grew:
            while True:
                grew.clear()
                ended = has_ended()  # Asked before the last read, so nothing written before the end is missed.
                while data := await tasks.in_thread(reader.step):
                    if left is not None:
                        data = data[:left]
                        left -= len(data)
                    yield data
                    if left == 0:
                        return
                if ended or not options.follow:
                    return
                await grew.wait()
    finally:
        reader.close()


class Reader:
    """The formatted text of one log from a given place on; blocking, for a worker thread."""

    def __init__(self, path: str, options: LogOptions):
        self._path, self._timestamps = path, options.timestamps
        self._since = _since(options)
        self._newer: list[BinaryIO] = []  # To be read after the present one.
        self._rest = b""
        self._in_line = False  # After a part of a line: what follows belongs to it.
        self._file = self._open(options.tail_lines)

    def step(self) -> bytes:
        """The next piece, b"" when everything written so far is read."""
        while True:
            chunk = self._file.read(CHUNK_BYTES)
            if not chunk:
                if not self._next_file():
                    return b""
                continue
            lines = (self._rest + chunk).split(b"\n")
            self._rest = lines.pop()
            if text := b"".join(map(self._formatted, lines)):
                return text

    def close(self) -> None:
        for file in (self._file, *self._newer):
            file.close()

    def _open(self, tail: int | None) -> BinaryIO:
        """The file to begin with, at its place."""
        there = _opened(self._path)
        if not there:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._path)
        first = 0
        if tail is not None:
            for first in range(len(there) - 1, -1, -1):
                offset, found = _tail(there[first], tail)
                there[first].seek(offset)
                tail -= found
                if tail <= 0:
                    break
        for file in there[:first]:
            file.close()
        self._newer = there[first + 1 :]
        return there[first]

    def _next_file(self) -> bool:
        """On to the newer file, when there is one and this one is read to its end."""
        if not self._newer:
            mine = os.fstat(self._file.fileno()).st_ino
            try:
                if os.stat(self._path).st_ino == mine:
                    return False
            except FileNotFoundError:
                return False
            if rest := self._file.read(CHUNK_BYTES):  # Written between the last read and the rotation.
                self._file.seek(-len(rest), os.SEEK_CUR)
                return True
            there = _opened(self._path)
            known = [os.fstat(file.fileno()).st_ino for file in there]
            older = there[: known.index(mine) + 1] if mine in known else []
            for file in older:
                file.close()
            self._newer = there[len(older) :]
        if not self._newer:
            return False
        self._file.close()
        self._file = self._newer.pop(0)
        return True

    def _formatted(self, line: bytes) -> bytes:
        columns = line.split(b" ", 3)
        if len(columns) != 4:
            return b""
        time, _, tag, text = columns
        if self._since and time[: len(self._since)] < self._since:
            return b""
        begins, self._in_line = not self._in_line, tag == b"P"
        stamp = time.replace(b"+00:00", b"Z") + b" " if self._timestamps and begins else b""
        return stamp + text + (b"" if self._in_line else b"\n")


def _since(options: LogOptions) -> bytes:
    """The least time in the form of the log, to compare as text; b"" for all."""
    if options.since_seconds is not None:
        seconds = tasks.now() - options.since_seconds
    elif options.since_time:
        seconds = tasks.parse_rfc3339(options.since_time)
    else:
        return b""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").encode()


def _tail(file: BinaryIO, wanted: int) -> tuple[int, int]:
    """Where the last lines begin, and how many they are."""
    position = file.seek(0, os.SEEK_END)
    end, found = position, 0
    while position > 0:
        size = min(CHUNK_BYTES, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if position + at + 1 == end:
                continue  # The newline that ends the last line.
            found += 1
            if found == wanted:
                return position + at + 1, found
        if wanted == 0:
            return end, 0
    return 0, found + (1 if end else 0)


def last_output(path: str, lines_max: int, bytes_max: int) -> bytes:
    """The end of what a container wrote, for its termination message."""
    try:
        reader = Reader(path, LogOptions(tail_lines=lines_max))
    except OSError:
        return b""
    text = b""
    with contextlib.closing(reader):
        while piece := reader.step():
            text = (text + piece)[-bytes_max:]
    return text


class Watcher:
    """One inotify descriptor for all logs: wakes who follows one, and keeps what a rotation would lose.

    conmon begins a log anew when it is full, by renaming an empty file over it. A second name, `container.log.0`, is
    kept for the file in use, so the full one is still there then and becomes `container.log.1`.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watches: dict[int, list[_Watch]] = {}  # By inotify's number of the directory.
        self._by_path: dict[str, _Watch] = {}

    def keep(self, path: str) -> None:
        """Care for the rotation of a running container's log, until `forget`."""
        with tasks.best_effort("watch a log's rotation"):
            keep_rotated(path)
            self._watch(path).kept = True

    def forget(self, path: str) -> None:
        watch = self._by_path.get(path)
        if watch is not None:
            watch.kept = False
            self._unwatch(watch)
        Path(f"{path}.0").unlink(missing_ok=True)

    @contextlib.contextmanager
    def watch(self, path: str) -> Generator[asyncio.Event, None, None]:
        """An event that is set when the file is written to or begun anew, or when `wake` is called for it."""
        event = asyncio.Event()
        watch = self._watch(path, event)
        try:
            yield event
        finally:
            watch.events.remove(event)
            self._unwatch(watch)

    def wake(self, path: str) -> None:
        watch = self._by_path.get(path)
        for event in watch.events if watch else ():
            event.set()

    def close(self) -> None:
        if self._descriptor >= 0 and self._loop is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        self._watches.clear()
        for path in list(self._by_path):
            self.wake(path)

    def _watch(self, path: str, event: asyncio.Event | None = None) -> _Watch:
        if self._descriptor < 0:
            self._descriptor = linux.inotify()
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._descriptor, self._read)
        watch = self._by_path.get(path) or _Watch(path)
        watch.events += [event] if event is not None else []
        self._set_mask(watch)
        self._by_path[path] = watch
        return watch

    def _set_mask(self, watch: _Watch) -> None:
        """The directory is watched, since the file is replaced; writes only as long as somebody follows."""
        directory = os.path.dirname(watch.path)
        same = [one for one in self._by_path.values() if os.path.dirname(one.path) == directory]
        followed = any(one.events for one in [watch, *same])
        mask = linux.IN_MOVED_TO | (linux.IN_MODIFY if followed else 0)
        watch.number = linux.inotify_add(self._descriptor, directory, mask)
        there = self._watches.setdefault(watch.number, [])
        if watch not in there:
            there.append(watch)

    def _unwatch(self, watch: _Watch) -> None:
        there = self._watches.get(watch.number, [])
        if watch not in there:
            return
        if not watch.events and not watch.kept:
            there.remove(watch)
            del self._by_path[watch.path]
        if there:
            with contextlib.suppress(OSError):  # The directory is gone, and its watch with it.
                self._set_mask(there[0])
        else:
            del self._watches[watch.number]
            linux.inotify_remove(self._descriptor, watch.number)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._descriptor, CHUNK_BYTES)
            while len(data) >= 16:
                number = int.from_bytes(data[:4], "little", signed=True)
                mask = int.from_bytes(data[4:8], "little")
                data = data[16 + int.from_bytes(data[12:16], "little") :]
                # An overflow of the queue has no number: whose event was lost is not known.
                touched = list(self._by_path.values()) if number == -1 else self._watches.get(number, [])
                for watch in touched:
                    if watch.kept and mask & (linux.IN_MOVED_TO | linux.IN_Q_OVERFLOW):
                        with tasks.best_effort("rotate a log"):
                            keep_rotated(watch.path)
                    for event in watch.events:
                        event.set()


@dataclass(slots=True, eq=False)
class _Watch:
    path: str
    number: int = -1
    events: list[asyncio.Event] = field(default_factory=list[asyncio.Event])
    kept: bool = False


def keep_rotated(path: str) -> None:
    """Give the full file its place if conmon has begun a new one, and the file in use a second name."""
    second = f"{path}.0"
    try:
        if os.path.samefile(second, path):
            return
        for number in range(LOG_FILES_MAX - 2, -1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}.{number}", f"{path}.{number + 1}")
    except FileNotFoundError:
        pass
    with contextlib.suppress(FileNotFoundError):
        os.link(path, second)
