"""The process around a cluster: its lock, log and signals, its sockets, the kubeconfig, what it announces.

`run` holds the state directory's lock and then, in this order: keys, network plan, store, API (announced when it
answers on loopback), controllers and scheduler, then the nodes (nodes.py): network, the API on the pods' side, DNS, the
runtimes with what they adopt, the agents (announced when the nodes are ready). cluster.py composes the control plane.
SIGTERM and SIGINT mean `petset down`: pods stop with their grace, the network goes, data stays. Any other end, SIGHUP
and kill -9 included, leaves the containers running for the next start to adopt. systemd is told of all this.
Invariant: parts are handed what they need and nowhere find it themselves. What runs only once the API answers is
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
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from petset import __version__, cluster, nodes
from petset.base import journal, networks, notices, pki, process, reasons, state, tasks, telemetry
from petset.client.client import Client
from petset.client.reaching import kubeconfig
from petset.kinds import builtin
from petset.kinds.pet_set import PETSETS
from petset.net import listener
from petset.node.volumes import hostpath
from petset.objects import meta
from petset.objects.registry import Kinds
from petset.server import bootstrap
from petset.server.access import front_proxy
from petset.store import sqlite

if TYPE_CHECKING:
    from petset.scheduler import profiles
    from petset.server.audit import log as audit_log

log = logging.getLogger("petset")

API_PORT_FIRST, API_PORT_LAST = 6443, 6543
API_ADDRESS = "127.0.0.1"
# Objects more before a collection, and collections before one of older ones. Trees know no circles, so what is looked
# at is mostly there to stay: a collection holds everybody up by all that came since the last of its kind, 1 ms a
# thousand. The middle ones look at 6,000, where 120,000 took 100 ms; all is looked at after as many objects as ever.
COLLECTIONS = (2_000, 1, 2500)
TOKEN_KEY = "service-accounts.key"
SIMULATED = "simulated"
OPTIONAL_GROUP_VERSIONS = (PETSETS.api_version,)  # A cluster may do without, or have them of another server.

Announce = Callable[[str], None]


class UpError(Exception):
    """Why the cluster cannot run or stop, in one line."""


@dataclass(frozen=True, slots=True)
class Options:
    state: state.State
    hostpath_provisioner: bool = True
    simulated: bool = False  # Pods run in the imagination only: no root, no images, no network.
    nodes: int = 0  # 0: as many as it had.
    node_silence_seconds: float = 0.0  # After which one is taken for dead; 0: as usual.
    simulated_nodes: int = 0  # So many more that run nothing.
    api_port: int = 0  # 0: the one it had, else the first free.
    api_descriptor: int = -1  # The socket that somebody has made already, or -1.
    limits: cluster.Limits = field(default_factory=cluster.Limits)
    audit: audit_log.Settings | None = None
    scheduler_profiles: profiles.Profiles | None = None
    log_requests: bool = False  # A line each in the instance's log.
    group_versions_off: tuple[str, ...] = ()  # Of OPTIONAL_GROUP_VERSIONS.
    accept_older: bool = False  # Begin although acknowledged writes are missing.
    in_background: bool = False  # Nobody reads standard error.


def run(options: Options, announce: Announce) -> None:
    """Run the cluster until it is told to stop. Raises UpError and StateError; the log says why, too."""
    if os.geteuid() != 0 and not options.simulated:
        raise UpError(
            "cannot run containers: petset is not root; run it with sudo, or without containers: up --simulate"
        )
    with options.state.lock(), journal.kept(options.state.log, also_on_stderr=not options.in_background):
        process.prepare()
        try:
            with asyncio.Runner(loop_factory=process.loop) as runner:
                runner.run(_run(options, announce))
        except Exception as error:
            why = reasons.reason(error, "run the cluster", str(options.state.directory))
            log.info("ended: %s", why, exc_info=error if reasons.is_defect(error) else None)
            raise UpError(why) from None
        log.info("stopped")


async def _run(options: Options, announce: Announce) -> None:
    began = tasks.monotonic()
    told = notices.taken()
    stop = process.stop_signal(told, "pods get their grace")
    log.info("starting: %s", _described(options))

    def tell(line: str) -> None:
        log.info("%s", line)
        told.tell_status(line)
        announce(line)

    async with contextlib.AsyncExitStack() as opened:
        served = await _serve(options, opened)
        tell(f"api: {served.address} answers after {tasks.monotonic() - began:.2f} s")

        started = _first_writes(served.store)

        for line in served.lines():
            tell(line)
        awaited = dict.fromkeys(served.names_up)

        def node_is_ready(name: str) -> None:
            """One of them is, or "": none is to be."""
            started.set_result(None) if not started.done() else None
            if name:
                log.info("node %s is ready", name)
            if name and name not in awaited:
                return  # It was ready before, or was not to be up.
            awaited.pop(name, None)
            if awaited:
                return
            tell(f"node: {_told(served.names_up)} ready after {tasks.monotonic() - began:.2f} s")
            told.tell(notices.READY)
            gc.collect()
            gc.freeze()  # Modules and tables stay until the end: no later collection need walk them.
            gc.set_threshold(*COLLECTIONS)
            gc.enable()

        parts = (("the first writes", _awaited(started)), ("the watchdog", told.keep_alive()))
        async with cluster.together(*parts), served.plane.running():
            if options.simulated:
                await nodes.simulate(served, stop, node_is_ready)
            else:
                await nodes.run_containers(served, options.limits, stop, node_is_ready)


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


async def _awaited(future: asyncio.Future[None]) -> None:
    await future


def has_left_over(instance: state.State) -> bool:
    """Whether something of its pods is still on the machine: whoever ran it has not taken it down."""
    plan = networks.plan_of(instance.read("network.json"))
    return plan is not None and any(os.path.exists(f"/sys/class/net/{node.bridge}") for node in plan.nodes)


def stop_left_over(instance: state.State) -> str:
    """Stop what a killed petset left running and take its network away; what was done."""
    with instance.lock(), journal.kept(instance.log, also_on_stderr=False), asyncio.Runner() as runner:
        done = runner.run(_stop_left_over(instance))
        log.info("down: %s", done)
        return done


async def _stop_left_over(instance: state.State) -> str:
    if not instance.path("network.json").exists():
        return "nothing was left running"
    from petset import machine

    plan = networks.choose_networks(instance.directory)
    async with (
        machine.opened(instance, plan.nodes, _node_name(instance)) as machines,
        contextlib.AsyncExitStack() as opened,
    ):
        client = await _client_of_stopped(instance, opened)
        running = await machine.stop_left(machines, lambda name: client)
    return f"{running} containers that it had left running are stopped; the data stays in {instance.directory}"


async def _client_of_stopped(instance: state.State, opened: contextlib.AsyncExitStack) -> Client | None:
    """For what pods say of their stopping. Containers must stop also where nobody can read that any more: None then."""
    try:
        store = await sqlite.SqliteStore.open(instance.database)
    except sqlite.CannotOpen as error:
        log.warning("stopping without what the pods say of their grace: %s", error)
        return None
    opened.push_async_callback(store.close)
    config = cluster.Config(pki.SigningKey(instance.keys / TOKEN_KEY))
    return cluster.ControlPlane(store, config).client(cluster.ADMINISTRATOR)


def _node_name(instance: state.State) -> str:
    """The machine's name when the instance was made: pods are bound to it, so a later renaming must not change it."""
    kept = (instance.read(state.RECORD) or {}).get("node_name")
    return kept or re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:63] or "node"


