"""A server process of its own, without nodes or controllers, and a kubectl for an administrator, jane and a node."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import kubectl as kubectls

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 20.0


class Served:
    def __init__(self, directory: Path):
        self.directory = directory
        self.admin = kubectls.Kubectl(directory / "kubeconfig", directory / "cache")
        self.jane = kubectls.Kubectl(directory / "kubeconfig-jane", directory / "cache-jane")
        self.node = kubectls.Kubectl(directory / "kubeconfig-node", directory / "cache-node")

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()


@contextlib.contextmanager
def serving(directory: Path, *arguments: str) -> Iterator[Served]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(Path(__file__).parent / "serve.py"), str(directory), *arguments]
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not (directory / "address").exists():
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        yield Served(directory)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server")) as it:
        yield it


@pytest.fixture
def space(served, request):
    """A namespace of the test's own; it stays, since nobody here finishes its deletion."""
    name = "t-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower()[5:])[:50].strip("-")
    served.admin("create", "namespace", name)
    served.admin("create", "serviceaccount", "default", "-n", name)
    return name
