"""The directories of provisioned volumes: made and removed below the instance's own directory of volumes, nowhere else.

The controllers say which path (their `HostPath`); cluster.py hands this in. A path is accepted only as a name in that
directory, and a name is what is used from then on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from petset.base import tasks
from petset.node import paths
from petset.node.volumes import copies, project_quotas


class HostPath:
    """Volumes in a directory, their snapshots in another one of the same file system."""

    def __init__(self, directory: Path, snapshots: Path, still: copies.Stillness):
        self._directory = directory
        self._copies = copies.Copies(directory, snapshots, still)

    async def begin(self) -> None:
        """After a start."""
        await self._copies.begin()

    async def take_snapshot(
        self, path: str, handle: str, restore_bytes: int, pods: Sequence[str], told: copies.Told
    ) -> None:
        await self._copies.take(self._directory / self._name(path), handle, restore_bytes, pods, told)

    async def snapshot(self, handle: str) -> tuple[int, int]:
        return await self._copies.info(handle)

    async def remove_snapshot(self, handle: str) -> None:
        await self._copies.remove(handle)

    async def restore(self, handle: str, path: str, wanted_bytes: int, told: copies.Told) -> None:
        await tasks.in_thread(self._make_all)
        await self._copies.restore(handle, self._directory / self._name(path), wanted_bytes, told)

    async def clone(self, source: str, path: str, wanted_bytes: int, pods: Sequence[str], told: copies.Told) -> None:
        place = self._directory / self._name(path)
        await self._copies.clone(self._directory / self._name(source), place, wanted_bytes, pods, told)

    async def make(self, path: str, wanted_bytes: int) -> None:
        await tasks.in_thread(self._make, self._name(path), wanted_bytes)

    async def remove(self, path: str) -> None:
        await tasks.in_thread(self._remove, self._directory / self._name(path))

    async def resize(self, path: str, wanted_bytes: int) -> None:
        """Let a directory hold so many bytes. Raises OSError when its whole disk has fewer."""
        name = self._name(path)
        disk = await tasks.in_thread(shutil.disk_usage, self._directory)  # The volume's own is what it may hold now.
        if wanted_bytes > disk.total:
            raise OSError(f"the disk of the volume has {disk.total / 2**30:.1f}Gi in all; ask for less")
        await tasks.in_thread(project_quotas.change, self._directory / name, wanted_bytes)

    async def free_bytes(self) -> int:
        """What is left on the disk of the volumes."""
        return (await tasks.in_thread(shutil.disk_usage, self._directory)).free

    def _name(self, path: str) -> str:
        directory, name = os.path.split(path)
        if directory != str(self._directory) or name in ("", ".", ".."):
            raise OSError(f"cannot touch {path}: it is not a volume of this instance")
        return name

    def _make_all(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)

    def _make(self, name: str, wanted_bytes: int) -> None:
        """Made once: a directory that is there may hold something already."""
        self._make_all()
        place = self._directory / name
        paths.make_directory(place, 0o777)  # A server that does not run as root writes there too.
        if not os.listdir(place):
            project_quotas.bind(place, wanted_bytes)

    def _remove(self, place: Path) -> None:
        if place.is_dir():
            project_quotas.change(place, 0)  # Else the limit would outlive what it is of.
        paths.remove_tree(place)
