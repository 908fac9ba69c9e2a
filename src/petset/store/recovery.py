"""What a state file holds at a start, held against what was acknowledged, before a byte of it is changed.

The file is read with its write-ahead log, as SQLite would; where that is not all that was acknowledged, also without:
a log that was folded into the file and was damaged since is not needed. What is read is sound when SQLite finds the
file's structure whole, the table is ours, and all objects add up to the sum that the newest row carries. Only what is
sound and complete is opened. Anything less is refused, unless the older state is accepted: then what there is goes into
a new file, the old one is set aside, and the revisions go on far beyond any that a client may have seen, so that
whoever watches is told to list again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from petset.base import state
from petset.objects import encoding, meta
from petset.store import witness
from petset.store.store import CannotOpen, Entry

FORMAT = 2  # PRAGMA user_version; a file of a greater one is refused. 1 had no sums and no witness.
APPLICATION_ID = 0x70657473  # "pets", so that another program's database is never taken for ours.
REVISIONS_SKIPPED = 1_000_000  # When an older state is accepted: more than anybody may have seen of what is lost.

SCHEMA = """
CREATE TABLE changes (
    revision INTEGER PRIMARY KEY,
    key      TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    deleted  INTEGER NOT NULL,
    value    BLOB,
    sum      INTEGER
)"""
COLUMNS = (  # Name, type, whether it is the key.
    ("revision", "INTEGER", 1),
    ("key", "TEXT", 0),
    ("created", "INTEGER", 0),
    ("deleted", "INTEGER", 0),
    ("value", "BLOB", 0),
    ("sum", "INTEGER", 0),
)
INSERT = "INSERT INTO changes VALUES "
PLACES = "(?,?,?,?,?,?)"

Row = tuple[int, str, int, int, bytes | None, int | None]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a state file holds, read in one way."""

    entries: Sequence[Entry] = ()
    superseded: Sequence[int] = ()  # Revisions of rows that may go, ascending.
    revision: int = 0
    format: int = 0  # Of nothing.
    sum: int = 0  # Of all objects, as they were read.
    trouble: str = ""  # Why it is not to be trusted.
    without_log: bool = False


def checksum(entry: Entry) -> int:
    return zlib.crc32(entry.encoded, zlib.crc32(f"{entry.revision} {entry.created_revision} {entry.key}".encode()))


def examined(path: Path, accept_older: bool) -> Contents:
    """What to begin with. The file is as it was, or, where something older was accepted, new. Raises CannotOpen."""
    is_there = path.exists() and path.stat().st_size > 0  # Beside an empty file SQLite would delete the log.
    contents = _read(path, without_log=False) if is_there else Contents()
    lacks = _lacks(contents, path)
    if lacks and is_there:
        alone = _read(path, without_log=True)
        if (not alone.trouble, alone.revision) > (not contents.trouble, contents.revision):
            contents, lacks = alone, _lacks(alone, path)
    if lacks and accept_older:
        return _accepted(path, contents)
    if lacks:
        raise CannotOpen(
            f"cannot open the state file {path}: {lacks}; restore it from a backup, or begin with the "
            f"{len(contents.entries)} objects that are there: `petset up --accept-older`"
        )
    if contents.without_log:
        _set_aside(path, contents.revision, log_only=True)
    return contents


def _lacks(contents: Contents, path: Path) -> str:
    """Why not to begin with these contents, or ""."""
    if contents.trouble:
        return contents.trouble
    try:
        acknowledged = witness.read(witness.beside(path))
    except witness.Unknown as unknown:
        has_none_yet = isinstance(unknown, witness.Missing) and contents.format < 2
        return "" if has_none_yet else f"{unknown}, so nobody can tell whether all is there"
    lost = acknowledged - contents.revision
    return f"the last {lost} of {acknowledged} acknowledged writes are missing" if lost > 0 else ""


