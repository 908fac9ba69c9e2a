"""What `make` does to a machine: it cleans up after itself and leaves data alone."""

from __future__ import annotations

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
