"""A simulated cluster in this process: everything but containers, in the loop it is entered in.

The API answers in process and on a port of loopback of its own, with a kubeconfig in its directory, as an instance's
does; controllers, scheduler and so many nodes live off it. Pods start and get ready at once. What is stored is in
memory, or, where the directory is to be kept, in a store that the next one finds.

Invariants: nothing outside of the directory is touched, and nothing of the machine is chosen or reserved: any number
of these live in one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from petset import cluster, switches
from petset.base import networks, pki, state, well_known
from petset.client.client import Client
from petset.client.reaching import dialing, kubeconfig
from petset.net import listener
from petset.net.dialer import Dialer
from petset.node import simulated
from petset.server import bootstrap
from petset.store import memory, store
from petset.testing import answers, default_account
from petset.world import copies

NODE = "node"
INSTANCE = "000000"  # Names nothing on the machine.
CAPACITY = {"cpu": "8", "memory": "16Gi", "ephemeral-storage": "100Gi", "pods": "110"}
TOKEN_KEY = "service-accounts.key"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the cluster is to be."""

    directory: Path
    nodes: int = 1
    is_kept: bool = False  # What is stored stays in the directory.
    node_silence_seconds: float = 0.0
    capacity: Mapping[str, str] | None = None


class Directories(copies.Copies):
    """Of volumes that nobody writes: they are there, and empty; snapshots are only remembered."""

    async def begin(self) -> None: ...

    async def make(self, path: str, wanted_bytes: int) -> None:
        os.makedirs(path, exist_ok=True)

    async def remove(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)

    async def resize(self, path: str, wanted_bytes: int) -> None: ...

    async def free_bytes(self) -> int:
        return 1 << 60


class Simulated:
    """The cluster, while it lives."""

    def __init__(self, plane: cluster.ControlPlane, access: kubeconfig.Access, turned: switches.Switches):
        self._access, self._turned = access, turned
        self._dialer: Dialer | None = None
        self.client: Client = plane.client(
            cluster.ADMINISTRATOR, everywhere=True, over=answers.Own(plane.handle, cluster.ADMINISTRATOR)
        )

    def dialer(self) -> Dialer:
        if self._dialer is None:
            self._dialer = Dialer(self._access.server, dialing.context(self._access.target))
        return self._dialer

    async def close(self) -> None:
        if self._dialer is not None:
            await self._dialer.close()

    async def turn(self, node: str, to: str) -> None:
        await self._turned.turn(node, to)

    async def nodes(self) -> Mapping[str, str]:
        """What each is to be, by name."""
        return self._turned.states


@contextlib.asynccontextmanager
async def living(wanted: Wanted) -> AsyncGenerator[Simulated]:
    """Ready when the block begins: every node is, and pods may be made in the namespace default."""
    instance = state.State(wanted.directory)
    with instance.lock():
        plan = networks.ClusterPlan(INSTANCE, bootstrap.SERVICE_CIDR)
        machines = [_machine(plan, number, wanted) for number in range(wanted.nodes)]
        authority = pki.authority(instance.keys)
        issued = authority.server("api", ("localhost", "127.0.0.1", *KUBERNETES_NAMES), user="kube-apiserver")
        with _loopback() as listening:
            port: int = listening.getsockname()[1]
            access = _access(authority, port)
            config = cluster.Config(
                pki.SigningKey(instance.keys / TOKEN_KEY),
                services=bootstrap.Plan(
                    plan.kubernetes_address, plan.dns_address, "127.0.0.1", port, plan.service_cidr
                ),
                hostpath=Directories(),
                volumes_directory=str(instance.volumes),
                snapshots=True,
                ca_pem=authority.certificate_pem,
                authority=authority,
                node_silence_seconds=wanted.node_silence_seconds,
            )
            async with _opened_store(instance, wanted.is_kept) as opened:
                plane = cluster.ControlPlane(opened, config)
                await plane.begin()
                tls = pki.server_context(issued, authority.certificate_pem)
                async with listener.serve(plane.handle, tls=tls, socket=listening):
                    context = kubeconfig.context(instance.name)
                    rendered = kubeconfig.render(access, context, str(instance.directory))
                    state.write_private(instance.kubeconfig, rendered)
                    async with _with_nodes(plane, machines) as turned, contextlib.AsyncExitStack() as closing:
                        one = Simulated(plane, access, turned)
                        closing.push_async_callback(one.close)
                        await default_account.there(one.client)
                        yield one


@contextlib.asynccontextmanager
async def _with_nodes(
    plane: cluster.ControlPlane, machines: list[cluster.SimulatedMachine]
) -> AsyncGenerator[switches.Switches]:
    awaited = dict.fromkeys(one.name for one in machines)
    are_ready = asyncio.Event()

    def is_ready(name: str) -> None:
        awaited.pop(name, None)
        if not awaited:
            are_ready.set()

    turned = switches.Switches(plane, machines, {}, lambda states: None)
    async with plane.running(), turned.turned_on(is_ready):
        await are_ready.wait()
        yield turned


def _machine(plan: networks.ClusterPlan, number: int, wanted: Wanted) -> cluster.SimulatedMachine:
    own = networks.simulated(plan, number + 1)
    name = f"{NODE}-{number}"
    capacity = wanted.capacity or (CAPACITY if wanted.nodes > 1 else {**CAPACITY, "pods": str(simulated.OWN_ADDRESSES)})
    config = cluster.node_config(
        name, own, wanted.directory / name, may_mount=False, on_disk=False, capacity=capacity,
        labels={well_known.SIMULATED_NODE: "true"},
    )  # fmt: skip
    return cluster.SimulatedMachine(config)


@contextlib.asynccontextmanager
async def _opened_store(instance: state.State, is_kept: bool) -> AsyncGenerator[store.Store]:
    if not is_kept:
        yield memory.MemoryStore()
        return
    from petset.store import sqlite

    opened = await sqlite.SqliteStore.open(instance.database)
    try:
        yield opened
    finally:
        await opened.close()


def _access(authority: pki.Authority, port: int) -> kubeconfig.Access:
    administrator = authority.client("admin", cluster.ADMINISTRATOR.name, cluster.ADMINISTRATOR.groups)
    return kubeconfig.Access(
        f"https://127.0.0.1:{port}",
        authority.certificate_pem.encode(),
        administrator.certificate_pem().encode(),
        administrator.key_pem().encode(),
    )


KUBERNETES_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")


@contextlib.contextmanager
def _loopback() -> Generator[socket.socket]:
    """A port of loopback that the kernel chooses, bound until somebody listens on it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield listening
