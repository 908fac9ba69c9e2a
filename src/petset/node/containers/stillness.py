"""Pods that stand still while what they write is copied: their cgroups are frozen, and let go in any case.

Which pods are frozen is written down first (a file `<directory>/<pod uid>`), so that a petset that begins after a kill
lets them go. Where pods cannot be frozen the copy fails: half a write must not pass for a moment.
Follows: the freezer of cgroup version 1 and 2 (kernel documentation).
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from petset.base import tasks
from petset.node.containers import cgroups

FREEZING_SECONDS_MAX = 5.0
LOOK_SECONDS = 0.01  # While processes come to a halt, which is milliseconds.


class Stillness:
    """Freezes pods of this machine; which, is in `directory` meanwhile."""

    def __init__(self, directory: Path):
        self._directory = directory

    @contextlib.asynccontextmanager
    async def of(self, pods: Sequence[str]) -> AsyncGenerator[None, None]:
        """These pods (by uid) stand still until the block is left. Raises OSError."""
        frozen: list[str] = []
        try:
            for uid in pods:
                frozen.append(uid)
                await tasks.in_thread(self._freeze, uid)
            for uid in pods:
                await self._halted(uid)
            yield
        finally:
            for uid in frozen:
                await asyncio.shield(tasks.in_thread(self._thaw, uid))

    def end_all(self) -> None:
        """Let go whoever an earlier petset made to stand still."""
        for uid in sorted(os.listdir(self._directory)) if self._directory.is_dir() else ():
            with tasks.best_effort("let a pod go on"):
                self._thaw(uid)

    async def _halted(self, uid: str) -> None:
        try:
            async with asyncio.timeout(FREEZING_SECONDS_MAX):
                while not await tasks.in_thread(_is_frozen, uid):  # noqa: ASYNC110  # The kernel tells nobody.
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise OSError("the pods that write to it could not be made to stand still") from None

    def _freeze(self, uid: str) -> None:
        groups = _groups(uid)
        if not groups:
            if _has_group(uid):
                raise OSError("this machine has no freezer of cgroups, and pods write to it; stop them")
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._directory / uid).touch()
        for file, freeze, _ in groups:
            Path(file).write_text(freeze)

    def _thaw(self, uid: str) -> None:
        for file, _, go in _groups(uid):
            with contextlib.suppress(FileNotFoundError):  # It has ended.
                Path(file).write_text(go)
        (self._directory / uid).unlink(missing_ok=True)


def _groups(uid: str) -> list[tuple[str, str, str]]:
    """(file, the word that freezes, the word that lets go) of a pod's group: those below stand still with it."""
    found = cgroups.detect()
    if found.version == "v2":
        pattern, file, words = found.hierarchies["unified"], "cgroup.freeze", ("1", "0")
    elif "freezer" in found.hierarchies:
        pattern, file, words = found.hierarchies["freezer"], "freezer.state", ("FROZEN", "THAWED")
    else:
        return []
    return [(one, *words) for one in glob.glob(f"{pattern}/petset_*/pod{glob.escape(uid)}/{file}")]


def _has_group(uid: str) -> bool:
    return any(glob.glob(f"{root}/petset_*/pod{glob.escape(uid)}") for root in cgroups.detect().roots())


def _is_frozen(uid: str) -> bool:
    for file, freeze, _ in _groups(uid):
        if freeze == "FROZEN":
            if Path(file).read_text().strip() != freeze:
                return False
        elif "frozen 1" not in Path(file).with_name("cgroup.events").read_text():
            return False
    return True
