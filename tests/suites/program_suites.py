"""Runs our own tests of programs of other projects: each program is built by the go command and tried by pytest.

go.mod and go.sum beside this file hold the programs and all that they need to their hashes. A suite's tests find the
program's path in PETSET_PROGRAM and the cluster by KUBECONFIG; they are marked `suites`, so that `make test` leaves
them out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.suites import expected, go_suites, python_suites, table
from tests.suites.sources import HERE, ROOT, Cache

PROGRAM = "PETSET_PROGRAM"
SUITE_SECONDS_MAX = 600


def build(suite: table.ProgramSuite, cache: Cache) -> Path:
    """The program, compiled; what the go command has kept is not compiled again."""
    program = cache.directory / "programs" / suite.name
    go_suites.compiled(HERE, "build", "-mod=readonly", "-o", str(program), suite.program)
    return program


def run(suite: table.ProgramSuite, program: Path, kubeconfig: Path, log: Path, only: str = "") -> expected.Outcomes:
    """{test: outcome}; what pytest said is in `log`."""
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"),
        *("-m", "suites", f"--junitxml={report}", *(("-k", only) if only else ()), str(HERE / suite.tests)),
    ]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), PROGRAM: str(program)}
    with log.open("wb") as out:
        subprocess.run(
            command, cwd=ROOT, env=environment, stdout=out, stderr=out, timeout=SUITE_SECONDS_MAX, check=False
        )
    if not report.exists():
        raise SystemExit(f"cannot run {suite.name}: pytest wrote no report; see {log}")
    return python_suites.outcomes(report)
