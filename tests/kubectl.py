"""Real kubectl for the tests: found on PATH, 1.30 or newer, with a cache directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

MINOR_MIN = 30


def find() -> str:
    """The kubectl to test with; fails with one sentence when there is none that is new enough."""
    path = shutil.which("kubectl")
    if path is None:
        raise AssertionError("the client tests need kubectl 1.30 or newer on PATH, and there is none")
    said = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=30)
    version = json.loads(said.stdout)["clientVersion"]
    if int(version["minor"].rstrip("+")) < MINOR_MIN:
        raise AssertionError(f"the client tests need kubectl 1.30 or newer on PATH, and it is {version['gitVersion']}")
    return path


OLDER = "kubernetes-client"  # Debian 12's package has kubectl 1.20.


def older(directory: Path) -> str:
    """A kubectl that checks objects by OpenAPI v2, out of a Debian package that is fetched and unpacked here but not
    installed; "" where there is no such package."""
    path = directory / "usr" / "bin" / "kubectl"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        fetch = ["apt-get", "-o", "APT::Sandbox::User=root", "download", OLDER]
        for before in ([], ["apt-get", "update"]):  # Lists of packages may be missing or old.
            if before:
                _quietly(before, directory)
            if _quietly(fetch, directory):
                break
        for package in directory.glob(f"{OLDER}_*.deb"):
            _quietly(["dpkg-deb", "-x", str(package), str(directory)], directory)
            package.unlink()
    return str(path) if path.exists() else ""


def _quietly(command: list[str], directory: Path) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, cwd=directory, capture_output=True, timeout=120).returncode == 0


class Kubectl:
    """kubectl against one kubeconfig. Calling it runs a command and returns its output; a failure raises."""

    def __init__(self, kubeconfig: Path, cache: Path, path: str = ""):
        self.path = path or find()
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(cache)}

    def run(
        self, *args: str, stdin: str | bytes | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Whatever happens: exit code, output, errors."""
        data = stdin.decode() if isinstance(stdin, bytes) else stdin
        return subprocess.run(
            [self.path, *args], input=data, env=self.environment, capture_output=True, text=True, timeout=timeout
        )

    def __call__(self, *args: str, stdin: str | bytes | None = None, timeout: float = 60) -> str:
        done = self.run(*args, stdin=stdin, timeout=timeout)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *args: str) -> dict:
        return json.loads(self(*args, "-o", "json"))

    def start(self, *args: str, **options) -> subprocess.Popen[str]:
        """A command that goes on (watch, logs -f): the caller ends it."""
        return subprocess.Popen(
            [self.path, *args],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
