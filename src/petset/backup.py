"""One file with all that an instance is: its objects, its keys and its volumes; restored where there is nothing yet.

The file is a gzipped tar that any `tar` lists: what it is (`petset-backup.json`), the objects of one revision (a line
each), then the keys and the volumes as GNU tar keeps them: owners, modes, links, holes, extended attributes. A seal
follows, a gzip member of its own, with the digest of all before it: a file that was cut or changed is refused before
anything is made of it.

A backup may be made while petset runs. The objects are those of one revision. Each volume's files are copied one after
another while their pods write: whoever needs the files of one moment scales to 0 first. A restore ends with a rename:
either the whole state directory is there or none. Its revisions go on far beyond those that were given out, so that
clients of before are told to list again, and the directories of provisioned volumes are named anew.

Not in it: images, logs, the pods' own scratch space (emptyDir), the network plan: all are made again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from petset import __version__
from petset.base import state, tasks
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.objects import encoding, meta
from petset.store import recovery
from petset.store.store import CannotOpen, Entry

FORMAT = 1
ABOUT, OBJECTS = "petset-backup.json", "objects.jsonl"
KEPT = ("pki", state.RECORD, "volumes", "snapshots")  # Of a state directory, beside the objects.
PIECE_BYTES = 1 << 20
COMPRESSION_LEVEL = 1  # Disks are slower than this, and databases compress no better for more.
GZIP = 16 + zlib.MAX_WBITS
# --sparse finds holes; a file that goes or grows while it is read is normal here.
TAR_CREATE = (
    *("tar", "--create", "--format=posix", "--sparse", "--numeric-owner", "--xattrs", "--acls"),
    *("--ignore-failed-read", "--warning=no-file-changed", "--warning=no-file-removed", "--warning=no-file-ignored"),
    "--pax-option=delete=atime,delete=ctime",
)
TAR_EXTRACT = ("tar", "--extract", "--numeric-owner", "--preserve-permissions", "--xattrs", "--acls")
TAR_CHANGED = 1  # The exit code when a file changed as it was read.
SEAL_TEXT = "petset backup sealed: sha256 {}\n"

Tell = Callable[[str, int, int], None]  # (what is done, bytes of it that are done, bytes in all)


class BackupError(Exception):
    """Why there is no backup or no restored instance, in one line."""


@dataclass(frozen=True, slots=True)
class About:
    """What a backup says of itself."""

    format: int
    petset: str
    made: str
    directory: str  # The state directory it is of: what the volumes' paths begin with.
    revision: int
    objects: int


def save(instance: state.State, file: Path, tell: Tell) -> About:
    """Write the backup; the file appears when it is whole. Raises BackupError, StateError."""
    if not instance.database.exists():
        raise BackupError(f"cannot back up {instance.directory}: there is no instance; name it with --state")
    if file.exists():
        raise BackupError(f"cannot back up to {file}: it is there already; name a new file")
    if file.resolve().is_relative_to(instance.directory.resolve()):
        raise BackupError(f"cannot back up to {file}: it would be part of itself; name a file outside the instance")
    if not file.absolute().parent.is_dir():
        parent = file.absolute().parent
        raise BackupError(f"cannot back up to {file}: there is no directory {parent}; make it, or name another file")
    with contextlib.ExitStack() as opened:
        if instance.running_process() is None:
            opened.enter_context(instance.lock())  # Nobody shall start it meanwhile.
        try:
            contents = recovery.snapshot(instance.database)
            staging = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="petset-backup-")))
            about = About(
                FORMAT,
                __version__,
                tasks.rfc3339(tasks.now()),
                str(instance.directory),
                contents.revision,
                len(contents.entries),
            )
            _stage(staging, about, contents.entries)
            _pack(instance, staging, file, tell)
        except CannotOpen as error:
            raise BackupError(f"cannot back up {instance.directory}: {error}") from None
        except OSError as error:
            raise BackupError(f"cannot back up to {file}: {_why(error)}; free some space or name another") from None
    return about


def _stage(staging: Path, about: About, entries: Sequence[Entry]) -> None:
    state.write_private(staging / ABOUT, json.dumps(asdict(about)).encode())
    with open(os.open(staging / OBJECTS, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as lines:
        for entry in entries:
            head = {"key": entry.key, "revision": entry.revision, "created": entry.created_revision}
            lines.write(encoding.dumps(head)[:-1] + b',"object":' + entry.encoded + b"}\n")


def _pack(instance: state.State, staging: Path, file: Path, tell: Tell) -> None:
    kept = [name for name in KEPT if instance.path(name).exists()]
    total = sum(_disk_bytes(instance.path(name)) for name in kept)
    of_state = ("-C", str(instance.directory), *kept) if kept else ()
    command = [*TAR_CREATE, "-C", str(staging), ABOUT, OBJECTS, *of_state]
    parent = file.absolute().parent
    try:
        descriptor, partial = tempfile.mkstemp(dir=parent, prefix=f".{file.name}.")
    except OSError as error:
        why = f"nothing can be made in {parent}: {error.strerror}"
        raise BackupError(f"cannot back up to {file}: {why}; name a file in another directory") from None
    try:
        with open(descriptor, "wb") as out, _running(command, reads=False) as tar:
            digest, deflate, done = hashlib.sha256(), zlib.compressobj(COMPRESSION_LEVEL, wbits=GZIP), 0
            for piece in _pieces(tar.pipe):
                done += len(piece)
                _write(out, deflate.compress(piece), digest)
                tell("saved", done, max(total, done))
            _write(out, deflate.flush(), digest)
            tar.must_end_well(TAR_CHANGED)
            out.write(_seal(digest.hexdigest()))
            out.flush()
            os.fsync(descriptor)
        os.rename(partial, file)
        state.sync_directory(parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def _write(out: IO[bytes], data: bytes, digest: Any) -> None:
    digest.update(data)
    out.write(data)


def _disk_bytes(top: Path) -> int:
    """What the files below take on the disk; holes take nothing."""
    total = 0
    for directory, _, names in os.walk(top):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
    return total


def _seal(digest: str) -> bytes:
    """The last bytes of a backup: not compressed, so that they are always as long."""
    deflate = zlib.compressobj(0, wbits=GZIP)
    return deflate.compress(SEAL_TEXT.format(digest).encode()) + deflate.flush()


SEAL_BYTES = len(_seal("0" * 64))


# -- restoring ----------------------------------------------------------------------------------------------------


def restore(instance: state.State, file: Path, tell: Tell) -> About:
    """Make the state directory out of a backup; it must not be there, or be empty. Raises BackupError."""
    directory = instance.directory
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BackupError(f"cannot restore into {directory}: it is not empty; name a new directory with --state")
    try:
        verify(file, tell)
    except OSError as error:
        raise BackupError(f"cannot restore {file}: {_why(error)}") from None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}.restoring-"))
    except OSError as error:
        why = f"nothing can be made in {directory.parent}: {error.strerror}"
        raise BackupError(f"cannot restore into {directory}: {why}; name another with --state") from None
    try:
        _unpack(file, fresh, tell)
        about = _about(fresh, file)
        revision = about.revision + recovery.REVISIONS_SKIPPED
        entries = [_moved(entry, about.directory, str(directory)) for entry in _entries(fresh / OBJECTS)]
        recovery.write_known_good(fresh / instance.database.name, entries, revision)
        for name in (ABOUT, OBJECTS):
            (fresh / name).unlink()
        os.chmod(fresh, 0o700)
        subprocess.run(["sync", "--file-system", str(fresh)], check=False)
        os.rename(fresh, directory)
        state.sync_directory(directory.parent)
    except OSError as error:
        raise BackupError(f"cannot restore into {directory}: {_why(error)}; free some space or name another") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return about


def verify(file: Path, tell: Tell) -> None:
    """Read the whole file once and hold it against its seal. Raises BackupError, OSError."""
    digest = hashlib.sha256()
    with file.open("rb") as archive:
        length = os.fstat(archive.fileno()).st_size - SEAL_BYTES
        left = length
        while left > 0 and (piece := archive.read(min(PIECE_BYTES, left))):
            digest.update(piece)
            left -= len(piece)
            tell("checked", length - left, length)
        end = archive.read()
    if length > 0 and end == _seal(digest.hexdigest()):
        return
    with contextlib.suppress(zlib.error, UnicodeDecodeError):
        if zlib.decompress(end, wbits=GZIP).decode().startswith(SEAL_TEXT.partition("{")[0]):
            raise BackupError(f"cannot restore {file}: it was changed since it was made; use another backup")
    raise BackupError(f"cannot restore {file}: it is no whole backup of petset's, its end is missing; use another")


def _unpack(file: Path, fresh: Path, tell: Tell) -> None:
    length = file.stat().st_size
    with file.open("rb") as archive, _running([*TAR_EXTRACT, "-C", str(fresh)], reads=True) as tar:
        with contextlib.suppress(BrokenPipeError):  # Its own words say why.
            for piece in _inflated(archive):
                tar.pipe.write(piece)
                tell("restored", archive.tell(), length)
            tar.pipe.close()
        tar.must_end_well()


def _inflated(archive: IO[bytes]) -> Iterator[bytes]:
    """The tar's bytes in pieces, whatever they were before; what follows them is the seal."""
    inflate = zlib.decompressobj(wbits=GZIP)
    for piece in _pieces(archive):
        while piece and not inflate.eof:
            yield inflate.decompress(piece, PIECE_BYTES)
            piece = inflate.unconsumed_tail


