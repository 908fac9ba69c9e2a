"""The state directory: where everything of one instance lives, how it is found, and that only one process runs it.

One directory holds the database, keys, images, volumes, pods, the network plan and the log; deleting it deletes the
instance. It is found by `--state`, else PETSET_STATE, else by default `.petset/` in the checkout petset runs from, else
/var/lib/petset (root) or ~/.local/share/petset. A running instance holds a lock on `lock` and has written its process
id there; the lock goes with the process, however it ends, so nothing is ever stale. A newer petset opens what an older
one has made; what one of a newer format has made, an older one leaves alone, whatever it is asked to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import json
import os
import re
import select
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import petset


class StateError(Exception):
    """The state directory cannot be used: the message says why and what to do."""


LOCK = "lock"
RECORD = "instance.json"  # What the instance is, and who has written it last.
# Of all that is in a state directory. Who changes what an earlier petset would read wrongly raises it, has `up` bring
# older ones to it, and keeps a state directory of the release before (scripts/keep-state).
FORMAT = 1
SWITCHES = "nodes.json"  # Which nodes are stopped, or cut off.
DYING_SECONDS_MAX = 10.0  # For a process that was killed to be gone.
# What stands directly in a state directory, with what a killed process left half-written. Nothing else is ever deleted.
OURS = (
    *(LOCK, RECORD, "network.json", "addresses.json", "kubeconfig", "petset.log*", "store.db*"),
    *("control", SWITCHES, "namespaces.json", "pasta.pid", "ports.sock", "resolv.conf"),
    *("images", "node", "nodes", "oci", "pki", "pods", "seccomp", "snapshots", "volumes"),
    *(".instance.json.*", ".network.json.*", ".addresses.json.*", ".kubeconfig.*", f".{SWITCHES}.*"),
    ".namespaces.json.*",
)


def is_ours(name: str) -> bool:
    """Whether a name directly in a state directory is one that petset gives."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in OURS)


