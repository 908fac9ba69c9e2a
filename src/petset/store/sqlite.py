"""The store on disk: one append-only table in one SQLite file, one writer thread, one fsync a batch.

`SqliteStore.open` locks the file, reads every row and keeps the newest of each key; a row's object stays bytes until
somebody asks for it. A batch is one INSERT statement that commits by itself (WAL, synchronous=FULL): the writer thread
takes the interpreter's lock once or twice a batch, however busy the loop is. Superseded rows are deleted, oldest first,
a bounded number within a later commit; the newest row always stays, and carries the revision over a restart.

Invariants: a row is on disk before its write is acknowledged; a failed commit leaves nothing: its connection is closed
and the next batch begins with a new one, from which anything past the last acknowledged revision is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from petset.base import tasks
from petset.store import core
from petset.store.store import CannotOpen, Entry, Unavailable

FORMAT = 1  # PRAGMA user_version; a file of a greater one is refused.
APPLICATION_ID = 0x70657473  # "pets", so that another program's database is never taken for ours.
SUPERSEDED_ROWS_KEPT = 500  # The latest stay: who looks into the file after a fault sees how it came about.
SUPERSEDED_ROWS_MIN = 500  # How many more wait before a commit deletes any: one statement for many.
SUPERSEDED_ROWS_MAX = 1000  # Deleted by one commit.
WAL_BYTES_MAX = 32 << 20  # What the write-ahead log is cut back to after a checkpoint.

SCHEMA = """
CREATE TABLE changes (
    revision INTEGER PRIMARY KEY,
    key      TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    deleted  INTEGER NOT NULL,
    value    BLOB
)"""

Row = tuple[int, str, int, int, bytes | None]


class SqliteStore(core.Core):
    """Open one with `await SqliteStore.open(path)`; close it to release the file."""

    def __init__(self, path: Path, lock: int, **limits: int):
        super().__init__(**limits)
        self._path = path
        self._lock = lock
        self._thread = tasks.Thread("petset-store")
        self._connection: sqlite3.Connection | None = None
        self._superseded: deque[int] = deque()  # Revisions whose rows may go, ascending.

    @classmethod
    async def open(cls, path: str | os.PathLike[str], **limits: int) -> SqliteStore:
        """The store in that file, made when absent. Raises CannotOpen; `limits` are those of Core, for tests."""
        file = Path(path)
        opened = cls(file, _locked(file), **limits)
        try:
            await opened._thread.call(opened._load)
        except BaseException:
            await opened._thread.call(opened._disconnect)
            opened._release()
            raise
        return opened

    async def close(self) -> None:
        await super().close()
        await self._thread.call(self._disconnect)
        self._release()

    def _release(self) -> None:
        self._thread.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _commit(self, batch: Sequence[core.Write]) -> asyncio.Future[None]:
        return self._thread.submit(self._write, batch, self._revision)

    # In the writer's thread

    def _load(self) -> None:
        try:
            self._connection = connection = _connected(self._path)
            _prepare(connection, self._path)
            rows: list[Row] = connection.execute("SELECT * FROM changes ORDER BY revision").fetchall()
        except (sqlite3.Error, OSError) as error:
            raise CannotOpen(
                f"cannot open the state file {self._path}: {error}; "
                "restore it from a backup, or move it away to begin anew"
            ) from None
        latest: dict[str, Row] = {}
        for row in rows:
            older = latest.get(row[1])
            if older is not None:
                self._superseded.append(older[0])
            latest[row[1]] = row
        self._superseded = deque(sorted([*self._superseded, *(row[0] for row in latest.values() if row[3])]))
        entries = [
            Entry(key, revision, created, value or b"")
            for revision, key, created, deleted, value in latest.values()
            if not deleted
        ]
        self._restore(entries, rows[-1][0] if rows else 0)

    def _write(self, batch: Sequence[core.Write], committed_revision: int) -> None:
        try:
            if self._connection is None:
                self._connection = _connected(self._path)
                self._connection.execute("DELETE FROM changes WHERE revision > ?", (committed_revision,))
            self._insert(self._connection, batch)
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            raise Unavailable(f"cannot write to {self._path}: {error}; free or repair the disk and try again") from None
        for write in batch:
            if write.previous is not None:
                self._superseded.append(write.previous.revision)
            if write.deleted:
                self._superseded.append(write.entry.revision)

    def _insert(self, connection: sqlite3.Connection, batch: Sequence[core.Write]) -> None:
        values: list[Any] = []
        for write in batch:
            entry = write.entry
            encoded = None if write.deleted else entry.encoded
            values += (entry.revision, entry.key, entry.created_revision, write.deleted, encoded)
        insert = "INSERT INTO changes VALUES " + ",".join(["(?,?,?,?,?)"] * len(batch))
        waiting = len(self._superseded) - SUPERSEDED_ROWS_KEPT
        if waiting < SUPERSEDED_ROWS_MIN:
            connection.execute(insert, values)
            return
        gone = [self._superseded[i] for i in range(min(waiting, SUPERSEDED_ROWS_MAX))]
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(insert, values)
        connection.execute(f"DELETE FROM changes WHERE revision IN ({','.join('?' * len(gone))})", gone)
        connection.execute("COMMIT")
        for _ in gone:
            self._superseded.popleft()

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


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the table in a new file; refuse a file that is not ours or newer than we are."""
    (format_,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
        _sync_directory(path.parent)
    elif application != APPLICATION_ID:
        raise CannotOpen(f"cannot open the state file {path}: it is another program's database; name another file")
    elif format_ > FORMAT:
        raise CannotOpen(
            f"cannot open the state file {path}: it has format {format_} and this petset knows formats up to {FORMAT}; "
            "use the newer petset that wrote it"
        )


def _sync_directory(path: Path) -> None:
    """The file's own name must survive a power cut too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
