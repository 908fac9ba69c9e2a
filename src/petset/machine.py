"""Nodes of real containers: this machine's network, the images, and the OCI runtime, for one instance.

    async with machine.opened(instance, plan.nodes, "pets") as machines:
        async with plane.nodes(*(one.node() for one in machines)):
            ...
        await machine.take_down(machines, lambda name: plane.client(users.of_node(name)))

A `Machine` opens all three for one node of the plan, over what its directory has kept, and `node` is the cluster's node
on them. Nodes of one instance share the images and nothing else; they live in one process, side by side. `take_down` is
what `petset down` means, also for what a killed petset has left. Everything is imported when a machine is opened.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from petset import cluster
from petset.base import networks, state, tasks
from petset.client.client import Client
from petset.node import agent, disk, memory, meter, thresholds
from petset.node.containers import host, oci, seccomp
from petset.node.images import images
from petset.node.network import bridge, names
from petset.node.volumes import space
from petset.objects import meta


class MachineError(Exception):
    """Why containers cannot run here, in one line."""


class Machine:
    """The parts of one node. Use it as a context: it is closed, and what runs on it goes on."""

    def __init__(self, instance: state.State, plan: networks.NodePlan, name: str, limits: cluster.Limits | None = None):
        self.name, self.plan = name, plan
        self._instance, self._limits = instance, limits or cluster.Limits()
        directory = plan.directory(instance.directory)
        directory.mkdir(parents=True, exist_ok=True)
        self._state_directory = directory / "node"
        self._directory = directory
        self.network = bridge.PodNetwork(plan, directory)
        self.runtime, self._begun = self._new_runtime(), False
        self._space = space.Space(meter.Meter())

    def _new_runtime(self) -> oci.OciRuntime:
        instance = self._instance
        return oci.OciRuntime(
            self._directory,
            self.plan,
            self.network,
            images.Images(str(instance.images), stand_ins=self._limits.stand_ins),
            pids_max=self._limits.pod_pids_limit,
            seccomp_default=seccomp.RUNTIME_DEFAULT if self._limits.seccomp_default else seccomp.UNCONFINED,
            seccomp_profiles=instance.path("seccomp"),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.runtime.close()
        finally:
            await self.network.close()

    def node(self) -> cluster.Node:
        """The cluster's node whose pods run here, for one life of its agent."""
        self._begun = True
        instance, limits = self._instance, self._limits
        config = cluster.node_config(
            self.name,
            self.plan,
            self._state_directory,
            node_info=self.runtime.node_info(),
            host_files=names.HostFiles(read("/etc/hosts"), read("/etc/resolv.conf")),
            memory=memory.available,
            space=self._space,
            static_pods=Path(limits.manifests) if limits.manifests else None,
            unsafe_sysctls=[name for name in limits.allowed_unsafe_sysctls.split(",") if name],
            marks=disk.Marks(limits.image_gc_high_threshold, limits.image_gc_low_threshold),
            eviction=eviction(instance, limits),
        )
        return cluster.Node(
            config,
            self.runtime,
            disks=lambda: disk.look(nodefs=instance.directory, imagefs=instance.images),
            log=instance.log,
        )

    async def let_go(self) -> None:
        """The agent has ended: what runs goes on, and whoever comes next looks at it anew."""
        if self._begun:
            await self.runtime.close()
            self.runtime, self._begun = self._new_runtime(), False

    async def sever(self, cut: bool) -> None:
        await self.network.sever(cut)

    async def begin(self) -> None:
        """Look at what runs, where no agent does."""
        if not self._begun:
            self._begun = True
            await self.runtime.start()

    def running(self) -> int:
        """How many containers run; after `begin`."""
        found = self.runtime.observe().values()
        return sum(one.state == "running" for _, containers in found for one in containers)

    async def take_down(self, client: Client | None) -> None:
        """What `petset down` means for the node: pods stop with their grace; nothing but data stays."""
        await self.begin()
        await agent.stop_all(client, self.runtime, node_name=self.name, state_directory=self._state_directory)
        await self.runtime.shut_down()
        await self.network.teardown()


@contextlib.asynccontextmanager
async def opened(
    instance: state.State, nodes: Sequence[networks.NodePlan], first: str, limits: cluster.Limits | None = None
) -> AsyncGenerator[list[Machine], None]:
    """One for each of these nodes of the instance's plan; `first` is the name of its first."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Machine(instance, node, node.name(first), limits)) for node in nodes]


async def take_down(machines: Sequence[Machine], client_of: Callable[[str], Client | None]) -> None:
    """All of them at once; `client_of` is asked for each node's name. Raises the first failure, when all have ended."""

    async def work(one: Machine) -> None:
        await one.take_down(client_of(one.name))

    await tasks.side_by_side(machines, work, most=len(machines), name="take a node down")


async def stop_left(machines: Sequence[Machine], client_of: Callable[[str], Client | None]) -> int:
    """Take down what a killed petset has left; how many containers ran."""
    for one in machines:
        await one.begin()
    running = sum(one.running() for one in machines)
    await take_down(machines, client_of)
    return running


EVICTION = (
    "eviction_hard",
    "eviction_soft",
    "eviction_soft_grace_period",
    "eviction_max_pod_grace_period",
    "eviction_minimum_reclaim",
    "eviction_pressure_transition_period",
)


def eviction(instance: state.State, limits: cluster.Limits) -> thresholds.Eviction:
    """As it is asked for now, else as it was the last time. Raises MachineError."""
    asked = eviction_asked(instance, limits)
    try:
        return thresholds.read(
            asked.get("eviction_hard") or None,
            asked.get("eviction_soft") or "",
            asked.get("eviction_soft_grace_period") or "",
            asked.get("eviction_max_pod_grace_period") or 0,
            asked.get("eviction_minimum_reclaim") or "",
            asked.get("eviction_pressure_transition_period") or "",
        )
    except thresholds.ThresholdError as error:
        raise MachineError(f"cannot keep to the eviction thresholds: {error}") from None


def eviction_asked(instance: state.State, limits: cluster.Limits) -> dict[str, Any]:
    kept = meta.part(instance.read(state.RECORD) or {}, "eviction")
    return {**kept, **{name: given for name in EVICTION if (given := getattr(limits, name)) is not None}}


def check(instance: state.State, limits: cluster.Limits) -> None:
    """Raises MachineError when containers cannot run here as they are to; what is asked for is remembered."""
    eviction(instance, limits)
    if why := host.check():
        raise MachineError(why)
    if limits.seccomp_default and not host.seccomp_profile():
        raise MachineError(
            f"cannot confine pods by default: there is no {seccomp.PROFILE_PATHS[0]}; "
            "install golang-github-containers-common, or start without --seccomp-default"
        )
    if asked := eviction_asked(instance, limits):
        instance.keep(eviction=asked)


def read(path: str) -> str:
    """A file of the host's, "" where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
