"""One more pet of a set: what it costs in writes, and in commits one after another, whatever there is already."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from petset import cluster
from petset.base import tasks
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta
from petset.store import core, memory
from petset.world import loop as virtual
from petset.world.process import persistently
from tests.test_cluster import node, pets_are_ready, stateful_set

OWN_SECONDS = 0.005 + 0.01  # Of its sandbox and its container, in the simulated runtime.


def service(name: str) -> dict[str, Any]:
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.mark.parametrize("there", [3, 40])
def test_it_is_ready_after_a_few_commits_and_nobody_waits_for_time(there: int, tmp_path: Path):
    async def main(loop: virtual.VirtualLoop) -> None:
        kept = memory.MemoryStore()
        plane = cluster.ControlPlane(kept)
        await plane.begin()
        async with plane.running(), plane.nodes(node("n1", tmp_path)):
            client = plane.client(cluster.ADMINISTRATOR)
            await client.create(service("web"))
            made = {**stateful_set("web", there)}
            made["spec"]["podManagementPolicy"] = "Parallel"
            await persistently(lambda: client.create(made))
            await pets_are_ready(plane, there)
            await asyncio.sleep(60)
            began, commits = loop.time(), kept.stats().commits
            with kept.watch("", kept.revision) as watch:
                await client.patch(STATEFULSETS, "web", "default", {"spec": {"replicas": there + 1}})
                seen: dict[str, int] = {}  # What is so after how many commits.
                writes = 0
                async for change in watch:
                    writes += 1
                    for what, is_so in moments(there).items():
                        if what not in seen and change.type != "DELETED" and is_so(change.entry.object):
                            seen[what] = kept.stats().commits - commits
                    if "told" in seen:
                        break
            assert loop.time() - began == pytest.approx(OWN_SECONDS), "its own time, and nobody else's"
            assert list(seen) == ["there", "bound", "addressed", "known", "ready", "told"]
            assert seen["there"] == 2, "it waits for nothing that is said of the set"
            assert seen["told"] <= 13
            assert writes <= 18
            endpoints = await client.get(ENDPOINTS, "web", "default")
            assert len(endpoints["subsets"][0]["addresses"]) >= there

    async def in_time(loop: virtual.VirtualLoop) -> None:
        with tasks.environment(tasks.Environment(lambda: 1.8e9 + loop.time(), random.Random(1), threads=False)):
            await main(loop)

    virtual.run(in_time, seed=1)


def moments(there: int) -> dict[str, Callable[[Any], bool]]:
    name = f"web-{there}"

    def is_it(obj: Any) -> bool:
        return obj["kind"] == "Pod" and meta.name(obj) == name

    def is_known(obj: Any) -> bool:
        return obj["kind"] == "Endpoints" and name in str(obj.get("subsets"))

    return {
        "there": is_it,
        "bound": lambda obj: is_it(obj) and bool(obj["spec"].get("nodeName")),
        "addressed": lambda obj: is_it(obj) and bool(meta.get(obj, "status", "podIP")),
        "known": is_known,
        "ready": lambda obj: is_it(obj) and meta.is_pod_ready(obj),
        "told": lambda obj: obj["kind"] == "StatefulSet" and meta.get(obj, "status", "readyReplicas") == there + 1,
    }


FSYNC_SECONDS = 0.002
WRITES_A_TURN_MAX = 50  # Of controllers, scheduler, node and events, at most half a ms each.


class Batches(memory.MemoryStore):
    """How many writes each commit has, on a disk that takes its time: they all come back in one turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def _commit(self, batch: Sequence[core.Write]) -> asyncio.Future[None]:
        self.lengths.append(len(batch))
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        loop.call_later(FSYNC_SECONDS, done.set_result, None)
        return done


@pytest.mark.parametrize("pets", [50, 150])
def test_what_comes_back_in_one_turn_does_not_grow_with_the_pets_that_come_up(pets: int, tmp_path: Path):
    async def main() -> None:
        kept = Batches()
        plane = cluster.ControlPlane(kept)
        await plane.begin()
        async with plane.running(), plane.nodes(node("n1", tmp_path)):
            await asyncio.sleep(60)
            kept.lengths.clear()
            made = {**stateful_set("web", pets)}
            made["spec"]["podManagementPolicy"] = "Parallel"
            await persistently(lambda: plane.client(cluster.ADMINISTRATOR).create(made))
            await pets_are_ready(plane, pets)
        assert sum(kept.lengths) > 3 * pets and max(kept.lengths) <= WRITES_A_TURN_MAX

    async def in_time(loop: virtual.VirtualLoop) -> None:
        with tasks.environment(tasks.Environment(lambda: 1.8e9 + loop.time(), random.Random(1), threads=False)):
            await main()

    virtual.run(in_time, seed=1)
