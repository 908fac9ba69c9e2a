"""A cluster composed of its parts: nothing outside of it is its state, and a part that fails ends it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import subprocess
import sys

import pytest
from prometheus_client import parser

from petset import cluster
from petset.base import networks, tasks, telemetry
from petset.controllers import queue
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.node import simulated
from petset.objects import meta
from petset.store import memory
from petset.wire import http
from petset.world import loop as virtual
from petset.world.process import persistently
from tests import waiting

SHARED = networks.ClusterPlan("t", "10.9.4.0/22")
PLAN = networks.NodePlan(SHARED, "10.9.0.0/22")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent.parent / "src")}
YEAR_SECONDS = 365 * 86400.0


def stateful_set(name: str, replicas: int = 2) -> dict:
    labels = {"app": name}
    pod = {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "example/server:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def node_machine(name: str, directory, plan: networks.NodePlan = PLAN) -> cluster.SimulatedMachine:
    return cluster.SimulatedMachine(cluster.node_config(name, plan, directory / name, may_mount=False))


def node(name: str, directory, plan: networks.NodePlan = PLAN) -> cluster.Node:
    return node_machine(name, directory, plan).node()


async def pets_are_ready(plane: cluster.ControlPlane, count: int) -> list[dict]:
    """The pods, when so many are ready."""
    client = plane.client(cluster.ADMINISTRATOR)
    while True:
        pods, _ = await client.list(PODS, "default")
        if sum(map(meta.is_pod_ready, pods)) == count:
            return pods
        await asyncio.sleep(0.05)


async def live(store: memory.MemoryStore, name: str, directory, replicas: int = 2) -> list[dict]:
    plane = cluster.ControlPlane(store)
    await plane.begin()
    async with plane.running(), plane.nodes(node("n1", directory)):
        await persistently(lambda: plane.client(cluster.ADMINISTRATOR).create(stateful_set(name, replicas)))
        return await pets_are_ready(plane, replicas)


def test_two_clusters_in_one_loop_know_nothing_of_each_other(tmp_path):
    stores = [memory.MemoryStore(), memory.MemoryStore()]

    async def main() -> None:
        async with asyncio.timeout(60):
            first, second = await asyncio.gather(
                live(stores[0], "web", tmp_path / "a", 2), live(stores[1], "db", tmp_path / "b", 3)
            )
        assert [meta.name(pod) for pod in first] == ["web-0", "web-1"]
        assert [meta.name(pod) for pod in second] == ["db-0", "db-1", "db-2"]

    asyncio.run(main())
    names = [[meta.name(entry.object) for entry in store.list(STATEFULSETS.key())[1]] for store in stores]
    assert names == [["web"], ["db"]]


def test_each_counts_its_own_requests():
    async def main() -> None:
        planes = [
            cluster.ControlPlane(memory.MemoryStore(), cluster.Config(metrics=telemetry.Telemetry())) for _ in range(2)
        ]
        await planes[0].client(cluster.ADMINISTRATOR).list(PODS)
        counted = []
        for plane in planes:
            answer = await plane.handle(http.Request("GET", "/metrics", user=cluster.ADMINISTRATOR))
            assert isinstance(answer.body, bytes)
            counted.append('verb="LIST"' in answer.body.decode())
        assert counted == [True, False]

    asyncio.run(main())


def test_the_programs_of_a_cluster_tell_how_they_do(tmp_path):
    async def main() -> dict[tuple[str, ...], float]:
        metrics = telemetry.Telemetry()
        plane = cluster.ControlPlane(memory.MemoryStore(), cluster.Config(metrics=metrics))
        await plane.begin()
        async with asyncio.timeout(60), plane.running(), plane.nodes(node("n1", tmp_path)):
            await persistently(lambda: plane.client(cluster.ADMINISTRATOR).create(stateful_set("web", 2)))
            await pets_are_ready(plane, 2)
            text = metrics.taken().render()[1].decode()
        families = parser.text_string_to_metric_families(text)
        return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}

    seen = asyncio.run(main())
    assert seen["scheduler_schedule_attempts_total", "default-scheduler", "scheduled"] == 2
    assert seen["scheduler_scheduling_attempt_duration_seconds_count", "default-scheduler", "scheduled"] == 2
    assert seen["scheduler_pending_pods", "active"] == seen["scheduler_pending_pods", "unschedulable"] == 0
    assert seen["workqueue_adds_total", "statefulset"] >= 1
    assert seen["workqueue_work_duration_seconds_count", "statefulset"] >= 1
    queues = {name for metric, name, *_ in (one for one in seen if len(one) > 1) if metric == "workqueue_depth"}
    assert set(queue.NAMES.values()) <= queues and queues.isdisjoint(queue.NAMES)  # Each names a queue there is.
    assert seen["apiserver_longrunning_requests", "apiserver", "", "pods", "cluster", "", "WATCH", "v1"] >= 1


def test_clusters_of_one_process_have_clocks_of_their_own(tmp_path):
    """One after another, each in a year and with a chance of its own; the first's again gives the first's story."""

    def lived(years: int, directory) -> list[tuple[str, str]]:
        async def main(loop: virtual.VirtualLoop) -> list[tuple[str, str]]:
            began = 1.4e9 + years * YEAR_SECONDS
            environment = tasks.Environment(lambda: began + loop.time(), random.Random(years), threads=False)
            with tasks.environment(environment):
                pods = await live(memory.MemoryStore(), "web", directory)
                return [(meta.uid(pod), pod["metadata"]["creationTimestamp"]) for pod in pods]

        return virtual.run(main, seed=years)

    first, second = lived(1, tmp_path / "1"), lived(2, tmp_path / "2")
    assert {when[:4] for _, when in first} == {"2015"} and {when[:4] for _, when in second} == {"2016"}
    assert lived(1, tmp_path / "3") == first


def test_a_cluster_goes_on_over_what_another_left(tmp_path):
    async def main() -> None:
        store = memory.MemoryStore()
        async with asyncio.timeout(60):
            before = await live(store, "web", tmp_path)
            after = await live(store, "web", tmp_path)
        assert [meta.uid(pod) for pod in before] == [meta.uid(pod) for pod in after]

    asyncio.run(main())


class Telling(simulated.SimulatedRuntime):
    """A runtime whose containers' logs say which node they are on."""

    def __init__(self, name: str, network: str):
        super().__init__(simulated.Machine(network=network))
        self._name = name

    @property
    def streams(self):
        return self

    async def logs(self, pod_uid, container, options):
        yield self._name.encode()


