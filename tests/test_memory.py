"""What is kept of pods: little beside the objects themselves while they are there, and nothing when they are gone.

Objects are counted and their bytes added up; how much memory the process has is the bench's matter (`bench scale`).
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from typing import Any

from petset import cluster
from petset.base import memory as base
from petset.base import tasks
from petset.kinds.event import EVENTS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.store import core, index, memory
from petset.world import loop as virtual
from petset.world.process import persistently
from tests.test_cluster import node, pets_are_ready, stateful_set

PETS = 20
OF_A_POD = ("PodWorker", "Reporter", "Probing", "Supplies", "Container", "Sandbox", "Pet", "Task", "coroutine")


def census() -> Counter[str]:
    gc.collect()
    return Counter(type(obj).__name__ for obj in gc.get_objects())


def of_pods(found: Counter[str]) -> Counter[str]:
    """Compared by <=: what other tests have left may go meanwhile."""
    return Counter({name: found[name] for name in OF_A_POD})


def trees(kept: memory.MemoryStore) -> list[Any]:
    return [entry._object for entry in kept.list("")[1] if entry.is_decoded]


async def gone(plane: cluster.ControlPlane) -> None:
    client = plane.client(cluster.ADMINISTRATOR)
    await client.delete(STATEFULSETS, "web", "default", propagation="Foreground")
    while True:
        if not (await client.list(PODS, "default"))[0] and not (await client.list(STATEFULSETS, "default"))[0]:
            return
        await asyncio.sleep(1)


def test_of_pods_that_are_gone_nothing_is_left_but_their_events_and_those_go_in_an_hour(tmp_path, monkeypatch):
    async def main() -> None:
        kept = memory.MemoryStore()
        plane = cluster.ControlPlane(kept)
        await plane.begin()
        async with plane.running(), plane.nodes(node("n1", tmp_path)):
            await asyncio.sleep(60)
            before, entries = of_pods(census()), len(kept.list("")[1])
            await persistently(lambda: plane.client(cluster.ADMINISTRATOR).create(stateful_set("web", PETS)))
            await pets_are_ready(plane, PETS)
            await asyncio.sleep(60)
            there = census()
            assert there["PodWorker"] == PETS and there["Task"] - before["Task"] <= 2 * PETS
            pods = [entry.object for entry in kept.list(PODS.key())[1]]
            workers = [obj for obj in gc.get_objects() if type(obj).__name__ == "PodWorker"]
            assert {id(worker.pod) for worker in workers} == {id(pod) for pod in pods}, "one tree for all"
            del pods, workers
            await gone(plane)
            await asyncio.sleep(60)
            assert of_pods(census()) <= before
            base.let_go()
            kept._rest()
            assert not [key for key in kept._index.entries if "/events/" in key], "they are packed"
            assert kept.count(EVENTS.key()) > PETS
            left = [tree for tree in trees(kept) if tree["kind"] in ("Event", "Pod")]
            assert left == [], "nobody holds what is only to be read again"
            del left
            await asyncio.sleep(3600)
            assert [entry.key for entry in kept.list(EVENTS.key())[1] if "/web" in entry.key] == []
            for moment in (0.0, core.HISTORY_SECONDS_MAX):
                kept._compact(moment)
            kept._rest()
            assert kept.stats().history_changes == 0
            assert len(kept.list("")[1]) <= entries
            assert of_pods(census()) <= before

    monkeypatch.setattr(index, "RESTING_MIN", 1)

    async def in_time(loop: virtual.VirtualLoop) -> None:
        with tasks.environment(tasks.Environment(lambda: 1.8e9 + loop.time(), random.Random(1), threads=False)):
            await main()

    virtual.run(in_time, seed=1)
