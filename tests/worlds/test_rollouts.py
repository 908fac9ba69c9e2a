"""Deployments in bad weather: templates and sizes change, programs and the server die, and the bounds always hold."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from petset.kinds.apps.daemon_set import DAEMONSETS
from petset.kinds.apps.deployment import DEPLOYMENTS
from petset.objects import meta
from petset.world import faults, laws, world
from tests.worlds.test_story import until

SECONDS_BETWEEN = 4.0


def deployment(chance: random.Random, **strategy: Any) -> dict[str, Any]:
    labels = {"app": "web"}
    rolling = {"maxSurge": chance.choice((0, 1, "50%")), "maxUnavailable": chance.choice((1, 2, "25%"))}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": chance.randint(3, 6),
            "revisionHistoryLimit": 2,
            "strategy": strategy or {"type": "RollingUpdate", "rollingUpdate": rolling},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "main", "image": "example/server:0"}],
                },
            },
        },
    }


async def change(it: world.World, chance: random.Random, number: int) -> None:
    image = f"example/server:{number % 3}"
    template = {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}
    size = {"replicas": chance.randint(2, 7)}
    patch = {"spec": chance.choice((template, template, size, {**template, **size}))}
    await it.admin.patch(DEPLOYMENTS, "web", "default", patch)


async def trouble(it: world.World, chance: random.Random) -> None:
    match chance.randrange(4):
        case 0:
            it.laws.server_died_at = it.loop.time()
            it.server.kill()
            await asyncio.sleep(chance.random())
            it.server.start()
        case 1:
            it.process("controllers").kill(chance.random() * 5)
        case 2:
            it.process("node-0").kill(chance.random() * 5)
        case _:
            pass


@pytest.mark.parametrize("surge", [0, 1])
def test_a_daemon_set_has_one_pod_a_node_in_any_weather(surge: int) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{surge} daemons")
        made = deployment(chance)
        rolling = {"maxSurge": surge, "maxUnavailable": 1 - surge}
        spec = {key: made["spec"][key] for key in ("selector", "template")}
        spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
        await it.admin.create({**made, "kind": "DaemonSet", "spec": spec})
        await it.settles()
        it.faults = faults.Faults(lag=0.2, lost_request=0.1, refused=0.1, lost_answer=0.1, watch_seconds=20)
        it.laws.weather_seconds = it.faults.stale_seconds
        for number in range(1, 5):
            template = {"spec": {"containers": [{"name": "main", "image": f"example/server:{number % 3}"}]}}
            await it.admin.patch(DAEMONSETS, "web", "default", {"spec": {"template": template}})
            await asyncio.sleep(chance.random() * SECONDS_BETWEEN)
            await trouble(it, chance)
        it.faults = faults.Faults.none()
        await it.settles()
        await it.stays_settled()

    world.run(world.Config(seed=surge, nodes=3), story)


def told(it: world.World) -> Any:
    return it.laws.objects.get(DEPLOYMENTS.key("default", "web")) or {}


@pytest.mark.parametrize("seed", range(4))
def test_a_rollout_keeps_its_bounds_and_comes_to_its_end(seed: int) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} rollouts")
        await it.admin.create(deployment(chance))
        await it.settles()
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        for number in range(1, 7):
            await change(it, chance, number)
            await asyncio.sleep(chance.random() * SECONDS_BETWEEN)
            await trouble(it, chance)
            await asyncio.sleep(chance.random() * SECONDS_BETWEEN)
        it.faults = faults.Faults.none()
        await it.settles()
        await it.stays_settled()
        assert (meta.condition(told(it), "Progressing") or {}).get("reason") == "NewReplicaSetAvailable"
        sets = [key for key in it.laws.objects if key.startswith("/apps/replicasets/")]
        assert 1 <= len(sets) <= 3  # The present one, and two to go back to.

    world.run(world.Config(seed=seed, nodes=2), story)


@pytest.mark.parametrize(
    ("name", "law"), [("sizes_of_old", "ready pods are left"), ("size_of_new", "active pods, and 4 may be")]
)
def test_the_law_sees_a_rollout_that_goes_too_far(name: str, law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from petset.controllers.workloads import generations, rollout

    def all_at_once(deployment: Any, now: Any) -> Any:
        return {meta.name(one): 0 for one in now.old} if name == "sizes_of_old" else generations.size(deployment)

    async def story(it: world.World) -> None:
        chance = random.Random(1)
        made = deployment(chance, type="RollingUpdate", rollingUpdate={"maxSurge": 1, "maxUnavailable": 0})
        await it.admin.create(meta.changed(made, ("spec", "replicas"), 3))
        await it.settles()
        monkeypatch.setattr(rollout, name, all_at_once)
        await change(it, random.Random(3), 1)
        await asyncio.sleep(60)

    with pytest.raises(laws.Broken, match=law):
        world.run(world.Config(seed=1), story)


def test_a_rollout_that_cannot_go_on_says_so_and_takes_nothing_away() -> None:
    """The new pods find no node: what was there stays, and after the deadline the Deployment tells."""

    async def story(it: world.World) -> None:
        chance = random.Random(2)
        made = deployment(chance, type="RollingUpdate", rollingUpdate={"maxSurge": 1, "maxUnavailable": 0})
        await it.admin.create({**made, "spec": {**made["spec"], "replicas": 3, "progressDeadlineSeconds": 60}})
        await it.settles()
        patch: Any = {"spec": {"template": {"spec": {"nodeSelector": {"there": "is-none"}}}}}
        await it.admin.patch(DEPLOYMENTS, "web", "default", patch)

        def reason() -> Any:
            return (meta.condition(told(it), "Progressing") or {}).get("reason")

        await until(it, lambda: reason() == "ProgressDeadlineExceeded", minutes=3)
        assert told(it)["status"]["availableReplicas"] == 3 and told(it)["status"]["updatedReplicas"] == 1
        patch["spec"]["template"]["spec"]["nodeSelector"]["there"] = None
        await it.admin.patch(DEPLOYMENTS, "web", "default", patch)
        await it.settles()
        await until(it, lambda: reason() == "NewReplicaSetAvailable", minutes=1)

    world.run(world.Config(seed=3), story)


def test_recreate_lets_all_old_pods_end_before_the_first_new_one_begins() -> None:
    async def story(it: world.World) -> None:
        await it.admin.create(deployment(random.Random(3), type="Recreate"))
        await it.settles()
        await it.admin.patch(
            DEPLOYMENTS,
            "web",
            "default",
            {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example/server:1"}]}}}},
        )

        def images() -> list[str]:
            pods = [obj for key, obj in it.laws.objects.items() if key.startswith("/core/pods/")]
            return list(dict.fromkeys(pod["spec"]["containers"][0]["image"] for pod in pods))

        while images() != ["example/server:1"]:
            assert len(images()) < 2
            await asyncio.sleep(0.05)
        await it.settles()

    world.run(world.Config(seed=4), story)
