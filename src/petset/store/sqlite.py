"""The store on disk: one append-only table in one SQLite file, one writer thread, one fsync a batch.

`SqliteStore.open` locks the file, has it examined (recovery.py) and keeps the newest row of each key; a row's object
stays bytes until somebody asks for it. A batch is one INSERT statement that commits by itself (WAL, synchronous=FULL):
the writer thread takes the interpreter's lock once or twice a batch, however busy the loop is. Superseded rows are
deleted, oldest first, a bounded number within a later commit; the newest row always stays, and carries over a restart
the revision and the sum of all objects. The log is folded into the file some seconds after a write and at a clean stop.

Invariants: a row is on disk, and its revision with the witness, before its write is acknowledged; a failed commit
leaves nothing: its connection is closed and the next batch begins with a new one, from which anything past the last
acknowledged revision is removed; a start changes nothing in a file that is not whole and complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import sqlite3
from array import array
from collections.abc import Sequence
from pathlib import Path

from petset.base import memory, state, tasks
from petset.store import core, recovery, witness
from petset.store.store import CannotOpen, Unavailable

FOLD_SECONDS_MAX = 5.0  # How long the log may be the only place of a write.
CALM_WRITES_MAX = 100  # Between two folds: fewer are rest,
BUSY_WRITES_MIN = 1000  # and after so many a rest is used to give memory back.
SUPERSEDED_ROWS_KEPT = 500  # The latest stay: who looks into the file after a fault sees how it came about.
SUPERSEDED_ROWS_MIN = 500  # How many more wait before a commit deletes any: one statement for many.
SUPERSEDED_ROWS_MAX = 1000  # Deleted by one commit.
STATEMENT_BYTES_MAX = 256 << 10  # SQLite's statements are kept, and with them the values they last wrote.
WAL_BYTES_MAX = 32 << 20  # What the write-ahead log is cut back to after a checkpoint.


class SqliteStore(core.Core):
    """Open one with `await SqliteStore.open(path)`; close it to release the file."""

    def __init__(self, path: Path, lock: int, **limits: int):
        super().__init__(**limits)
        self._path = path
        self._lock = lock
        self._thread = tasks.Worker("petset-store")
        self._rest_thread = tasks.Thread("petset-rest")
        self._connection: sqlite3.Connection | None = None
        self._witness: witness.Witness | None = None
        self._fold_timer: asyncio.TimerHandle | None = None
        self._superseded = array("Q")  # Revisions whose rows may go, ascending.
        self._folded_writes = self._given_back_writes = 0  # How many there were at the last fold, and when giving back.
        self._sum = 0  # Of all objects: what the next row is to carry on.

    @classmethod
    async def open(cls, path: str | os.PathLike[str], *, accept_older: bool = False, **limits: int) -> SqliteStore:
        """The store in that file, made when absent; with `accept_older` also where acknowledged writes are missing.

        Raises CannotOpen. `limits` are those of Core, for tests.
        """
        file = Path(path)
        opened = cls(file, _locked(file), **limits)
        try:
            await opened._thread.call(opened._load, accept_older)
        except BaseException:
            await opened._thread.call(opened._disconnect)
            opened._release()
            raise
        return opened

    async def close(self) -> None:
        await super().close()
        if self._fold_timer is not None:
            self._fold_timer.cancel()
        await self._thread.call(self._disconnect)
        self._release()

    def _release(self) -> None:
        self._rest_thread.close()
        self._thread.close()
        if self._witness is not None:
            self._witness.close()
            self._witness = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _commit(self, batch: Sequence[core.Write]) -> asyncio.Future[None]:
        if self._fold_timer is None:
            self._fold_timer = asyncio.get_running_loop().call_later(FOLD_SECONDS_MAX, self._fold_soon)
        return self._thread.submit(self._write, batch, self._revision)

    def _fold_soon(self) -> None:
        self._fold_timer = None
        self._thread.submit(self._fold)
        self._compact(tasks.monotonic())
        writes, recent = self._committed_writes, self._committed_writes - self._folded_writes
        self._folded_writes = writes
        if recent <= CALM_WRITES_MAX and writes - self._given_back_writes >= BUSY_WRITES_MIN:
            self._given_back_writes = writes
            self._rest_soon()

    def _rest_soon(self) -> None:
        """Pack and give back, in a thread that ends with it: no write waits for that."""
        memory.let_go()
        rest = self._resting()

        def settle(packing: asyncio.Future[None]) -> None:
            with tasks.best_effort("let the store rest"):
                packing.result()
                self._settle(rest)
                if not self._closed:
                    self._thread.submit(self._connect_anew)
                    self._rest_thread.submit(memory.give_back).add_done_callback(end)

        def end(giving: asyncio.Future[None]) -> None:
            with tasks.best_effort("give memory back"):
                giving.result()
                self._rest_thread.close()
                memory.after_rest.tell()

        self._rest_thread.submit(rest.pack).add_done_callback(settle)

    # In the writer's thread

    def _load(self, accept_older: bool) -> None:
        contents = recovery.examined(self._path, accept_older)
        try:
            if contents.format < recovery.FORMAT:
                witness.create(witness.beside(self._path), contents.revision)  # First: no file of ours lacks one.
            self._connection = _connected(self._path)
            if contents.format == 0:
                recovery.create(self._connection)
                state.sync_directory(self._path.parent)
            elif contents.format < recovery.FORMAT:
                recovery.upgrade(self._connection, contents)
            self._witness = witness.Witness(witness.beside(self._path))
            self._witness.record(contents.revision)
        except (sqlite3.Error, OSError) as error:
            raise CannotOpen(f"cannot open the state file {self._path}: {_why(error)}") from None
        self._superseded, self._sum = array("Q", contents.superseded), contents.sum
        self._restore(contents.entries, contents.revision)
        self._fold()

    def _write(self, batch: Sequence[core.Write], committed_revision: int) -> None:
        sums = list(itertools.accumulate(map(_added, batch), initial=self._sum))[1:]
        try:
            if self._connection is None:
                self._connection = _connected(self._path)
                self._connection.execute("DELETE FROM changes WHERE revision > ?", (committed_revision,))
                recovery.mark(self._connection, committed_revision, self._sum)
            self._insert(self._connection, batch, sums)
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            raise Unavailable(f"cannot write to {self._path}: {_why(error)}") from None
        assert self._witness is not None
        self._witness.record(batch[-1].entry.revision)
        self._sum = sums[-1]
        for write in batch:
            if write.previous is not None:
                self._superseded.append(write.previous.revision)
            if write.deleted:
                self._superseded.append(write.entry.revision)

    def _fold(self) -> None:
        """Bring all of the log into the file and empty it: what it held can then not be lost with it."""
        if self._connection is None or self._witness is None:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._witness.sync()
        except (sqlite3.Error, OSError) as error:  # The log has it all, and the next write brings the next attempt.
            self.trouble = f"cannot fold the log of {self._path} into it: {_why(error)}"

    def _connect_anew(self) -> None:
        """What SQLite and its statements keep of much work goes with a connection."""
        if self._connection is None:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            former, self._connection = self._connection, _connected(self._path)  # First: the last one removes the log.
            former.close()

    def _insert(self, connection: sqlite3.Connection, batch: Sequence[core.Write], sums: Sequence[int]) -> None:
        rows = [_row(write, total) for write, total in zip(batch, sums, strict=True)]
        size = sum(len(write.entry.encoded) for write in batch)
        waiting = len(self._superseded) - SUPERSEDED_ROWS_KEPT
        gone: list[int] = []
        if waiting >= SUPERSEDED_ROWS_MIN:
            gone = self._superseded[: min(waiting, SUPERSEDED_ROWS_MAX)].tolist()
        insert = recovery.INSERT + ",".join([recovery.PLACES] * len(batch))
        if size <= STATEMENT_BYTES_MAX and not gone:
            connection.execute(insert, [*itertools.chain(*rows)])
            return
        connection.execute("BEGIN IMMEDIATE")
        if size <= STATEMENT_BYTES_MAX:
            connection.execute(insert, [*itertools.chain(*rows)])
        else:
            connection.executemany(recovery.INSERT + recovery.PLACES, rows)
        connection.execute(f"DELETE FROM changes WHERE revision IN ({','.join('?' * len(gone))})", gone)
        connection.execute("COMMIT")
        del self._superseded[: len(gone)]

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):  # Closing rolls back; what cannot be closed is of no more use.
                connection.close()


def _locked(path: Path) -> int:
    """A descriptor that holds the only right to the file, until it is closed or the process ends."""
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotOpen(f"cannot open the state file {path}: {error.strerror}: {lock}") from None
    try:
        # A file of its own: closing any descriptor of the database would drop SQLite's own locks on it.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CannotOpen(
            f"cannot open the state file {path}: another petset has it open; "
            "stop that one, or use another state directory"
        ) from None
    return descriptor


def _connected(path: Path) -> sqlite3.Connection:
    """A connection that commits by itself after each statement, and only when the disk has it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite's side files take over its mode.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _row(write: core.Write, total: int) -> recovery.Row:
    entry = write.entry
    encoded = None if write.deleted else entry.encoded
    return entry.revision, entry.key, entry.created_revision, int(write.deleted), encoded, total


def _added(write: core.Write) -> int:
    """What a write adds to the sum of all objects."""
    more = 0 if write.deleted else recovery.checksum(write.entry)
    return more - (recovery.checksum(write.previous) if write.previous else 0)


def _why(error: sqlite3.Error | OSError) -> str:
    what = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
    return f"{what}; free or repair the disk and try again"
