"""The node's disks: when they are too full, what goes to make room, and what the node says when that is not enough.

Every LOOK_SECONDS the file systems of the state directory and of the images are asked how full they are (one system
call each). Images over the high mark: unused ones go until the low mark is reached. Either disk low (thresholds.py):
all that can be made again goes, ended attempts' logs too; while it stays low the node says DiskPressure, which taints
it, and takes no pods; every further look evicts the pod that keeps most on the disk, those of a soft threshold once its
time is over. The node takes its word back when the disk has not been low for as long as its Eviction says.

Decisions are pure (`bytes_to_free`, `thresholds.crossed`, `first_to_go` of pods/storage.py); `Keeper` looks and acts.
Follows: a kubelet's image collection and node-pressure eviction; where the marks differ,
docs/decisions/disk-pressure.md says why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from petset.base import tasks
from petset.node.thresholds import MEMORY, RESOURCES, Eviction, Lack, Left, Watch

LOOK_SECONDS = 10.0
COLLECTION_PAUSE_SECONDS = 300.0  # After one that did not find enough.
EVERYTHING = 1 << 62


@dataclass(frozen=True, slots=True)
class Disk:
    """How full a file system is."""

    bytes_total: int
    bytes_available: int
    inodes_total: int = 0  # 0: it has no such limit.
    inodes_free: int = 0


@dataclass(frozen=True, slots=True)
class Marks:
    """Used percents of the images' disk between which unused images are collected; 100 is never passed."""

    high: int = 85
    low: int = 80


Disks = Mapping[str, Disk]  # nodefs, imagefs


def look(**places: Path) -> Disks:
    """The file systems that these places are on. Blocks, on a disk that hangs for long."""
    found: dict[str, Disk] = {}
    for name, place in places.items():
        said = os.statvfs(place)
        size = said.f_frsize
        found[name] = Disk(said.f_blocks * size, said.f_bavail * size, said.f_files, said.f_favail)
    return found


def bytes_to_free(disk: Disk, marks: Marks) -> int:
    """How much has to go from a disk that is over the high mark; 0 when it is not."""
    used = disk.bytes_total - disk.bytes_available
    if not disk.bytes_total or marks.high >= 100 or used * 100 < disk.bytes_total * marks.high:
        return 0
    return max(0, disk.bytes_total * (100 - min(marks.low, marks.high)) // 100 - disk.bytes_available)


def left(disks: Disks) -> dict[str, Left]:
    """By the signals of thresholds."""
    found: dict[str, Left] = {}
    for name, disk in disks.items():
        found[f"{name}.available"] = Left(disk.bytes_total, disk.bytes_available)
        found[f"{name}.inodesFree"] = Left(disk.inodes_total, disk.inodes_free)
    return found


class Node(Protocol):
    """What the keeper asks of the node."""

    async def collect(self, bytes_wanted: int, logs: bool) -> int:
        """Remove images that nobody uses, and with `logs` those of ended attempts; the bytes freed."""
        ...

    async def say_pressure(self, lack: Lack | None) -> None:
        """The node's condition; None: there is no pressure any more."""
        ...

    async def evict_largest(self, lack: Lack) -> None: ...

    def tell_collection_failed(self, wanted: int, freed: int) -> None: ...


class Keeper:
    def __init__(self, node: Node, looks: Callable[[], Disks], marks: Marks, eviction: Eviction):
        self._node, self._looks, self._marks, self._eviction = node, looks, marks, eviction
        self._watch = Watch(eviction.of(*(signal for signal in RESOURCES if signal != MEMORY)))
        self._collect_at = 0.0  # Not before.
        self._low_at = 0.0
        self._was_urgent = False
        self.is_pressed = False

    async def run(self) -> None:
        while True:
            with tasks.best_effort("look after the disk"):
                await self.turn()
            await asyncio.sleep(LOOK_SECONDS)

    async def turn(self) -> None:
        disks, now = await tasks.in_thread(self._looks), tasks.now()
        lack, urgent = self._watch.look(left(disks), now)
        if await self._make_room(disks, urgent is not None):
            disks, now = await tasks.in_thread(self._looks), tasks.now()
            lack, urgent = self._watch.look(left(disks), now)
        self._was_urgent = urgent is not None
        if lack is not None:
            self._low_at = now
            if not self.is_pressed:
                await self._node.say_pressure(lack)
                self.is_pressed = True
            elif urgent is not None:
                await self._node.evict_largest(urgent)
        elif self.is_pressed and now - self._low_at >= self._eviction.transition_seconds:
            await self._node.say_pressure(None)
            self.is_pressed = False

    async def _make_room(self, disks: Disks, is_low: bool) -> bool:
        """Collect what is wanted; whether anything was freed."""
        wanted = bytes_to_free(disks["imagefs"], self._marks)
        begins = is_low and not self._was_urgent  # Then everything is tried, whatever an earlier try found.
        if not (is_low or wanted) or (tasks.now() < self._collect_at and not begins):
            return False
        freed = await self._node.collect(EVERYTHING if is_low else wanted, is_low)
        if freed < (wanted or 1):
            self._collect_at = tasks.now() + COLLECTION_PAUSE_SECONDS
            if wanted:
                self._node.tell_collection_failed(wanted, freed)
        return freed > 0
