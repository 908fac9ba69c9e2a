"""(b) `petset up` to the API answering and to the node ready, against a bare Python that does no more than it must.

By hand: a Python process that imports what a server needs and serves one TLS answer; for the node, that and a bridge
made with ip(8).
"""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import petset
from bench import instance
from bench.bare import SERVER

ROUNDS = 3


def main() -> None:
    instance.heading()
    compileall.compile_dir(str(Path(petset.__file__).parent), quiet=1)  # As an installation does.
    first = _ours(None)
    with tempfile.TemporaryDirectory(prefix="petset-bench-", dir="/tmp") as directory:
        _ours(Path(directory))  # The second start finds its keys and its store.
        again = [_ours(Path(directory)) for _ in range(ROUNDS)]
    api, node = (min(times[part] for times in again) for part in ("api", "node"))
    bare = min(bare_server() for _ in range(ROUNDS))
    bridge = min(_bridge() for _ in range(ROUNDS))
    instance.row("first start: API answers", f"{first['api']:.2f} s", f"{bare:.2f} s", first["api"] / bare)
    instance.row(
        "first start: node ready", f"{first['node']:.2f} s", f"{bare + bridge:.2f} s", first["node"] / (bare + bridge)
    )
    instance.row("next start: API answers", f"{api:.2f} s", f"{bare:.2f} s", api / bare)
    instance.row("next start: node ready", f"{node:.2f} s", f"{bare + bridge:.2f} s", node / (bare + bridge))


def _ours(directory: Path | None) -> dict[str, float]:
    with instance.running(directory) as one:
        return dict(one.announced)


def bare_server() -> float:
    """Seconds until a minimal TLS server in Python says that it listens."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", SERVER, directory], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        took = time.monotonic() - began
        process.terminate()
        process.wait()
    return took


def _bridge() -> float:
    began = time.monotonic()
    subprocess.run(["ip", "link", "add", "psbench0", "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", "psbench0", "up"], check=True)
    took = time.monotonic() - began
    subprocess.run(["ip", "link", "del", "psbench0"], check=True)
    return took
