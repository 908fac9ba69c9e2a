"""Two petsets for the end-to-end tests: one the cluster, without PetSets, and replicas of `petset serve` beside it.

The cluster hands apps/v1alpha1 on to a Service whose name leads to this machine; kubectl only knows the cluster.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from tests.e2e import kubernetes
from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.kubernetes import Kubernetes

NAMESPACE, SERVICE = "petset-system", "petset"
LEADER = ("get", "lease", "petset-controller", "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}")
START_SECONDS_MAX = 60.0


@contextlib.contextmanager
def without_petsets(make_cluster: Callable[[], Cluster], *flags: str) -> Generator[Cluster | Kubernetes]:
    """A cluster that serves none: a petset, or, where there is one, a real Kubernetes; the flags are its API's."""
    if (programs := kubernetes.directory()) is not None:
        with tempfile.TemporaryDirectory(prefix="kubernetes-", dir="/tmp") as folder:
            with kubernetes.running(Path(folder), programs, *flags) as real:
                yield real
        return
    cluster = make_cluster()
    cluster.up("--simulate", "--runtime-config=apps/v1alpha1=false", *flags)
    yield cluster


class Replica:
    """A process of `petset serve`, and what it has said."""

    def __init__(
        self, directory: Path, cluster: Cluster | Kubernetes, name: str, *flags: str, access: Path | None = None
    ):
        """Its keys are in the directory, which others may share; so is its log, by its name.

        `access` is the kubeconfig of whom it asks as; None: the administrator's.
        """
        self.directory, self.name = directory, name
        self._cluster, self._flags = cluster, flags
        self._access = access or cluster.state / "kubeconfig"
        self.process: subprocess.Popen[str]
        self.lines: list[str] = []
        self.port = 0

    def start(self, until: str = "ready") -> Replica:
        """Until it has said so."""
        command = [sys.executable, "-m", "petset", "serve", "--kubeconfig", str(self._access)]
        command += ["--bind-address=127.0.0.1", f"--secure-port={self.port}", f"--replica-name={self.name}"]
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self._log, "a") as log:
            self.process = subprocess.Popen(
                [*command, f"--cert-dir={self.directory / 'pki'}", *self._flags],
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.lines = []
        said = threading.Thread(target=self._listen, daemon=True)
        said.start()
        self._cluster.wait(lambda: any(line.startswith(until) for line in self.lines), until, START_SECONDS_MAX)
        self.port = int(self.lines[0].split(":")[3].split()[0])
        return self

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def _log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    @property
    def authority(self) -> bytes:
        return (self.directory / "pki" / "ca.crt").read_bytes()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Balancer:
    """A port of this machine behind which replicas are, one after another, dead or not: as a Service's address is."""

    def __init__(self, *replicas: Replica):
        self._replicas = itertools.cycle(replicas)
        self._loop: asyncio.AbstractEventLoop
        self._stop, began = asyncio.Event(), threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(began)), daemon=True)
        self._thread.start()
        began.wait()

    async def _run(self, began: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        began.set()
        await self._stop.wait()
        server.close()

    async def _joined(self, *client: Any) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", next(self._replicas).port)
        except OSError:
            client[1].close()
            return
        await asyncio.gather(self._copied(client[0], there[1]), self._copied(there[0], client[1]))

    async def _copied(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


def leader(cluster: Cluster | Kubernetes, *replicas: Replica, seconds: float = 60) -> Replica:
    """The one that acts, as soon as there is one."""

    def found() -> Replica | None:
        name = cluster.kubectl(*LEADER)
        return next((one for one in replicas if name.startswith(one.name)), None)

    return cluster.wait(found, f"one of {', '.join(one.name for one in replicas)} to lead", seconds)


def install(
    cluster: Cluster | Kubernetes, replica: Replica, port: int | None = None, authority: bytes | None = None
) -> None:
    """What an administrator does for who is at a port of this machine (None: the replica's), until it is available.

    It shows this authority's certificate (None: the replica's own; b"": whose it is the replicas tell).
    """
    given = _objects(port or replica.port, replica.authority if authority is None else authority)
    cluster.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": given}))
    cluster.kubectl("wait", "--for=condition=Available", "apiservice/v1alpha1.apps", "--timeout=60s")


def _objects(port: int, authority: bytes) -> list[dict]:
    spec = {
        "group": "apps",
        "version": "v1alpha1",
        "groupPriorityMinimum": 17800,
        "versionPriority": 1,
        "caBundle": base64.b64encode(authority).decode(),
        "service": {"namespace": NAMESPACE, "name": SERVICE, "port": port},
    }
    service = {"type": "ExternalName", "externalName": "localhost"}
    about = {"name": SERVICE, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": service},
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1alpha1.apps"},
            "spec": spec,
        },
    ]
