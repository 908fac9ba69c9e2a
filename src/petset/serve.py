"""The process around an extension: `petset serve`, PetSets beside a cluster that is somewhere else.

`run` serves from the first moment, and is ready when it has read from the cluster whom to believe, which namespaces
there are and, where the cluster keeps them, the PetSets; a cluster that cannot be reached is tried for ever, and
/readyz says why. Beside the API it takes part in the election of who acts on PetSets. SIGTERM and SIGINT end it with
grace: /readyz fails at once, so that nobody new is sent here; after the time that this takes to be heard of the lease
is given back, no connection is taken any more, watches end, and what is under way is finished. What is said goes to
standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from petset import __version__, cluster, extension
from petset.base import followed_tls, journal, notices, pki, process, reasons, tasks, telemetry
from petset.client.client import Client
from petset.client.reaching import lasting
from petset.kinds import pet_set, stored_pet_set
from petset.net import listener
from petset.objects import errors
from petset.store import store as stores

if TYPE_CHECKING:
    from petset.kept.store import KeptStore
    from petset.serving.keeper import Keeper
    from petset.store.sqlite import SqliteStore

log = logging.getLogger("petset")

AGENT = "petset-serve"
DATABASE, KEYS = "store.db", "pki"

Announce = Callable[[str], None]


class ServeError(Exception):
    """Why it cannot serve, in one line."""


@dataclass(frozen=True, slots=True)
class Options:
    store: Path | None = None  # The directory of its PetSets; None: the cluster keeps them.
    kubeconfig: Path | None = None  # None: it runs in a pod of the cluster.
    namespace: str = "petset-system"  # Of its Service, its Lease and what the cluster keeps for it.
    service: str = "petset"  # By whose name the cluster reaches it, which its own certificate says.
    address: str = "0.0.0.0"
    port: int = 8443
    tls: pki.Issued | None = None
    keys: Path | None = None  # The directory of a pair that it makes, where none is given;
    serving_secret: str = ""  # with the Secret that all replicas keep one in: of that pair.
    replica: str = field(default_factory=socket.gethostname)
    elects: bool = True  # Who acts on PetSets; without, this one acts.
    acts: bool = True  # At all.
    image_map: tuple[str, ...] = ()  # FROM=TO
    shutdown_delay_seconds: float = 0.0
    log_requests: bool = False

    @property
    def place(self) -> str:
        return str(self.store) if self.store is not None else "the cluster"


def run(options: Options, announce: Announce) -> None:
    """Serve until it is told to stop. Raises ServeError; what is said on the way goes to standard error."""
    with journal.told():
        process.prepare()
        try:
            with asyncio.Runner(loop_factory=process.loop) as runner:
                runner.run(_run(options, announce))
        except ServeError:
            raise
        except Exception as error:
            why = reasons.reason(error, "serve", options.place)
            log.info("ended: %s", why, exc_info=error if reasons.is_defect(error) else None)
            raise ServeError(why) from None
        log.info("stopped")


async def _run(options: Options, announce: Announce) -> None:
    told = notices.taken()
    stop = process.stop_signal(told)
    log.info("starting: petset %s serve, process %d, PetSets in %s", __version__, os.getpid(), options.place)
    async with contextlib.AsyncExitStack() as opened:
        client = await opened.enter_async_context(reached(options.kubeconfig))
        pair = _kept_pair(options, client)
        tls = followed_tls.FollowedTls(pair.issued if pair is not None else options.tls or _own_pair(options))
        listening = opened.enter_context(_listening(options.address, options.port))
        metrics = telemetry.Telemetry()
        kept = await opened.enter_async_context(_opened(options, client, metrics))
        checks, around = kept.checks, kept.parts
        if pair is not None:
            checks = {**checks, "serving-certificate": lambda: pair.trouble}
            around = [*around, ("the serving certificate", pair.keep())]
        here = extension.Extension(kept.store, client, metrics, tls.believe, checks, options.log_requests)
        parts: list[cluster.Part] = [("the watchdog", told.keep_alive())]
        if options.acts:
            controllers = extension.controllers(
                options.namespace, options.replica, options.elects, options.image_map, metrics
            )
            parts.append((controllers.name, controllers.main(client.named(controllers.agent))))
        readiness = _readiness(here, kept, told, announce)
        serving = listener.serve(here.handle, tls=tls.context, socket=listening, front_proxies=None)
        async with here.running(*around), serving:  # What is kept is followed until the last answer.
            announce(f"api: https://{options.address}:{listening.getsockname()[1]} answers")
            async with cluster.together(*parts, ("readiness", readiness)):
                await stop.wait()
                here.stop_soon()
                await asyncio.sleep(options.shutdown_delay_seconds)


# -- Its store


@dataclass(frozen=True, slots=True)
class _Kept:
    """PetSets and what keeps them: the store, when it is to be used, what must run, and what /readyz asks."""

    store: stores.Store
    ready: Callable[[], Coroutine[None, None, None]]
    parts: Sequence[cluster.Part]
    checks: Mapping[str, Callable[[], str]]


@contextlib.asynccontextmanager
async def _opened(options: Options, client: Client, metrics: telemetry.Telemetry) -> AsyncGenerator[_Kept]:
    store: SqliteStore | KeptStore
    ready, parts = _at_once, tuple[cluster.Part, ...]()
    if options.store is None:
        from petset.kept.store import KeptStore

        store = KeptStore(client, options.namespace)
        ready = store.ready
        parts = (("the kind of what is kept", _defined(client, options)), ("the store", store.keep()))
    else:
        from petset.store.sqlite import SqliteStore

        options.store.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = await SqliteStore.open(options.store / DATABASE)
    metrics.source(lambda: telemetry.read("petset_store", asdict(store.stats())))
    try:
        yield _Kept(store, ready, parts, {cluster.STORE_CHECK: lambda: store.trouble})
    finally:
        await store.close()


async def _at_once() -> None:
    """It is."""


async def _defined(client: Client, options: Options) -> None:
    """The cluster knows what it is to keep, or is taught it, where this one may."""

    async def once() -> None:
        try:
            await client.versions(stored_pet_set.STORED_PETSETS, options.namespace)
            return
        except errors.ApiError as error:
            if error.code != 404:
                raise ConnectionError(error.message) from error
        try:
            await client.create(stored_pet_set.definition())
        except errors.ApiError as error:
            if error.is_temporary:
                raise ConnectionError(error.message) from error
            if error.reason != "AlreadyExists":
                log.info("cannot define what the cluster is to keep, which somebody else must do: %s", error.message)

    await tasks.retrying("define what the cluster is to keep", once, OSError)


# -- What is around it


async def _readiness(here: extension.Extension, kept: _Kept, told: notices.Notices, announce: Announce) -> None:
    began = tasks.monotonic()
    await here.ready()
    await kept.ready()
    line = f"ready: the cluster is known after {tasks.monotonic() - began:.2f} s"
    log.info("%s", line)
    told.tell(notices.READY)
    told.tell_status(line)
    announce(line)


def _listening(address: str, port: int) -> socket.socket:
    """Raises ServeError."""
    try:
        return process.listening(address, port)
    except OSError as error:
        do = "choose another with --bind-address and --secure-port"
        raise ServeError(f"cannot listen on {address}:{port}: {error.strerror or error}; {do}") from None


def _keys(options: Options) -> Path:
    """Where a pair is written. Raises ServeError."""
    keys = options.keys or (options.store / KEYS if options.store is not None else None)
    if keys is None:
        raise ServeError(
            "cannot serve: it has no certificate to show; give one with --tls-cert-file and --tls-private-key-file, or "
            "name a directory with --cert-dir, in which it makes its own"
        )
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    return keys


def _kept_pair(options: Options, client: Client) -> Keeper | None:
    """The one that all replicas keep in the cluster, if they do. Raises ServeError, OSError."""
    if not options.serving_secret:
        return None
    from petset.serving.keeper import Keeper

    kind = pet_set.PETSETS
    told = f"{kind.version}.{kind.group}"
    return Keeper(client, _keys(options), options.namespace, options.serving_secret, options.service, told)


def _own_pair(options: Options) -> pki.Issued:
    """Raises ServeError."""
    from petset.serving import pair

    hosts = [*pair.hosts_of(options.service, options.namespace), "127.0.0.1"]
    return pki.authority(_keys(options), user="petset-serve-ca").server("serve", hosts)


@contextlib.asynccontextmanager
async def reached(path: Path | None) -> AsyncGenerator[Client]:
    """A client of the cluster that a kubeconfig names, or whose pod this process is in. Raises ServeError."""
    try:
        transport = lasting.Lasting(lasting.of_pod() if path is None else lasting.of_kubeconfig(path))
    except (OSError, ValueError) as error:
        what = "reach the cluster that it runs in" if path is None else f"use the kubeconfig {path}"
        do = "name one with --kubeconfig" if path is None else "mend it, or name another"
        raise ServeError(f"cannot {what}: {reasons.foreseen(error)}; {do}") from None
    async with transport:
        yield Client(transport, AGENT)
