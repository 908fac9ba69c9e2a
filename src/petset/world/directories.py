"""The disk where a world's volumes and their snapshots are: what the provisioner removes is told to the laws first."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Sequence

from petset.controllers.storage import copying
from petset.world import copies, snapshots
from petset.world.laws import Laws


class Directories(copies.Copies):
    """What the controllers make and remove directories with (controllers.run.HostPath).

    What a directory holds is one text. A copy takes its time, in which whoever makes it may be killed, and is there
    when it is whole, as on a real disk (node/volumes/copies.py).
    """

    def __init__(self, laws: Laws, chance: random.Random):
        super().__init__()
        self._laws, self._chance = laws, chance
        self._held: dict[str, list[str]] = {}  # By path: all that it has held, the newest last.
        self._copies: dict[str, str] = {}  # By handle.
        self._reading: list[str] = []

    def write(self, path: str, text: str) -> None:
        """What a pod would do."""
        self._held.setdefault(path, []).append(text)

    @property
    def paths(self) -> list[str]:
        return list(self._held)

    def has_held(self, path: str) -> Sequence[str]:
        return self._held.get(path, [])

    def copied(self, handle: str) -> str | None:
        return self._copies.get(handle)

    async def _takes_its_time(self) -> None:
        await asyncio.sleep(self._chance.choice((0.0, 0.1, 5.0)) * self._chance.random())

    async def begin(self) -> None: ...

    async def make(self, path: str, wanted_bytes: int) -> None:
        os.makedirs(path, exist_ok=True)
        self._held.setdefault(path, [""])

    async def remove(self, path: str) -> None:
        self._laws.directory_removed(path)
        if path in self._reading:
            self._laws.breaks(f"{path} was removed while it was copied")
        self._held.pop(path, None)
        shutil.rmtree(path, ignore_errors=True)  # It may have been removed, and the answer about it lost.

    async def resize(self, path: str, wanted_bytes: int) -> None: ...

    async def free_bytes(self) -> int:
        return 1 << 60

    async def take_snapshot(
        self, path: str, handle: str, restore_bytes: int, pods: Sequence[str], told: copying.Told
    ) -> None:
        if handle in self.snapshots:
            return
        text = await self._read(path)
        self._laws.note(f"TAKEN    {handle}")
        self._copies[handle] = text
        await super().take_snapshot(path, handle, restore_bytes, pods, told)

    async def remove_snapshot(self, handle: str) -> None:
        for wrong in snapshots.wrongly_removed(self._laws.objects, handle):
            self._laws.breaks(wrong)
        if handle in self._reading:
            self._laws.breaks(f"{handle} was removed while it was copied")
        self._copies.pop(handle, None)
        await super().remove_snapshot(handle)

    async def restore(self, handle: str, path: str, wanted_bytes: int, told: copying.Told) -> None:
        await self.snapshot(handle)
        await self._copy(handle, path)

    async def clone(self, source: str, path: str, wanted_bytes: int, pods: Sequence[str], told: copying.Told) -> None:
        await self._copy(source, path)

    async def _copy(self, source: str, path: str) -> None:
        if path not in self._held:  # Else it is whole, as its name says.
            text = await self._read(source)
            os.makedirs(path, exist_ok=True)
            self._held[path] = [text]

    async def _read(self, source: str) -> str:
        """What a directory or a copy holds now, when it has been read. Raises OSError."""
        held = [self._copies[source]] if source in self._copies else self._held.get(source, [])
        if not held:
            raise OSError(f"there is no {source}")
        text = held[-1]
        self._reading.append(source)
        try:
            await self._takes_its_time()
        finally:
            self._reading.remove(source)
        return text
