"""(c) Memory and CPU of an idle petset with its node ready and no pods, against a bare TLS server in Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
        before = cpu_seconds(one.process.pid)
        time.sleep(SECONDS)
        used = cpu_seconds(one.process.pid) - before
        ours, theirs = memory_bytes(one.process.pid), memory_bytes(bare.pid)
        bare.terminate()
        bare.wait()
    instance.row("resident memory, idle", f"{ours / 2**20:.0f} MiB", f"{theirs / 2**20:.0f} MiB", ours / theirs)
    instance.row("CPU seconds a minute, idle", f"{used * 60 / SECONDS:.2f} s")


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
