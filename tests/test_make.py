"""What `make` does to a machine: it cleans up after itself and leaves data alone."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path):
    """A checkout's Makefile with the things that `make clean` is about around it."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in (".venv/bin/activate", "src/petset/__pycache__/x.pyc", "tests/x.py", ".petset/volumes/pvc-1/data"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


def make(checkout: pathlib.Path, target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", checkout, target], capture_output=True, text=True, timeout=60, check=False)


def test_clean_takes_what_make_made_and_never_the_data(checkout):
    done = make(checkout, "clean")
    assert done.returncode == 0, done.stderr
    left = sorted(str(path.relative_to(checkout)) for path in checkout.rglob("*") if path.is_file())
    assert left == [".petset/volumes/pvc-1/data", "Makefile", "tests/x.py"]


def test_clean_does_not_take_the_command_from_under_a_running_instance(checkout):
    command = checkout / ".venv" / "bin" / "petset"
    command.write_text("#!/bin/sh\n[ $1 = status ]\n")
    command.chmod(0o755)
    done = make(checkout, "clean")
    assert done.returncode != 0 and "cannot clean: petset is running here" in done.stderr
    assert command.exists()


def beside(first: str, second: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "scripts" / "beside", first, second], capture_output=True, text=True, timeout=60)


def test_two_at_once_are_both_shown_whole_and_either_fails_both(tmp_path):
    met = tmp_path / "met"
    os.mkfifo(met)  # Neither goes on without the other.
    done = beside(f"echo one; echo hello > {met}; echo two", f"cat {met}; echo three")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == ["hello", "three"] and done.stdout.splitlines()[-2:] == ["one", "two"]
    for first, second, failed in (("exit 3", "true", "failed (3): exit 3"), ("true", "exit 4", "failed (4): exit 4")):
        done = beside(first, second)
        assert done.returncode == 1 and done.stderr.strip() == failed
    assert beside("false", "false").stderr.count("failed (1): false") == 2
