"""Nodes with the real agent over a simulated runtime: the machine outlives the agent, containers behave by chance.

The runtime is looked at while the agent uses it: every container that begins to run is told to the laws with the
directories of its volumes. When the agent is killed its runtime goes deaf at the same moment, so that nothing it does
while it is being cancelled reaches the machine.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from petset import cluster
from petset.base import tasks
from petset.client import client as api
from petset.kinds.batch.job import JOBS
from petset.node import agent, registration, simulated
from petset.node.runtime import Container, ContainerConfig, RuntimeError_, Sandbox, Warning_
from petset.node.served import kubelet
from petset.objects import meta
from petset.objects.meta import Object
from petset.server.access import users
from petset.wire import streaming
from petset.world import laws

if TYPE_CHECKING:
    from petset.world.world import World

CAPACITY = {"cpu": "8", "memory": "16Gi", "pods": "110"}


class AgentNode:
    """A machine, and the real agent that lives on it."""

    def __init__(self, world: World, name: str):
        self.world, self.name = world, name
        self.user = users.of_node(name)
        self.number = int(name.rpartition("-")[2])
        self.chance = random.Random(f"{world.seed} {name} machine")
        self.is_calm = False
        self.slowness = 1.0  # How many times as long as others' its containers take to start, get ready and stop.
        self.machine = simulated.Machine(script=self._behaviour, network=f"10.{self.number}.0.")
        self.directories: dict[str, tuple[str, ...]] = {}  # By pod uid.
        self.runtime: LookedAt | None = None
        self.promise = registration.Promise()

    async def run(self, client: api.Client) -> None:
        self.runtime = LookedAt(self)
        config = agent.Config(
            node_name=self.name,
            state_directory=self.world.disk_of(self.name),
            pod_cidr=f"10.{self.number}.0.0/24",
            dns_address="10.96.0.10",
            api_host="10.96.0.1",
            host_ip=f"10.{self.number}.0.1",
            capacity=CAPACITY,
            node_info={"containerRuntimeVersion": "simulated://1"},
            may_mount=False,
            on_disk=self.world.on_disk,
            promise=self.promise,
        )
        node = cluster.Node(config, self.runtime, simulated.SimulatedAttempts(self.machine))
        await node.program().main(client)

    def _behaviour(self, config: ContainerConfig) -> simulated.Behaviour:
        usual = simulated.usual(config)
        if usual.runs_seconds is not None:
            seconds = self.chance.choice((0.02, 1.0, 5.0)) * self.chance.random()
            fails = _is_of_job(config) and not self.is_calm and self.chance.random() < 0.2
            return simulated.Behaviour(runs_seconds=seconds, exit_code=int(fails))
        clumsy = not self.is_calm and self.chance.random() < 0.1
        slow = self.slowness
        return simulated.Behaviour(
            start_seconds=self.chance.choice((0.01, 0.1, 2.0)) * self.chance.random() * slow,
            ready_after_seconds=self.chance.choice((0.0, 1.0, 10.0)) * self.chance.random() * slow,
            stop_seconds=self.chance.choice((0.01, 1.0, 60.0)) * self.chance.random() * slow,
            start_error=("RunContainerError", "the world is against it") if clumsy else None,
            runs_seconds=self.chance.uniform(0, 30) if clumsy and self.chance.random() < 0.5 else None,
            exit_code=1,
        )

    # The machine

    @property
    def streams(self) -> streaming.NodeStreams | None:
        """Of the agent that lives there now."""
        return self.runtime.streams if self.runtime is not None and not self.runtime.is_deaf else None

    @property
    def server(self) -> streaming.NodeServer | None:
        """What the agent that lives there now serves of what its pods use."""
        if self.runtime is None or self.runtime.is_deaf:
            return None
        return kubelet.Kubelet(self.name, self.runtime, _no_pods, None)

    def cut_off(self) -> None:
        if self.runtime is not None:
            self.runtime.is_deaf = True

    def reboot(self) -> None:
        self.machine.reboot()

    def calm(self) -> None:
        """Nothing ends by itself from now on."""
        self.is_calm = True
        for _, record in self._records():
            if record.behaviour.exit_code:
                record.ends_at = None

    async def kill_some_container(self, chance: random.Random) -> None:
        now = tasks.now()
        running = [(uid, each) for uid, each in self._records() if each.seen(now).state == "running"]
        if running:
            uid, victim = chance.choice(running)
            self.world.laws.note(f"MONKEY   kills container {victim.container.name} of {uid[:8]}")
            self.crash(uid, victim.container.name)

    def crash(self, uid: str, container: str, exit_code: int = 137) -> bool:
        """End a container of the pod now; whether it ran."""
        now = tasks.now()
        is_there = any(
            (one, each.container.name) == (uid, container) and each.seen(now).state == "running"
            for one, each in self._records()
        )
        self.machine.crash(uid, container, exit_code)
        if self.runtime is not None:
            self.runtime.look_again(uid)
        return is_there

    def _records(self) -> list[tuple[str, Any]]:
        return [(uid, record) for uid, records in self.machine.records.items() for record in records]

    def running(self) -> list[tuple[str, laws.Running]]:
        now = tasks.now()
        found: dict[str, laws.Running] = {}
        for uid, record in self._records():
            if record.seen(now).state == "running":
                found[uid] = laws.Running(self.name, uid, self.directories.get(uid, ()))
        return [(self._identity(uid), running) for uid, running in found.items()]

    def _identity(self, uid: str) -> str:
        sandbox = self.machine.sandboxes[uid]
        return f"{sandbox.namespace}/{sandbox.pod_name}"

    def began(self, config: ContainerConfig) -> None:
        volumes = str(self.world.volumes)
        own = tuple(mount.source for mount in config.mounts if mount.source.startswith(volumes + os.sep))
        uid = config.pod_uid
        self.directories[uid] = tuple(dict.fromkeys((*self.directories.get(uid, ()), *own)))
        self.world.laws.starts(self._identity(uid), laws.Running(self.name, uid, self.directories[uid]))


class LookedAt(simulated.SimulatedRuntime):
    """One life of the agent's runtime."""

    def __init__(self, node: AgentNode):
        super().__init__(node.machine)
        self._node = node
        self.is_deaf = False

    def _hear(self) -> None:
        if self.is_deaf:
            raise RuntimeError_("Dead", "cannot do anything: the agent was killed")

    async def create_sandbox(
        self, pod: Object, hosts: str, resolv_conf: str, hostname: str = "", handler: str = ""
    ) -> Sandbox:
        self._hear()
        return await super().create_sandbox(pod, hosts, resolv_conf, hostname, handler)

    async def start_container(self, config: ContainerConfig) -> tuple[Container, Sequence[Warning_]]:
        self._hear()
        started = await super().start_container(config)
        self._node.began(config)
        return started

    async def stop_container(self, pod_uid: str, name: str, grace_seconds: float) -> None:
        self._hear()
        await super().stop_container(pod_uid, name, grace_seconds)
        self._node.world.laws.note(f"STOPPED  {name} of {pod_uid[:8]} on {self._node.name}")

    async def stop_sandbox(self, pod_uid: str) -> None:
        self._hear()
        await super().stop_sandbox(pod_uid)

    async def remove_sandbox(self, pod_uid: str) -> None:
        self._hear()
        await super().remove_sandbox(pod_uid)


async def _no_pods() -> Sequence[Object]:
    return ()


def _is_of_job(config: ContainerConfig) -> bool:
    return (meta.controller_of(config.pod) or {}).get("kind") == JOBS.kind
