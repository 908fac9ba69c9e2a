"""The disk where a world's volumes are: what the provisioner removes is told to the laws first."""

from __future__ import annotations

import os
import shutil

from petset.world.laws import Laws


class Directories:
    """What the controllers make and remove directories with (controllers.run.HostPath)."""

    def __init__(self, laws: Laws):
        self._laws = laws

    async def make(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    async def remove(self, path: str) -> None:
        self._laws.directory_removed(path)
        shutil.rmtree(path, ignore_errors=True)  # It may have been removed, and the answer about it lost.

    async def resize(self, path: str, wanted_bytes: int) -> None: ...

    async def free_bytes(self) -> int:
        return 1 << 60
