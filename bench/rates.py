"""(d) ConfigMap creates and gets a second with 1 and 16 connections, durable, over TLS.

By hand: the same client against a bare TLS server that answers a fixed body (gets), and 1 kB rows committed by one
SQLite connection with the same durability, one or sixteen a commit (creates).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import instance
from bench.bare import SERVER, WRITER
from petset.base import pki, state
from petset.client import kubeconfig
from petset.net.dialer import Dialer
from petset.objects import encoding
from petset.wire import http

SECONDS = 3.0
JSON = (("content-type", "application/json"),)


def main() -> None:
    import uvloop

    instance.heading()
    with instance.running() as one:
        access = kubeconfig.parse(one.state.kubeconfig.read_bytes())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            for connections in (1, 16):
                creates = runner.run(_rate(access, connections, _create))
                by_hand = _commits(connections)
                instance.row(
                    f"creates/s, {connections} connections", f"{creates:.0f}", f"{by_hand:.0f}", creates / by_hand
                )
            for connections in (1, 16):
                gets = runner.run(_rate(access, connections, _get))
                by_hand = _bare_gets(runner, connections)
                instance.row(f"gets/s, {connections} connections", f"{gets:.0f}", f"{by_hand:.0f}", gets / by_hand)


Attempt = Callable[[Dialer, str], Awaitable[http.Response]]


async def _create(dialer: Dialer, name: str) -> http.Response:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v" * 900}}
    return await dialer.send(http.Request("POST", "/api/v1/namespaces/default/configmaps", JSON, encoding.dumps(body)))


async def _get(dialer: Dialer, name: str) -> http.Response:
    return await dialer.send(http.Request("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"))


async def _rate(access: kubeconfig.Access, connections: int, attempt: Attempt) -> float:
    with tempfile.TemporaryDirectory() as directory:
        issued = pki.Issued(Path(directory, "certificate"), Path(directory, "key"))
        state.write_private(issued.certificate, access.certificate_pem)
        state.write_private(issued.key, access.key_pem)
        tls = pki.client_context(access.ca_pem.decode(), issued)
    async with Dialer(access.server, tls) as dialer:
        done, until = [0] * connections, time.monotonic() + SECONDS

        async def one(number: int) -> None:
            while time.monotonic() < until:
                answer = await attempt(dialer, f"{attempt.__name__[1:]}-{connections}-{number}-{done[number]}")
                assert answer.code in (200, 201), answer.body
                done[number] += 1

        began = time.monotonic()
        await asyncio.gather(*(one(number) for number in range(connections)))
        return sum(done) / (time.monotonic() - began)


def _commits(batch: int) -> float:
    with tempfile.TemporaryDirectory(prefix="petset-bench-", dir="/tmp") as directory:
        said = subprocess.run(
            [sys.executable, "-c", WRITER, f"{directory}/by-hand.db", str(batch), str(SECONDS)],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(said.stdout)


def _bare_gets(runner: asyncio.Runner, connections: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen([sys.executable, "-c", SERVER, directory], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            authority = pki.authority(Path(directory))
            admin = authority.client("admin", "admin", ("system:masters",))
            access = kubeconfig.Access(
                f"https://127.0.0.1:{port}",
                authority.certificate_pem.encode(),
                admin.certificate_pem().encode(),
                admin.key_pem().encode(),
            )
            return runner.run(_rate(access, connections, _get))
        finally:
            server.terminate()
            server.wait()
