"""The directories of provisioned volumes: made and removed below the instance's own directory of volumes, nowhere else.

The controllers say which path (their `HostPath`); cluster.py hands this in. A path is accepted only as a name in that
directory, and a name is what is used from then on.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from petset.base import tasks
from petset.node import paths


class HostPath:
    def __init__(self, directory: Path):
        self._directory = directory

    async def make(self, path: str) -> None:
        await tasks.in_thread(self._make, self._name(path))

    async def remove(self, path: str) -> None:
        await tasks.in_thread(paths.remove_tree, self._directory / self._name(path))

    async def resize(self, path: str, wanted_bytes: int) -> None:
        """Let a directory hold so many bytes. Raises OSError when its whole disk has fewer."""
        name = self._name(path)
        disk = await tasks.in_thread(shutil.disk_usage, self._directory / name)
        if wanted_bytes > disk.total:
            raise OSError(f"the disk of the volume has {disk.total / 2**30:.1f}Gi in all; ask for less")

    async def free_bytes(self) -> int:
        """What is left on the disk of the volumes."""
        return (await tasks.in_thread(shutil.disk_usage, self._directory)).free

    def _name(self, path: str) -> str:
        directory, name = os.path.split(path)
        if directory != str(self._directory) or name in ("", ".", ".."):
            raise OSError(f"cannot touch {path}: it is not a volume of this instance")
        return name

    def _make(self, name: str) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        paths.make_directory(self._directory / name, 0o777)  # A server that does not run as root writes there too.
