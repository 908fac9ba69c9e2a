"""The capacity of a volume kept by its file system: a project of its own, with a limit, where there are such quotas.

ext4 and xfs count what belongs to a project, and a new file belongs to that of its directory. A volume's directory is
given one while it is empty, with a hard limit of the claim's size; a program that would pass it is told that the disk
is full, and `df` in a container shows the claim's size. Numbers are made of the directory's name; one that somebody
else has (anything is counted or limited for it) is passed over. Where the file system keeps no limits of projects, or
petset may not set them, nothing is changed, and the volume is measured instead (space.py).

Nothing is written down: the directory knows its project. Follows: quotactl_fd(2), ioctl_xfs_fsgetxattr(2), ext4(5).
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from petset.node import linux, paths

FIRST, COUNT = 1 << 30, 1 << 29  # Numbers of projects; those of other tools are mostly small.
TRIES_MAX = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Counted:
    """What the file system says of a project."""

    bytes_max: int
    used_bytes: int
    inodes: int

    @property
    def is_unused(self) -> bool:
        return not (self.bytes_max or self.used_bytes or self.inodes)


class FileSystem(Protocol):
    """Of an open directory. Each raises OSError where there is no such thing, or petset may not."""

    def keeps_limits(self, directory: int) -> bool:
        """Whether projects are counted and their limits enforced."""
        ...

    def project(self, directory: int) -> int: ...

    def set_project(self, directory: int, project: int) -> None:
        """Its own, and that of everything that will be made in it."""
        ...

    def counted(self, directory: int, project: int) -> Counted: ...

    def limit(self, directory: int, project: int, bytes_max: int) -> None: ...


class Kernel:
    def keeps_limits(self, directory: int) -> bool:
        return linux.enforces_project_quotas(directory)

    def project(self, directory: int) -> int:
        return linux.project_of(directory)

    def set_project(self, directory: int, project: int) -> None:
        linux.set_project(directory, project)

    def counted(self, directory: int, project: int) -> Counted:
        return Counted(*linux.project_quota(directory, project))

    def limit(self, directory: int, project: int, bytes_max: int) -> None:
        linux.limit_project(directory, project, bytes_max)


KERNEL = Kernel()


def bind(path: str | Path, bytes_max: int, of: FileSystem = KERNEL) -> bool:
    """Let a new, empty directory hold so many bytes and no more; whether the file system sees to it. Blocks."""
    with paths.opened(path, _DIRECTORY) as directory:
        try:
            if not of.keeps_limits(directory):
                return False
            project = _unused(os.path.basename(path), directory, of)
            if not project:
                return False
            of.limit(directory, project, bytes_max)
            of.set_project(directory, project)
        except OSError:
            return False  # Not with this kernel, or not for this user.
    return True


def _unused(name: str, directory: int, of: FileSystem) -> int:
    begin = zlib.crc32(name.encode()) % COUNT
    numbers = (FIRST + (begin + more) % COUNT for more in range(TRIES_MAX))
    return next((number for number in numbers if of.counted(directory, number).is_unused), 0)


def change(path: str | Path, bytes_max: int, of: FileSystem = KERNEL) -> bool:
    """Another limit for a directory that has one; whether it has. Blocks. Raises OSError."""
    with paths.opened(path, _DIRECTORY) as directory:
        project = _project(directory, of)
        if project:
            of.limit(directory, project, bytes_max)
        return bool(project)


def held(path: str | Path, of: FileSystem = KERNEL) -> tuple[int, int] | None:
    """(bytes, files) in a directory that has a project of ours; None where they are not counted. Blocks."""
    with paths.opened(path, _DIRECTORY) as directory:
        project = _project(directory, of)
        if not project:
            return None
        counted = of.counted(directory, project)
        return counted.used_bytes, counted.inodes


def _project(directory: int, of: FileSystem) -> int:
    """That of a directory, when it is one of ours; 0: it has none."""
    try:
        project = of.project(directory) if of.keeps_limits(directory) else 0
    except OSError:
        return 0
    return project if FIRST <= project < FIRST + COUNT else 0