NAMES_TOLD = 3


def _told(names: Sequence[str]) -> str:
    """Who are what the sentence goes on with."""
    if not names:
        return "none is"
    if len(names) == 1:
        return f"{names[0]} is"
    more = len(names) - NAMES_TOLD
    return f"{', '.join(names[:NAMES_TOLD])}{f' and {more} more' if more > 0 else ''} are"


def _former_token_secret(instance: state.State) -> bytes:
    """What signed tokens before they were ES256; made by no release any more."""
    try:
        return (instance.keys / "tokens.key").read_bytes()
    except FileNotFoundError:
        return b""


async def _serve(options: Options, opened: contextlib.AsyncExitStack) -> nodes.Served:
    """Keys, network plan, store, API on loopback, kubeconfig: all that must be there before anybody asks."""
    instance = options.state
    instance.keep()  # From now on it is this petset's.
    chosen = networks.choose_networks(instance.directory, max(options.nodes, 1))
    plan, lost = chosen.parted(options.nodes or len(chosen.nodes))
    are_there = pki.is_there(instance.keys)
    with contextlib.nullcontext() if are_there else pki.apart(lambda: _first_keys(instance, plan)):
        store = await sqlite.SqliteStore.open(instance.database, accept_older=options.accept_older)
    opened.push_async_callback(store.close)
    keys = _keys(instance, plan)
    tls = pki.server_context(keys.api, keys.authority.certificate_pem + keys.front_proxies.certificate_pem)
    listening = _handed(options.api_descriptor) or api_socket(instance, options.api_port)
    port, name = listening.getsockname()[1], _node_name(instance)
    simulated = {
        f"{name[: networks.NAME_CHARACTERS_MAX - len(SIMULATED)]}-{SIMULATED}-{number}": networks.simulated(
            plan.cluster, number
        )
        for number in range(1, options.simulated_nodes + 1)
    }
    metrics = telemetry.Telemetry()
    metrics.source(lambda: telemetry.read("petset_store", asdict(store.stats())))
    metrics.source(lambda: [("apiserver_storage_size_bytes", (instance.name,), _size(instance.database))])
    token_key = pki.SigningKey(instance.keys / TOKEN_KEY)
    try:
        token_key.check()
    except ValueError as error:
        raise UpError(f"{error}; move that file away: tokens that it has signed are then no good any more") from None
    config = cluster.Config(
        token_key,
        former_token_secret=_former_token_secret(instance),
        services=bootstrap.Plan(
            plan.cluster.kubernetes_address,
            plan.cluster.dns_address,
            plan.nodes[0].gateway,
            port,
            plan.cluster.service_cidr,
        ),
        pod_cidrs={node.name(name): node.pod_cidr for node in plan.nodes},
        hostpath=_hostpath(instance) if options.hostpath_provisioner else None,
        volumes_directory=str(instance.volumes),
        snapshots=True,
        ca_pem=keys.authority.certificate_pem,
        front_proxy=keys.front_proxy,
        front_proxy_ca_pem=keys.front_proxies.certificate_pem,
        authority=keys.authority,
        audit=options.audit,
        scheduler_profiles=options.scheduler_profiles,
        metrics=metrics,
        log_requests=options.log_requests,
        node_silence_seconds=options.node_silence_seconds,
        checks={cluster.STORE_CHECK: lambda: store.trouble},
    )
    kinds = Kinds(kind for kind in builtin.KINDS if kind.api_version not in options.group_versions_off)
    plane = cluster.ControlPlane(store, config, kinds=kinds if options.group_versions_off else builtin.KINDS)
    await plane.begin()
    await opened.enter_async_context(
        listener.serve(plane.handle, tls=tls, socket=listening, front_proxies=keys.front_proxies.name)
    )
    instance.keep(api_port=port, node_name=name)
    kept = meta.part(instance.read(state.SWITCHES) or {}, "states")
    served = nodes.Served(instance, plan, lost, simulated, kept, store, plane, tls, keys.front_proxies.name, port, name)
    _write_kubeconfig(served, keys)
    return served


