"""(c) Memory and CPU of an idle petset with its node ready and no pods, against a bare TLS server in Python."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from bench import instance
from bench.bare import SERVER

SECONDS = 30.0


def main() -> None:
    instance.heading()
    with instance.running() as one, tempfile.TemporaryDirectory() as directory:
        bare = subprocess.Popen([sys.executable, "-c", SERVER, directory], stdout=subprocess.PIPE, text=True)
        assert bare.stdout is not None
        bare.stdout.readline()
        time.sleep(3)  # What a start still does in the background is not idling.
        before = instance.cpu_seconds(one.process.pid)
        time.sleep(SECONDS)
        used = instance.cpu_seconds(one.process.pid) - before
        ours, theirs = instance.memory_bytes(one.process.pid), instance.memory_bytes(bare.pid)
        bare.terminate()
        bare.wait()
    instance.row("resident memory, idle", f"{ours / 2**20:.0f} MiB", f"{theirs / 2**20:.0f} MiB", ours / theirs)
    instance.row("CPU seconds a minute, idle", f"{used * 60 / SECONDS:.2f} s")
