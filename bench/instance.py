"""A petset of the benchmark's own, in a directory that goes with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from petset.base import state

IMAGES = Path(os.environ.get("PETSET_TEST_IMAGES", Path(__file__).resolve().parents[1] / ".petset" / "test-images"))

STOP_SECONDS_MAX = 60


@dataclass
class Instance:
    directory: Path
    process: subprocess.Popen[str]
    began: float
    announced: dict[str, float] = field(
        default_factory=dict[str, float]
    )  # "api", "node" -> seconds since the process was started

    @property
    def state(self) -> state.State:
        return state.State(self.directory)


@contextlib.contextmanager
def running(directory: Path | None = None, *arguments: str) -> Generator[Instance]:
    """`petset up` with these arguments in the foreground until its node is ready; taken down afterwards."""
    own = directory is None
    directory = directory or Path(tempfile.mkdtemp(prefix="petset-bench-", dir="/tmp"))
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "petset", "--state", str(directory), "up", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**_environment(), "PETSET_IMAGES": str(IMAGES)},
    )
    instance = Instance(directory, process, began)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            instance.announced[line.partition(":")[0]] = time.monotonic() - began
            if line.startswith("node"):
                break
        else:
            raise RuntimeError("petset ended before its node was ready; its complaint is above")
        yield instance
    finally:
        process.terminate()
        process.wait(timeout=STOP_SECONDS_MAX)
        if own:
            shutil.rmtree(directory, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Bytecode is kept, as everywhere by default: compiling all of petset at every start is nobody's start."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cpu_seconds(pid: int) -> float:
    """What a process and its threads have taken of the processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """What a process has of it."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def row(what: str, ours: str, by_hand: str = "", ratio: float | None = None) -> None:
    print(f"{what:46} {ours:>14} {by_hand:>20} {f'{ratio:8.2f}x' if ratio is not None else ''}".rstrip(), flush=True)


def heading() -> None:
    row("", "petset", "by hand")
