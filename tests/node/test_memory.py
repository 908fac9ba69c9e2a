"""Memory that runs out: who goes first, what the node says, whom it takes meanwhile, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from petset.base import tasks
from petset.kinds.node import NODES
from petset.node import memory, simulated, thresholds
from petset.objects import meta
from tests.node.node_fixture import NODE, NodeUnderTest, container, play, pod

MI = 1 << 20


def test_it_reads_what_the_kernel_tells(tmp_path: Path):
    (tmp_path / "meminfo").write_text("MemTotal: 10 kB\nMemAvailable:  7 kB\n")
    assert memory.available(tmp_path / "meminfo") == 7 * 1024
    assert memory.available() > 0


def using(name: str, request: str = "", priority: int = 0) -> dict[str, Any]:
    resources = {"requests": {"memory": request}} if request else {}
    return pod(name, container("c", resources=resources), priority=priority)


@pytest.mark.parametrize(
    ("found", "first"),
    [
        ([], None),
        ([(using("a"), 10), (using("b"), 20)], "b"),
        ([(using("a", "1Mi"), 5 * MI), (using("b", "9Mi"), 8 * MI)], "a"),  # Who is above its requests.
        ([(using("a", priority=5), 50), (using("b"), 20)], "b"),  # The less important.
        ([(using("a", "1Mi"), 5 * MI), (using("b", "90Mi"), 93 * MI)], "a"),  # Who is furthest above them.
        ([(using("a", priority=2_000_000_000), 50), (using("b", "9Mi"), 1)], "b"),
        ([(using("a", priority=2_000_000_000), 50)], None),
    ],
)
def test_who_goes_first(found: Any, first: str | None):
    chosen = memory.first_to_go(found)
    assert (meta.name(chosen[0]) if chosen else None) == first


def test_a_node_without_memory_evicts_one_pod_at_a_time_and_recovers(tmp_path: Path):
    def uses(config: Any) -> simulated.Behaviour:
        return simulated.Behaviour(memory_bytes=(50 if meta.name(config.pod) == "large" else 10) * MI)

    async def story(node: NodeUnderTest) -> None:
        await node.kill()
        node.memory_bytes = 1 << 30
        await node.boot()
        for name in ("small", "large"):
            await node.create(pod(name))
            await node.until(name, meta.is_pod_ready)
        node.memory_bytes = 50 * MI
        evicted = await node.until("large", lambda one: meta.get(one, "status", "phase") == "Failed")
        status = evicted["status"]
        said = f"The node was low on resource: memory. Threshold quantity: {100 * MI}, available: {50 * MI}. "
        assert status["reason"] == "Evicted" and status["message"].startswith(said)
        condition = meta.condition(evicted, "DisruptionTarget")
        assert condition is not None and condition["reason"] == "TerminationByKubelet"
        assert meta.is_pod_ready(await node.pod("small") or {})
        assert meta.is_condition_true(await node.admin.get(NODES, NODE), "MemoryPressure")
        await node.create(pod("late"))
        refused = await node.until("late", lambda one: meta.get(one, "status", "phase") == "Failed")
        assert refused["status"]["message"] == "The node had condition: [MemoryPressure]. "
        node.memory_bytes = 1 << 30
        await asyncio.sleep(thresholds.TRANSITION_SECONDS + 2 * memory.LOOK_SECONDS)
        assert not meta.is_condition_true(await node.admin.get(NODES, NODE), "MemoryPressure")
        assert meta.get(await node.pod("small"), "status", "phase") == "Running"
        await node.create(pod("later"))
        await node.until("later", meta.is_pod_ready)

    play(story, tmp_path, uses)


def test_pods_go_until_there_is_enough_and_the_condition_stays_for_its_time(tmp_path: Path):
    """What is freed is not given away at once, and a node that is low again and again says so once."""

    def uses(config: Any) -> simulated.Behaviour:
        return simulated.Behaviour(memory_bytes=300 * MI)

    async def story(node: NodeUnderTest) -> None:
        await node.kill()
        node.memory_bytes = 1 << 30
        node.eviction = thresholds.read("memory.available<500Mi", "", "", 0, "memory.available=400Mi", "5m")
        await node.boot()
        for name in ("first", "second", "third"):
            await node.create(pod(name))
            await node.until(name, meta.is_pod_ready)
        node.memory_bytes = 400 * MI

        async def gone() -> int:
            await asyncio.sleep(memory.LOOK_SECONDS)
            found = [await node.pod(name) for name in ("first", "second", "third")]
            return sum(meta.get(one or {}, "status", "phase") == "Failed" for one in found)

        assert await gone() == 1
        node.memory_bytes = 700 * MI
        assert await gone() == 2
        node.memory_bytes = 900 * MI
        assert await gone() == 2
        for _ in range(3):  # Low for a moment, in which nobody is left to go but one that is spared in time.
            await asyncio.sleep(270)
            assert meta.is_condition_true(await node.admin.get(NODES, NODE), "MemoryPressure")
            node.memory_bytes = 499 * MI
            await asyncio.sleep(memory.LOOK_SECONDS)
            node.memory_bytes = 2 << 30
        await asyncio.sleep(300 + 2 * memory.LOOK_SECONDS)
        assert not meta.is_condition_true(await node.admin.get(NODES, NODE), "MemoryPressure")
        reasons = [reason for _, reason, _ in await node.events(NODE) if "Memory" in reason]
        assert reasons == ["NodeHasInsufficientMemory", "NodeHasSufficientMemory"]

    play(story, tmp_path, uses)


def test_a_soft_threshold_waits_and_gives_pods_time(tmp_path: Path):
    """The node says at once that it is low; the pod goes when the time is over, and gets some to stop."""

    def uses(config: Any) -> simulated.Behaviour:
        return simulated.Behaviour(memory_bytes=50 * MI, stop_seconds=60)

    async def story(node: NodeUnderTest) -> None:
        await node.kill()
        node.memory_bytes, node.eviction = (
            1 << 30,
            thresholds.read("", "memory.available<10%", "memory.available=2m", 20),
        )
        await node.boot()
        await node.create(pod("patient", terminationGracePeriodSeconds=25))
        await node.until("patient", meta.is_pod_ready)
        node.memory_bytes = 800 * MI  # Of 8 Gi.
        await asyncio.sleep(memory.LOOK_SECONDS + 1)
        assert meta.is_condition_true(await node.admin.get(NODES, NODE), "MemoryPressure")
        node.memory_bytes = 1 << 30  # Back before the time is over: it begins anew.
        await asyncio.sleep(memory.LOOK_SECONDS + 1)
        node.memory_bytes, began = 800 * MI, tasks.now()
        evicted = await node.until("patient", lambda one: meta.get(one, "status", "phase") == "Failed", 300)
        assert "Threshold quantity: 858993459, available" in evicted["status"]["message"]
        assert 120 + 20 <= tasks.now() - began < 120 + 20 + 2 * memory.LOOK_SECONDS + 1

    play(story, tmp_path, uses)