def _about(fresh: Path, file: Path) -> About:
    try:
        told = json.loads((fresh / ABOUT).read_bytes())
        if told["format"] > FORMAT:
            raise BackupError(f"cannot restore {file}: it was made by petset {told['petset']}; use that or a newer one")
        return About(**told)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise BackupError(f"cannot restore {file}: it is no backup of petset's; use another") from None


def _entries(lines: Path) -> Iterator[Entry]:
    with lines.open("rb") as file:
        for line in file:
            told = encoding.loads(line)
            obj = told["object"]
            yield Entry(told["key"], told["revision"], told["created"], encoding.dumps(obj), obj)


def _moved(entry: Entry, old: str, new: str) -> Entry:
    """A provisioned volume's directory is below that of its instance."""
    if old == new or not entry.key.startswith(PERSISTENTVOLUMES.key()):
        return entry
    path = meta.get(entry.object, "spec", "hostPath", "path", default="")
    if not path.startswith(f"{old}/"):
        return entry
    obj = meta.changed(entry.object, ("spec", "hostPath", "path"), new + path.removeprefix(old))
    return Entry(entry.key, entry.revision, entry.created_revision, encoding.dumps(obj), obj)


# -- tar ----------------------------------------------------------------------------------------------------------


class Tar:
    """One run of tar; its complaints are kept in a file, since nobody reads them while it works."""

    def __init__(self, command: Sequence[str], complaints: IO[bytes], reads: bool):
        self._complaints = complaints
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=complaints,
            env={**os.environ, "LC_ALL": "C"},
        )
        pipe = self.process.stdin if reads else self.process.stdout
        assert pipe is not None
        self.pipe = pipe

    def must_end_well(self, code_max: int = 0) -> None:
        """Wait for its end. Raises OSError with its first complaint."""
        if not 0 <= self.process.wait() <= code_max:
            self._complaints.seek(0)
            lines = self._complaints.read().decode(errors="replace").strip().splitlines()
            raise OSError(errno.EIO, lines[0] if lines else f"tar ended with {self.process.returncode}")


@contextlib.contextmanager
def _running(command: Sequence[str], reads: bool) -> Generator[Tar, None, None]:
    with tempfile.TemporaryFile() as complaints:
        tar = Tar(command, complaints, reads)
        try:
            yield tar
        finally:
            if tar.process.poll() is None:
                tar.process.kill()
            tar.process.wait()
            with contextlib.suppress(OSError):
                tar.pipe.close()


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(PIECE_BYTES):
        yield piece


def _why(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return f"{error.filename2 or error.filename} is a mount point; name a directory in it"
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