def _hostpath(instance: state.State) -> hostpath.HostPath:
    from petset.node.containers import stillness

    still = stillness.Stillness(instance.snapshots / ".still")
    return hostpath.HostPath(instance.volumes, instance.snapshots, still)


def _size(database: Path) -> int:
    """Of its file and its log."""
    return sum(file.stat().st_size for file in database.parent.glob(f"{database.name}*"))


@dataclass(frozen=True, slots=True)
class _Keys:
    """The instance's authorities, and the certificates that a start needs."""

    authority: pki.Authority
    front_proxies: pki.Authority
    api: pki.Issued
    front_proxy: pki.Issued
    administrator: pki.Issued


def _keys(instance: state.State, plan: networks.Plan) -> _Keys:
    authority = pki.authority(instance.keys)
    front_proxies = pki.authority(instance.keys, "front-proxy-ca", "petset-front-proxy-ca")
    gateways = [node.gateway for node in plan.nodes]
    hosts = ["localhost", "127.0.0.1", *_KUBERNETES_NAMES, plan.cluster.kubernetes_address, *gateways]
    administrator = cluster.ADMINISTRATOR
    return _Keys(
        authority,
        front_proxies,
        authority.server("api", hosts, user="kube-apiserver"),
        front_proxies.client("front-proxy-client", front_proxy.ALLOWED),
        authority.client("admin", administrator.name, administrator.groups),
    )


def _first_keys(instance: state.State, plan: networks.Plan) -> None:
    """All that an instance has of them, in the child that makes them."""
    _keys(instance, plan)
    pki.SigningKey(instance.keys / TOKEN_KEY).load()


def _write_kubeconfig(served: nodes.Served, keys: _Keys) -> None:
    administrator = keys.administrator
    access = kubeconfig.Access(
        served.address,
        keys.authority.certificate_pem.encode(),
        administrator.certificate_pem().encode(),
        administrator.key_pem().encode(),
    )
    instance = served.state
    context = kubeconfig.context(instance.name)
    state.write_private(instance.kubeconfig, kubeconfig.render(access, context, str(instance.directory)))


_KUBERNETES_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{cluster.DOMAIN}",
)


def _handed(descriptor: int) -> socket.socket | None:
    if descriptor < 0:
        return None
    found = socket.socket(fileno=descriptor)
    found.set_inheritable(False)
    found.setblocking(False)
    return found


def api_socket(instance: state.State, wanted: int) -> socket.socket:
    """A socket that listens on loopback: at the port asked for, else the one the instance had, else the first free one.

    It is bound while it is chosen: another instance that starts at this moment finds it taken.
    """
    if wanted:
        try:
            return process.listening(API_ADDRESS, wanted)
        except OSError as error:
            why = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror
            do = "choose another with --api-port"
            raise UpError(f"cannot listen on {API_ADDRESS}:{wanted}: {why}; {do}") from None
    had = (instance.read(state.RECORD) or {}).get("api_port", 0)
    for port in filter(None, (had, *range(API_PORT_FIRST, API_PORT_LAST + 1))):
        with contextlib.suppress(OSError):
            return process.listening(API_ADDRESS, port)
    raise UpError(
        f"cannot choose a port for the API: {API_PORT_FIRST} to {API_PORT_LAST} are taken; name one with --api-port"
    )


def is_free(port: int) -> bool:
    """Whether the API could listen at a port now."""
    try:
        process.listening(API_ADDRESS, port).close()
    except OSError:
        return False
    return True
