"""Quotas in bad weather: many write at once, the server dies, and there is never more than there may be."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from petset import cluster
from petset.base import tasks
from petset.client.client import Client
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.pod import PODS
from petset.kinds.resource_quota import RESOURCEQUOTAS
from petset.objects import errors, meta
from petset.world import bounds, faults, laws, world
from tests.worlds.test_story import MINUTE, service, stateful_set, until

WRITERS, EACH = 6, 8
HARD = {"pods": "2", "count/configmaps": "12", "requests.cpu": "1"}


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


def quota(**hard: str) -> dict[str, Any]:
    metadata = {"name": "q", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard or HARD}}


async def write(it: world.World, writer: int, chance: random.Random) -> None:
    """Makes some, takes some away, and cares about no answer."""
    client = Client(it.link(f"writer-{writer}", cluster.ADMINISTRATOR), f"writer-{writer}")
    for number in range(EACH):
        try:
            await client.create(config_map(f"c-{writer}-{number}"))
            if chance.random() < 0.3:
                await client.delete(CONFIGMAPS, f"c-{writer}-{number}", "default")
        except (errors.ApiError, OSError):
            await asyncio.sleep(chance.random())


@pytest.mark.parametrize("seed", range(6))
def test_never_more_than_there_may_be_and_in_the_end_the_status_says_how_much(seed: int) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} writers")
        await until(it, lambda: CONFIGMAPS.key("default", "kube-root-ca.crt") in it.laws.objects)  # It counts, too.
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        set_ = stateful_set(replicas=4)
        set_["spec"]["podManagementPolicy"] = "Parallel"
        container = set_["spec"]["template"]["spec"]["containers"][0]
        container["resources"] = {"requests": {"cpu": "300m"}}
        for obj in (quota(), service(), set_):
            await it.admin.create(obj)
        async with asyncio.TaskGroup() as group:
            for writer in range(WRITERS):
                tasks.spawn(group, write(it, writer, random.Random(f"{seed} {writer}")), f"writer {writer}")
            await asyncio.sleep(chance.random() * 3)
            it.laws.server_died_at = it.loop.time()
            it.server.kill()
            await asyncio.sleep(chance.random())
            it.server.start()
        it.faults = faults.Faults.none()
        await until(it, lambda: not bounds.what_is_wrong(it.laws.objects))
        pods = [key for key in it.laws.objects if key.startswith(laws.PODS)]
        assert len(pods) == 2
        status = it.laws.objects[RESOURCEQUOTAS.key("default", "q")]["status"]
        assert status["used"]["pods"] == "2" and status["used"]["requests.cpu"] == "600m"
        # With room the set has all its pods, and the status follows.
        patch = {"spec": {"hard": {"pods": "9", "requests.cpu": "9"}}}
        await it.admin.patch(RESOURCEQUOTAS, "q", "default", patch)
        await it.settles()

    world.run(world.Config(seed=seed), story)


def test_the_law_sees_what_a_server_that_does_not_count_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    from petset.server.admission.namespaces import ledger

    async def story(it: world.World) -> None:
        await it.admin.create(quota(**{"count/configmaps": "2"}))
        for number in range(3):
            await it.admin.create(config_map(f"c{number}"))
        await asyncio.sleep(MINUTE)

    monkeypatch.setattr(ledger.Account, "limits", lambda self, resource: False)
    with pytest.raises(laws.Broken, match="came though quota q allows 2 count/configmaps: there are 3"):
        world.run(world.Config(seed=1), story)


def test_pods_that_a_quota_refuses_come_when_there_is_room() -> None:
    async def story(it: world.World) -> None:
        for obj in (quota(pods="1"), service(), stateful_set(replicas=2)):
            await it.admin.create(obj)
        await until(it, lambda: PODS.key("default", "web-0") in it.laws.objects)
        await asyncio.sleep(MINUTE)
        assert PODS.key("default", "web-1") not in it.laws.objects
        told = [obj for key, obj in it.laws.objects.items() if key.startswith("/core/events/")]
        assert any("exceeded quota: q, requested: pods=1" in event.get("message", "") for event in told)
        await it.admin.patch(RESOURCEQUOTAS, "q", "default", {"spec": {"hard": {"pods": "2"}}})
        await it.settles()
        await it.stays_settled()
        assert meta.get(it.laws.objects[RESOURCEQUOTAS.key("default", "q")], "status", "used") == {"pods": "2"}

    world.run(world.Config(seed=7), story)
