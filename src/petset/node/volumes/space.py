"""How full the volumes of claims are that this node's pods use: looked at, told, and said on the claim.

A volume that petset made is asked of the file system where that counts it (project_quotas.py), and else measured by
`du` in a program of its own, many in one go; of a `local` one the file system is asked; a hostPath made by hand may be
the whole disk and is not looked at. Each is looked at every LOOK_SECONDS while a pod uses it, and when somebody asks
for figures that are older than FRESH_SECONDS; one that took long rests for LEISURE times as long.

What a look finds stands in a condition of the claim, which `kubectl describe pvc` shows: written when it begins or ends
to be nearly full, and else when it has moved by SAID_PERCENT. A Warning event says the former, once.
Follows: a kubelet's volume stats (its summary and metrics are in served/figures.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from petset.base import tasks, well_known
from petset.client.client import Client
from petset.kinds import persistent_volume
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.node import meter
from petset.node.volumes import project_quotas
from petset.node.volumes.claims import Claimed
from petset.objects import meta, quantity
from petset.objects.meta import Object

LOOK_SECONDS = 60.0
FRESH_SECONDS = 10.0
WAIT_SECONDS_MAX = 1.0  # For figures that are being looked at; who asks is told the older ones then.
LEISURE = 20
NEARLY_FULL_PERCENT = 90
SAID_PERCENT = 10
TOGETHER_MAX, FILES_TOGETHER_MAX = 64, 100_000  # Volumes measured in one go; one with more files is measured alone.
CLAIM_LOOKS = 10  # After so many looks that found nothing new the claim is read all the same: it may have grown.
NEARLY_FULL, ENOUGH_SPACE = "VolumeNearlyFull", "EnoughSpace"

Tell = Callable[[Object, str, str, str, str], None]  # about, type, reason, message, field path


@dataclass(frozen=True, slots=True)
class Figures:
    """What a volume holds and may hold, in bytes and in files."""

    at: float
    used_bytes: int
    capacity_bytes: int
    available_bytes: int
    inodes_used: int
    inodes: int
    inodes_free: int

    def of(self, capacity_bytes: int) -> Figures:
        """The same of a volume that may hold so many bytes."""
        room = min(self.available_bytes, max(0, capacity_bytes - self.used_bytes))
        return replace(self, capacity_bytes=capacity_bytes, available_bytes=room)

    @property
    def percent(self) -> int:
        return self.used_bytes * 100 // self.capacity_bytes if self.capacity_bytes else 0

    @property
    def told(self) -> str:
        return f"{_size(self.used_bytes)} of {_size(self.capacity_bytes)} are used ({self.percent} %)"


def _size(number: int) -> str:
    for power, unit in ((40, "Ti"), (30, "Gi"), (20, "Mi")):
        if number >= 1 << power:
            return f"{number / (1 << power):.1f}".removesuffix(".0") + unit
    return f"{number / 1024:.0f}Ki"


def condition(claim: Object, figures: Figures, now: float) -> Object | None:
    """What the claim is to say of its volume; None when it says so already."""
    before = meta.condition(claim, well_known.NEARLY_FULL_CONDITION) or {}
    is_full = figures.percent >= NEARLY_FULL_PERCENT
    status, time = str(is_full), tasks.rfc3339(now)
    said = _PERCENT.search(before.get("message", ""))
    is_turn = before.get("status") != status
    if not is_turn and said is not None and abs(int(said[1]) - figures.percent) < SAID_PERCENT:
        return None
    return {
        "type": well_known.NEARLY_FULL_CONDITION,
        "status": status,
        "reason": NEARLY_FULL if is_full else ENOUGH_SPACE,
        "message": figures.told,
        "lastProbeTime": time,
        "lastTransitionTime": time if is_turn else before.get("lastTransitionTime", time),
    }


_PERCENT = re.compile(r"\((\d+) %\)")


@dataclass(slots=True)
class InUse:
    """A volume, and the pods that use it: by uid, what they call it."""

    bound: Claimed
    path: str
    looked_at: float  # When it was tried last; at first, since when it is used.
    took: float = 0.0
    figures: Figures | None = None
    looks: int = 0
    said_bytes: int = -1  # What it held when the claim was read last.
    pods: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def due_at(self, seconds: float) -> float:
        if self.figures is None and seconds == FRESH_SECONDS:
            return 0.0
        return self.looked_at + max(seconds, LEISURE * self.took)


class Space:
    """The volumes in use on one node. Without a meter none is looked at: on machines that are only simulated."""

    def __init__(self, measure: meter.Meter | None):
        self._meter = measure
        self._volumes: dict[str, InUse] = {}  # By name.
        self._seconds = LOOK_SECONDS  # How old figures may be, until the next look is over.
        self._changed, self._looked = asyncio.Event(), asyncio.Event()

    def use(self, pod_uid: str, name: str, bound: Claimed, path: str) -> None:
        """A pod has a volume under a name."""
        is_local = bool(meta.get(bound.volume, "spec", "local"))
        if self._meter is None or not (is_local or persistent_volume.is_ours(bound.volume)):
            return
        one = self._volumes.setdefault(meta.name(bound.volume), InUse(bound, path, tasks.now()))
        names = one.pods.setdefault(pod_uid, [])
        if name not in names:
            names.append(name)
        self._changed.set()

    def leave(self, pod_uid: str) -> None:
        for one in self._volumes.values():
            one.pods.pop(pod_uid, None)
        self._volumes = {name: one for name, one in self._volumes.items() if one.pods}

    def of_pod(self, pod_uid: str) -> list[tuple[str, Object, Figures]]:
        """(what it calls the volume, the claim, its figures) of each of a pod's that is known."""
        return [
            (name, one.bound.claim, one.figures)
            for one in self._volumes.values()
            for name in one.pods.get(pod_uid, ())
            if one.figures is not None
        ]

    async def fresh(self) -> None:
        """Have all looked at that are not fresh; return when they are, or soon."""
        if not self._due(FRESH_SECONDS):
            return
        self._seconds = FRESH_SECONDS
        self._looked.clear()
        self._changed.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await self._looked.wait()

    # ---- for the keeper

    async def until_due(self) -> Sequence[InUse]:
        """The volumes whose turn it is, as soon as there is one."""
        while not (due := self._due(self._seconds)):
            self._changed.clear()
            times = [one.due_at(self._seconds) for one in self._volumes.values()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(times) - tasks.now()) if times else None):
                    await self._changed.wait()
        return due

    def _due(self, seconds: float) -> list[InUse]:
        now = tasks.now()
        return [one for one in self._volumes.values() if one.due_at(seconds) <= now]

    def rest(self) -> None:
        """All were looked at whose turn it was."""
        self._seconds = LOOK_SECONDS
        self._looked.set()

    async def look(self, batch: Sequence[InUse]) -> None:
        """Have the figures of some, as far as they can be had."""
        began = tasks.monotonic()
        try:
            measured = await self._measured([one for one in batch if persistent_volume.is_ours(one.bound.volume)])
            for one in batch:
                with tasks.best_effort("look how full the volume is", one.path):
                    one.figures = await self._figures(one, measured.get(one.path))
        finally:
            for one in batch:
                one.looked_at, one.took = tasks.now(), tasks.monotonic() - began
                one.looks += 1

    async def _measured(self, ours: Sequence[InUse]) -> dict[str, tuple[int, int]]:
        """(bytes, files) by path: as the file system has counted them, or as they are found."""
        found: dict[str, tuple[int, int]] = {}
        places: dict[Path, list[str]] = {}
        for path in dict.fromkeys(one.path for one in ours):
            held: tuple[int, int] | None = None
            with contextlib.suppress(OSError):  # It may be gone; that is said where its own figures are made.
                held = await tasks.in_thread(project_quotas.held, path)
            if held is not None:
                found[path] = held
            else:
                places.setdefault(Path(path).parent, []).append(os.path.basename(path))
        for directory, names in places.items():
            with tasks.best_effort("measure the volumes in", str(directory)):
                there = await self._meter.held_in(directory, names) if self._meter is not None else {}
                found |= {str(directory / name): held for name, held in there.items()}
        return found

    async def _figures(self, one: InUse, held: tuple[int, int] | None) -> Figures:
        disk = await tasks.in_thread(os.statvfs, one.path)
        size, free = disk.f_frsize, disk.f_bavail * disk.f_frsize
        if not persistent_volume.is_ours(one.bound.volume):
            used, all_of_it = (disk.f_blocks - disk.f_bfree) * size, disk.f_blocks * size
            return Figures(tasks.now(), used, all_of_it, free, disk.f_files - disk.f_ffree, disk.f_files, disk.f_ffree)
        if held is None:
            raise OSError(f"cannot measure {one.path}: du tells nothing of it")
        used, files = held
        here = Figures(tasks.now(), used, 0, free, files, disk.f_files, disk.f_ffree)
        return here.of(capacity_of(one.bound))


