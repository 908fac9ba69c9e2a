"""The disk where a world's volumes and their snapshots are: what the provisioner removes is told to the laws first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from petset.controllers.storage import copying
from petset.world import copies
from petset.world.laws import Laws


class Directories(copies.Copies):
    """What the controllers make and remove directories with (controllers.run.HostPath)."""

    def __init__(self, laws: Laws):
        super().__init__()
        self._laws = laws

    async def begin(self) -> None: ...

    async def make(self, path: str, wanted_bytes: int) -> None:
        os.makedirs(path, exist_ok=True)

    async def remove(self, path: str) -> None:
        self._laws.directory_removed(path)
        shutil.rmtree(path, ignore_errors=True)  # It may have been removed, and the answer about it lost.

    async def resize(self, path: str, wanted_bytes: int) -> None: ...

    async def free_bytes(self) -> int:
        return 1 << 60

    async def take_snapshot(
        self, path: str, handle: str, restore_bytes: int, pods: Sequence[str], told: copying.Told
    ) -> None:
        if handle not in self.snapshots:
            self._laws.note(f"TAKEN    {handle}")
        await super().take_snapshot(path, handle, restore_bytes, pods, told)
