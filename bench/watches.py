"""(g) One update of a ConfigMap of 1 kB told to 100 watchers over TLS: from its first byte to the last of each event.

By hand: the bare TLS server, which keeps nothing, finds nothing out and writes the same frame to 100 connections. The
client is the same and on the same machine: what it takes to read 100 events is in both.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench import instance, rates
from bench.bare import SERVER
from petset.client.reaching import kubeconfig
from petset.objects import encoding

WATCHERS = 100
UPDATES = 200
PAUSE_SECONDS = 0.01  # Between updates: each is told before the next begins.
PATH = "/api/v1/namespaces/default/configmaps"
SELECTORS = ("", "&labelSelector=watched%3Dyes")


def main() -> None:
    import uvloop

    instance.heading()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with instance.running() as one:
            access = kubeconfig.parse(one.state.kubeconfig.read_bytes())
            ours = [runner.run(_told(access, selector, one.process.pid)) for selector in SELECTORS]
        by_hand, least_cpu = _bare(runner)
        for selector, (found, cpu) in zip(SELECTORS, ours, strict=True):
            what = f"one update to {WATCHERS} watchers{' with a selector' if selector else ''}, ms"
            for percentile in (50, 99):
                value, least = _percentile(found, percentile), _percentile(by_hand, percentile)
                instance.row(f"{what}, p{percentile}", f"{value * 1e3:.1f}", f"{least * 1e3:.1f}", value / least)
            instance.row(f"{what}, CPU", f"{cpu * 1e3:.1f}", f"{least_cpu * 1e3:.1f}", cpu / least_cpu)


def _percentile(values: list[float], percentile: int) -> float:
    return sorted(values)[len(values) * percentile // 100]


class _Watcher(asyncio.Protocol):
    """Tells when the end of a frame has come; the head of the answer and what came before it count for nothing."""

    def __init__(self, target: str):
        self._target = target
        self.told: asyncio.Future[float] | None = None
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # A Base by name only.
        self.transport.write(f"GET {self._target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        if not self.begun.done():
            assert data[9:12] == b"200", data
            self.begun.set_result(None)
        if self.told is not None and not self.told.done() and data.endswith(b"\n\r\n"):
            self.told.set_result(time.perf_counter())


class _Writer(asyncio.Protocol):
    """One connection that writes and waits for the answer."""

    def __init__(self) -> None:
        self._received = b""
        self._answered: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # A Base by name only.

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            assert self._answered is not None
            self._answered.set_result(head[9:12])
            self._received = b""

    def send(self, method: str, path: str, body: bytes) -> asyncio.Future[bytes]:
        self._answered = asyncio.get_running_loop().create_future()
        length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._transport.write(f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n".encode() + body)
        return self._answered


def _body(number: int) -> bytes:
    metadata = {"name": "watched", "labels": {"watched": "yes", "number": str(number)}}
    return encoding.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v" * 900}})


async def _told(access: kubeconfig.Access, selector: str, pid: int) -> tuple[list[float], float]:
    """(seconds from update to event, of every update and watcher; CPU seconds of the server an update)."""
    tls, (host, port) = rates.client_context(access), _place(access)
    loop = asyncio.get_running_loop()
    writer_transport, writer = await loop.create_connection(_Writer, host, port, ssl=tls)
    await writer.send("POST", PATH, _body(0))
    watchers = [await _watching(host, port, tls, f"{PATH}?watch=true{selector}") for _ in range(WATCHERS)]
    await asyncio.sleep(0.5)
    found: list[float] = []
    spent = instance.cpu_seconds(pid)
    for number in range(UPDATES):
        for watcher in watchers:
            watcher.told = loop.create_future()
        began = time.perf_counter()
        answer = writer.send("PUT", f"{PATH}/watched", _body(number + 1))
        async with asyncio.timeout(10):
            found += [at - began for at in await asyncio.gather(*(one.told for one in watchers if one.told))]
            assert await answer == b"200"
        await asyncio.sleep(PAUSE_SECONDS)
    spent = instance.cpu_seconds(pid) - spent
    for watcher in watchers:  # Else those of the next selector would not be the only ones to be told.
        watcher.transport.abort()
    writer_transport.abort()
    await asyncio.sleep(0.5)
    return found, spent / UPDATES


def _place(access: kubeconfig.Access) -> tuple[str, int]:
    server = urlsplit(access.server)
    return server.hostname or "", server.port or 443


async def _watching(host: str, port: int, tls: ssl.SSLContext, target: str) -> _Watcher:
    _, watcher = await asyncio.get_running_loop().create_connection(lambda: _Watcher(target), host, port, ssl=tls)
    await watcher.begun
    return watcher


def _bare(runner: asyncio.Runner) -> tuple[list[float], float]:
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen([sys.executable, "-c", SERVER, directory], stdout=subprocess.PIPE, text=True)
        try:
            return runner.run(_told(rates.bare_access(server, Path(directory)), "", server.pid))
        finally:
            server.terminate()
            server.wait()
