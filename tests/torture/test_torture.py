"""`make torture`, briefly: each loop once, with the same seed every time, and nothing is lost or wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture import requests

ROOT = Path(__file__).resolve().parents[2]
NONE = ("--kills=0", "--fuzz=0", "--heavy=0", "--paths=0", "--churn=0", "--schedules=0")
SECONDS_MAX = 600  # For a machine that has much else to do.


@pytest.mark.parametrize("loop", ["--kills=3", "--fuzz=2000", "--heavy=1", "--paths=2000", "--churn=400"])
def test_a_short_loop_breaks_nothing(loop: str, tmp_path: Path):
    command = [sys.executable, "-m", "tests.torture", "--seed=7", "--quiet", f"--keep={tmp_path}", *NONE, loop]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "nothing is lost, nothing is wrong" in done.stdout


def test_a_seed_is_one_request():
    first = [requests.request(f"1-{number}") for number in range(300)]
    assert [requests.request(f"1-{number}") for number in range(300)] == first
    assert len({(each.target, each.body) for each in first}) > 250
