"""(l) A cluster for tests: `petset.Cluster()` from the start of Python to ready, a test's namespace, virtual time.

By hand: the bare Python server of `startup`, from the start of its process to its first answer, in the same run. Of
virtual time: how many seconds of it pass in one of computing, with one idle node and with a set of ten pets.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
import time
from pathlib import Path

import petset
from bench import instance, startup

ROUNDS = 5

READY = """
import petset
with petset.Cluster() as cluster:
    print("ready", flush=True)
"""
NAMESPACES = 50
SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 10,
        "serviceName": "web",
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "example/server:1"}]},
        },
    },
}


def main() -> None:
    instance.heading()
    compileall.compile_dir(str(Path(petset.__file__).parent), quiet=1)  # As an installation does.
    ours = min(_ready() for _ in range(ROUNDS))
    bare = min(startup.bare_server() for _ in range(ROUNDS))
    instance.row("Cluster() ready, from the start of Python", f"{ours:.2f} s", f"{bare:.2f} s", ours / bare)
    instance.row("a namespace that pods may be made in", f"{_namespace() * 1000:.1f} ms")
    idle, busy = _virtual()
    instance.row("virtual seconds a second, an idle node", f"{idle:,.0f}")
    instance.row("virtual seconds a second, ten pets", f"{busy:,.0f}")


def _ready() -> float:
    """Seconds from the start of Python until the cluster is ready, imports included."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", READY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    took = time.monotonic() - began
    process.wait()
    return took


def _namespace() -> float:
    """Seconds in the mean."""
    with petset.Cluster() as cluster:
        cluster.make_namespace("first")
        began = time.monotonic()
        for number in range(NAMESPACES):
            cluster.make_namespace(f"test-{number}")
        return (time.monotonic() - began) / NAMESPACES


def _virtual() -> tuple[float, float]:
    """Virtual seconds a real one: of an idle node, and with a set of ten pets that is there."""
    with petset.Clock() as clock:
        began = time.monotonic()
        clock.advance(hours=1)
        idle = 3600 / (time.monotonic() - began)
        clock.cluster.apply(SET)
        clock.settle()
        began = time.monotonic()
        clock.advance(hours=1)
        return idle, 3600 / (time.monotonic() - began)
