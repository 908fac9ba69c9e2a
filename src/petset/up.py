"""The one place that builds a cluster out of its parts, runs it, and takes it down.

`run` holds the state directory's lock and then, in this order: keys, network plan, store, API (announced when it
answers on loopback), controllers and scheduler, then the node: network, the API on the pods' side, DNS, the runtime
with what it adopts, the agent (announced when the node is ready). SIGTERM and SIGINT mean `petset down`: pods stop
with their grace, the network goes, data stays. Any other end, kill -9 included, leaves the containers running for
the next start to adopt.
Invariant: parts are handed what they need here and nowhere find it themselves. What runs only once the API answers is
imported only then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import platform
import re
import resource
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petset import __version__
from petset.base import journal, pki, reasons, state, tasks, telemetry
from petset.client import kubeconfig
from petset.client.client import Client, InProcess
from petset.net import listener
from petset.node.network import bridge, names
from petset.node.volumes import hostpath
from petset.server import api, bootstrap, users
from petset.store import sqlite
from petset.wire import http, streaming

if TYPE_CHECKING:
    from petset.node import agent
    from petset.node.containers import oci

log = logging.getLogger("petset")

ADMINISTRATOR = http.User("petset-admin", (users.MASTERS,))
CONTROLLERS = http.User("system:kube-controller-manager", (users.MASTERS,))
SCHEDULER = http.User("system:kube-scheduler", (users.MASTERS,))
DNS = http.User("system:kube-dns", (users.MASTERS,))
DOMAIN = "cluster.local"
API_PORT_FIRST, API_PORT_LAST = 6443, 6543
API_BACKLOG = 1024
TOKEN_KEY = "service-accounts.key"
KUBERNETES_PORT = 443  # Of the Service of that name.
FILES_OPEN_MAX = 65536

Announce = Callable[[str], None]


class UpError(Exception):
    """Why the cluster cannot run or stop, in one line."""


@dataclass(frozen=True, slots=True)
class Options:
    state: state.State
    hostpath_provisioner: bool = True
    stand_ins: bool = True
    simulated: bool = False  # Pods run in the imagination only: no root, no images, no network.
    api_port: int = 0  # 0: the one it had, else the first free.
    seccomp_default: bool = False  # RuntimeDefault for containers that name no profile; else they are unconfined.
    pod_pids_limit: int = 1024  # Processes and threads of a container; -1: as many as it likes.
    image_gc_high_threshold: int = 85  # Percents of the images' disk: over this unused images go,
    image_gc_low_threshold: int = 80  # until no more than this is used.
    accept_older: bool = False  # Begin although acknowledged writes are missing.
    in_background: bool = False  # Nobody reads standard error.


def run(options: Options, announce: Announce) -> None:
    """Run the cluster until it is told to stop. Raises UpError and StateError; the log says why, too."""
    if os.geteuid() != 0 and not options.simulated:
        raise UpError(
            "cannot run containers: petset is not root; run it with sudo, or without containers: up --simulate"
        )
    with options.state.lock(), journal.kept(options.state.log, also_on_stderr=not options.in_background):
        _prepare_process()
        try:
            with asyncio.Runner(loop_factory=_loop) as runner:
                runner.run(_run(options, announce))
        except Exception as error:
            why = reasons.reason(error, "run the cluster", str(options.state.directory))
            log.info("ended: %s", why, exc_info=error if reasons.is_defect(error) else None)
            raise UpError(why) from None
        log.info("stopped")


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def _prepare_process() -> None:
    """Many files at once; the usual umask, which containers inherit."""
    os.umask(0o022)  # What must be private is written so, in a directory that is.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_OPEN_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_OPEN_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


async def _run(options: Options, announce: Announce) -> None:
    began = tasks.monotonic()
    stop = _stop_signal()
    log.info("starting: %s", _described(options))

    def tell(line: str) -> None:
        log.info("%s", line)
        announce(line)

    async with contextlib.AsyncExitStack() as opened:
        cluster = await _start_control_plane(options, opened)
        tell(f"api: {cluster.server} answers after {tasks.monotonic() - began:.2f} s")

        started = _first_writes(cluster.store)

        def node_is_ready() -> None:
            started.set_result(None) if not started.done() else None
            tell(f"node: {cluster.node_name} is ready after {tasks.monotonic() - began:.2f} s")
            gc.collect()
            gc.freeze()  # Modules and tables stay until the end: no later collection need walk them.

        await _until_stopped(cluster, options, stop, started, node_is_ready)


def _first_writes(store: sqlite.SqliteStore) -> asyncio.Future[None]:
    """Done when the node is ready. Fails when the disk takes no writes before: a start that cannot end says why.

    Later petset stays, answers reads, and /readyz says it.
    """
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def failed(why: str) -> None:
        if not started.done():
            started.set_exception(UpError(why))

    store.on_failure = failed
    return started


def _described(options: Options) -> str:
    """What one wants to know of whoever wrote this log."""
    kind = "simulated petset" if options.simulated else "petset"
    machine = f"Python {platform.python_version()}, Linux {platform.release()}"
    return f"{kind} {__version__}, process {os.getpid()}, {machine}, {options.state.directory}"


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()

    def asked(number: signal.Signals) -> None:
        log.info("stopping: %s came; pods get their grace", number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked, number)
    return stop


async def _until_stopped(
    cluster: Cluster,
    options: Options,
    stop: asyncio.Event,
    started: asyncio.Future[None],
    node_is_ready: Callable[[], None],
) -> None:
    """Run every part until the stop; a part that fails ends all. Only a stop that was asked for stops containers."""
    from petset.controllers import run as controllers
    from petset.scheduler import loop as scheduler

    directories = hostpath.HostPath(cluster.state.volumes) if options.hostpath_provisioner else None
    node = _run_simulated_node if options.simulated else _run_node
    async with asyncio.TaskGroup() as parts:
        running = [
            tasks.spawn(parts, work, name)
            for name, work in (
                ("the first writes", _awaited(started)),
                ("load the key of tokens", tasks.in_thread(cluster.token_key.load)),  # Takes long at first.
                ("the cluster's own services", bootstrap.keep(cluster.store, cluster.services)),
                (
                    "controllers",
                    controllers.run_controllers(
                        cluster.client(CONTROLLERS),
                        hostpath=directories,
                        volumes_directory=str(cluster.state.volumes),
                        ca_pem=cluster.ca_pem,
                    ),
                ),
                ("scheduler", scheduler.run(cluster.client(SCHEDULER))),
                ("node", node(cluster, options, stop, node_is_ready)),
            )
        ]
        await stop.wait()
        await running[-1]
        for part in running:
            part.cancel()


async def _awaited(future: asyncio.Future[None]) -> None:
    await future


async def _run_simulated_node(
    cluster: Cluster, options: Options, stop: asyncio.Event, is_ready: Callable[[], None]
) -> None:
    """A node whose pods start, get ready and stop at once, and run nothing: for tests of operators and charts."""
    from petset.node import agent, simulated

    plan = cluster.plan
    machine = simulated.Machine(network=plan.gateway.rpartition(".")[0] + ".")
    runtime = simulated.SimulatedRuntime(machine)
    cluster.streams.node = runtime.streams
    async with asyncio.TaskGroup() as parts:
        running = tasks.spawn(
            parts,
            agent.run(
                cluster.client(_node_user(cluster)),
                _node_config(cluster, may_mount=False),
                runtime,
                attempts=simulated.SimulatedAttempts(machine),
                on_ready=is_ready,
            ),
            "agent",
        )
        await stop.wait()
        running.cancel()
    bridge.forget(plan)


def _node_config(cluster: Cluster, **own: Any) -> agent.Config:
    """What the node is told: its place in the cluster, and what is its own."""
    from petset.node import agent

    plan = cluster.plan
    return agent.Config(
        node_name=cluster.node_name,
        state_directory=cluster.state.path("node"),
        pod_cidr=plan.pod_cidr,
        host_ip=plan.gateway,
        dns_address=plan.dns_address,
        api_host=plan.kubernetes_address,
        api_port=KUBERNETES_PORT,
        cluster_domain=DOMAIN,
        **own,
    )


def _node_user(cluster: Cluster) -> http.User:
    return users.of_node(cluster.node_name)


async def _run_node(cluster: Cluster, options: Options, stop: asyncio.Event, is_ready: Callable[[], None]) -> None:
    """Network, DNS, the API on the pods' side, runtime and agent; at the stop: pods stopped, network taken away."""
    from petset.dns import forwarder
    from petset.dns import server as dns
    from petset.node import agent, disk
    from petset.node.containers import host, oci, seccomp
    from petset.node.images import images

    plan, directory = cluster.plan, cluster.state.directory
    if why := host.check():
        raise UpError(why)
    if options.seccomp_default and not host.seccomp_profile():
        raise UpError(
            f"cannot confine pods by default: there is no {seccomp.PROFILE_PATHS[0]}; "
            "install golang-github-containers-common, or start without --seccomp-default"
        )
    net = bridge.Network(plan, directory)
    store = images.Images(str(cluster.state.images), stand_ins=options.stand_ins)
    default = seccomp.RUNTIME_DEFAULT if options.seccomp_default else seccomp.UNCONFINED
    runtime = oci.OciRuntime(directory, plan, net, store, pids_max=options.pod_pids_limit, seccomp_default=default)
    client = cluster.client(_node_user(cluster))
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(net.close)
        opened.push_async_callback(runtime.close)
        for lack in await net.setup():
            log.warning("%s", lack)
        for address, port in ((plan.gateway, cluster.api_port), (plan.kubernetes_address, KUBERNETES_PORT)):
            await opened.enter_async_context(listener.serve(cluster.handle, address, port, cluster.tls))
        cluster.streams.node = runtime.streams
        async with asyncio.TaskGroup() as parts:
            running = [
                tasks.spawn(
                    parts,
                    dns.run(
                        cluster.client(DNS),
                        [plan.dns_address],
                        domain=DOMAIN,
                        upstreams=forwarder.resolvers_of(_read("/etc/resolv.conf"), [plan.dns_address]),
                        networks=[plan.pod_cidr, plan.service_cidr],
                    ),
                    "dns",
                ),
                tasks.spawn(
                    parts,
                    agent.run(
                        client,
                        _node_config(
                            cluster,
                            node_info=runtime.node_info(),
                            host_files=names.HostFiles(_read("/etc/hosts"), _read("/etc/resolv.conf")),
                            marks=disk.Marks(options.image_gc_high_threshold, options.image_gc_low_threshold),
                        ),
                        runtime,
                        disks=lambda: disk.look(nodefs=directory, imagefs=cluster.state.images),
                        on_ready=is_ready,
                    ),
                    "agent",
                ),
            ]
            await stop.wait()
            running[1].cancel()
            await asyncio.wait([running[1]])
            await _take_down(cluster, client, runtime, net)
            running[0].cancel()


