"""`make torture`, briefly: each loop once, with the same seed every time, and nothing is lost or wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture import instance, requests

ROOT = Path(__file__).resolve().parents[2]
NONE = ("--kills=0", "--fuzz=0", "--heavy=0", "--paths=0", "--churn=0", "--laws=0", "--schedules=0")
SECONDS_MAX = 600  # For a machine that has much else to do.


@pytest.mark.parametrize("loop", ["--kills=3", "--fuzz=2000", "--heavy=1", "--paths=2000", "--churn=400"])
def test_a_short_loop_breaks_nothing(loop: str, tmp_path: Path):
    command = [sys.executable, "-m", "tests.torture", "--seed=7", "--quiet", f"--keep={tmp_path}", *NONE, loop]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]
    assert "nothing is lost, nothing is wrong" in done.stdout


LOG = """2026-11-25T17:12:03Z warning api: one line
2026-11-25T17:12:04Z error api: cannot answer POST /api/v1/pods
Traceback (most recent call last):
  File "x.py", line 1, in f
    g()
ValueError: why
2026-11-25T17:12:05Z warning api: another line
2026-11-25T17:12:06Z error api: cannot answer PUT /api/v1/nodes
Traceback (most recent call last):
  File "x.py", line 1, in f
    g()
ValueError: why
2026-11-25T17:12:07Z error api: cannot answer GET /livez
  + Exception Group Traceback (most recent call last):
  | ExceptionGroup: many
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    | KeyError: 'deep'
"""


def test_of_a_500_the_whole_traceback_is_told_once():
    first, second = instance.tracebacks_in(LOG)
    assert first.splitlines() == LOG.splitlines()[1:6]
    assert second.splitlines() == LOG.splitlines()[12:]


def test_of_an_endless_traceback_the_beginning_and_the_end_are_told():
    trace = [f"  line {number}" for number in range(1000)]
    log = "\n".join([LOG.splitlines()[1], LOG.splitlines()[2], *trace, "RecursionError: end"])
    (told,) = instance.tracebacks_in(log)
    lines = told.splitlines()
    assert "cannot answer POST" in lines[0] and lines[-1] == "RecursionError: end" and len(lines) < 100


def test_a_seed_is_one_request():
    first = [requests.request(f"1-{number}") for number in range(300)]
    assert [requests.request(f"1-{number}") for number in range(300)] == first
    assert len({(each.target, each.body) for each in first}) > 250
