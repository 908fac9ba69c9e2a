"""A node of real containers: this machine's network, the images, and the OCI runtime, for one instance.

`Machine` opens all three over what the state directory has kept; `node` is the cluster's node on them; `take_down` is
what `petset down` means, also for what a killed petset has left. Everything is imported when a machine is opened.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from petset import cluster
from petset.base import networks, state
from petset.client.client import Client
from petset.node import agent, disk
from petset.node.containers import host, oci, seccomp
from petset.node.images import images
from petset.node.network import bridge, names


class MachineError(Exception):
    """Why containers cannot run here, in one line."""


class Machine:
    """The parts of one instance's node. Use it as a context: it is closed, and what runs on it goes on."""

    def __init__(self, instance: state.State, plan: networks.Plan, limits: cluster.Limits | None = None):
        self._instance, self._plan, self._limits = instance, plan, limits or cluster.Limits()
        self.network = bridge.PodNetwork(plan, instance.directory)
        self.runtime = oci.OciRuntime(
            instance.directory,
            plan,
            self.network,
            images.Images(str(instance.images), stand_ins=self._limits.stand_ins),
            pids_max=self._limits.pod_pids_limit,
            seccomp_default=seccomp.RUNTIME_DEFAULT if self._limits.seccomp_default else seccomp.UNCONFINED,
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

    def node(self, name: str) -> cluster.Node:
        """The node of this name whose pods run here."""
        instance, limits = self._instance, self._limits
        config = cluster.node_config(
            name,
            self._plan,
            instance.path("node"),
            node_info=self.runtime.node_info(),
            host_files=names.HostFiles(read("/etc/hosts"), read("/etc/resolv.conf")),
            marks=disk.Marks(limits.image_gc_high_threshold, limits.image_gc_low_threshold),
        )
        return cluster.Node(
            config, self.runtime, disks=lambda: disk.look(nodefs=instance.directory, imagefs=instance.images)
        )

    def running(self) -> int:
        """How many containers run; after the runtime's start."""
        found = self.runtime.observe().values()
        return sum(one.state == "running" for _, containers in found for one in containers)

    async def take_down(self, client: Client | None, name: str) -> None:
        """What `petset down` means for the node: pods stop with their grace; nothing but data stays."""
        directory = self._instance.path("node")
        await agent.stop_all(client, self.runtime, node_name=name, state_directory=directory)
        await self.runtime.shut_down()
        await self.network.teardown()


def check(limits: cluster.Limits) -> None:
    """Raises MachineError when containers cannot run here as they are to."""
    if why := host.check():
        raise MachineError(why)
    if limits.seccomp_default and not host.seccomp_profile():
        raise MachineError(
            f"cannot confine pods by default: there is no {seccomp.PROFILE_PATHS[0]}; "
            "install golang-github-containers-common, or start without --seccomp-default"
        )


def read(path: str) -> str:
    """A file of the host's, "" where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
