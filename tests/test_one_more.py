"""One more pet of a set: what it costs in writes, and in commits one after another, whatever there is already."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from petset import cluster
from petset.base import tasks
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta
from petset.store import memory
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
