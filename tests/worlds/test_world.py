"""A seed is one run: worlds that are played twice. (What the laws say of the worlds of many seeds: seeds/.)"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent


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