def _read(path: Path, without_log: bool) -> Contents:
    """Raises CannotOpen for a file that is not ours to read, and where the disk fails."""
    mode = "immutable=1" if without_log else "mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
            contents = _contents(connection, path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_ERRORS:
            raise CannotOpen(
                f"cannot open the state file {path}: {error}; free or repair the disk of {path.parent} and try again"
            ) from None
        contents = Contents(trouble=f"it is damaged: {error}")
    return dataclasses.replace(contents, without_log=without_log)


_DISK_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def _contents(connection: sqlite3.Connection, path: Path) -> Contents:
    (format_,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        return Contents()
    if application != APPLICATION_ID:
        raise CannotOpen(f"cannot open the state file {path}: it is another program's database; name another file")
    if format_ > FORMAT:
        raise CannotOpen(
            f"cannot open the state file {path}: it has format {format_} and this petset knows formats up to {FORMAT}; "
            "use the newer petset that wrote it"
        )
    columns = tuple((row[1], row[2], row[5]) for row in connection.execute("PRAGMA table_info(changes)"))
    if format_ < 1 or columns != COLUMNS[: 4 + format_]:
        return Contents(trouble="it is damaged: its table is not as it was made")
    sums = "sum" if format_ >= 2 else "NULL"
    rows = connection.execute(f"SELECT revision, key, created, deleted, value, {sums} FROM changes ORDER BY revision")
    contents = _summed(rows.fetchall(), format_)
    (structure,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if structure != "ok":
        return dataclasses.replace(contents, trouble=f"it is damaged: {' '.join(structure.split())[:200]}")
    return contents


def _summed(rows: Sequence[Row], format_: int) -> Contents:
    """The rows' newest state, held against the sum that the newest row carries."""
    latest: dict[str, Row] = {}
    superseded: list[int] = []
    for row in rows:
        older = latest.get(row[1])
        if older is not None:
            superseded.append(older[0])
        latest[row[1]] = row
    superseded += (row[0] for row in latest.values() if row[3])
    newest, recorded = (rows[-1][0], rows[-1][5]) if rows else (0, 0)
    entries = [
        Entry(key, revision, created, value or b"")
        for revision, key, created, deleted, value, _ in latest.values()
        if not deleted
    ]
    if not all(_is_as_written(entry.key, entry.encoded) for entry in entries):
        return Contents(trouble="it is damaged: its rows are not as they were written")
    found = sum(map(checksum, entries))
    whole = format_ < 2 or found == recorded
    trouble = "" if whole else "it is damaged: its objects are not those that were written"
    return Contents(entries, sorted(superseded), newest, format_, found, trouble)


def _is_as_written(key: object, encoded: object) -> bool:
    """SQLite's types are the values', not the columns'."""
    return isinstance(key, str) and isinstance(encoded, bytes)


def _accepted(path: Path, contents: Contents) -> Contents:
    """A new file with the objects that are whole, at a revision that nobody has seen; the old one is set aside."""
    acknowledged = 0
    with contextlib.suppress(witness.Unknown):
        acknowledged = witness.read(witness.beside(path))
    revision = max(contents.revision, acknowledged) + REVISIONS_SKIPPED
    entries = [entry for entry in contents.entries if not contents.trouble or _is_whole(entry)]
    fresh = path.with_name(path.name + ".new")
    try:
        _write(fresh, entries, revision)
        _set_aside(path, revision, log_only=False)
        os.replace(fresh, path)
        witness.create(witness.beside(path), revision)
    except (sqlite3.Error, OSError) as error:
        raise CannotOpen(
            f"cannot write {fresh}: {getattr(error, 'strerror', None) or error}; free or repair the disk and try again"
        ) from None
    return Contents(entries, (revision,), revision, FORMAT, sum(map(checksum, entries)))


def snapshot(path: Path) -> Contents:
    """What the file holds at one revision, also while its store is open elsewhere. Raises CannotOpen."""
    acknowledged = 0
    with contextlib.suppress(witness.Unknown):
        acknowledged = witness.read(witness.beside(path))  # First: what is acknowledged by now is in the file.
    contents = _read(path, without_log=False) if path.exists() else Contents()
    lost = acknowledged - contents.revision
    if contents.trouble or lost > 0:
        why = contents.trouble or f"the last {lost} of {acknowledged} acknowledged writes are missing"
        raise CannotOpen(f"cannot read the state file {path}: {why}; `petset up` says what can be done")
    return contents


def write_known_good(path: Path, entries: Sequence[Entry], revision: int) -> None:
    """A new state file with these objects, and its witness: all that was ever acknowledged. Raises OSError."""
    try:
        _write(path, entries, revision)
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from None
    witness.create(witness.beside(path), revision)


def _write(fresh: Path, entries: Sequence[Entry], revision: int) -> None:
    for old in (fresh, fresh.with_name(fresh.name + "-journal")):
        old.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        create(connection)
        connection.execute("BEGIN")
        for entry in entries:
            row = (entry.revision, entry.key, entry.created_revision, 0, entry.encoded, None)
            connection.execute(INSERT + PLACES, row)
        mark(connection, revision, sum(map(checksum, entries)))
        connection.execute("COMMIT")
    os.chmod(fresh, 0o600)


def _is_whole(entry: Entry) -> bool:
    try:
        return meta.revision(encoding.loads(entry.encoded)) == entry.revision
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _set_aside(path: Path, revision: int, log_only: bool) -> None:
    """Keep what was found under a name of its own, with its log; the file itself stays until another replaces it."""
    aside = path.with_name(f"{path.name}.before-{revision}")
    log = path.with_name(path.name + "-wal")
    if not log_only and path.exists():
        aside.unlink(missing_ok=True)
        os.link(path, aside)
    if log.exists():
        os.replace(log, aside.with_name(aside.name + "-wal"))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    state.sync_directory(path.parent)


def create(connection: sqlite3.Connection) -> None:
    """Our table, in a file that has none."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(SCHEMA)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def upgrade(connection: sqlite3.Connection, contents: Contents) -> None:
    """A file of format 1 gets its sums."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ALTER TABLE changes ADD COLUMN sum INTEGER")
    connection.execute("UPDATE changes SET sum = ? WHERE revision = ?", (contents.sum, contents.revision))
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def mark(connection: sqlite3.Connection, revision: int, total: int) -> None:
    """A row that stands for a revision whose own is not there, so that the newest row tells revision and sum."""
    if revision:
        connection.execute("INSERT OR IGNORE INTO changes VALUES (?,'',?,1,NULL,?)", (revision, revision, total))
