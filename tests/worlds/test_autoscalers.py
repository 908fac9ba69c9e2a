"""Autoscalers in virtual time: a load that rises and falls, shared by the pods there are; processes die."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from petset.kinds import builtin
from petset.kinds.horizontal_pod_autoscaler import HORIZONTALPODAUTOSCALERS
from petset.node.runtime import Sandbox
from petset.objects import meta
from petset.objects.registry import Kind
from petset.world import agents, faults, world
from tests.worlds.test_story import until

LEAST, MOST, TARGET_CORES = 2, 9, 0.1


class Load:
    """So many cores of work, whose pods share it evenly; a pod cannot use more than one."""

    def __init__(self, it: world.World, cores: float):
        self.cores = cores
        self._machines = [node.machine for node in it.nodes if isinstance(node, agents.AgentNode)]
        for machine in self._machines:
            machine.load = self.of
        for node in it.nodes:
            node.calm()

    def of(self, sandbox: Sandbox, container: str) -> float:
        sharing = sum(len(machine.running()) for machine in self._machines)
        return min(1.0, self.cores / sharing) if sharing else 0.0


def workload(kind: Kind) -> Any:
    labels = {"app": "web"}
    container = {"name": "main", "image": "x", "resources": {"requests": {"cpu": "125m"}}}
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }
    own = (
        {"serviceName": "web", "podManagementPolicy": "Parallel"} if kind.plural in ("statefulsets", "petsets") else {}
    )
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": LEAST, "selector": {"matchLabels": labels}, "template": template, **own},
    }


def scaler(kind: Kind, **spec: Any) -> Any:
    """80% of the 125m that each pod requests."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": kind.api_version, "kind": kind.kind, "name": "web"},
            "minReplicas": LEAST,
            "maxReplicas": MOST,
            **spec,
        },
    }


def size(it: world.World, kind: Kind) -> int:
    return it.laws.objects[kind.key("default", "web")]["spec"]["replicas"]


def told(it: world.World) -> Any:
    return it.laws.objects.get(HORIZONTALPODAUTOSCALERS.key("default", "web")) or {}


async def sizes_for(it: world.World, kind: Kind, seconds: int) -> list[int]:
    """Those that it has during so long, one after another."""
    found = [size(it, kind)]
    for _ in range(0, seconds, 5):
        await asyncio.sleep(5)
        if size(it, kind) != found[-1]:
            found.append(size(it, kind))
    return found


@pytest.mark.parametrize("plural", ["deployments", "petsets"])
def test_a_load_that_rises_and_falls_is_followed(plural: str) -> None:
    kind = next(kind for kind in builtin.KINDS if kind.plural == plural)

    async def story(it: world.World) -> None:
        load = Load(it, 0.2)
        await it.admin.create(workload(kind))
        await it.admin.create(scaler(kind))
        await until(it, lambda: (meta.condition(told(it), "ScalingActive") or {}).get("status") == "True")
        assert await sizes_for(it, kind, 100) == [2]
        load.cores = 0.65
        await until(it, lambda: size(it, kind) == 7)
        assert await sizes_for(it, kind, 330) == [7]  # 93m each, which is within the tolerance of 100m.
        load.cores = 5.0
        await until(it, lambda: size(it, kind) == MOST)
        await until(it, lambda: (meta.condition(told(it), "ScalingLimited") or {}).get("reason") == "TooManyReplicas")
        load.cores, at = 0.28, it.loop.time()
        await until(it, lambda: size(it, kind) == 3)
        assert 270 < it.loop.time() - at < 400  # It waits five minutes for the load to come back.
        load.cores = 0.01
        await until(it, lambda: size(it, kind) == LEAST)
        assert await sizes_for(it, kind, 100) == [LEAST]

    world.run(world.Config(seed=1), story)


def test_it_never_flaps_within_the_tolerance() -> None:
    """A load that wavers by less than a tenth, from anywhere: once it has come to a size it keeps that."""
    kind = next(kind for kind in builtin.KINDS if kind.plural == "deployments")
    chance = random.Random("load")

    async def story(it: world.World) -> None:
        pods = chance.randint(LEAST + 1, MOST)
        middle = pods * TARGET_CORES
        load = Load(it, middle)
        await it.admin.create(meta.changed(workload(kind), ("spec", "replicas"), pods))
        await it.admin.create(scaler(kind))
        await asyncio.sleep(60)

        async def waver() -> None:
            while True:
                load.cores = middle * chance.uniform(0.92, 1.08)
                await asyncio.sleep(chance.uniform(1, 40))

        wavering = asyncio.ensure_future(waver())
        try:
            assert await sizes_for(it, kind, 600) == [pods]
        finally:
            wavering.cancel()

    world.run(world.Config(seed=5), story)


async def trouble(it: world.World) -> None:
    """The controllers die, and the server with them."""
    it.process("controllers").kill(2)
    it.laws.server_died_at = it.loop.time()
    it.server.kill()
    await asyncio.sleep(3)
    it.server.start()


def test_what_was_wished_for_is_not_needed_to_go_on() -> None:
    """Its memory is lost with the process: it begins with the size that is there, and keeps its bounds."""
    kind = next(kind for kind in builtin.KINDS if kind.plural == "deployments")

    async def story(it: world.World) -> None:
        load = Load(it, 0.6)
        it.faults = faults.Faults(lag=0.2, lost_request=0.1, refused=0.1, lost_answer=0.1, watch_seconds=20)
        it.laws.weather_seconds = it.faults.stale_seconds
        await it.admin.create(workload(kind))
        await it.admin.create(scaler(kind))
        await until(it, lambda: size(it, kind) == 6)
        await trouble(it)
        load.cores = 0.9
        await until(it, lambda: size(it, kind) == 9)
        load.cores = 0.4
        await asyncio.sleep(100)
        await trouble(it)
        assert all(LEAST <= one <= MOST for one in await sizes_for(it, kind, 100))
        assert size(it, kind) >= 4
        await until(it, lambda: size(it, kind) == 4)
        it.faults = faults.Faults.none()

    world.run(world.Config(seed=4), story)