async def _take_down(cluster: Cluster, client: Client, runtime: oci.OciRuntime, net: bridge.Network) -> None:
    """What `petset down` means for the node: pods stop with their grace; nothing but data stays."""
    from petset.node import agent

    await agent.stop_all(client, runtime, node_name=cluster.node_name, state_directory=cluster.state.path("node"))
    await runtime.shut_down()
    await net.teardown()


def stop_left_over(instance: state.State) -> str:
    """Stop what a killed petset left running and take its network away; what was done."""
    with instance.lock(), journal.kept(instance.log, also_on_stderr=False), asyncio.Runner() as runner:
        done = runner.run(_stop_left_over(instance))
        log.info("down: %s", done)
        return done


async def _stop_left_over(instance: state.State) -> str:
    if not instance.path("network.json").exists():
        return "nothing was left running"
    from petset.node import agent
    from petset.node.containers import oci
    from petset.node.images import images

    plan = bridge.choose_networks(instance.directory)
    net = bridge.Network(plan, instance.directory)
    runtime = oci.OciRuntime(instance.directory, plan, net, images.Images(str(instance.images)))
    async with contextlib.AsyncExitStack() as opened:
        client = await _client_of_stopped(instance, opened)
        opened.push_async_callback(net.close)
        opened.push_async_callback(runtime.close)
        await runtime.start()
        running = sum(one.state == "running" for _, containers in runtime.observe().values() for one in containers)
        await agent.stop_all(client, runtime, node_name=_node_name(instance), state_directory=instance.path("node"))
        await runtime.shut_down()
        await net.teardown()
    return f"{running} containers that it had left running are stopped; the data stays in {instance.directory}"


