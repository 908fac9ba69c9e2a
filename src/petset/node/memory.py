"""The machine's memory: when there is too little of it, who goes first, and what the node says meanwhile.

Every LOOK_SECONDS the kernel is asked how much memory is available. Less than a threshold: the node says
MemoryPressure, which taints it, takes no pods of the class BestEffort that do not tolerate that, and every look evicts
one pod, of a soft threshold once its time is over: one that uses more than it requests before one that does not, the
less important before the more important, the one furthest above its requests first. The node takes its word back when
memory has not been low for as long as its Eviction says.
Follows: "Node-pressure Eviction" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from petset.base import tasks
from petset.kinds import requests
from petset.node.thresholds import MEMORY, Eviction, Lack, Left, Watch
from petset.objects import meta
from petset.objects.meta import Object

LOOK_SECONDS = 10.0


def available(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that programs could have now."""
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{meminfo} does not tell how much memory is available")


def first_to_go(found: Iterable[tuple[Object, int]]) -> tuple[Object, int] | None:
    """Of pods and what they use, the one that is evicted first; never one that is critical to its node."""
    ranked: list[tuple[tuple[bool, int, int, str], Object, int]] = []
    for pod, used in found:
        priority: int = meta.get(pod, "spec", "priority", default=0)
        if priority < requests.CRITICAL_PRIORITY:
            over = used - requests.of(pod).get("memory", 0)
            ranked.append(((over <= 0, priority, -over, meta.key(pod)), pod, used))
    if not ranked:
        return None
    _, pod, used = min(ranked, key=lambda one: one[0])
    return pod, used


class Node(Protocol):
    """What the keeper asks of the node."""

    async def say_memory_pressure(self, lack: Lack | None) -> None: ...

    async def evict_for_memory(self, lack: Lack) -> None: ...


class Keeper:
    def __init__(self, node: Node, looks: Callable[[], int], bytes_total: int, eviction: Eviction):
        self._node, self._looks, self._total, self._eviction = node, looks, bytes_total, eviction
        self._watch = Watch(eviction.of(MEMORY))
        self._low_at = 0.0
        self.is_pressed = False

    async def run(self) -> None:
        while True:
            with tasks.best_effort("look after the memory"):
                await self.turn()
            await asyncio.sleep(LOOK_SECONDS)

    async def turn(self) -> None:
        left, now = Left(self._total, await tasks.in_thread(self._looks)), tasks.now()
        lack, urgent = self._watch.look({MEMORY: left}, now)
        if lack is not None:
            self._low_at = now
            if not self.is_pressed:
                self.is_pressed = True
                await self._node.say_memory_pressure(lack)
            if urgent is not None:
                await self._node.evict_for_memory(urgent)
        elif self.is_pressed and now - self._low_at >= self._eviction.transition_seconds:
            self.is_pressed = False
            await self._node.say_memory_pressure(None)
