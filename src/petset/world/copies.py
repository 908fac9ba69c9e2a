"""Snapshots that are only remembered, for disks that nobody writes."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from petset.controllers.storage import copying


class Copies(abc.ABC):
    """Snapshots that are only remembered, and what is made of them or of other directories (copying.Directories)."""

    def __init__(self) -> None:
        self.snapshots: dict[str, tuple[str, int]] = {}  # By handle: of which directory, for how many bytes.

    @abc.abstractmethod
    async def make(self, path: str, wanted_bytes: int) -> None: ...

    async def take_snapshot(
        self, path: str, handle: str, restore_bytes: int, pods: Sequence[str], told: copying.Told
    ) -> None:
        self.snapshots.setdefault(handle, (path, restore_bytes))

    async def snapshot(self, handle: str) -> tuple[int, int]:
        if handle not in self.snapshots:
            raise OSError(f"there is no snapshot {handle}")
        return 10**18, self.snapshots[handle][1]

    async def remove_snapshot(self, handle: str) -> None:
        self.snapshots.pop(handle, None)

    async def restore(self, handle: str, path: str, wanted_bytes: int, told: copying.Told) -> None:
        await self.snapshot(handle)
        await self.make(path, wanted_bytes)

    async def clone(self, source: str, path: str, wanted_bytes: int, pods: Sequence[str], told: copying.Told) -> None:
        await self.make(path, wanted_bytes)
