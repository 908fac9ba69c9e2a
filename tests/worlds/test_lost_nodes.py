"""Nodes that fall silent, are cut off and come back: no two pets of one identity live at any moment.

The law is laws.starts: it knows from inside the machines what runs. A pod on a node that nobody hears of is let go of
only when somebody says that the node is out of service, and whoever says so is excused for that pod alone.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from petset.base import well_known
from petset.controllers import garbage
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.world import faults, laws, world
from petset.world.process import persistently

NODES_COUNT = 3
LOST_SECONDS = (30.0, 90.0, 500.0)  # Before it is noticed, before pods go, and after.


def pets(replicas: int = NODES_COUNT) -> dict[str, Any]:
    """A set whose pets stand each on a node of its own, and leave one that is lost after a minute."""
    labels = {"app": "db"}
    apart = {"labelSelector": {"matchLabels": labels}, "topologyKey": well_known.HOSTNAME_LABEL}
    leave = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 20}
        for key in (well_known.NOT_READY_TAINT, well_known.UNREACHABLE_TAINT)
    ]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "serviceName": "db",
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "tolerations": leave,
                    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
                    "containers": [
                        {"name": "c", "image": "db", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
                    ],
                },
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def service() -> dict[str, Any]:
    spec = {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "default"}, "spec": spec}


def pods_on(it: world.World, node: str) -> list[Any]:
    found = [pod for key, pod in it.laws.objects.items() if key.startswith(PODS.key("default"))]
    return [pod for pod in found if pod["spec"].get("nodeName") == node]


async def out_of_service(it: world.World, node: str) -> None:
    """What a person says who knows that the machine is off. This one does not: it may still run."""
    for pod in pods_on(it, node):
        it.laws.excused(meta.uid(pod), "its node was said to be out of service")
    taint = {"key": well_known.OUT_OF_SERVICE_TAINT, "value": "nodeshutdown", "effect": "NoExecute"}

    async def say() -> None:
        there = await it.admin.get(NODES, node)
        taints = [*meta.parts(there, "spec", "taints"), taint]
        await it.admin.update(meta.changed(there, ("spec", "taints"), taints))

    await persistently(say)


async def in_service(it: world.World, node: str) -> None:
    async def say() -> None:
        there = await it.admin.get(NODES, node)
        taints = [one for one in meta.parts(there, "spec", "taints") if one["key"] != well_known.OUT_OF_SERVICE_TAINT]
        await it.admin.update(meta.changed(there, ("spec", "taints"), taints))

    await persistently(say)


async def lose(it: world.World, chance: random.Random, says_so: bool) -> None:
    """One node is lost for a while, in one way or another."""
    node, seconds = chance.choice(it.nodes).name, chance.choice(LOST_SECONDS)
    is_cut = chance.random() < 0.5
    if is_cut:
        it.partition(node)
    else:
        it.process(node).kill(seconds)
    declared = says_so and seconds == LOST_SECONDS[-1]
    if declared:
        await asyncio.sleep(seconds / 2)
        await out_of_service(it, node)
        await asyncio.sleep(seconds / 2)
    else:
        await asyncio.sleep(seconds)
    it.mend(node)
    if declared:
        await asyncio.sleep(60)
        await in_service(it, node)


@pytest.mark.parametrize(("seed", "says_so"), [(0, False), (3, True)])
def test_no_two_of_one_identity_live_whatever_is_lost(seed: int, says_so: bool) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} lost nodes")
        await it.admin.create(service())
        await it.admin.create(pets())
        await it.settles()
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        for _ in range(5):
            await lose(it, chance, says_so)
            await asyncio.sleep(chance.choice((0.0, 5.0, 60.0)))
        it.faults = faults.Faults.none()
        await asyncio.sleep(60)  # Who was cut off to the last tries again only after a while.
        await it.settles()
        await it.stays_settled()
        assert sorted(it.laws.running()) == [f"default/db-{number}" for number in range(NODES_COUNT)]
        assert {len(uids) for uids in it.laws.running().values()} == {1}

    world.run(world.Config(seed=seed, nodes=NODES_COUNT), story)


def test_a_pet_of_a_lost_node_is_not_replaced_until_its_node_is_back() -> None:
    async def story(it: world.World) -> None:
        await it.admin.create(service())
        await it.admin.create(pets(2))
        await it.settles()
        [pod] = [pod for node in it.nodes for pod in pods_on(it, node.name) if meta.name(pod) == "db-1"]
        node, uid = pod["spec"]["nodeName"], meta.uid(pod)
        it.partition(node)
        await asyncio.sleep(600)
        there = it.laws.objects[PODS.key("default", "db-1")]
        assert meta.uid(there) == uid and meta.is_deleting(there) and it.laws.running()["default/db-1"] == [uid]
        it.mend(node)
        await it.settles()
        assert meta.uid(it.laws.objects[PODS.key("default", "db-1")]) != uid

    world.run(world.Config(seed=7, nodes=NODES_COUNT), story)


def test_the_law_sees_a_pet_that_is_let_go_of_too_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "is_let_go_of", lambda node: True)

    async def story(it: world.World) -> None:
        await it.admin.create(service())
        await it.admin.create(pets(2))
        await it.settles()
        [pod] = [pod for node in it.nodes for pod in pods_on(it, node.name) if meta.name(pod) == "db-1"]
        it.partition(pod["spec"]["nodeName"])
        await asyncio.sleep(600)

    with pytest.raises(laws.Broken, match="two of default/db-1 run"):
        world.run(world.Config(seed=8, nodes=NODES_COUNT), story)
