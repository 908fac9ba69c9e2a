"""Jobs in bad weather: the server dies, controllers and nodes die, pods fail, and each pod is counted once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from petset.kinds.batch.job import JOBS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.world import counts, faults, world
from tests.worlds.test_story import until

KILLS = 30
MODES: dict[str, dict[str, Any]] = {
    "alike": {"completions": 7, "parallelism": 3, "backoffLimit": 100},
    "numbered": {"completions": 7, "parallelism": 4, "completionMode": "Indexed", "backoffLimit": 100},
    "apart": {"completions": 6, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 50},
    "ended": {"completions": 5, "parallelism": 2, "podReplacementPolicy": "Failed", "backoffLimit": 100},
}


def job(name: str, **spec: Any) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example/sum:1"}]}}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {**spec, "template": template}}


def kill_after_writes(it: world.World, chance: random.Random) -> None:
    """The controllers die when one of their writes is done, and they have not heard of it: of a Job, or of its pods."""
    saw, left = it.laws.counts.saw, [KILLS]

    def seen(key: str, old: Any, obj: Any) -> Any:
        if left[0] and key.startswith((JOBS.key(), PODS.key())) and chance.random() < 0.1:
            left[0] -= 1
            it.loop.call_soon(it.process("controllers").kill, chance.random() / 2)
        return saw(key, old, obj)

    it.laws.counts.saw = seen


@pytest.mark.parametrize("seed", range(2))
def test_each_pod_is_counted_once_whoever_dies(seed: int) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} jobs")
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        for name, spec in MODES.items():
            await it.admin.create(job(name, **spec))
        kill_after_writes(it, chance)
        for _ in range(3):
            await asyncio.sleep(chance.random() * 10)
            it.laws.server_died_at = it.loop.time()
            it.server.kill()
            await asyncio.sleep(chance.random())
            it.server.start()
            it.process(f"node-{chance.randrange(2)}").kill(chance.random() * 10)
        it.faults = faults.Faults.none()

        def found(name: str) -> Any:
            return it.laws.objects[JOBS.key("default", name)]

        await until(it, lambda: all(meta.is_condition_true(found(name), "Complete") for name in MODES), minutes=60)
        for name, spec in MODES.items():
            assert found(name)["status"]["succeeded"] == spec["completions"]
            assert it.laws.counts.what_is_wrong(found(name)) == []

    world.run(world.Config(seed=seed, nodes=2), story)


def saw(*changes: Any) -> list[str]:
    law, wrong, before = counts.Counts(), list[str](), dict[str, Any]()
    for kind, name, status in changes:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "sum", "uid": "u", "controller": True}
        key = f"/core/pods/default/{name}" if kind == "Pod" else JOBS.key("default", name)
        metadata = {"name": name, "uid": "u" if kind == "Job" else name, "ownerReferences": [owner][: kind == "Pod"]}
        obj = {"kind": kind, "metadata": {**metadata, "namespace": "default"}, "status": status}
        wrong += law.saw(key, before.get(key), obj)
        before[key] = obj
    return wrong


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ([("Pod", "a", {"phase": "Succeeded"}), ("Job", "sum", {"succeeded": 2})], "counts 2 and 0 succeeded"),
        ([("Job", "sum", {"failed": 1})], "counts 1 and 0 failed, and 0 pods have"),
        ([("Pod", "a", {"phase": "Succeeded"}), *(("Job", "sum", {"succeeded": n}) for n in (1, 0))], "now has 0"),
        (
            [
                ("Pod", "a", {"phase": "Failed"}),
                *(("Job", "sum", {"uncountedTerminatedPods": {"failed": uids}}) for uids in (["a"], [], ["a"])),
            ],
            "once more",
        ),
        ([("Job", "sum", {"completedIndexes": "0-1"})], "index 0 is completed"),
    ],
)
def test_the_law_sees_what_is_wrong(changes: Any, law: str) -> None:
    assert any(law in wrong for wrong in saw(*changes)), saw(*changes)


def test_each_minute_has_its_job_whoever_dies() -> None:
    async def story(it: world.World) -> None:
        chance = random.Random("minutes")
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        made: list[str] = []
        kill_after_writes(it, chance)
        saw = it.laws.counts.saw

        def seen(key: str, old: Any, obj: Any) -> Any:
            if key.startswith(JOBS.key()) and old is None:
                made.append(meta.name(obj))
            return saw(key, old, obj)

        it.laws.counts.saw = seen
        template = {"spec": job("each")["spec"]}
        cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "each", "namespace": "default"}}
        await it.admin.create({**cron, "spec": {"schedule": "* * * * *", "jobTemplate": template}})
        await until(it, lambda: len(made) >= 6, minutes=10)
        minutes = [int(name.removeprefix("each-")) for name in made]
        assert minutes == list(range(minutes[0], minutes[0] + len(minutes)))

    world.run(world.Config(seed=1, nodes=1), story)
