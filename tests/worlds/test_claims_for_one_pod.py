"""A claim that one pod alone may use, wanted by many, while programs die: no two of them run at any moment.

The law is laws.starts: it knows from inside the machines which directories are in use. On one node it holds even when
pods are deleted by force, which lets go of them before their node does, and when somebody binds past the scheduler;
between nodes nobody may do either.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import pytest

from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.world import faults, laws, world
from petset.world.process import persistently
from tests.worlds.test_rollouts import deployment, trouble
from tests.worlds.test_story import MINUTE, until

ROUNDS = 5


def claim(mode: str = "ReadWriteOncePod") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}},
    }


def users(replicas: int = 3) -> dict[str, Any]:
    made = deployment(random.Random(1))
    pod = made["spec"]["template"]["spec"]
    mounting = {**pod["containers"][0], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    template = {**made["spec"]["template"], "spec": {**pod, "containers": [mounting], "volumes": volumes}}
    spec = {"replicas": replicas, "selector": made["spec"]["selector"], "template": template}
    return {**made, "kind": "ReplicaSet", "spec": spec}


def placed(it: world.World) -> list[Any]:
    pods = [pod for key, pod in it.laws.objects.items() if key.startswith(PODS.key("default"))]
    return [pod for pod in pods if pod["spec"].get("nodeName") and not meta.is_deleting(pod)]


async def take_away(it: world.World, chance: random.Random, by_force: bool) -> None:
    for pod in placed(it):
        it.laws.excused(meta.uid(pod), "a person took it away")
        grace = chance.choice((0, None)) if by_force else None
        await persistently(partial(it.admin.delete, PODS, meta.name(pod), "default", grace_seconds=grace))


async def bind_past_the_scheduler(it: world.World, number: int) -> None:
    spec = {**users()["spec"]["template"]["spec"], "nodeName": "node-0"}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"by-hand-{number}", "namespace": "default"}}
    await persistently(lambda: it.admin.create({**made, "spec": spec}))


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_one_pod_at_a_time_has_it_whoever_dies(seed: int, nodes: int) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} {nodes} one pod")
        await it.admin.create(claim())
        await it.admin.create(users())
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        for number in range(ROUNDS):
            await asyncio.sleep(chance.random() * 20)
            await take_away(it, chance, by_force=nodes == 1)
            if nodes == 1:
                await bind_past_the_scheduler(it, number)
            await trouble(it, chance)
            it.process("scheduler").kill(chance.random())
        it.faults = faults.Faults.none()
        for number in range(ROUNDS if nodes == 1 else 0):
            name = f"by-hand-{number}"
            if PODS.key("default", name) in it.laws.objects:
                it.laws.excused(meta.uid(it.laws.objects[PODS.key("default", name)]), "a person took it away")
                await it.admin.delete(PODS, name, "default")
        await until(it, lambda: len(placed(it)) == 1 and meta.is_pod_ready(placed(it)[0]))
        waiting = [pod for key, pod in it.laws.objects.items() if key.startswith(PODS.key("default"))]
        await asyncio.sleep(MINUTE)
        assert len(waiting) == 3 and len(placed(it)) == 1
        assert PERSISTENTVOLUMECLAIMS.key("default", "data") in it.laws.objects

    world.run(world.Config(seed=seed, nodes=nodes), story)


def test_the_law_sees_two_pods_with_one_claim() -> None:
    async def story(it: world.World) -> None:
        await it.admin.create(claim("ReadWriteOnce"))
        await it.admin.create(users(2))
        await asyncio.sleep(MINUTE)

    with pytest.raises(laws.Broken, match="share"):
        world.run(world.Config(seed=1), story)
