"""The few Linux calls that Python lacks: mounts, namespaces, inotify, and what /proc says about mounts and processes.

Thin wrappers over libc through ctypes; each raises OSError with the path it was about. Namespaces are changed for
the calling thread only, so `in_namespaces` and `in_pinned` are for a thread, not for the loop's, and they put it back.
Follows: mount(2), umount2(2), openat2(2), open_tree(2), move_mount(2), mount_setattr(2), unshare(2), setns(2),
inotify(7), quotactl(2), proc(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 4096
MS_REC, MS_PRIVATE, MS_SLAVE = 1 << 14, 1 << 18, 1 << 19
MNT_DETACH = 2
NAMESPACE_FLAGS = {"mnt": 0x00020000, "net": 0x40000000, "uts": 0x04000000, "ipc": 0x08000000}

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16
AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, os.O_CLOEXEC, 4
# The same numbers on every architecture, as for all calls this young; the C library of Debian 12 has no names for them.
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR, _QUOTACTL_FD = 428, 429, 437, 442, 443
_MOUNT_ATTR_IDMAP = 0x100000

_FS_IOC_FSGETXATTR, _FS_IOC_FSSETXATTR, _FS_XFLAG_PROJINHERIT = 0x801C581F, 0x401C5820, 0x200
_ATTRIBUTES = struct.Struct("=IIIII8x")  # struct fsxattr: flags, extsize, nextents, project, cowextsize
_PROJECTS = 2  # Of the kinds of quotas: users, groups, projects.
_Q_GETQUOTA, _Q_SETQUOTA, _Q_XGETQSTAT = 0x800007, 0x800008, 0x5805
_QUOTA = struct.Struct("=8QI4x")  # struct if_dqblk: limits in blocks of 1024 bytes, what is used in bytes and in files
_QIF_BLIMITS, _COUNTED, _ENFORCED = 1, 1 << 4, 1 << 5

IN_MODIFY, IN_MOVED_TO, IN_Q_OVERFLOW = 0x2, 0x80, 0x4000
IN_OF_FILES = 0x8 | 0x40 | IN_MOVED_TO | 0x200  # One was written and closed, moved away or in, or removed.
IN_NONBLOCK, IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC

TIMEX_BYTES, TIME_ERROR = 512, 5  # More than struct timex has; what it answers for a clock that nobody keeps.

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, about: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)
    return result


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()), target
    )


def unmount(target: str) -> None:
    """Detach at once, also while in use; what is not mounted is left as it is."""
    try:
        _check(_libc.umount2(target.encode(), MNT_DETACH), target)
    except OSError as error:
        if not isinstance(error, FileNotFoundError) and error.errno != 22:  # EINVAL: not a mount point
            raise


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """A descriptor of a path below a directory's descriptor, found under the rules of `resolve` (RESOLVE_*)."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    return _check(_libc.syscall(_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), size), path)


def clone_mount(descriptor: int, about: str) -> int:
    """What a descriptor stands for, with all that is mounted below it, as a mount that is in nobody's mount table yet.

    It is gone when its descriptor is closed before `attach` gave it a place.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE
    return _check(_libc.syscall(_OPEN_TREE, descriptor, b"", ctypes.c_uint(flags)), about)


def attach(tree: int, target: str) -> None:
    """Give a mount of `clone_mount` its place in the calling thread's mount table."""
    flags = ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH)
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", -100, os.fsencode(target), flags), target)  # -100: absolute


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace"))


def map_ids(tree: int, user_namespace: int, about: str) -> None:
    """Have what is in a mount of `clone_mount` belong to the ids of a user namespace that it belongs to on disk.

    Not what is mounted below it. Raises OSError, with EINVAL where the file system cannot be mounted so.
    """
    wanted = _MountAttributes(_MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    _check(_libc.syscall(_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(wanted), size), about)


def set_propagation(target: str, flags: int) -> None:
    """MS_PRIVATE or MS_SLAVE, for a mount and all below it."""
    _check(_libc.mount(None, os.fsencode(target), None, ctypes.c_ulong(MS_REC | flags), None), target)


def propagation(descriptor: int, mountinfo: str | None = None) -> str:
    """What the mount that a descriptor lies on shares with others: "shared", "master" (it is a slave) or "private"."""
    tags = _mount_of(descriptor, mountinfo)[0][6:]
    return next((tag.split(":")[0] for tag in tags if tag.startswith(("shared:", "master:"))), "private")


def file_system(descriptor: int, mountinfo: str | None = None) -> str:
    """The kind that a descriptor lies on, as ext4; "" when nobody knows."""
    return next(iter(_mount_of(descriptor, mountinfo)[1]), "")


def _mount_of(descriptor: int, mountinfo: str | None) -> tuple[list[str], list[str]]:
    """The columns of the mount that a descriptor lies on, before and after the dash; none of one that is not told."""
    known = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines())
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[0] == known["mnt_id"].strip():
            return before.split(" "), after.split(" ")
    return [], []


