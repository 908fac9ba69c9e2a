"""Runs an example project's tests with petset's fixtures, beside the packages that the suites import (kopf, clients).

Nothing is started for it: the fixtures bring their cluster. Programs that other suites have built are on its PATH; what
needs one that is not there skips itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.suites import expected, python_suites, table
from tests.suites.sources import ROOT, Cache

SUITE_SECONDS_MAX = 600
SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def run(suite: table.OwnSuite, cache: Cache, log: Path, only: str = "") -> expected.Outcomes:
    """{test: outcome}; what pytest said is in `log`."""
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    site = subprocess.run([str(cache.python), "-c", SITE], capture_output=True, text=True, check=True).stdout.strip()
    command = [
        *(sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "tests.testing.loading"),
        *("-o", "junit_family=xunit1", f"--junitxml={report}", *(("-k", only) if only else ())),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PETSET"))},
        # petset's own packages first: the suites' may be older.
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT), *filter(os.path.isdir, sys.path[1:]), site)),
        "PATH": os.pathsep.join((str(cache.directory / "programs"), os.environ["PATH"])),
    }
    with log.open("wb") as out:
        subprocess.run(
            command, cwd=ROOT / suite.tests, env=environment, stdout=out, stderr=out, timeout=SUITE_SECONDS_MAX,
            check=False,
        )  # fmt: skip
    if not report.exists():
        raise SystemExit(f"cannot run {suite.name}: pytest wrote no report; see {log}")
    return python_suites.outcomes(report)
