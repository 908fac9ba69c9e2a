"""Important pods come to full nodes while programs and the server die: the less important make room, and no others."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.priority_class import PRIORITYCLASSES
from petset.objects import meta
from petset.objects.meta import Object
from petset.world import faults, world
from tests.worlds.test_rollouts import deployment, trouble
from tests.worlds.test_story import until

HIGH = 2


def of_class(name: str, replicas: int, milli_cpu: int) -> dict[str, Any]:
    made = deployment(random.Random(1))
    labels = {"app": name}
    container = {**made["spec"]["template"]["spec"]["containers"][0]}
    container["resources"] = {"requests": {"cpu": f"{milli_cpu}m"}}
    spec = {**made["spec"]["template"]["spec"], "containers": [container], "priorityClassName": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    wanted = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {**made, "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "default"}, "spec": wanted}


def pods_of(it: world.World, name: str) -> list[Object]:
    pods = [obj for key, obj in it.laws.objects.items() if key.startswith(PODS.key("default"))]
    return [pod for pod in pods if meta.labels(pod).get("app") == name]


@pytest.mark.parametrize("seed", range(2))
def test_important_pods_find_room_in_any_weather(seed: int) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} preemption")
        for name, value in (("low", 1), ("high", 1000)):
            kind = {"apiVersion": PRIORITYCLASSES.api_version, "kind": "PriorityClass", "metadata": {"name": name}}
            await it.admin.create({**kind, "value": value})
        await until(it, lambda: len([key for key in it.laws.objects if key.startswith(NODES.key())]) == 2)
        node = it.laws.objects[NODES.key("", "node-0")]
        cpus = int(meta.get(node, "status", "allocatable", "cpu"))
        half = cpus * 500 - 50  # Two of these fit on a node, and the pods of the system.
        await it.admin.create(of_class("low", 4, half))
        await it.settles()
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        await it.admin.create(of_class("high", HIGH, half))
        for _ in range(3):
            await asyncio.sleep(chance.random() * 3)
            await trouble(it, chance)
            it.process("scheduler").kill(chance.random())
        it.faults = faults.Faults.none()
        await until(it, lambda: sum(map(meta.is_pod_ready, pods_of(it, "high"))) == HIGH)
        await until(it, lambda: sum(map(meta.is_pod_ready, pods_of(it, "low"))) == 4 - HIGH)
        await asyncio.sleep(30)
        for pod in pods_of(it, "high"):
            assert "nominatedNodeName" not in pod["status"]
            assert pod["spec"]["priority"] == 1000
        waiting = [pod for pod in pods_of(it, "low") if not pod["spec"].get("nodeName")]
        assert len(waiting) == HIGH
        for pod in waiting:
            condition = meta.condition(pod, "PodScheduled") or {}
            assert condition["reason"] == "Unschedulable"
            assert "No preemption victims found for incoming pod" in condition["message"]
        events = [obj for obj in it.laws.objects.values() if obj["kind"] == "Event" and obj["reason"] == "Preempted"]
        # Who is killed between a deletion and its event tells nobody.
        assert all(event["involvedObject"]["name"].startswith("low-") for event in events)

    world.run(world.Config(seed=seed, nodes=2), story)