async def _client_of_stopped(instance: state.State, opened: contextlib.AsyncExitStack) -> Client | None:
    """For what pods say of their stopping. Containers must stop also where nobody can read that any more: None then."""
    try:
        store = await sqlite.SqliteStore.open(instance.database)
    except sqlite.CannotOpen as error:
        log.warning("stopping without what the pods say of their grace: %s", error)
        return None
    opened.push_async_callback(store.close)
    server = api.Api(store, api.Options(pki.SigningKey(instance.keys / TOKEN_KEY)))
    return Client(InProcess(server.handle, ADMINISTRATOR))


def _node_name(instance: state.State) -> str:
    """The machine's name when the instance was made: pods are bound to it, so a later renaming must not change it."""
    kept = (instance.read("instance.json") or {}).get("node_name")
    return kept or re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:63] or "node"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The control plane, up and answering, and what the other parts need of it."""

    state: state.State
    plan: bridge.Plan
    store: sqlite.SqliteStore
    token_key: pki.SigningKey
    handle: http.Handler
    tls: ssl.SSLContext
    ca_pem: str
    api_port: int
    node_name: str
    streams: LateStreams

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def services(self) -> bootstrap.Plan:
        return _services(self.plan, self.api_port)

    def client(self, user: http.User) -> Client:
        return Client(InProcess(self.handle, user), user_agent=user.name)


def _former_token_secret(instance: state.State) -> bytes:
    """What signed tokens before they were ES256; made by no release any more."""
    try:
        return (instance.keys / "tokens.key").read_bytes()
    except FileNotFoundError:
        return b""


def _services(plan: bridge.Plan, port: int) -> bootstrap.Plan:
    return bootstrap.Plan(plan.kubernetes_address, plan.dns_address, plan.gateway, port)


async def _start_control_plane(options: Options, opened: contextlib.AsyncExitStack) -> Cluster:
    """Keys, network plan, store, API on loopback, kubeconfig: all that must be there before anybody asks."""
    instance = options.state
    plan = bridge.choose_networks(instance.directory)
    authority = pki.authority(instance.keys)
    hosts = ["localhost", "127.0.0.1", *_KUBERNETES_NAMES, plan.kubernetes_address, plan.gateway]
    tls = pki.server_context(authority.server("api", hosts, user="kube-apiserver"), authority.certificate_pem)
    administrator = authority.client("admin", ADMINISTRATOR.name, ADMINISTRATOR.groups)

    store = await sqlite.SqliteStore.open(instance.database, accept_older=options.accept_older)
    opened.push_async_callback(store.close)
    listening = _api_socket(options)
    port = listening.getsockname()[1]
    await bootstrap.ensure(store, _services(plan, port))
    name = _node_name(instance)
    await bootstrap.move_node(store, name, plan.pod_cidr)
    streams = LateStreams()
    metrics = telemetry.Telemetry()
    metrics.source("petset_store", lambda: asdict(store.stats()))
    key = pki.SigningKey(instance.keys / TOKEN_KEY)
    served = api.Options(
        key,
        former_token_secret=_former_token_secret(instance),
        metrics=metrics.render,
        checks={"etcd": lambda: store.trouble},  # The name monitoring knows a cluster's store by.
    )
    server = api.Api(store, served, streams)
    handle = metrics.counted(server.handle)
    await opened.enter_async_context(listener.serve(handle, tls=tls, socket=listening))
    instance.write("instance.json", {"api_port": port, "node_name": name})
    access = kubeconfig.Access(
        f"https://127.0.0.1:{port}",
        authority.certificate_pem.encode(),
        administrator.certificate_pem().encode(),
        administrator.key_pem().encode(),
    )
    name_of_context = kubeconfig.context(instance.name)
    state.write_private(instance.kubeconfig, kubeconfig.render(access, name_of_context, str(instance.directory)))
    return Cluster(instance, plan, store, key, handle, tls, authority.certificate_pem, port, name, streams)


_KUBERNETES_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{DOMAIN}",
)


def _api_socket(options: Options) -> socket.socket:
    """A socket that listens on loopback: at the port asked for, else the one the instance had, else the first free one.

    It is bound while it is chosen: another instance that starts at this moment finds it taken.
    """
    had = (options.state.read("instance.json") or {}).get("api_port", 0)
    for port in (options.api_port,) if options.api_port else (had, *range(API_PORT_FIRST, API_PORT_LAST + 1)):
        if port and not isinstance(found := _listening(port), OSError):
            return found
    if options.api_port:
        why = "it is taken" if found.errno == errno.EADDRINUSE else found.strerror
        raise UpError(f"cannot listen on 127.0.0.1:{options.api_port}: {why}; choose another with --api-port")
    raise UpError(
        f"cannot choose a port for the API: {API_PORT_FIRST} to {API_PORT_LAST} are taken; name one with --api-port"
    )


def _listening(port: int) -> socket.socket | OSError:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
        found.listen(API_BACKLOG)
    except OSError as error:
        found.close()
        return error
    found.setblocking(False)
    return found


class LateStreams:
    """The node's streams for the server, which is there before the node is."""

    def __init__(self) -> None:
        self.node: streaming.NodeStreams | None = None

    def _ready(self) -> streaming.NodeStreams:
        if self.node is None:
            raise streaming.StreamError(503, "cannot reach the containers: the node is still starting; try again")
        return self.node

    async def exec(self, pod_uid: str, container: str, options: streaming.ExecOptions) -> streaming.Session:
        return await self._ready().exec(pod_uid, container, options)

    async def attach(self, pod_uid: str, container: str, options: streaming.ExecOptions) -> streaming.Session:
        return await self._ready().attach(pod_uid, container, options)

    def logs(self, pod_uid: str, container: str, options: streaming.LogOptions) -> AsyncIterator[bytes]:
        return self._ready().logs(pod_uid, container, options)
