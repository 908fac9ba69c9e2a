"""Evictions in bad weather: several drain at once while programs and the server die, and no budget is broken."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from petset.kinds import disruptions
from petset.kinds.pod import PODS
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.objects import errors, meta
from petset.world import faults, laws, world
from tests.worlds.test_rollouts import deployment, trouble

DRAINERS, ROUNDS, ROUNDS_MAX, SEEN = 3, 15, 200, 3


def budget(**amount: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **amount},
    }


async def drain(it: world.World, chance: random.Random) -> None:
    """Evict one after another, whoever it is; a refusal is an answer."""
    for number in range(ROUNDS_MAX):
        if it.laws.broken or (number >= ROUNDS and it.laws.evictions.seen >= SEEN):
            return
        pods = [key for key in it.laws.objects if key.startswith(PODS.key("default"))]
        if pods:
            name = chance.choice(sorted(pods)).rpartition("/")[2]
            metadata = {"name": name, "namespace": "default"}
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
            with contextlib.suppress(errors.ApiError, OSError):
                await it.admin.create(body, PODS, "eviction", name)
        await asyncio.sleep(chance.choice((0.0, 0.3, 2.0, 10.0)) * chance.random())


def status_of(it: world.World) -> Any:
    return meta.part(it.laws.objects[PODDISRUPTIONBUDGETS.key("default", "web")], "status")


@pytest.mark.parametrize(
    ("seed", "amount"), [(0, {"maxUnavailable": 1}), (1, {"minAvailable": 3}), (2, {"maxUnavailable": "40%"})]
)
def test_no_eviction_breaks_a_budget(seed: int, amount: Any) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} evictions")
        made = deployment(chance)
        spec = {key: made["spec"][key] for key in ("selector", "template")}
        await it.admin.create({**made, "kind": "ReplicaSet", "spec": {**spec, "replicas": 5}})
        await it.admin.create(budget(**amount))
        await it.settles()
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        async with asyncio.TaskGroup() as group:
            for number in range(DRAINERS):
                group.create_task(drain(it, random.Random(f"{seed} {number}")))
            for _ in range(4):
                await asyncio.sleep(chance.random() * 5)
                await trouble(it, chance)
        it.faults = faults.Faults.none()
        await it.settles()
        await it.stays_settled()
        assert it.laws.evictions.seen >= SEEN
        status = status_of(it)
        assert (status["currentHealthy"], status["expectedPods"]) == (5, 5)
        assert status["disruptionsAllowed"] == 5 - status["desiredHealthy"] > 0
        assert "disruptedPods" not in status

    world.run(world.Config(seed=seed, nodes=2), story)


def test_the_law_sees_an_eviction_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncounted(budget: Any, name: str, now: float) -> Any:
        return budget

    async def story(it: world.World) -> None:
        made = deployment(random.Random(1))
        spec = {key: made["spec"][key] for key in ("selector", "template")}
        await it.admin.create({**made, "kind": "ReplicaSet", "spec": {**spec, "replicas": 3}})
        await it.admin.create(budget(minAvailable=2))
        await it.settles()
        monkeypatch.setattr(disruptions, "counted", uncounted)
        await asyncio.gather(*(drain(it, random.Random(number)) for number in range(DRAINERS)))
        await asyncio.sleep(60)

    with pytest.raises(laws.Broken, match="healthy pods are left, and 2 must be"):
        world.run(world.Config(seed=1), story)
