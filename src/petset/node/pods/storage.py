"""What a pod may keep on the node's own disk, what it does keep, and what is said when that is too much.

Limits are an emptyDir's `sizeLimit` and a container's limit of `ephemeral-storage`, which bounds its writable layer and
its logs; all containers' limits together bound the pod, its emptyDirs included. The kernel of a plain directory knows
no limit, so the disk is measured (node/meter.py): every LOOK_SECONDS, and only while a pod with such a limit runs. A
pod over one is evicted. A memory emptyDir is limited by the kernel itself.
Follows: the page "Local ephemeral storage" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from petset.base import tasks
from petset.kinds import requests
from petset.node.pods import decide as pods
from petset.node.volumes import empty_dirs
from petset.objects import meta, quantity
from petset.objects.meta import Object

LOOK_SECONDS = 10.0
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
    volumes = [usage.volumes.get(one["name"], 0) for one in empty_dirs.of(pod) if not empty_dirs.is_memory(one)]
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


def _volume_limits(pod: Object) -> dict[str, str]:
    found = {one["name"]: meta.get(one, "emptyDir", "sizeLimit") for one in empty_dirs.of(pod)}
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
