"""What a pod may keep on the node's own disk, what it does keep, and what is said when that is too much.

Limits are an emptyDir's `sizeLimit` and a container's limit of `ephemeral-storage`, which bounds its writable layer and
its logs; all containers' limits together bound the pod, its emptyDirs included. The kernel of a plain directory knows
no limit, so the disk is measured: every LOOK_SECONDS, and only while a pod with such a limit runs. A pod over one is
evicted. A memory emptyDir is limited by the kernel itself.

Invariants: measuring follows no link and leaves no file system; it runs in a program of its own, one at a time for the
volumes and one for the containers, so that a directory of a million files slows nobody else down.
Follows: the page "Local ephemeral storage" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from petset.base import tasks
from petset.kinds import requests
from petset.node import programs
from petset.node.pods import decide as pods
from petset.objects import meta, quantity
from petset.objects.meta import Object

LOOK_SECONDS = 10.0
MEASURING_SECONDS_MAX = 120.0
EVICTED_BYTES_MIN = 64 << 20  # Whoever keeps less is not worth an eviction.


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk: of each container's writable layer and logs, of each emptyDir."""

    containers: Mapping[str, int] = field(default_factory=dict[str, int])
    volumes: Mapping[str, int] = field(default_factory=dict[str, int])


def is_limited(pod: Object) -> bool:
    return bool(_container_limits(pod) or _volume_limits(pod))


def excess(pod: Object, usage: Usage) -> str:
    """What is said of the first limit that is passed; "" when all are kept."""
    for name, limit in _volume_limits(pod).items():
        if usage.volumes.get(name, 0) > quantity.to_bytes(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    limits = _container_limits(pod)
    if limits:
        most = sum(quantity.to_bytes(limit) for limit in limits.values())
        if on_disk(pod, usage) > most:
            told = quantity.total(limits.values())
            return f"Pod ephemeral local storage usage exceeds the total limit of containers {told}. "
    for name, limit in limits.items():
        if usage.containers.get(name, 0) > quantity.to_bytes(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


def on_disk(pod: Object, usage: Usage) -> int:
    """Bytes of the pod on the node's disk."""
    volumes = [usage.volumes.get(one["name"], 0) for one in empty_dirs(pod) if not is_memory(one)]
    return sum(volumes) + sum(usage.containers.values())


def first_to_go(found: Iterable[tuple[Object, Usage]]) -> tuple[Object, int] | None:
    """The pod that is evicted first when the disk is low, and its bytes: one that keeps more than it requests before
    one that does not, the less important before the more important, the larger before the smaller."""
    ranked: list[tuple[tuple[bool, int, int, str], Object, int]] = []
    for pod, usage in found:
        size, priority = on_disk(pod, usage), meta.get(pod, "spec", "priority", default=0)
        if size >= EVICTED_BYTES_MIN and priority < requests.CRITICAL_PRIORITY:
            within = size <= requests.of(pod).get("ephemeral-storage", 0)
            ranked.append(((within, priority, -size, meta.key(pod)), pod, size))
    if not ranked:
        return None
    _, pod, size = min(ranked, key=lambda one: one[0])
    return pod, size


def empty_dirs(pod: Object) -> list[Object]:
    return [volume for volume in pod["spec"].get("volumes") or () if volume.get("emptyDir") is not None]


def is_memory(volume: Object) -> bool:
    return meta.get(volume, "emptyDir", "medium") == "Memory"


def memory_bytes(pod: Object, source: Object) -> int | None:
    """The size of a memory emptyDir: its limit, at most the containers' memory; None: half of the machine's."""
    found = [quantity.to_bytes(str(source.get("sizeLimit") or "0"))]
    limits = [meta.get(one, "resources", "limits", "memory") for one in pods.containers(pod)]
    if None not in limits:
        found.append(quantity.to_bytes(quantity.total(str(limit) for limit in limits)))
    return min((size for size in found if size), default=None)


def _volume_limits(pod: Object) -> dict[str, str]:
    found = {one["name"]: meta.get(one, "emptyDir", "sizeLimit") for one in empty_dirs(pod)}
    return {name: str(limit) for name, limit in found.items() if limit is not None and quantity.to_bytes(str(limit))}


def _container_limits(pod: Object) -> dict[str, str]:
    found = {one["name"]: meta.get(one, "resources", "limits", "ephemeral-storage") for one in pods.containers(pod)}
    return {name: str(limit) for name, limit in found.items() if limit is not None}


class Owner(Protocol):
    """The worker of a pod."""

    pod: Object

    @property
    def is_running(self) -> bool: ...

    async def usage(self) -> Usage: ...

    def fail(self, reason: str, message: str) -> object: ...


async def keep_to_limits(owner: Owner) -> None:
    """Evict the pod when it passes a limit. Ends at once for a pod without any."""
    while is_limited(owner.pod):
        await asyncio.sleep(LOOK_SECONDS)
        if not owner.is_running:
            continue
        with tasks.best_effort("measure the storage of pod", meta.key(owner.pod)):
            if why := excess(owner.pod, await owner.usage()):
                owner.fail(pods.EVICTED, why)


# ---- measuring


class Meter:
    """Measures one place after another, for all pods of a node: the volumes have one, the runtime another."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Semaphore(1)

    async def bytes_in(self, directory: Path, names: Sequence[str]) -> dict[str, int]:
        """The bytes on disk of what lies in a directory under these names, and is there."""
        there = [name for name in names if os.path.lexists(directory / name)]
        if not there:
            return {}
        async with self._one_at_a_time:
            try:
                lines = await programs.run(
                    ["nice", "-n", "19", "du", "-s", "-x", "-B1", "--", *there],
                    timeout_seconds=MEASURING_SECONDS_MAX,
                    cwd=str(directory),
                )
            except programs.ProgramFailed as error:  # A file that vanished while it was looked at is told as a failure.
                lines = list(error.lines)
        found = [match for line in lines if (match := _MEASURED.match(line))]
        return {match[2]: int(match[1]) for match in found if match[2] in there}


_MEASURED = re.compile(r"(\d+)\t(.*)\Z")
