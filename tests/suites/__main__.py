"""`python -m tests.suites [SUITE...]`: the suites that were not written here, against a petset of their own each.

For every suite: its source is fetched, a petset is started, the suite runs, and what came of it is held against
expected.yaml. `--only TEXT` runs the tests with this in their names and holds nothing against anything; `--keep` leaves
logs. The exit code is 1 when anything was not as expected.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.suites import expected, images, python_suites, table
from tests.suites.sources import Cache, default_directory


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.suites", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SUITE", help=", ".join(suite.name for suite in table.SUITES))
    parser.add_argument("--only", default="", metavar="TEXT", help="the tests with this in their names")
    args = parser.parse_args()
    chosen = [suite for suite in table.SUITES if not args.names or suite.name in args.names]
    cache, known = Cache(default_directory()), expected.read()
    cache.environment()
    logs = cache.directory / "logs"
    logs.mkdir(exist_ok=True)
    results = [_run(suite, cache, logs, args.only) for suite in chosen]
    verdicts = [_tell(name, outcomes, known.get(name, {}), seconds) for name, outcomes, seconds in results]
    passed = sum(list(outcomes.values()).count(expected.PASSED) for _, outcomes, _ in results)
    wrong = sum(len(verdict.unexpected) + len(verdict.mended) + len(verdict.unknown) for verdict in verdicts)
    print(f"suites: {passed} passed, {wrong} failed")
    return 0 if args.only or not wrong else 1


def _run(suite: table.PythonSuite, cache: Cache, logs: Path, only: str) -> tuple[str, expected.Outcomes, float]:
    print(f"{suite.name}: running", flush=True)
    source = cache.sdist(suite.package)
    directory = Path(tempfile.mkdtemp(prefix="petset-suites-", dir="/tmp"))
    mirror = images.Mirror(directory / "registry") if suite.containers else None
    cluster = Cluster(directory / "state")
    cluster.state.mkdir()
    cluster.environment |= mirror.environment if mirror else {}
    try:
        cluster.up(*(() if suite.containers else ("--simulate",)))
        began = time.monotonic()
        log = logs / f"{suite.name}.log"
        outcomes = python_suites.run(suite, source, cache.python, cluster.state / "kubeconfig", log, only)
        seconds = time.monotonic() - began
    finally:
        shutil.copy(cluster.state / "petset.log", logs / f"{suite.name}.petset.log")
        cluster.destroy()
        cluster.petset("destroy", "--yes", check=False)
        if mirror:
            mirror.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return suite.name, outcomes, seconds


def _tell(name: str, outcomes: expected.Outcomes, known: dict[str, str], seconds: float) -> expected.Verdict:
    said, verdict = Counter(outcomes.values()), expected.compare(outcomes, known)
    run = said[expected.PASSED] + said[expected.FAILED]
    print(f"{name}: {said[expected.PASSED]} of {run} in {seconds:.0f} s, {said[expected.SKIPPED]} skipped")
    for what, tests in (
        ("failed and is not listed", verdict.unexpected),
        ("passed though it is listed as failing: take it off the list", verdict.mended),
        ("is listed and was not run", verdict.unknown),
    ):
        for test in tests:
            print(f"  {what}: {test}")
    return verdict


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(f"cannot finish a suite: {error}")
