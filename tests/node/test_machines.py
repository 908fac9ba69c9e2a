"""Two nodes of real containers in one process: one cluster, a network each, and nothing left of either."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from petset import cluster, machine
from petset.base import networks, state
from petset.client import client as clients
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.server.access import users
from petset.store import memory
from petset.wire.streaming import ExecOptions, LogOptions
from tests import images_fixture, waiting
from tests.e2e.leftovers import leftovers
from tests.node import machine as machines
from tests.node.network import test_bridge

IMAGE = "gcr.io/google_containers/nginx-slim:0.8"
PORT = 28080
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]},
}


def pod(name: str, node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "nodeName": node,
            "hostname": name,
            "subdomain": "web",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": IMAGE, "ports": [{"containerPort": 80, "hostPort": PORT}]}],
        },
    }


def ask(url: str) -> None:
    with contextlib.suppress(urllib.error.HTTPError):  # There is no such page.
        urllib.request.urlopen(url, timeout=10).close()


class Nodes:
    """A cluster of two nodes that are up."""

    def __init__(self, plane: cluster.ControlPlane, here: list[machine.Machine]):
        self.client: clients.Client = plane.client(cluster.ADMINISTRATOR)
        self.machines = here

    async def ready(self, name: str) -> dict[str, Any]:
        """The pod, once it is."""
        while True:
            if meta.is_pod_ready(found := await self.client.get(PODS, name, "default")):
                return found
            await asyncio.sleep(0.05)

    def of(self, pod: dict[str, Any]) -> machine.Machine:
        [one] = [one for one in self.machines if one.name == pod["spec"]["nodeName"]]
        return one

    async def logs(self, of: dict[str, Any]) -> str:
        found = self.of(of).runtime.streams.logs(meta.uid(of), "c", LogOptions())
        return b"".join([piece async for piece in found]).decode()

    async def says(self, of: dict[str, Any], script: str) -> str:
        """What a shell in the pod writes."""
        session = await self.of(of).runtime.streams.exec(meta.uid(of), "c", ExecOptions(("bash", "-c", script)))
        said = b"".join([piece async for _, piece in session.output()])
        await session.close()
        return said.decode()


@contextlib.asynccontextmanager
async def two_nodes(directory: Path) -> AsyncIterator[Nodes]:
    """In the end they are taken down as `petset down` does."""
    instance = state.State(directory)
    instance.create()
    plan = networks.choose_networks(directory, 2)
    plane = cluster.ControlPlane(memory.MemoryStore())
    await plane.begin()
    async with machine.opened(instance, plan.nodes, "pets") as here:
        try:
            for one in here:
                assert await one.network.setup() == []
            up: list[str] = []
            async with plane.running(cluster.dns(plan)), plane.nodes(*(one.node() for one in here), on_ready=up.append):
                await waiting.until(lambda: sorted(up) == ["pets", "pets-1"])
                yield Nodes(plane, here)
        finally:
            await machine.take_down(here, lambda name: plane.client(users.of_node(name)))


@images_fixture.needs_builds
@machines.on_machine
async def test_two_nodes_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setenv("PETSET_IMAGES", images_fixture.store_directory())
    async with two_nodes(tmp_path / "s") as nodes, test_bridge.on_bridge(tmp_path / "other") as other:
        await nodes.client.create(SERVICE)
        for number, one in enumerate(nodes.machines):
            await nodes.client.create(pod(f"web-{number}", one.name))
        pods = [await nodes.ready(f"web-{number}") for number in (0, 1)]
        addresses = [found["status"]["podIP"] for found in pods]
        for found, one in zip(pods, nodes.machines, strict=True):
            assert found["status"]["podIP"].startswith(one.plan.gateway.rpartition(".")[0])
            assert (one.plan.directory(tmp_path / "s") / "pods" / meta.uid(found)).is_dir()
            assert Path("/sys/class/net", one.plan.bridge).is_dir()
        for asking, asked, address in ((pods[0], "web-1", addresses[1]), (pods[1], "web-0", addresses[0])):
            name = f"{asked}.web.default.svc.cluster.local"
            assert (await nodes.says(asking, f"until getent ahostsv4 {name}; do sleep 0.1; done")).split()[0] == address
            for place in (address, name):
                greeting = f"exec 3<>/dev/tcp/{place}/80; printf 'HEAD / HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3"
                assert "200 OK" in await nodes.says(asking, greeting)
        # Who is asked sees who asks: nothing translates addresses between the nodes of one instance.
        assert addresses[0] in await nodes.logs(pods[1])
        # A port of the machine is one of each node, at its own address; elsewhere it is his who had it first.
        asked = [*(one.plan.gateway for one in nodes.machines), "127.0.0.1"]
        for number, address in enumerate(asked):
            await asyncio.to_thread(ask, f"http://{address}:{PORT}/asked-{number}")
        while True:  # What is written of a request may come after its answer.
            seen = [[f"/asked-{number} " in await nodes.logs(found) for number in range(3)] for found in pods]
            if all(map(any, zip(*seen, strict=True))):
                break
            await asyncio.sleep(0.05)
        assert [one[:2] for one in seen] == [[True, False], [False, True]]
        assert sorted(one[2] for one in seen) == [False, True]
        places = (*addresses, *(one.plan.gateway for one in nodes.machines))
        assert await asyncio.gather(*(reaches(None, address) for address in places)) == [True] * 4
        assert await asyncio.gather(*(reaches(other, address) for address in places)) == [False] * 4
    assert leftovers(tmp_path / "s") == []


async def reaches(of: test_bridge.Pod | None, address: str) -> bool:
    """Whether a connection to port 80 is made, or refused by the machine itself, from inside the pod (None: here)."""
    program = f"import socket; socket.create_connection(('{address}', 80), {test_bridge.CONNECT_SECONDS_MAX})"
    enter = ["nsenter", f"--net={of.place / 'net'}"] if of else []
    done = await asyncio.create_subprocess_exec(*enter, sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    _, error = await done.communicate()
    answered = done.returncode == 0 or b"ConnectionRefused" in error
    assert answered or b"TimeoutError" in error, error
    return answered
