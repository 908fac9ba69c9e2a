"""Two petsets for the end-to-end tests: one the cluster, without PetSets, and replicas of `petset serve` beside it.

The cluster hands apps/v1alpha1 on to a Service whose name leads to this machine; kubectl only knows the cluster.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.e2e.cluster import ROOT, Cluster

NAMESPACE, SERVICE = "petset-system", "petset"
START_SECONDS_MAX = 60.0


class Replica:
    """A process of `petset serve`, and what it has said."""

    def __init__(self, directory: Path, cluster: Cluster, *flags: str, kubeconfig: Path | None = None):
        self.directory, self._cluster = directory, cluster
        self._kubeconfig = kubeconfig or cluster.state / "kubeconfig"
        self._flags = flags
        self.process: subprocess.Popen[str]
        self.lines: list[str] = []
        self.port = 0

    def start(self, until: str = "ready") -> Replica:
        """Until it has said so."""
        command = [sys.executable, "-m", "petset", "serve", "--kubeconfig", str(self._kubeconfig)]
        command += ["--store", str(self.directory), "--bind-address", "127.0.0.1", f"--secure-port={self.port}"]
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / "log", "a") as log:
            self.process = subprocess.Popen(
                [*command, *self._flags],
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
    def log(self) -> str:
        return (self.directory / "log").read_text()

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


def objects(replica: Replica) -> list[dict]:
    """What an administrator installs for it."""
    spec = {
        "group": "apps",
        "version": "v1alpha1",
        "groupPriorityMinimum": 17800,
        "versionPriority": 1,
        "caBundle": base64.b64encode(replica.authority).decode(),
        "service": {"namespace": NAMESPACE, "name": SERVICE, "port": replica.port},
    }
    service = {"type": "ExternalName", "externalName": "localhost"}
    about = {"name": SERVICE, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": service},
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1alpha1.apps"},
            "spec": spec,
        },
    ]
