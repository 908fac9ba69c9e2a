"""A node under test: the real server over the store's model, the real agent, a simulated machine, virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from petset import cluster
from petset.base import tasks
from petset.client import client as api
from petset.kinds.event import EVENTS
from petset.kinds.pod import PODS
from petset.node import agent, disk, simulated, thresholds
from petset.node.volumes.space import Space
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.store import memory
from petset.wire import http
from petset.world import loop as virtual

ADMIN = http.User("petset-admin", ("system:masters",))
NODE = "n1"
CAPACITY = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110"}
BEGAN = 1_750_000_000.0


class NodeUnderTest:
    def __init__(self, loop: virtual.VirtualLoop, directory: Path, script: simulated.Script):
        self.loop, self.directory = loop, directory
        self.store = memory.MemoryStore()
        self.server = cluster.ControlPlane(self.store)
        self.admin = self.server.client(ADMIN)
        self.machine = simulated.Machine(script)
        self.attempts = simulated.SimulatedAttempts(self.machine)
        self.memory_bytes: int | None = None  # That are available; given before a boot, the node looks at them.
        self.disks: disk.Disks | None = None  # Given before a boot, the node looks at them.
        self.eviction = thresholds.Eviction()
        self.space: Space | None = None  # Given before a boot, the node looks at its claims.
        self.node_requests: list[str] = []  # "METHOD path" of what the node asks.
        self._life: asyncio.Task[None] | None = None

    async def _from_node(self, request: http.Request) -> http.Response:
        self.node_requests.append(f"{request.method} {request.path}")
        await asyncio.sleep(0.001)  # An API is never quite immediate.
        return await self.server.handle(request)

    async def boot(self) -> None:
        """Start the agent (again), with a new runtime over the same machine."""
        self.runtime = simulated.SimulatedRuntime(self.machine)
        ready = asyncio.Event()
        config = agent.Config(
            node_name=NODE,
            state_directory=self.directory,
            pod_cidr="10.200.0.0/24",
            dns_address="10.96.0.10",
            api_host="10.96.0.1",
            host_ip="10.200.0.1",
            capacity=CAPACITY,
            may_mount=False,
            space=self.space,
            memory=(lambda: self.memory_bytes or 0) if self.memory_bytes is not None else None,
            eviction=self.eviction,
        )
        disks = (lambda: self.disks or {}) if self.disks is not None else None
        program = cluster.Node(config, self.runtime, self.attempts, disks).program(lambda name: ready.set())
        work = program.main(api.Client(api.InProcess(self._from_node, program.user)))
        self._life = self.loop.create_task(work, name="agent")
        waits = self.loop.create_task(ready.wait(), name="ready")
        await asyncio.wait([self._life, waits], return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()

    async def kill(self) -> None:
        """The agent dies; the machine goes on."""
        assert self._life is not None
        self._life.cancel()
        await asyncio.wait([self._life])

    async def crash(self, pod: Object, container: str, exit_code: int = 137) -> None:
        self.machine.crash(meta.uid(pod), container, exit_code)
        self.runtime.look_again(meta.uid(pod))

    async def create(self, pod: Object) -> Object:
        return await self.admin.create(pod)

    async def pod(self, name: str) -> Object | None:
        try:
            return await self.admin.get(PODS, name, "default")
        except errors.ApiError as error:
            if error.code == 404:
                return None
            raise

    async def until(self, name: str, condition: Callable[[Any], object], seconds: float = 120.0) -> Any:
        """The pod (None: gone) as soon as the condition holds of it."""
        ends = self.loop.time() + seconds
        while True:
            pod = await self.pod(name)
            if condition(pod):
                return pod
            if self.loop.time() > ends:
                raise AssertionError(f"after {seconds} s: {pod and pod.get('status')}")
            if self._life is not None and self._life.done():
                self._life.result()
            await asyncio.sleep(0.01)

    async def delete(self, name: str, grace: int | None = None) -> None:
        await self.admin.delete(PODS, name, "default", grace_seconds=grace)

    async def events(self, name: str = "") -> list[tuple[str, str, str]]:
        """(type, reason, message) in the order in which they first happened."""
        await asyncio.sleep(0.2)
        items, _ = await self.admin.list(EVENTS, "default")
        items = [one for one in items if one["involvedObject"]["name"] == name or not name]
        items.sort(key=lambda one: int(one["metadata"]["resourceVersion"]))
        return [(one["type"], one["reason"], one["message"]) for one in items]


def pod(name: str = "p", *containers: Object, **spec: Any) -> dict[str, Any]:
    """A pod bound to the node; one container `c` when none is given."""
    metadata = {"name": name, "namespace": "default", **spec.pop("metadata", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeName": NODE,
            "automountServiceAccountToken": False,
            "containers": list(containers) or [container("c")],
            **spec,
        },
    }


def container(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "debian:jessie", **fields}


def state(pod: Object | None, name: str) -> dict[str, Any]:
    """The status of one container; {} when there is none."""
    status = (pod or {}).get("status") or {}
    for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        if one["name"] == name:
            return one
    return {}


def waits_with(reason: str, name: str = "c") -> Callable[[Any], object]:
    return lambda pod: meta.get(state(pod, name), "state", "waiting", "reason") == reason


def is_ready(pod: Object | None) -> bool:
    return pod is not None and meta.is_pod_ready(pod)


def is_gone(pod: Object | None) -> bool:
    return pod is None


Story = Callable[[NodeUnderTest], Awaitable[None]]


def play(story: Story, directory: Path, script: simulated.Script = simulated.usual, seed: int = 1) -> None:
    """Run a story on a node that is up and ready."""

    async def main(loop: virtual.VirtualLoop) -> None:
        environment = tasks.Environment(lambda: BEGAN + loop.time(), random.Random(seed), threads=False)
        with tasks.environment(environment):
            node = NodeUnderTest(loop, directory, script)
            await node.server.begin()
            await node.boot()
            await story(node)

    virtual.run(main, seed)
