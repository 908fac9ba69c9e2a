"""Copies of volumes' directories: snapshots, volumes made of them, clones.

A copy is made by `cp` in a program of its own (reflinks where the file system has them), under a name that nobody uses,
is synced and then renamed: under its final name it is whole. While the source may be written its pods stand still
(containers/stillness.py), so that the copy is what a power failure at that moment would have left. What takes longer
than STILL_SECONDS_MAX then is given up and said so. What a kill has left is removed at the start.

A snapshot is a directory of two things: `data`, and `taken` with when it was and how large a volume of it must be.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from petset.base import state, tasks
from petset.node import meter, paths, programs
from petset.node.volumes import project_quotas
from petset.objects import encoding

STILL_SECONDS_MAX = 60.0  # As long as pods may stand still for a copy of what they write.
COPY_SECONDS_MAX = 6 * 3600.0
TELL_SECONDS = 10.0  # How often a copy that takes long says how far it is.
UNFINISHED = ".copying-"
_HANDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")

Told = Callable[[int], Awaitable[None]]


class Stillness(Protocol):
    """Whom the pods' processes obey."""

    def of(self, pods: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """These pods (by uid) stand still until the block is left. Raises OSError."""
        ...

    def end_all(self) -> None:
        """Let go whoever an earlier petset made to stand still."""
        ...


class Copies:
    """All copies of one instance: those of volumes in `volumes`, snapshots in `snapshots`."""

    def __init__(self, volumes: Path, snapshots: Path, still: Stillness):
        self._volumes, self._snapshots, self._still = volumes, snapshots, still
        self._meter = meter.Meter()
        self._under_way: set[str] = set()

    async def begin(self) -> None:
        """After a start: nothing is under way, and nobody stands still."""
        await tasks.in_thread(self._still.end_all)
        for directory in (self._volumes, self._snapshots):
            for name in await tasks.in_thread(_unfinished, directory):
                if name not in self._under_way:
                    await tasks.in_thread(paths.remove_tree, directory / name)

    async def take(self, source: Path, handle: str, restore_bytes: int, pods: Sequence[str], told: Told) -> None:
        place = self._snapshots / _checked(handle)
        if place.exists():
            return
        await tasks.in_thread(_make_private, self._snapshots)
        unfinished = self._snapshots / f"{UNFINISHED}{tasks.name_suffix(12)}"
        taken = encoding.dumps({"creationTime": int(tasks.now() * 1e9), "restoreSize": restore_bytes})

        def begin() -> None:
            unfinished.mkdir(0o700)
            (unfinished / "taken").write_bytes(taken)
            (unfinished / "data").mkdir(0o700)

        await self._made(unfinished, place, begin, source, unfinished / "data", pods, told)

    async def info(self, handle: str) -> tuple[int, int]:
        """(nanoseconds since 1970 when it was taken, bytes of a volume of it). Raises OSError."""
        file = self._snapshots / _checked(handle) / "taken"
        try:
            found = encoding.loads(await tasks.in_thread(file.read_bytes))
        except FileNotFoundError:
            raise OSError(f"there is no snapshot {handle}") from None
        return found["creationTime"], found["restoreSize"]

    async def remove(self, handle: str) -> None:
        await tasks.in_thread(paths.remove_tree, self._snapshots / _checked(handle))

    async def restore(self, handle: str, place: Path, wanted_bytes: int, told: Told) -> None:
        source = self._snapshots / _checked(handle) / "data"
        if not await tasks.in_thread(source.is_dir):
            raise OSError(f"there is no snapshot {handle}")
        await self.clone(source, place, wanted_bytes, (), told)

    async def clone(self, source: Path, place: Path, wanted_bytes: int, pods: Sequence[str], told: Told) -> None:
        if place.exists():
            return  # Whole, as its name says: the object of it is what a kill came before.
        unfinished = place.parent / f"{UNFINISHED}{tasks.name_suffix(12)}"

        def begin() -> None:
            unfinished.mkdir(0o700)
            project_quotas.bind(unfinished, wanted_bytes)  # What is copied into it counts from the beginning.

        await self._made(unfinished, place, begin, source, unfinished, pods, told)

    async def _made(
        self,
        unfinished: Path,
        place: Path,
        begin: Callable[[], None],
        source: Path,
        target: Path,
        pods: Sequence[str],
        told: Told,
    ) -> None:
        self._under_way.add(unfinished.name)
        try:
            await tasks.in_thread(begin)
            async with self._still.of(pods):
                await self._copy(source, target, STILL_SECONDS_MAX if pods else COPY_SECONDS_MAX, told)
            await programs.run(["sync", "-f", str(target)], timeout_seconds=COPY_SECONDS_MAX)
            await tasks.in_thread(_renamed, unfinished, place)
        except programs.ProgramFailed as error:
            raise OSError(_why(error, source)) from error
        finally:
            self._under_way.discard(unfinished.name)
            if unfinished.exists():
                await tasks.in_thread(paths.remove_tree, unfinished)

    async def _copy(self, source: Path, target: Path, seconds: float, told: Told) -> None:
        argv = ["cp", "-a", "--reflink=auto", "--sparse=always", "--", f"{source}/.", str(target)]
        failed: programs.ProgramFailed | None = None
        async with asyncio.TaskGroup() as group:
            teller = tasks.spawn(group, self._tell(target, told), f"tell of the copy of {source.name}")
            try:
                await programs.run(argv, timeout_seconds=seconds)
            except programs.ProgramFailed as error:  # Beyond the group, which would wrap it.
                failed = error
            finally:
                teller.cancel()
        if failed is not None:
            raise failed

    async def _tell(self, target: Path, told: Told) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            found = await self._meter.bytes_in(target.parent, [target.name])
            with tasks.best_effort("tell how far a copy is"):
                await told(found.get(target.name, 0))


def _why(error: programs.ProgramFailed, source: Path) -> str:
    if error.status is None and error.why.startswith("did not end"):
        return (
            f"cannot copy {source.name}: it {error.why} while its pods stood still; stop them, or keep petset's state "
            "on a file system with reflinks (xfs, btrfs)"
        )
    return f"cannot copy {source.name}: {error.why}"


def _checked(handle: str) -> str:
    if not _HANDLE.match(handle):
        raise OSError(f"{handle!r} is not the handle of a snapshot")
    return handle


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _unfinished(directory: Path) -> list[str]:
    if not directory.is_dir():
        return []
    return sorted(name for name in os.listdir(directory) if name.startswith(UNFINISHED))


def _renamed(unfinished: Path, place: Path) -> None:
    """Durably: the name is on the disk when this returns."""
    os.rename(unfinished, place)
    state.sync_directory(place.parent)
