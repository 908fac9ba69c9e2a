"""helm and kubectl as a person has them, with a folder of one's own for what helm keeps at home."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import kubectl as kubectls
from tests.suites.program_suites import PROGRAM

CHART = Path(__file__).with_name("chart")
WAIT_SECONDS = 120


class Helm:
    """helm in one namespace. Calling it runs a command and returns its output; a failure raises."""

    def __init__(self, namespace: str, home: Path):
        self.namespace, self.home = namespace, home
        self.environment = {**os.environ, "HOME": str(home), "HELM_NAMESPACE": namespace}

    def run(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [os.environ[PROGRAM], *args], env={**self.environment, **environment}, capture_output=True, text=True,
            timeout=WAIT_SECONDS + 60, check=False,
        )  # fmt: skip

    def __call__(self, *args: str, **environment: str) -> str:
        done = self.run(*args, **environment)
        assert done.returncode == 0, f"helm {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *args: str):
        return json.loads(self(*args, "-o", "json"))

    def install(self, name: str, *args: str) -> str:
        return self("install", name, str(CHART), "--create-namespace", *self.waiting(), *args)

    def upgrade(self, name: str, *args: str) -> str:
        return self("upgrade", name, str(CHART), "--reuse-values", *self.waiting(), *args)

    def waiting(self) -> tuple[str, ...]:
        return ("--wait", "--timeout", f"{WAIT_SECONDS}s")


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> kubectls.Kubectl:
    return kubectls.Kubectl(Path(os.environ["KUBECONFIG"]), tmp_path_factory.mktemp("kubectl"))


@pytest.fixture
def helm(request: pytest.FixtureRequest, tmp_path: Path, kubectl: kubectls.Kubectl) -> Iterator[Helm]:
    """In a namespace that is named after the test and goes with it."""
    namespace = request.node.name.removeprefix("test_").replace("_", "-")[:50].strip("-")
    yield Helm(namespace, tmp_path)
    kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