def checkout() -> Path | None:
    """The root of the checkout this package runs from, or None when it is installed elsewhere."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / "src" / "petset").is_dir() else None


def locate(given: str | None) -> State:
    """The state directory that a command is about; it need not exist yet."""
    if given or os.environ.get("PETSET_STATE"):
        return State(Path(given or os.environ["PETSET_STATE"]).absolute())
    return State(default_directory())


def default_directory() -> Path:
    if root := checkout():
        return root / ".petset"
    if os.geteuid() == 0:
        return Path("/var/lib/petset")
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(data) / "petset"


@dataclass(frozen=True, slots=True)
class State:
    directory: Path

    def path(self, *parts: str) -> Path:
        return self.directory.joinpath(*parts)

    @property
    def name(self) -> str:
        """What tells it from other instances in a person's eyes: "" for the default one, else its directory's name."""
        if os.path.realpath(self.directory) == os.path.realpath(default_directory()):
            return ""
        named = self.directory.parent if self.directory.name == ".petset" else self.directory  # Another checkout's.
        return re.sub(r"[^a-z0-9]+", "-", named.name.lower()).strip("-") or "other"

    def exists(self) -> bool:
        """Whether petset was ever at work here."""
        return self.path(LOCK).is_file() and any(
            path.exists() for path in (self.log, self.database, self.path("images"))
        )

    @property
    def database(self) -> Path:
        return self.path("store.db")

    @property
    def keys(self) -> Path:
        return self.path("pki")

    @property
    def images(self) -> Path:
        """PETSET_IMAGES lets several instances share one image store."""
        shared = os.environ.get("PETSET_IMAGES")
        return Path(shared) if shared else self.path("images")

    @property
    def snapshots(self) -> Path:
        return self.path("snapshots")

    @property
    def volumes(self) -> Path:
        return self.path("volumes")

    @property
    def kubeconfig(self) -> Path:
        return self.path("kubeconfig")

    @property
    def control(self) -> Path:
        """Where the running instance listens for its commands."""
        return self.path("control")

    @property
    def log(self) -> Path:
        return self.path("petset.log")

    def create(self) -> None:
        """Make the directory, readable by its owner alone. Raises StateError."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            os.chmod(self.directory, 0o700)
            sync_directory(self.directory.parent)
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> StateError:
        place = f"{error.strerror}: {error.filename or self.directory}"
        return StateError(f"cannot use the state directory {self.directory}: {place}; name another with --state")

    @contextlib.contextmanager
    def lock(self) -> Generator[None]:
        """Hold the instance for as long as the context lasts. Raises StateError when another process does."""
        self.create()
        try:
            descriptor = os.open(self.path(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            if owner := _taken_by(descriptor):
                raise StateError(
                    f"cannot use the state directory {self.directory}: petset is running in it already "
                    f"(process {owner}); run `petset down` first, or name another with --state"
                )
            self._must_be_known()
            try:
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except OSError as error:
                raise self._unusable(error) from None
            yield
        finally:
            os.close(descriptor)

    def _must_be_known(self) -> None:
        """Raises StateError when a newer petset has written it, in a format that this one does not know."""
        try:
            record = json.loads(self.path(RECORD).read_bytes())
            written = record["format"]
        except (OSError, ValueError, LookupError, TypeError):
            return  # Before formats had numbers; what is damaged is said by who needs it.
        if isinstance(written, int) and written > FORMAT:
            raise StateError(
                f"cannot use the state directory {self.directory}: petset {record.get('petset', 'of a newer release')} "
                f"has written it in format {written}, and this petset {petset.__version__} knows formats up to "
                f"{FORMAT}; use that petset or a newer one, or name another directory with --state"
            )

    def keep(self, **known: Any) -> None:
        """Write down what is known of the instance now, and who knows it; once the lock is held."""
        before = self.read(RECORD) or {}
        after = {**before, **known, "format": FORMAT, "petset": petset.__version__}
        if after != before:
            self.write(RECORD, after)

    def running_process(self) -> int | None:
        """The process id of the running instance, or None."""
        try:
            descriptor = os.open(self.path(LOCK), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            owner = _taken_by(descriptor)
            return int(owner) if owner.isdigit() else None
        finally:
            os.close(descriptor)

    def read(self, name: str) -> dict[str, Any] | None:
        """A small JSON record of the instance, or None when it was never written."""
        try:
            found: dict[str, Any] | list[Any] | None = json.loads(self.path(name).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise StateError(f"cannot read {self.path(name)}: it is damaged; move it away and run `petset up` again")
        return found

    def write(self, name: str, record: dict[str, Any]) -> None:
        write_private(self.path(name), json.dumps(record, indent=1).encode())


def write_private(path: Path, data: bytes) -> None:
    """Replace a file whole or not at all; only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
        sync_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:  # A full disk names no file.
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def replace_whole(path: Path, data: bytes) -> None:
    """Replace a file whole or not at all, for one writer; after a power cut it may be what it was."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(data)
    os.replace(temporary, path)


@contextlib.contextmanager
def reachable(path: Path) -> Generator[str]:
    """A short name of a path of any length, while the context lasts: a socket's address has 107 characters at most.

    Raises OSError.
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def sync_directory(path: Path) -> None:
    """Have the names in it survive a power cut, as their files do."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken_by(descriptor: int) -> str:
    """Take the lock; "" when it is taken now, else whose it is.

    Who was killed has it until the last of his threads is gone: that is waited for.
    """
    for has_waited in (False, True):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return ""
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode().strip()
        if has_waited or not (owner.isdigit() and _has_ended(int(owner))):
            break
    return owner or "unknown"


def _has_ended(process: int) -> bool:
    """Whether the process has been killed, or is gone; once there is nothing left of it, as far as that is soon."""
    if process_state(process) not in ("", "Z", "X"):
        return False
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process)
        try:
            select.select([descriptor], [], [], DYING_SECONDS_MAX)
        finally:
            os.close(descriptor)
    return True


def process_state(process: int) -> str:
    """The letter of /proc/PID/stat: Z for one whose first thread is gone; "" when there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
