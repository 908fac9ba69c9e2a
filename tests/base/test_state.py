"""The lock of a state directory: who holds it runs there, and who was killed does not, however long he takes to go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from petset.base import state
from tests import waiting

# Holds the lock; its first thread is gone, as of a process that was killed, and another one stays until its input ends.
DYING = """
import ctypes, fcntl, os, sys, threading
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
os.pwrite(descriptor, f"{os.getpid()}\\n".encode(), 0)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()
print("locked", flush=True)
EXIT_THIS_THREAD = 60 if os.uname().machine == "x86_64" else 93
ctypes.CDLL(None).syscall(EXIT_THIS_THREAD, 0)
"""


@pytest.fixture
def instance(tmp_path: Path) -> state.State:
    made = state.State(tmp_path)
    made.create()
    return made


@pytest.fixture
def dying(instance: state.State, monkeypatch: pytest.MonkeyPatch) -> Generator[subprocess.Popen[str]]:
    """A process that goes when somebody waits for that."""
    command = [sys.executable, "-c", DYING, str(instance.path(state.LOCK))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "locked\n"
        asyncio.run(waiting.until(lambda: state.process_state(process.pid) == "Z"))
        select = state.select.select

        def waited_for(*arguments: Any) -> Any:
            process.stdin.close()  # type: ignore[union-attr]
            return select(*arguments)

        monkeypatch.setattr(state.select, "select", waited_for)
        yield process
        process.kill()


def test_who_holds_the_lock_runs(instance: state.State) -> None:
    assert instance.running_process() is None
    with instance.lock():
        assert instance.running_process() == int(instance.path(state.LOCK).read_text())
        with pytest.raises(state.StateError, match="petset is running in it already"), instance.lock():
            pass
    assert instance.running_process() is None


def test_who_was_killed_does_not_run_and_is_waited_for(instance: state.State, dying: subprocess.Popen[str]) -> None:
    assert instance.running_process() is None


def test_the_next_one_waits_for_who_was_killed(instance: state.State, dying: subprocess.Popen[str]) -> None:
    with instance.lock():
        assert instance.running_process() is not None
