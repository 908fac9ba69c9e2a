"""A cluster out of its parts: the API over a store, the programs that live off it, and nodes.

    plane = cluster.ControlPlane(store, cluster.Config(...))
    await plane.begin()
    async with plane.running(), plane.nodes(cluster.SimulatedMachine(...).node()):
        await plane.client(cluster.ADMINISTRATOR).create(pod)

`ControlPlane` is the server over any store; `begin` writes what a cluster begins with. `running` lets the controllers
and the scheduler live until the block is left, `nodes` so many nodes. All are `Program`s: who they are, and what they
do with a client until they are cancelled. Whoever wants another transport, or to kill one now and then, runs the same
programs with clients of his own (world/ does). No sockets are opened here: `plane.handle` may be served on any.

Invariants: the API is built here and nowhere else; nothing is kept outside of the objects made here, so that any
number of clusters live in one process, each with its store, clock and chance (tasks.Environment); what is not needed
before the API answers is imported when it begins to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petset.base import networks, pki, tasks, telemetry
from petset.client.client import Client, InProcess
from petset.kinds import builtin
from petset.kinds.pod import PODS
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kinds
from petset.server import bootstrap, expiry, health, local, meter
from petset.server.access import users
from petset.server.aggregated import trust
from petset.server.aggregated.services import Services
from petset.server.custom.definitions import Definitions
from petset.store import store as stores
from petset.wire import http, streaming

if TYPE_CHECKING:
    from petset.controllers import replica
    from petset.controllers.run import HostPath
    from petset.dns import records
    from petset.node import agent, disk
    from petset.node.pods import probes
    from petset.node.runtime import Runtime
    from petset.scheduler import profiles
    from petset.server.audit import log as audit_log

ADMINISTRATOR = users.ADMINISTRATOR
CONTROLLERS = http.User("system:kube-controller-manager", (users.MASTERS,))
SCHEDULER = http.User("system:kube-scheduler", (users.MASTERS,))
DNS = http.User("system:kube-dns", (users.MASTERS,))
PROXY = http.User("system:kube-proxy", (users.MASTERS,))
PET_SETS = http.User("petset-controller", (users.MASTERS,))
KUBELET = "kubelet"
DOMAIN = "cluster.local"
KUBERNETES_PORT = 443  # Of the Service of that name.


@dataclass(frozen=True, slots=True)
class Config:
    """What a control plane is told. As it is without any of it, nobody outside of the process knows of it."""

    token_key: pki.SigningKey = field(default_factory=pki.SigningKey)  # Signs service-account tokens.
    former_token_secret: bytes = b""  # Signed them before; those that have not expired stay good.
    services: bootstrap.Plan | None = None  # Where the API and DNS are for pods; None: there are no such Services.
    pod_cidrs: Mapping[str, str] = field(default_factory=dict[str, str])  # By the name of a node that is to begin.
    hostpath: HostPath | None = None  # Makes and removes the directories of volumes; None: nobody provisions any.
    volumes_directory: str = "/var/lib/petset/volumes"
    controllers_elsewhere: Sequence[str] = ()  # Those that are programs of their own, by name.
    snapshots: bool = False  # Whether the kinds of snapshots are made, where there is a provisioner.
    ca_pem: str = ""  # Of the API, for pods.
    front_proxy: pki.Issued | None = None  # What this server shows to the APIs that it hands requests on to.
    front_proxy_ca_pem: str = ""  # By which they believe whom it says that asks.
    audit: audit_log.Settings | None = None  # What is told of requests, and where; None: nothing is.
    authority: pki.Authority | None = None  # Signs certificates that are asked for; None: nobody does.
    metrics: telemetry.Telemetry | None = None  # Counts requests, and is /metrics.
    node_silence_seconds: float = 0.0  # After which a node is taken for dead; 0: as usual.
    log_requests: bool = False  # A line each, where they are counted; slow ones have theirs anyway.
    scheduler_profiles: profiles.Profiles | None = None  # None: upstream's own one.
    checks: Mapping[str, Callable[[], str]] = field(default_factory=dict[str, Callable[[], str]])  # Of /readyz.


STORE_CHECK = "etcd"  # The name monitoring knows a cluster's store by.
_ROLES_CHECK = f"{health.HOOK}rbac/bootstrap-roles"


class ControlPlane:
    """The API over a store; its programs and nodes run in `running` and `nodes`."""

    def __init__(
        self,
        store: stores.Store,
        config: Config | None = None,
        streams: streaming.StreamsOf | None = None,
        kinds: Kinds = builtin.KINDS,
        servers: streaming.ServersOf | None = None,
    ):
        """`streams` finds a node's containers, `servers` what it serves, by default among the nodes of `nodes`.

        `kinds` it begins with.
        """
        self.store, self.kinds = store, Catalog(kinds)
        self.everywhere = Catalog(kinds)  # And those that other servers have.
        self.config = config = config or Config()
        self._streams: dict[str, streaming.NodeStreams] = {}  # By node's name.
        self._servers: dict[str, streaming.NodeServer] = {}  # By node's name.
        self._begun = self._stopping = False
        self._running: dict[str, None] = {}  # The programs of `running`.
        options = local.Options(
            config.token_key,
            former_token_secret=config.former_token_secret,
            metrics=config.metrics,
            checks={**config.checks, _ROLES_CHECK: self._has_begun, health.SHUTDOWN: self._is_going_on},
            components=self._components(),
            audit=config.audit,
        )
        self.api = local.LocalApi(store, options, streams or self._streams_of, self.kinds, servers or self._server_of)
        self.api_services = Services(store, self.api, self.kinds, config.front_proxy, self.everywhere)
        self.kinds.follow(lambda kinds: self.api_services.look_everywhere())
        self.definitions = Definitions(store, self.api.rest, self.kinds, self.api.targets)
        self.handle: http.Handler = self.api.handle
        if config.metrics is not None:
            self.handle = meter.Meter(config.metrics, config.log_requests).counted(self.api.handle)

    def client(
        self, user: http.User, agent: str = "", everywhere: bool = False, over: http.Transport | None = None
    ) -> Client:
        """A client in this process; who it is, is believed. `everywhere`: it knows other servers' kinds."""
        kinds = self.everywhere if everywhere else self.kinds
        return Client(over or InProcess(self.handle, user), agent or user.name, kinds, is_near=True)

    async def begin(self) -> None:
        """Write what is missing of what a cluster begins with, before anybody is served."""
        self.definitions.load()
        await bootstrap.ensure(self.api.rest, self.config.services)
        if self.config.front_proxy_ca_pem:
            await trust.ensure(self.api.rest, self.config.ca_pem, self.config.front_proxy_ca_pem)
        for name, pod_cidr in self.config.pod_cidrs.items():
            await bootstrap.move_node(self.api.rest, name, pod_cidr)
        await self.api.addresses.catch_up()
        await self.api.flow.catch_up()
        self._begun = True

    def stop_soon(self) -> None:
        """Tell who asks /readyz that this is about to end; everything else is answered as before."""
        self._stopping = True

    def _has_begun(self) -> str:
        return "" if self._begun else "not finished"

    def _is_going_on(self) -> str:
        return "process is shutting down" if self._stopping else ""

    @contextlib.asynccontextmanager
    async def running(self, *others: Program) -> AsyncGenerator[None, None]:
        """Controllers, scheduler and these others, until the block is left; one that fails ends the block."""
        config = self.config
        schedules = scheduler(config.metrics, config.scheduler_profiles)
        parts = [self._part(program) for program in (controllers(config), schedules, *others)]
        parts.append(("the custom kinds", self.definitions.keep()))
        parts.append(("the APIs of other servers", self.api_services.keep()))
        parts.append(("the expiry of events", expiry.keep(self.store)))
        if self.api.audit is not None:
            parts.append(("the audit log", self.api.audit.keep()))
        if config.services is not None:
            parts.append(("the cluster's own services", bootstrap.keep(self.api.rest, config.services)))
        async with together(*parts):
            self._running = dict.fromkeys(name for name, _ in parts)
            try:
                yield
            finally:
                self._running = {}

    def _components(self) -> dict[str, Callable[[], str]]:
        """The parts of a control plane by the names that ComponentStatuses have."""

        def lives(name: str) -> Callable[[], str]:
            return lambda: "" if name in self._running else "not running"

        store = self.config.checks.get(STORE_CHECK, lambda: "")
        return {"etcd-0": store, "controller-manager": lives("controllers"), "scheduler": lives("scheduler")}

    def living(self, *programs: Program) -> contextlib.AbstractAsyncContextManager[None]:
        """These programs, and nothing else, until the block is left."""
        return together(*map(self._part, programs))

    @contextlib.asynccontextmanager
    async def nodes(self, *nodes: Node, on_ready: Callable[[str], None] | None = None) -> AsyncGenerator[None, None]:
        """These nodes, until the block is left; what runs on them goes on. `on_ready` is told each one's name."""
        with contextlib.ExitStack() as reached:
            for node in nodes:
                reached.enter_context(self.reaching(node))
            async with together(*(self._part(node.program(on_ready)) for node in nodes)):
                yield

    @contextlib.contextmanager
    def reaching(self, node: Node) -> Generator[None]:
        """While the context lasts, what runs on the node and what it serves is reached through the API."""
        self._streams[node.name] = node.runtime.streams
        self._servers[node.name] = self._server(node)
        try:
            yield
        finally:
            del self._streams[node.name], self._servers[node.name]

    def _part(self, program: Program) -> Part:
        return program.name, program.main(self.client(program.user, program.agent, program.everywhere))

    def _streams_of(self, node: str) -> streaming.NodeStreams:
        if node not in self._streams:
            why = f"node {node} is not up, or still starting; try again, or start it"
            raise streaming.StreamError(503, f"cannot reach the containers: {why}")
        return self._streams[node]

    def _server(self, node: Node) -> streaming.NodeServer:
        """What the node serves; its pods by the API are asked for as it."""
        from petset.node.served import kubelet

        client = self.client(users.of_node(node.name), KUBELET)

        async def pods() -> list[Object]:
            return (await client.list(PODS, field_selector=f"spec.nodeName={node.name}"))[0]

        return kubelet.Kubelet(node.name, node.runtime, pods, node.log, node.config.space)

    def _server_of(self, node: str) -> streaming.NodeServer:
        if node not in self._servers:
            raise streaming.StreamError(503, f"error trying to reach service: node {node} is not up, or still starting")
        return self._servers[node]


