"""A path inside a place that a container may write: found once, and from then on a descriptor, never a name again.

Whoever may write in a directory can put a symbolic link where a directory was, between any two looks of ours. So a path
below such a place is opened by the kernel in one step (openat2), which stays inside or fails; and what is then mounted,
read, given away or removed is what was opened.

`beneath` is for volumes: links that stay inside are followed, a path that leads out raises LeadsOut. `in_root` is for
the trees of images: there a link means what it means to a process whose root the tree is. `walk` shows everything below
a place, `remove_tree` removes it; neither follows a link, and neither grows with the depth of the tree.

Invariant: the place itself is named by a path whose every part only petset and the machine's owner can change.
Follows: openat2(2), path_resolution(7).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from petset.base import tasks
from petset.node import linux

OPEN_ATTEMPTS_MAX = 100  # The kernel says "again" when something above a `..` was renamed meanwhile.
_DIRECTORY = os.O_DIRECTORY | os.O_RDONLY
_READING = os.O_RDONLY | os.O_NONBLOCK  # It may be a pipe, and nobody writes there.


class LeadsOut(OSError):
    """A path that leads out of its place."""

    def __init__(self, path: str):
        super().__init__(errno.EXDEV, "it leads out of its volume", path)


def why_not() -> str:
    """What this kernel lacks, with what to do; "" when it has openat2."""
    try:
        with opened("/") as root:
            os.close(beneath(root, "."))
    except OSError as error:
        return f"cannot keep containers inside their volumes: openat2 says {error.strerror}; use Linux 5.6 or later"
    return ""


@contextlib.contextmanager
def opened(path: str | Path, flags: int = os.O_PATH) -> Generator[int, None, None]:
    """The descriptor of a place, for the length of a block."""
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def beneath(place: int, path: str, flags: int = os.O_PATH) -> int:
    """A descriptor of what is at a relative path now. Raises LeadsOut, OSError."""
    try:
        return _open(place, path, flags, linux.RESOLVE_BENEATH | linux.RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise LeadsOut(path) from None
        raise


def in_root(place: int, path: str, flags: int = os.O_PATH) -> int:
    """A descriptor of what a process whose root the place is would find at a path. Raises OSError."""
    return _open(place, path, flags, linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS)


def _open(place: int, path: str, flags: int, resolve: int) -> int:
    for _ in range(OPEN_ATTEMPTS_MAX):
        with contextlib.suppress(BlockingIOError):
            return linux.openat2(place, path, flags, resolve)
    raise OSError(errno.EBUSY, "its directories are being renamed all the time", path)


def file_beneath(place: int, path: str) -> BinaryIO:
    """A regular file beneath a place, for reading. Raises LeadsOut, OSError."""
    return _regular(beneath(place, path, _READING), path)


def text_in_root(root: str | Path, path: str, bytes_max: int) -> str:
    """The beginning of a regular file of an image; "" where there is none."""
    with contextlib.suppress(OSError), opened(root) as place, _regular(in_root(place, path, _READING), path) as file:
        return file.read(bytes_max).decode(errors="replace")
    return ""


def made_beneath(place: int, path: str) -> int:
    """Like `beneath`, but directories that are not there are made, as the place itself is. Raises LeadsOut, OSError."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for count in range(len(parts)):
        try:
            os.close(beneath(place, "/".join(parts[: count + 1])))
        except FileNotFoundError:
            parent = beneath(place, "/".join(parts[:count]) or ".", _DIRECTORY)
            try:
                _make(parent, parts[count], os.fstat(place))
            finally:
                os.close(parent)
    return beneath(place, "/".join(parts) or ".")


