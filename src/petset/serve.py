"""The process around an extension: `petset serve`, PetSets beside a cluster that is somewhere else.

`run` serves from the first moment, and is ready when it has read from the cluster whom to believe and which namespaces
there are; a cluster that cannot be reached is tried for ever, and /readyz says why. SIGTERM and SIGINT end it with
grace: /readyz fails at once, so that nobody new is sent here; after the time that this takes to be heard of no
connection is taken any more, watches end, and what is under way is finished. What is said goes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from petset import __version__, cluster, extension
from petset.base import followed_tls, journal, notices, pki, process, reasons, tasks, telemetry
from petset.client import lasting
from petset.client.client import Client
from petset.net import listener
from petset.store import sqlite

log = logging.getLogger("petset")

AGENT = "petset-serve"
DATABASE, KEYS = "store.db", "pki"

Announce = Callable[[str], None]


class ServeError(Exception):
    """Why it cannot serve, in one line."""


@dataclass(frozen=True, slots=True)
class Options:
    store: Path  # The directory of its objects, and of its keys where none are given.
    kubeconfig: Path | None = None  # None: it runs in a pod of the cluster.
    address: str = "0.0.0.0"
    port: int = 8443
    tls: pki.Issued | None = None  # None: it makes a pair of its own.
    service: str = "petset"  # By whose name the cluster reaches it, which its own certificate says.
    namespace: str = "petset-system"
    shutdown_delay_seconds: float = 0.0
    log_requests: bool = False


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
            why = reasons.reason(error, "serve", str(options.store))
            log.info("ended: %s", why, exc_info=error if reasons.is_defect(error) else None)
            raise ServeError(why) from None
        log.info("stopped")


async def _run(options: Options, announce: Announce) -> None:
    told = notices.taken()
    stop = _stop_signal(told)
    log.info("starting: petset %s serve, process %d, %s", __version__, os.getpid(), options.store)
    async with contextlib.AsyncExitStack() as opened:
        client = await opened.enter_async_context(reached(options.kubeconfig))
        options.store.mkdir(parents=True, exist_ok=True, mode=0o700)
        tls = followed_tls.FollowedTls(options.tls or _own_pair(options))
        metrics = telemetry.Telemetry()
        store = await sqlite.SqliteStore.open(options.store / DATABASE)
        opened.push_async_callback(store.close)
        metrics.source(lambda: telemetry.read("petset_store", asdict(store.stats())))
        here = extension.Extension(
            store, client, metrics, tls.believe, {cluster.STORE_CHECK: lambda: store.trouble}, options.log_requests
        )
        listening = opened.enter_context(_listening(options.address, options.port))
        async with (
            here.running(("readiness", _readiness(here, told, announce)), ("the watchdog", told.keep_alive())),
            listener.serve(here.handle, tls=tls.context, socket=listening, front_proxies=None),
        ):
            announce(f"api: https://{options.address}:{listening.getsockname()[1]} answers")
            await stop.wait()
            here.stop_soon()
            await asyncio.sleep(options.shutdown_delay_seconds)


def _listening(address: str, port: int) -> socket.socket:
    """Raises ServeError."""
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((address, port))
    except OSError as error:
        found.close()
        do = "choose another with --bind-address and --secure-port"
        raise ServeError(f"cannot listen on {address}:{port}: {error.strerror or error}; {do}") from None
    found.setblocking(False)
    return found


async def _readiness(here: extension.Extension, told: notices.Notices, announce: Announce) -> None:
    began = tasks.monotonic()
    await here.ready()
    line = f"ready: the cluster is known after {tasks.monotonic() - began:.2f} s"
    log.info("%s", line)
    told.tell(notices.READY)
    told.tell_status(line)
    announce(line)


def _stop_signal(told: notices.Notices) -> asyncio.Event:
    stop = asyncio.Event()

    def asked(number: signal.Signals) -> None:
        log.info("stopping: %s came", number.name)
        told.tell(notices.STOPPING)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked, number)
    return stop


def _own_pair(options: Options) -> pki.Issued:
    service, namespace = options.service, options.namespace
    names = [service, f"{service}.{namespace}", f"{service}.{namespace}.svc"]
    hosts = ["localhost", "127.0.0.1", *names, f"{names[-1]}.{cluster.DOMAIN}"]
    return pki.authority(options.store / KEYS, user="petset-serve-ca").server("serve", hosts)


@contextlib.asynccontextmanager
async def reached(path: Path | None) -> AsyncGenerator[Client]:
    """A client of the cluster that a kubeconfig names, or whose pod this process is in. Raises ServeError."""
    try:
        transport = lasting.Lasting(lasting.of_pod() if path is None else lasting.of_kubeconfig(path))
    except (OSError, ValueError) as error:
        what = "reach the cluster that it runs in" if path is None else f"use the kubeconfig {path}"
        do = "name one with --kubeconfig" if path is None else "mend it, or name another"
        raise ServeError(f"cannot {what}: {reasons.in_a_line(error)}; {do}") from None
    async with transport:
        yield Client(transport, AGENT)
