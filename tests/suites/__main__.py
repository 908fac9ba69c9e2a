"""`python -m tests.suites [SUITE...]`: the suites that were not written here, against a petset of their own each.

For every suite: its source is fetched, a petset is started, the suite runs, and what came of it is held against
expected.yaml. What must be compiled is, beside the suites that need nothing of it. `--only TEXT` runs the tests with
this in their names and holds nothing against anything. What a suite and its petset said is in the cache's `logs`. The
exit code is 1 when anything was not as expected.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.suites import (
    clusters,
    expected,
    go_suites,
    images,
    own_suites,
    program_suites,
    python_suites,
    shell_suites,
    table,
)
from tests.suites.sources import Cache, default_directory

Result = tuple[str, expected.Outcomes, float]  # suite, what came of its tests, seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.suites", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SUITE", help=", ".join(suite.name for suite in table.SUITES))
    parser.add_argument("--only", default="", metavar="TEXT", help="the tests with this in their names")
    args = parser.parse_args()
    chosen = [suite for suite in table.SUITES if not args.names or suite.name in args.names]
    cache, known = Cache(default_directory()), {} if args.only else expected.read()
    cache.environment()
    logs = cache.directory / "logs"
    logs.mkdir(exist_ok=True)
    compiled = [suite for suite in chosen if isinstance(suite, table.GoSuite | table.ProgramSuite)]
    of_modules = compiled or any(isinstance(suite, table.ShellSuite) for suite in chosen)
    without_go = go_suites.missing() if of_modules else ""
    if without_go:
        raise SystemExit(f"cannot run the suites of Go modules: {without_go}; install it, or name the others in SUITES")
    passed = wrong = 0
    compiler = ThreadPoolExecutor(1)
    built = {suite.name: compiler.submit(_build, suite, cache) for suite in compiled}
    try:
        for suite in chosen:
            name, outcomes, seconds = _run(suite, built.get(suite.name), cache, logs, args.only)
            verdict = expected.tell(name, outcomes, known.get(name, {}), seconds)
            passed += list(outcomes.values()).count(expected.PASSED)
            wrong += len(verdict.unexpected) + len(verdict.mended) + len(verdict.unknown)
    finally:
        compiler.shutdown(cancel_futures=True)
    print(f"suites: {passed} passed, {wrong} failed")
    return 0 if args.only or not wrong else 1


def _build(suite: table.GoSuite | table.ProgramSuite, cache: Cache) -> Path:
    if isinstance(suite, table.GoSuite):
        return go_suites.build(suite, cache)
    return program_suites.build(suite, cache)


def _run(suite: table.Suite, built: Future[Path] | None, cache: Cache, logs: Path, only: str) -> Result:
    print(f"{suite.name}: running", flush=True)
    log = logs / f"{suite.name}.log"
    if isinstance(suite, table.OwnSuite):
        began = time.monotonic()
        return suite.name, own_suites.run(suite, cache, log, only), time.monotonic() - began
    if isinstance(suite, table.ShellSuite):
        source, began = shell_suites.fetch(suite, cache), time.monotonic()
        return suite.name, shell_suites.run(suite, source, log, only), time.monotonic() - began
    source = built.result() if built else cache.sdist(suite.package)
    if isinstance(suite, table.GoSuite):
        began = time.monotonic()
        return suite.name, go_suites.run(suite, source, log, only), time.monotonic() - began
    with clusters.own(log.with_suffix(".petset.log"), images.Mirror if suite.containers else None) as kubeconfig:
        began = time.monotonic()
        if isinstance(suite, table.ProgramSuite):
            outcomes = program_suites.run(suite, source, kubeconfig, log, only)
        else:
            outcomes = python_suites.run(suite, source, cache.python, kubeconfig, log, only)
        return suite.name, outcomes, time.monotonic() - began


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(f"cannot finish a suite: {error}")