def mount_points(below: str, mountinfo: str | None = None) -> list[str]:
    """Everything mounted at or below a directory, deepest first."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    below = below.rstrip("/")
    found: list[str] = []
    for line in text.splitlines():
        target = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4])
        if target == below or target.startswith(below + "/"):
            found.append(target)
    return found[::-1]


@contextlib.contextmanager
def in_namespaces(kinds: Sequence[str]) -> Generator[None, None, None]:
    """New namespaces of these kinds (mnt, net, uts, ipc) for this thread, until the end of the block."""
    before = [(kind, os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)) for kind in kinds]
    try:
        _check(_libc.unshare(sum(NAMESPACE_FLAGS[kind] for kind in kinds)), "/proc/thread-self/ns")
        try:
            yield
        finally:
            for kind, descriptor in before:
                _check(_libc.setns(descriptor, NAMESPACE_FLAGS[kind]), f"/proc/thread-self/ns/{kind}")
    finally:
        for _, descriptor in before:
            os.close(descriptor)


def pin(kinds: Sequence[str], directory: Path, process: str = "thread-self") -> None:
    """Keep the namespaces of these kinds that a process (this thread) is in: each is directory/<kind> from now on."""
    for kind in kinds:
        (directory / kind).touch()
        mount(f"/proc/{process}/ns/{kind}", str(directory / kind), "", MS_BIND)


@contextlib.contextmanager
def in_pinned(kind: str, path: Path) -> Generator[None, None, None]:
    """The namespace of a kind that is pinned at a path, for this thread, until the end of the block."""
    flag, own = NAMESPACE_FLAGS[kind], f"/proc/thread-self/ns/{kind}"
    with contextlib.ExitStack() as opened:
        before = os.open(own, os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, before)
        pinned = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, pinned)
        _check(_libc.setns(pinned, flag), str(path))
        try:
            yield
        finally:
            _check(_libc.setns(before, flag), own)


def enforces_project_quotas(descriptor: int) -> bool:
    """Whether the file system keeps projects to their limits. Raises OSError where it has no quotas."""
    found = _quotactl(descriptor, _Q_XGETQSTAT, 0, bytes(256))
    (flags,) = struct.unpack_from("=H", found, 2)  # struct fs_quota_stat: version, flags, ...
    return flags & (_COUNTED | _ENFORCED) == _COUNTED | _ENFORCED


def project_of(descriptor: int) -> int:
    """The project that a file or directory belongs to; 0 is none. Raises OSError."""
    return _attributes(descriptor)[3]


def set_project(descriptor: int, project: int) -> None:
    """A directory's own, and that of everything that will be made in it. Raises OSError."""
    flags, extent, extents, _, cow = _attributes(descriptor)
    fcntl.ioctl(
        descriptor,
        _FS_IOC_FSSETXATTR,
        _ATTRIBUTES.pack(flags | _FS_XFLAG_PROJINHERIT, extent, extents, project, cow),
    )


def _attributes(descriptor: int) -> tuple[int, ...]:
    return _ATTRIBUTES.unpack(fcntl.ioctl(descriptor, _FS_IOC_FSGETXATTR, bytes(_ATTRIBUTES.size)))


def project_quota(descriptor: int, project: int) -> tuple[int, int, int]:
    """(the limit in bytes, 0 for none; the bytes and the files that belong to a project). Raises OSError."""
    try:
        found = _QUOTA.unpack(_quotactl(descriptor, _Q_GETQUOTA, project, bytes(_QUOTA.size)))
    except (FileNotFoundError, ProcessLookupError):  # xfs, of a project that it has never seen.
        return 0, 0, 0
    return found[0] * 1024, found[2], found[5]


def limit_project(descriptor: int, project: int, bytes_max: int) -> None:
    """What belongs to a project may have so many bytes; 0: as many as there are. Raises OSError."""
    blocks = -(-bytes_max // 1024)
    _quotactl(descriptor, _Q_SETQUOTA, project, _QUOTA.pack(blocks, 0, 0, 0, 0, 0, 0, 0, _QIF_BLIMITS))


def _quotactl(descriptor: int, command: int, number: int, given: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(given, len(given))
    word = ctypes.c_uint(command << 8 | _PROJECTS)
    _check(_libc.syscall(_QUOTACTL_FD, descriptor, word, ctypes.c_uint(number), buffer), f"project {number}")
    return buffer.raw


def reap(pid: int) -> None:
    """Take the exit status of a process that has ended, if it was ours."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def inotify() -> int:
    """A non-blocking inotify descriptor."""
    return _check(_libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC), "inotify")


def inotify_add(descriptor: int, path: str, mask: int) -> int:
    return _check(_libc.inotify_add_watch(descriptor, path.encode(), ctypes.c_uint32(mask)), path)


def inotify_remove(descriptor: int, watch: int) -> None:
    _libc.inotify_rm_watch(descriptor, watch)


def is_clock_synchronized() -> bool:
    """Whether somebody keeps the clock right, as the kernel has been told."""
    return _libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)) != TIME_ERROR


def is_first_user_namespace(uid_map: str | None = None) -> bool:
    """Whether capabilities count on the whole machine, and not only for what a user namespace owns."""
    text = Path("/proc/self/uid_map").read_text() if uid_map is None else uid_map
    return text.split() == ["0", "0", "4294967295"]


def boot_id() -> str:
    """Differs after every start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same id."""

    pid: int
    started: int  # In clock ticks since the machine started.

    def alive(self) -> bool:
        return process(self.pid) == self

    def pidfd(self) -> int | None:
        """A descriptor that becomes readable when the process ends; None when it already has."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive():
            return descriptor
        os.close(descriptor)
        return None


def process(pid: int) -> Process | None:
    """The process that has this id now; None when there is none, or only its exit status is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else Process(pid, int(fields[19]))
