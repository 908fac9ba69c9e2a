"""An API server process of its own, without nodes and controllers: for tests that use a real client.

Run as `python serve.py <directory>`: writes `kubeconfig` (an administrator's), `address` (the port) there once it
answers, and serves until it is terminated. Pods bound to the node "here" are this machine. Custom kinds and
APIServices are followed, and nothing else is done for the controllers that are absent: a namespace's deletion, a
claim's protection and garbage stay as they are. With `--controllers` they run, and the scheduler.
"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from petset import cluster
from petset.base import pki
from petset.net import listener
from petset.node.containers.streams import ports
from petset.server import bootstrap
from petset.store import memory
from petset.wire import streaming


def kubeconfig(authority: pki.Authority, issued: pki.Issued, port: int) -> str:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": encoded(authority.certificate_pem)}
    user = {
        "client-certificate-data": encoded(issued.certificate_pem()),
        "client-key-data": encoded(issued.key_pem()),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "petset", "cluster": cluster}],
            "users": [{"name": "petset", "user": user}],
            "contexts": [{"name": "petset", "context": {"cluster": "petset", "user": "petset"}}],
            "current-context": "petset",
        }
    )


class Process:
    """A command of this machine as a session."""

    def __init__(self, process: asyncio.subprocess.Process):
        self._process = process

    async def write(self, data: bytes) -> None:
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    def close_input(self) -> None:
        self._process.stdin.close()

    def resize(self, columns: int, rows: int) -> None:
        return

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        for channel, pipe in ((streaming.STDOUT, self._process.stdout), (streaming.STDERR, self._process.stderr)):
            while data := await pipe.read(65536):
                yield channel, data

    async def exit_code(self) -> int:
        return await self._process.wait()

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class ThisMachine:
    """A node whose only pod is this machine: commands run here, and ports are those of its loopback."""

    async def exec(self, pod_uid: str, container: str, options: streaming.ExecOptions) -> Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*options.command, stdin=pipe, stdout=pipe, stderr=pipe)
        if not options.stdin:
            process.stdin.close()
        return Process(process)

    async def attach(self, pod_uid: str, container: str, options: streaming.ExecOptions) -> Process:
        return await self.exec(pod_uid, container, streaming.ExecOptions(("cat",), stdin=options.stdin))

    async def logs(self, pod_uid: str, container: str, options: streaming.LogOptions) -> AsyncIterator[bytes]:
        yield b"a line\n"

    async def connect(self, pod_uid: str, port: int) -> streaming.PortConnection:
        return await ports.connect(None, port)


def streams_of(node: str) -> streaming.NodeStreams:
    if node != "here":
        raise streaming.StreamError(503, f"cannot reach the containers: node {node} is not up")
    return ThisMachine()


PLAN = bootstrap.Plan("10.96.0.1", "10.96.0.10", "127.0.0.1", 6443)


async def serve(directory: Path, controllers: bool, plan: bootstrap.Plan = PLAN) -> None:
    authority = pki.authority(directory)
    server = authority.server("server", ["localhost", "127.0.0.1"])
    store = memory.MemoryStore()
    key = pki.SigningKey(directory / "service-accounts.key")
    served = cluster.ControlPlane(store, cluster.Config(key, services=plan), streams_of)
    await served.begin()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tls = pki.server_context(server, authority.certificate_pem)
    kept = (("the custom kinds", served.definitions.keep()), ("other APIs", served.api_services.keep()))
    following = served.running() if controllers else cluster.together(*kept)
    async with following, listener.serve(served.handle, "127.0.0.1", 0, tls) as listening:
        for name, user, groups in (
            ("kubeconfig", "petset-admin", ["system:masters"]),
            ("kubeconfig-jane", "jane", ["developers"]),
            ("kubeconfig-node", "system:node:n1", ["system:nodes"]),
        ):
            issued = authority.client(name, user, groups)
            (directory / name).write_text(kubeconfig(authority, issued, listening.port))
        (directory / "address").write_text(str(listening.port))
        await stop.wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1]), "--controllers" in sys.argv))
