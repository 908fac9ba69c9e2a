"""Nodes that are stopped, cut off and brought back while the cluster runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from petset import cluster, switches
from petset.base import networks
from petset.client.severable import Severable
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import errors, meta
from petset.store import memory
from petset.wire import http
from tests import waiting
from tests.test_cluster import node_machine, stateful_set

PLAN = networks.ClusterPlan("t", "10.9.4.0/22")


@contextlib.asynccontextmanager
async def some(directory: Path, kept: Mapping[str, str], saved: list[Mapping[str, str]]) -> AsyncIterator:
    """A cluster of two nodes that are to be as `kept` says; what is kept from then on is added to `saved`."""
    plane = cluster.ControlPlane(memory.MemoryStore())
    await plane.begin()
    machines = [
        node_machine(f"n-{number}", directory, networks.NodePlan(PLAN, f"10.9.{number * 8}.0/22", number))
        for number in (0, 1)
    ]
    ready: list[str] = []
    turned = switches.Switches(plane, machines, kept, lambda states: saved.append(dict(states)))
    async with plane.running(), turned.turned_on(ready.append):
        yield plane, turned, ready


async def pods(client) -> list:
    return (await client.list(PODS, "default"))[0]


@waiting.in_a_loop
async def test_a_stopped_node_is_silent_and_its_pods_go_on(tmp_path: Path) -> None:
    saved: list[Mapping[str, str]] = []
    async with some(tmp_path, {"n-1": switches.STOPPED}, saved) as (plane, turned, ready):
        client = plane.client(cluster.ADMINISTRATOR)
        await waiting.until(lambda: ready == ["n-0"])
        assert [meta.name(node) for node in (await client.list(NODES))[0]] == ["n-0"]
        await turned.turn("n-1", switches.UP)
        await waiting.until(lambda: ready == ["n-0", "n-1"])
        await client.create(stateful_set("web", 2))

        async def all_ready() -> bool:
            return sum(map(meta.is_pod_ready, await pods(client))) == 2

        await waiting.until_so(all_ready)
        await turned.turn("n-0", switches.STOPPED)
        gone = [pod for pod in await pods(client) if pod["spec"]["nodeName"] == "n-0"]
        await client.delete(PODS, meta.name(gone[0]), "default")
        with pytest.raises(errors.ApiError, match="node n-0 is not up"):
            await client.raw(f"/api/v1/namespaces/default/pods/{meta.name(gone[0])}/log")
        marked = await client.get(PODS, meta.name(gone[0]), "default")
        assert meta.is_deleting(marked)  # Nobody on the node hears of it.
        await turned.turn("n-0", switches.UP)

        async def replaced() -> bool:
            return all(meta.uid(pod) != meta.uid(marked) for pod in await pods(client)) and await all_ready()

        await waiting.until_so(replaced)
    assert saved == [
        {"n-1": "up"},
        {"n-1": "up", "n-0": "stopped"},
        {"n-1": "up", "n-0": "up"},
    ]


@waiting.in_a_loop
async def test_a_node_that_is_cut_off_goes_on_by_what_it_knows(tmp_path: Path) -> None:
    async with some(tmp_path, {"n-1": switches.STOPPED}, []) as (plane, turned, ready):
        client = plane.client(cluster.ADMINISTRATOR)
        await waiting.until(lambda: ready == ["n-0"])
        await turned.turn("n-0", switches.PARTITIONED)
        await client.create(stateful_set("web", 1))

        async def bound() -> bool:
            return any(pod["spec"].get("nodeName") for pod in await pods(client))

        await waiting.until_so(bound)  # Nobody knows yet that it hears nothing.
        await turned.turn("n-1", switches.UP)
        await waiting.until(lambda: ready == ["n-0", "n-1"])
        [pod] = await pods(client)
        assert pod["spec"]["nodeName"] == "n-0" and pod.get("status", {}).get("phase") == "Pending"
        await turned.turn("n-0", switches.UP)

        async def is_ready() -> bool:
            return [meta.uid(one) for one in await pods(client) if meta.is_pod_ready(one)] == [meta.uid(pod)]

        await waiting.until_so(is_ready)


@waiting.in_a_loop
async def test_turning_twice_is_turning_once_and_others_there_are_not(tmp_path: Path) -> None:
    saved: list[Mapping[str, str]] = []
    async with some(tmp_path, {}, saved) as (_, turned, _ready):
        await asyncio.gather(*(turned.turn("n-0", switches.STOPPED) for _ in range(3)))
        assert saved == [{"n-0": "stopped"}] and turned.states == {"n-0": "stopped", "n-1": "up"}
        with pytest.raises(KeyError):
            await turned.turn("other", switches.UP)


@waiting.in_a_loop
async def test_a_watch_breaks_at_the_first_piece_that_would_come_through_the_cut() -> None:
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def body():
        while True:
            yield await pieces.get()

    async def handle(request: http.Request) -> http.Response:
        return http.Response(200, body=body())

    class Way:
        send = staticmethod(handle)

    way = Severable(Way())
    watch = (await way.send(http.Request("GET", "/"))).body
    assert not isinstance(watch, bytes)
    pieces.put_nowait(b"one")
    assert await anext(watch) == b"one"
    way.is_cut = True
    with pytest.raises(ConnectionResetError):
        await way.send(http.Request("GET", "/"))
    way.is_cut = False
    pieces.put_nowait(b"two")  # Nothing was lost in between: an idle connection goes on.
    assert await anext(watch) == b"two"
    way.is_cut = True
    pieces.put_nowait(b"three")
    with pytest.raises(ConnectionResetError):
        await anext(watch)
