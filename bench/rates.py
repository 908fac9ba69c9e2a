"""(d) ConfigMap creates, updates and gets a second with 1 and 16 connections, durable, over TLS; and the server's CPU.

By hand: the same client against a bare TLS server that answers a fixed body (gets), and 1 kB rows committed by one
SQLite connection with the same durability, one or sixteen a commit (creates). The CPU of a request is that of the
server's process, all threads; beside it stands what the bare server takes for its answer: TLS, HTTP and the loop. It
compares better than a rate where others use the machine, too.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import instance
from bench.bare import SERVER, WRITER
from petset.base import pki, state
from petset.client.reaching import kubeconfig
from petset.objects import encoding

SECONDS = 3.0


def main() -> None:
    import uvloop

    instance.heading()
    with instance.running() as one:
        access = kubeconfig.parse(one.state.kubeconfig.read_bytes())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            pid = one.process.pid
            found: dict[str, Measured] = {}
            for connections in (1, 16):
                what = f"creates/s, {connections} connections"
                found[what] = measured = _measured(runner, access, pid, connections, _create(connections))
                by_hand = _commits(connections)
                instance.row(what, f"{measured.rate:.0f}", f"{by_hand:.0f}", measured.rate / by_hand)
            what = "updates/s, 16 connections"
            found[what] = measured = _measured(runner, access, pid, 16, _update)
            instance.row(what, f"{measured.rate:.0f}")
            for connections in (1, 16):
                what = f"gets/s, {connections} connections"
                found[what] = measured = _measured(runner, access, pid, connections, _get(connections))
                bare = _bare_gets(runner, connections)
                instance.row(what, f"{measured.rate:.0f}", f"{bare.rate:.0f}", measured.rate / bare.rate)
            for what, measured in found.items():
                cpu, least = measured.cpu_seconds, bare.cpu_seconds
                instance.row(f"CPU us, {what}", f"{cpu * 1e6:.0f}", f"{least * 1e6:.0f}", cpu / least)


@dataclass(frozen=True)
class Measured:
    rate: float  # A second.
    cpu_seconds: float  # Of the server, a request.


def _measured(runner: asyncio.Runner, access: kubeconfig.Access, pid: int, connections: int, make: Make) -> Measured:
    before = instance.cpu_seconds(pid)
    rate, answers = runner.run(_rate(access, connections, make))
    return Measured(rate, (instance.cpu_seconds(pid) - before) / answers)


Make = Callable[[int, int], tuple[str, str, bytes]]  # (connection, number) -> method, target, body.


def _create(connections: int) -> Make:
    def make(connection: int, number: int) -> tuple[str, str, bytes]:
        name = f"create-{connections}-{connection}-{number}"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v" * 900}}
        return "POST", "/api/v1/namespaces/default/configmaps", encoding.dumps(body)

    return make


def _update(connection: int, number: int) -> tuple[str, str, bytes]:
    """Of an object of each connection's own."""
    _, path, body = _create(16)(connection, 0)
    name = encoding.loads(body)["metadata"]["name"]
    return "PUT", f"{path}/{name}", body.replace(b"vvvv", b"%04d" % (number % 10_000), 1)


def _get(connections: int) -> Make:
    return lambda connection, number: ("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", b"")


class _Asking(asyncio.Protocol):
    """One connection that asks, waits for the whole answer and asks again: the least a client does.

    It shares the machine with the server, so what it does itself would be counted as the server's slowness.
    """

    def __init__(self, make: Make, number: int, until: float):
        self._make, self._number, self._until = make, number, until
        self._received = b""
        self.answers = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # A Base by name only.
        self._ask()

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        head, separator, body = received.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._received = b""
        if head[9:12] not in (b"200", b"201"):
            self._end(RuntimeError(f"the server answered {received[:500]!r}"))
            return
        self.answers += 1
        if time.monotonic() < self._until:
            self._ask()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server closed the connection"))

    def _ask(self) -> None:
        method, target, body = self._make(self._number, self.answers)
        length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        self._transport.write(f"{method} {target} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n".encode() + body)

    def _end(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None) if error is None else self.over.set_exception(error)
        self._transport.close()


def client_context(access: kubeconfig.Access) -> ssl.SSLContext:
    with tempfile.TemporaryDirectory() as directory:
        issued = pki.Issued(Path(directory, "certificate"), Path(directory, "key"))
        state.write_private(issued.certificate, access.certificate_pem)
        state.write_private(issued.key, access.key_pem)
        return pki.client_context(access.ca_pem.decode(), issued)


async def _rate(access: kubeconfig.Access, connections: int, make: Make) -> tuple[float, int]:
    """(answers a second, all answers)."""
    tls = client_context(access)
    loop, server = asyncio.get_running_loop(), urlsplit(access.server)
    host, port = server.hostname or "", server.port or 443
    until = time.monotonic() + SECONDS
    asking: list[_Asking] = []
    for number in range(connections):
        one = _Asking(make, number, until)
        await loop.create_connection(lambda one=one: one, host, port, ssl=tls)
        asking.append(one)
    began = time.monotonic()
    counted = sum(one.answers for one in asking)
    await asyncio.gather(*(one.over for one in asking))
    answers = sum(one.answers for one in asking)
    return (answers - counted) / (time.monotonic() - began), answers


def _commits(batch: int) -> float:
    with tempfile.TemporaryDirectory(prefix="petset-bench-", dir="/tmp") as directory:
        said = subprocess.run(
            [sys.executable, "-c", WRITER, f"{directory}/by-hand.db", str(batch), str(SECONDS)],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(said.stdout)


def _bare_gets(runner: asyncio.Runner, connections: int) -> Measured:
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen([sys.executable, "-c", SERVER, directory], stdout=subprocess.PIPE, text=True)
        try:
            access = bare_access(server, Path(directory))
            return _measured(runner, access, server.pid, connections, _get(connections))
        finally:
            server.terminate()
            server.wait()


def bare_access(server: subprocess.Popen[str], directory: Path) -> kubeconfig.Access:
    """To a bare server that has just been started there."""
    assert server.stdout is not None
    port = int(server.stdout.readline())
    authority = pki.authority(directory)
    admin = authority.client("admin", "admin", ("system:masters",))
    return kubeconfig.Access(
        f"https://127.0.0.1:{port}",
        authority.certificate_pem.encode(),
        admin.certificate_pem().encode(),
        admin.key_pem().encode(),
    )