def test_several_nodes_in_one_process(tmp_path):
    """Each takes pods of its own network; a log is read at the pod's own node, and a node that is away is named."""
    plans = {f"n{number}": networks.NodePlan(SHARED, f"10.9.{number * 8}.0/22", number) for number in (0, 1)}

    def telling(name: str, plan: networks.NodePlan) -> cluster.Node:
        config = cluster.node_config(name, plan, tmp_path / name, may_mount=False)
        runtime = Telling(name, plan.gateway.rpartition(".")[0] + ".")
        return cluster.Node(config, runtime, simulated.SimulatedAttempts(runtime.machine))

    async def log_of(plane: cluster.ControlPlane, pod: dict) -> tuple[int, bytes]:
        target = PODS.path("default", meta.name(pod), "log")
        response = await plane.handle(http.Request("GET", target, user=cluster.ADMINISTRATOR))
        if isinstance(response.body, bytes):
            return response.code, response.body
        return response.code, b"".join([piece async for piece in response.body])

    async def main() -> None:
        plane = cluster.ControlPlane(memory.MemoryStore())
        await plane.begin()
        ready: list[str] = []
        async with asyncio.timeout(60), plane.running():
            async with plane.nodes(*(telling(*each) for each in plans.items()), on_ready=ready.append):
                await waiting.until(lambda: sorted(ready) == list(plans))
                await plane.client(cluster.ADMINISTRATOR).create(stateful_set("web", 4))
                pods = await pets_are_ready(plane, 4)
                assert {pod["spec"]["nodeName"] for pod in pods} == set(plans)
                for pod in pods:
                    name = pod["spec"]["nodeName"]
                    assert pod["status"]["podIP"].startswith(plans[name].gateway.rpartition(".")[0])
                    assert await log_of(plane, pod) == (200, name.encode())
            code, body = await log_of(plane, pods[0])
            assert code == 503 and f"node {pods[0]['spec']['nodeName']} is not up" in body.decode()

    asyncio.run(main())


def test_what_is_not_needed_before_the_api_answers_is_not_imported():
    late = ["controllers", "scheduler", "dns", "machine", "world", "node.agent", "node.simulated", "node.containers"]
    code = f"import petset.up, sys; print([name for name in {late} if 'petset.' + name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert said.stdout.strip() == "[]"


def test_a_program_that_fails_ends_the_block_and_says_why():
    async def fails(client) -> None:
        raise OSError("cannot go on: it is broken")

    async def main() -> None:
        plane = cluster.ControlPlane(memory.MemoryStore())
        await plane.begin()
        with pytest.raises(ExceptionGroup) as caught:
            async with plane.running(cluster.Program("broken", cluster.DNS, fails, "broken")):
                await asyncio.get_running_loop().create_future()
        assert "it is broken" in str(caught.value.exceptions[0])
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    asyncio.run(main())
