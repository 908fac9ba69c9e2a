"""Stories of one's own in a world: what whoever tests a set or an operator writes. Virtual minutes take moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from petset import cluster
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta
from petset.wire import http
from petset.world import faults, laws, world
from tests.worlds import history

UNREACHABLE = "node.kubernetes.io/unreachable"
MINUTE = 60.0


def stateful_set(name: str = "web", replicas: int = 2) -> dict:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "example/server:1"}]},
            },
        },
    }


def service(name: str = "web") -> dict:
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


async def until(it: world.World, condition: Callable[[], object], minutes: float = 10) -> None:
    ends = it.loop.time() + minutes * MINUTE
    while not condition():
        assert it.loop.time() < ends, "it did not become true"
        await asyncio.sleep(1)


def taints(it: world.World, node: str) -> list[str]:
    found = it.laws.objects[NODES.key("", node)]
    return [taint["key"] for taint in meta.get(found, "spec", "taints", default=())]


def test_a_silent_node_is_unreachable_until_it_speaks_again() -> None:
    async def story(it: world.World) -> None:
        await until(it, lambda: NODES.key("", "node-1") in it.laws.objects)
        it.process("node-1").kill(3 * MINUTE)
        await until(it, lambda: UNREACHABLE in taints(it, "node-1"), minutes=2)
        assert UNREACHABLE not in taints(it, "node-0")
        await until(it, lambda: not taints(it, "node-1"), minutes=3)

    world.run(world.Config(seed=1, nodes=2), story)


@pytest.mark.parametrize("scripted", [False, True])
def test_a_set_settles_in_bad_weather_on_either_kind_of_node(scripted: bool) -> None:
    async def story(it: world.World) -> None:
        it.faults = faults.Faults(lag=0.2, lost_request=0.1, refused=0.1, lost_answer=0.1, watch_seconds=20)
        it.laws.weather_seconds = it.faults.stale_seconds
        for obj in (service(), stateful_set()):
            await it.admin.create(obj)
        await it.settles()
        assert PODS.key("default", "web-1") in it.laws.objects

    world.run(world.Config(seed=2, nodes=2, scripted=scripted), story)


def test_a_log_is_asked_of_the_node_where_the_pod_is() -> None:
    async def story(it: world.World) -> None:
        async def said() -> str:
            target = PODS.path("default", "web-0", "log")
            answer = await it.server.handle(http.Request("GET", target, user=cluster.ADMINISTRATOR))
            pieces = [answer.body] if isinstance(answer.body, bytes) else [piece async for piece in answer.body]
            return b"".join(pieces).decode()

        for obj in (service(), stateful_set(replicas=1)):
            await it.admin.create(obj)
        await it.settles()
        assert "simulated" in await said()
        it.process("node-0").kill(MINUTE)
        assert "node node-0 has none to ask, or is not up" in await said()

    world.run(world.Config(seed=6), story)


def test_a_story_that_fails_says_so_and_how_it_came_to_it() -> None:
    async def story(it: world.World) -> None:
        await it.admin.create(stateful_set(replicas=1))
        await until(it, lambda: laws.is_ready(it.laws.objects.get(PODS.key("default", "web-0")) or {"metadata": {}}))
        await asyncio.sleep(MINUTE)
        pod = it.laws.objects[PODS.key("default", "web-0")]
        await it.admin.delete(PODS, "web-0", "default", uid=meta.uid(pod))  # Nobody excused it.
        await asyncio.sleep(MINUTE)

    with pytest.raises(laws.Broken, match="default/web-0 was removed") as caught:
        world.run(world.Config(seed=3), story, about=["to play it again: ..."])
    said = str(caught.value)
    assert said.startswith("seed 3: ") and "to play it again: ..." in said and "/core/pods/default/web-0" in said


def test_what_a_story_raises_comes_out() -> None:
    async def story(it: world.World) -> None:
        await until(it, lambda: STATEFULSETS.key("default", "web") in it.laws.objects, minutes=1)

    with pytest.raises(AssertionError, match="it did not become true") as caught:
        world.run(world.Config(seed=4), story)
    (note,) = caught.value.__notes__
    assert note.startswith("seed 4: the story failed") and "/core/nodes/node-0" in note


def test_a_world_leaves_nothing_for_the_next() -> None:
    """The same seed in the same process, another world in between: the same trace to the last letter."""
    first, between, again = (history.run(seed).laws.digest.hexdigest() for seed in (5, 17, 5))
    assert first == again != between
