"""Worlds, each of another seed, and two of them twice: what the laws say holds, and a seed is one run.

A failure prints the seed, the trace's last lines and the command that replays it. WORLD_SEEDS=1000 runs more of them,
WORLD_FIRST others: `make test` has the first 400, `make test-newest` the next ones.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.worlds import history

FIRST = int(os.environ.get("WORLD_FIRST", "0"))
END = FIRST + int(os.environ.get("WORLD_SEEDS", "400"))
CHUNK = 10
ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.mark.parametrize("first", range(FIRST, END, CHUNK))
def test_laws_hold(first):
    for seed in range(first, min(first + CHUNK, END)):
        history.run(seed)


@pytest.mark.parametrize("seed", [5, 181])
def test_a_seed_is_one_run_in_every_process(seed):
    def replayed(hash_seed):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        command = [sys.executable, "-m", "tests.worlds", "-v", str(seed)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        *trace, _timing = done.stdout.splitlines()
        return trace

    first = replayed("1")
    assert len(first) > 50
    assert first == replayed("2")