def _make(parent: int, name: str, like: os.stat_result) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        made = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            found = os.fstat(made)
            # Another directory may stand there by now: only an empty one of our own, open to nobody, is given away.
            if found.st_uid == os.geteuid() and found.st_mode & 0o777 == 0o700 and not os.listdir(made):
                with contextlib.suppress(PermissionError):  # Without root everything belongs to whoever runs petset.
                    os.fchown(made, like.st_uid, like.st_gid)
                os.fchmod(made, 0o750 | (stat.S_IMODE(like.st_mode) & 0o3777))
        finally:
            os.close(made)


def make_directory(path: str | Path, mode: int) -> None:
    """A directory of this mode, whatever the umask; one that is there gets the mode too. Never behind a link."""
    with opened(Path(path).parent) as parent:
        with contextlib.suppress(FileExistsError):
            os.mkdir(Path(path).name, dir_fd=parent)
        made = os.open(Path(path).name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.fchmod(made, mode)
        finally:
            os.close(made)


def make_file(path: str | Path, mode: int) -> None:
    """An empty file of this mode, whatever the umask. Raises FileExistsError, OSError."""
    made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(made, mode)
    finally:
        os.close(made)


def regular(path: str | Path) -> BinaryIO:
    """The file of that name for reading; a link, a pipe or a device in its place is an OSError."""
    return _regular(os.open(path, _READING | os.O_NOFOLLOW | os.O_CLOEXEC), str(path))


def _regular(descriptor: int, path: str) -> BinaryIO:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a regular file", path)


def walk(place: int) -> Iterator[tuple[str, int, os.stat_result]]:
    """Everything below a place: its path, its descriptor (O_PATH, open until the next) and what it is.

    No link is followed; what is renamed or removed meanwhile is left out. A path longer than the kernel takes is an
    OSError.
    """
    waiting = ["."]
    while waiting:
        path = waiting.pop()
        try:
            directory = _open(place, path, _DIRECTORY, linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                continue
            raise
        try:
            for name in os.listdir(directory):
                try:
                    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                except FileNotFoundError:
                    continue
                try:
                    found = os.fstat(descriptor)
                    yield f"{path}/{name}", descriptor, found
                finally:
                    os.close(descriptor)
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(f"{path}/{name}")
        finally:
            os.close(directory)


def change(descriptor: int, group: int, mode: int) -> None:
    """Give what an O_PATH descriptor stands for to a group, with a new mode. It must not be a link."""
    name = f"/proc/self/fd/{descriptor}"
    with contextlib.suppress(PermissionError):  # Without root everything belongs to whoever runs petset.
        os.chown(name, -1, group)
    os.chmod(name, mode)


def remove_tree(path: str | Path) -> None:
    """Remove a directory and all below it, however deep; what is mounted there is an OSError. Absent is fine."""
    with contextlib.suppress(FileNotFoundError), opened(Path(path).parent) as parent:
        remove_beneath(parent, Path(path).name)


def remove_beneath(parent: int, name: str) -> None:
    """The same for a name in a place. Raises FileNotFoundError, OSError."""
    top = _own_directory(parent, name)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _own_directory(parent: int, name: str) -> int:
    """A directory that is neither behind a link nor the root of a mount."""
    resolve = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_XDEV
    return _open(parent, name, _DIRECTORY | os.O_NOFOLLOW, resolve)


def _empty(top: int) -> None:
    """A directory below one of the top moves up next to it, so depth costs neither stack nor descriptors."""
    fresh = f".removing-{tasks.name_suffix(12)}-"
    waiting, moved = deque(name for name in os.listdir(top) if not _unlinked(top, name)), 0
    while waiting:
        name = waiting.popleft()
        directory = _own_directory(top, name)
        try:
            for inner in os.listdir(directory):
                if not _unlinked(directory, inner):
                    os.rename(inner, f"{fresh}{moved}", src_dir_fd=directory, dst_dir_fd=top)
                    waiting.append(f"{fresh}{moved}")
                    moved += 1
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=top)


def _unlinked(directory: int, name: str) -> bool:
    """Whether the name is gone now; False for a directory with something in it."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
    return True