Part = tuple[str, Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def together(*parts: Part) -> AsyncGenerator[None, None]:
    """Run the parts until the block is left; one that fails ends the block and the others."""
    async with asyncio.TaskGroup() as group:
        running = [tasks.spawn(group, work, name) for name, work in parts]
        yield
        for part in running:
            part.cancel()


# -- Programs


@dataclass(frozen=True, slots=True)
class Program:
    """Something that lives off the API: who it is, and what it does until it is cancelled."""

    name: str
    user: http.User
    main: Callable[[Client], Coroutine[Any, Any, None]]
    agent: str  # Its User-Agent: by this name it owns the fields that it writes.
    everywhere: bool = False  # It looks after what other servers keep, too.


def controllers(config: Config) -> Program:
    """All controllers."""

    async def main(client: Client) -> None:
        from petset.controllers import run

        await run.run_controllers(
            client,
            hostpath=config.hostpath,
            volumes_directory=config.volumes_directory,
            ca_pem=config.ca_pem,
            authority=config.authority,
            metrics=config.metrics,
            silence=config.node_silence_seconds or None,
            snapshots_too=config.snapshots,
            but=config.controllers_elsewhere,
        )

    return Program("controllers", CONTROLLERS, main, "kube-controller-manager", everywhere=True)


def pet_sets(settings: replica.Settings, metrics: telemetry.Telemetry | None = None) -> Program:
    """The controller of PetSets alone, one of several replicas of it."""

    async def main(client: Client) -> None:
        from petset.controllers import replica

        await replica.run(client, settings, metrics)

    name = settings.election.replica if settings.election else PET_SETS.name
    return Program(name, PET_SETS, main, "petset-controller")


def scheduler(metrics: telemetry.Telemetry | None = None, by: profiles.Profiles | None = None) -> Program:
    async def main(client: Client) -> None:
        from petset.scheduler import loop

        await (loop.run(client, metrics) if by is None else loop.run(client, metrics, by))

    return Program("scheduler", SCHEDULER, main, "kube-scheduler")


def dns(plan: networks.Plan, resolv_conf: str = "") -> Program:
    """The DNS server at the plan's address; names outside the cluster are asked of whom `resolv_conf` names."""
    address = plan.cluster.dns_address

    async def main(client: Client) -> None:
        from petset.dns import forwarder, server

        await server.run(
            client,
            [address],
            domain=DOMAIN,
            upstreams=forwarder.resolvers_of(resolv_conf, [address]),
            networks=[*(node.pod_cidr for node in plan.nodes), plan.cluster.service_cidr],
        )

    return Program("dns", DNS, main, "coredns")


def proxy(plan: networks.Plan, first: str, node_port_addresses: str = "") -> Program:
    """Services' addresses and policies in the machine's nftables, for all nodes of the plan; the first is `first`.

    Ports of nodes are at all of the machine's addresses, or at those in these networks, joined by commas.
    """

    async def main(client: Client) -> None:
        from petset.node.network import policing, proxy, services

        nodes = {node.name(first): node for node in plan.nodes}
        at = tuple(filter(None, node_port_addresses.split(",")))
        async with asyncio.TaskGroup() as group:
            place = services.Place(plan.cluster, nodes, at)
            tasks.spawn(group, proxy.run(client, place), "addresses of Services")
            tasks.spawn(group, policing.run(client, plan.cluster), "policies")

    return Program("proxy", PROXY, main, "kube-proxy")


def led_in(plan: networks.Plan, lender: Path) -> Program:
    """Ports of nodes on the host's loopback, for a plan in a network namespace of its own."""

    async def main(client: Client) -> None:
        from petset.net import lending
        from petset.node.network import led_in

        async def borrow(port: int) -> socket.socket:
            return await tasks.in_thread(lending.borrowed, lender, port)

        await led_in.run(client, borrow, plan.nodes[0].gateway)

    return Program("ports of the host", PROXY, main, "kube-proxy")


def names(begin: Callable[[], records.Zone]) -> Program:
    """The DNS server but for its sockets: it keeps the zone that each of its lives begins with."""

    async def main(client: Client) -> None:
        from petset.dns import server

        zone = begin()
        async with asyncio.TaskGroup() as group:
            await server.follow(client, zone, group)
            await asyncio.get_running_loop().create_future()

    return Program("dns", DNS, main, "coredns")


# -- Nodes


@dataclass(frozen=True, slots=True)
class Node:
    """A node of this process: what it is told of itself, and the runtime that its pods run in."""

    config: agent.Config
    runtime: Runtime
    attempts: probes.Attempts | None = None  # Makes probes and hooks; None: the runtime's streams.
    disks: Callable[[], disk.Disks] | None = None  # How full they are; None: nobody is to care.
    log: Path | None = None  # Of the instance.

    @property
    def name(self) -> str:
        return self.config.node_name

    def program(self, on_ready: Callable[[str], None] | None = None) -> Program:
        async def main(client: Client) -> None:
            from petset.node import agent

            def ready() -> None:
                if on_ready is not None:
                    on_ready(self.name)

            await agent.run(client, self.config, self.runtime, attempts=self.attempts, disks=self.disks, on_ready=ready)

        return Program(self.name, users.of_node(self.name), main, KUBELET)


@dataclass(frozen=True, slots=True)
class Limits:
    """What real containers may have, by the names of a kubelet's flags."""

    stand_ins: bool = True
    seccomp_default: bool = False  # RuntimeDefault for containers that name no profile; else they are unconfined.
    node_port_addresses: str = ""  # Networks, joined by commas: where on this machine ports of nodes are; "": all over.
    pod_pids_limit: int = 1024  # Processes and threads of a container; -1: as many as it likes.
    manifests: str = ""  # The directory of static pods; "" for none.
    allowed_unsafe_sysctls: str = ""  # Joined by commas, with a `*` at the end for all that begin so.
    image_gc_high_threshold: int = 85  # Percents of the images' disk: over this unused images go,
    image_gc_low_threshold: int = 80  # until no more than this is used.
    # When pods are evicted (node/thresholds.py); None: as the instance had it, or as it is usual.
    eviction_hard: str | None = None
    eviction_soft: str | None = None
    eviction_soft_grace_period: str | None = None
    eviction_max_pod_grace_period: int | None = None
    eviction_minimum_reclaim: str | None = None
    eviction_pressure_transition_period: str | None = None


def node_config(name: str, plan: networks.NodePlan, state_directory: Path, **own: Any) -> agent.Config:
    """What the node is told that has the plan's networks; `own` is what only it knows (agent.Config)."""
    from petset.node import agent

    return agent.Config(
        node_name=name,
        state_directory=state_directory,
        pod_cidr=plan.pod_cidr,
        host_ip=plan.gateway,
        dns_address=plan.cluster.dns_address,
        api_host=plan.cluster.kubernetes_address,
        api_port=KUBERNETES_PORT,
        cluster_domain=DOMAIN,
        **own,
    )


class SimulatedMachine:
    """Where the pods of a simulated node are, whoever is its agent: they start, get ready and stop at once, and run
    nothing. For tests of operators and charts."""

    def __init__(self, config: agent.Config, log: Path | None = None):
        from petset.node import simulated

        self._config, self._log = config, log
        self._machine = simulated.Machine(network=config.host_ip.rpartition(".")[0] + ".", started_kept_max=0)

    @property
    def name(self) -> str:
        return self._config.node_name

    def node(self) -> Node:
        """The cluster's node whose pods are here, for one life of its agent."""
        from petset.node import simulated

        attempts = simulated.SimulatedAttempts(self._machine)
        return Node(self._config, simulated.SimulatedRuntime(self._machine), attempts, log=self._log)

    async def let_go(self) -> None:
        """What is here is looked at anew by whoever comes next."""

    async def sever(self, cut: bool) -> None:
        """Nothing passes between these pods and anybody anyway."""