def batches(due: Sequence[InUse]) -> list[list[InUse]]:
    """What is looked at in one go: what has many files alone, so that it holds up nobody else."""
    slow = [one for one in due if one.figures is not None and one.figures.inodes_used > FILES_TOGETHER_MAX]
    quick = [one for one in due if one not in slow]
    together = [quick[begin : begin + TOGETHER_MAX] for begin in range(0, len(quick), TOGETHER_MAX)]
    return [*together, *([one] for one in slow)]


def capacity_of(bound: Claimed) -> int:
    """What the claim was told it has; before that, what its volume has."""
    told = meta.get(bound.claim, "status", "capacity", "storage")
    return quantity.to_bytes(str(told)) if told is not None else persistent_volume.size(bound.volume)


class Keeper:
    """Looks at the volumes of a node when it is their turn, and has their claims say how full they are."""

    def __init__(self, client: Client, space: Space, tell: Tell):
        self._client, self._space, self._tell = client, space, tell

    async def run(self) -> None:
        while True:
            for batch in batches(await self._space.until_due()):
                with tasks.best_effort("look how full the volumes of claims are"):
                    await self._space.look(batch)
                for one in batch:
                    with tasks.best_effort("say how full the volume is of claim", meta.key(one.bound.claim)):
                        await self._look_at_claim(one)
            self._space.rest()

    async def _look_at_claim(self, one: InUse) -> None:
        """Have it say what was found, when that is news."""
        if one.figures is None or not persistent_volume.is_ours(one.bound.volume):
            return
        if one.figures.used_bytes == one.said_bytes and one.looks % CLAIM_LOOKS:
            return
        name, namespace = meta.name(one.bound.claim), meta.namespace(one.bound.claim)
        claim = await self._client.get(PERSISTENTVOLUMECLAIMS, name, namespace)
        if meta.uid(claim) != meta.uid(one.bound.claim):
            return
        one.bound = Claimed(claim, one.bound.volume)  # It may have grown.
        one.figures = one.figures.of(capacity_of(one.bound))
        await self._say(claim, one.figures)
        one.said_bytes = one.figures.used_bytes

    async def _say(self, claim: Object, figures: Figures) -> None:
        new = condition(claim, figures, tasks.now())
        if new is None:
            return
        before = meta.condition(claim, well_known.NEARLY_FULL_CONDITION) or {}
        patch = {"metadata": {"uid": meta.uid(claim)}, "status": {"conditions": [new]}}
        name, namespace = meta.name(claim), meta.namespace(claim)
        await self._client.patch(PERSISTENTVOLUMECLAIMS, name, namespace, patch, "strategic", "status")
        if new["status"] == "True" and before.get("status") != "True":
            self._tell(claim, "Warning", NEARLY_FULL, f"{figures.told}; free some space, or let the claim grow", "")
