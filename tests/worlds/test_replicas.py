"""Two replicas of the controller of PetSets beside a cluster's own controllers: the laws hold whoever leads.

The replicas elect a leader by a Lease over the same bad links: leaders are killed, cut off and stopped while sets are
scaled, edited and deleted; the API answers late, refuses, loses answers and forgets watches. A law of its own: whoever
sends a write holds the Lease in the store at that moment (laws.asked).
"""

from __future__ import annotations

import asyncio
import random

import pytest

from petset.client import election
from petset.kinds.event import EVENTS
from petset.kinds.lease import LEASES
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.world import faults, laws, monkeys, world
from petset.world.process import persistently
from tests.worlds import scenario

REPLICAS = 2
REPLACED_SECONDS_MAX = 15.0


def plan_of(seed: int) -> scenario.Plan:
    """A scenario whose first set is a PetSet."""
    for number in range(100):
        plan = scenario.of(random.Random(f"{seed} replicas {number}"))
        if plan.sets[0]["kind"] == "PetSet":
            return plan
    raise AssertionError("no scenario has a PetSet")


async def lose_leaders(it: world.World, chance: random.Random, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(chance.uniform(0.0, 30.0))
        if not (leader := it.leader):
            continue
        if chance.random() < 0.5:
            it.process(leader).kill(chance.choice((0.1, 5.0, 60.0)))
        else:
            it.partition(leader)
            await asyncio.sleep(chance.choice((3.0, 11.0, 40.0)))
            it.mend(leader)


@pytest.mark.parametrize("seed", range(10))
def test_laws_hold_over_replicas(seed: int) -> None:
    plan = plan_of(seed)

    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} leaders")
        for obj in plan.objects:
            await persistently(lambda obj=obj: it.admin.create(obj))
        monkey = monkeys.Monkey(it)
        it.faults, it.laws.weather_seconds = plan.weather, plan.weather.stale_seconds + REPLACED_SECONDS_MAX
        async with asyncio.TaskGroup() as group:
            group.create_task(monkey.play(plan.monkey_steps))
            group.create_task(lose_leaders(it, chance, 4))
        it.faults = faults.Faults.none()
        for node in it.nodes:
            node.calm()
        await monkey.goes_home()
        it.laws.weather_seconds = 0.0
        await it.settles()
        if not it.laws.broken:
            await it.stays_settled()
        assert it.leader

    config = world.Config(seed, nodes=plan.nodes, replicas=REPLICAS, scripted=not plan.real_agents)
    world.run(config, story, (f"scenario: {plan.told()}",))


def a_set(replicas: int = 3) -> list[dict]:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "db",
            "namespace": "default",
            "annotations": {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"},
        },
        "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]},
    }
    pets = {
        "apiVersion": "apps/v1alpha1",
        "kind": "PetSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "serviceName": "db",
            "replicas": replicas,
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "db"}]},
            },
            "volumeClaimTemplates": [scenario.claim_template()],
        },
    }
    return [service, pets]


def pods_of(it: world.World) -> list[str]:
    return [meta.name(pod) for key, pod in it.laws.objects.items() if key.startswith(laws.PODS)]


def test_a_killed_leader_is_replaced_within_15_seconds_and_the_set_goes_on() -> None:
    async def story(it: world.World) -> None:
        for obj in a_set(1):
            await it.admin.create(obj)
        await it.settles()
        for number in range(2, 5):
            dead = it.leader
            it.process(dead).kill(300.0)
            began = it.loop.time()
            await it.admin.patch(it.admin.kind_of(a_set()[1]), "db", "default", {"spec": {"replicas": number}})
            while f"db-{number - 1}" not in pods_of(it):  # Virtual time costs nothing.
                await asyncio.sleep(0.1)
                assert it.loop.time() - began <= REPLACED_SECONDS_MAX
            assert it.leader != dead
            await asyncio.sleep(320.0)
        await it.settles()
        await it.stays_settled()

    world.run(world.Config(11, replicas=REPLICAS), story)


def test_what_2016_wrote_is_translated_and_told_once_whoever_leads() -> None:
    async def story(it: world.World) -> None:
        for obj in a_set():
            await it.admin.create(obj)
        await it.settles()
        it.process(it.leader).kill(60.0)
        await asyncio.sleep(60.0)
        await it.settles()
        assert (await it.admin.get(SERVICES, "db", "default"))["spec"]["publishNotReadyAddresses"] is True
        events = [event for event in (await it.admin.list(EVENTS, "default"))[0] if event["reason"] == "Translated"]
        assert sorted((event["message"].partition(" ")[0], event["count"]) for event in events) == [
            ("service.alpha.kubernetes.io/tolerate-unready-endpoints", 1),
            ("volume.alpha.kubernetes.io/storage-class", 1),
        ]
        assert {event["involvedObject"]["kind"] for event in events} == {"PetSet"}

    world.run(world.Config(12, replicas=REPLICAS), story)


def test_a_leader_whose_watches_are_forgotten_and_whose_requests_are_slow_still_leads_or_lets_go() -> None:
    weather = faults.Faults(lag=0.5, refused=0.2, lost_answer=0.2, lost_request=0.1, watch_seconds=15.0, stall=0.2)

    async def story(it: world.World) -> None:
        for obj in a_set():
            await persistently(lambda obj=obj: it.admin.create(obj))
        it.faults, it.laws.weather_seconds = weather, weather.stale_seconds + REPLACED_SECONDS_MAX
        await asyncio.sleep(900.0)
        it.faults = faults.Faults.none()
        await asyncio.sleep(60.0)
        it.laws.weather_seconds = 0.0
        await it.settles()
        assert pods_of(it)

    world.run(world.Config(13, replicas=REPLICAS), story)


def test_the_law_sees_two_that_act(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas that believe they lead whatever the Lease says."""
    monkeypatch.setattr(election.Election, "leads", lambda self: True)
    monkeypatch.setattr(election, "_leading", lambda seen, *rest: election.Wait(1000.0))

    async def story(it: world.World) -> None:
        for obj in a_set():
            await it.admin.create(obj)
        await it.settles()
        first = it.leader
        it.partition(first)
        await asyncio.sleep(20.0)
        it.mend(first)
        for number in (1, 4, 2, 3):
            await it.admin.patch(it.admin.kind_of(a_set()[1]), "db", "default", {"spec": {"replicas": number}})
            await asyncio.sleep(30.0)

    with pytest.raises(laws.Broken, match="holds the lease"):
        world.run(world.Config(14, replicas=REPLICAS), story)


def test_without_replicas_there_is_no_lease() -> None:
    async def story(it: world.World) -> None:
        await asyncio.sleep(5.0)
        assert not any(key.startswith(LEASES.key("default")) for key in it.laws.objects)
        assert not any(key.startswith(PODS.key("default")) for key in it.laws.objects)

    world.run(world.Config(15), story)
