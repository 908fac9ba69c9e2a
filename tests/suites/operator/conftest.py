"""The operator as it runs in a cluster: as its own account, its webhooks apart from the two that want to lead."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from petset.base import pki
from tests import kubectl as kubectls
from tests.suites.program_suites import PROGRAM

MANIFESTS = Path(__file__).with_name("manifests")
NAMESPACE = "flocks"  # The operator's own.
WAIT_SECONDS = 60


def wait(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of the condition; a failed command or a missing field counts as not yet."""
    deadline, last = time.monotonic() + WAIT_SECONDS, None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (AssertionError, KeyError, OSError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.1)
    raise AssertionError(f"waited {WAIT_SECONDS} s for {what}; last: {last}")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Operator:
    """One process of it; its log is in the folder."""

    def __init__(self, name: str, folder: Path, kubeconfig: Path, *flags: str):
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [os.environ[PROGRAM], "--namespace", NAMESPACE, *flags], stdout=out, stderr=out,
                env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            )  # fmt: skip

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


class Leading:
    """Who may look after flocks: one starts at a time, and the test that ends one starts another."""

    def __init__(self, folder: Path, kubeconfig: Path, kubectl: kubectls.Kubectl):
        self._folder, self._kubeconfig, self._kubectl = folder, kubeconfig, kubectl
        self.running: list[Operator] = []

    def start(self) -> str:
        """The address of the metrics of one more."""
        address = f"127.0.0.1:{free_port()}"
        name = f"operator-{address.rpartition(':')[2]}"
        self.running.append(Operator(name, self._folder, self._kubeconfig, "--metrics", address))
        self.metrics = address
        wait(self.metric_lines, "an operator to serve its metrics")
        return address

    def metric_lines(self) -> list[str]:
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=5) as answer:
            return answer.read().decode().splitlines()

    def lease(self) -> dict[str, Any]:
        return self._kubectl.json("get", "lease", "flocks", "-n", NAMESPACE)["spec"]

    def holder(self) -> str:
        return wait(lambda: self.lease().get("holderIdentity"), "somebody to hold the Lease")


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> kubectls.Kubectl:
    return kubectls.Kubectl(Path(os.environ["KUBECONFIG"]), tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="session")
def leading(kubectl: kubectls.Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leading]:
    """The kind, its webhooks, and an operator that leads."""
    folder = tmp_path_factory.mktemp("operator")
    kubectl("apply", "-f", str(MANIFESTS / "access.yaml"))
    kubeconfig = _kubeconfig(kubectl, folder)
    port = free_port()
    authority = _certificates(folder)
    manifest = (MANIFESTS / "kind.yaml").read_text()
    manifest = manifest.replace("ADDRESS", f"https://127.0.0.1:{port}").replace("AUTHORITY", authority)
    kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("wait", "--for=condition=Established", "crd/flocks.operator.example.com", "--timeout=30s")
    webhooks = Operator("webhooks", folder, kubeconfig, "--webhooks", str(port), "--certificates", str(folder))
    leading = Leading(folder, kubeconfig, kubectl)
    try:
        wait(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True, "the webhooks to be served")
        leading.start()
        leading.holder()
        yield leading
    finally:
        for operator in (*leading.running, webhooks):
            operator.stop()


def _kubeconfig(kubectl: kubectls.Kubectl, folder: Path) -> Path:
    """One of the operator's account."""
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    token = kubectl("create", "token", "operator", "-n", NAMESPACE).strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def _certificates(folder: Path) -> str:
    """Makes tls.crt and tls.key in the folder; the authority that they are from, as a bundle."""
    authority = pki.authority(folder, "webhooks-ca", "webhooks-ca")
    issued = authority.server("webhooks", ["127.0.0.1"])
    (folder / "tls.crt").write_text(issued.certificate_pem())
    (folder / "tls.key").write_text(issued.key_pem())
    return base64.b64encode(authority.certificate_pem.encode()).decode()


@pytest.fixture
def space(request: pytest.FixtureRequest, kubectl: kubectls.Kubectl) -> Iterator[str]:
    """A namespace that is named after the test and goes with it."""
    namespace = request.node.name.removeprefix("test_").replace("_", "-")[:50].strip("-")
    kubectl("create", "namespace", namespace)
    yield namespace
    kubectl("delete", "namespace", namespace, "--wait=false")
