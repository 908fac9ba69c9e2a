"""Runs the suites of a Go module's packages, unchanged: each package compiled, then run against an API server alone.

The go command holds the module to its checksum, which `table.GoSuite` has once more. Its tests are Ginkgo's; they learn
of the cluster as envtest's users do when one exists already, and write a report in JUnit's form.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.suites import expected, table
from tests.suites.sources import ROOT, Cache

GO_MINOR_MIN = 26
BUILD_SECONDS_MAX, PACKAGE_SECONDS_MAX, START_SECONDS_MAX = 3000, 240, 30
BINARIES = ".binaries"
SEED = 1  # Of the order in which Ginkgo takes the tests.
TEST = "[It] "
# Without C, and for all that is built here: what two suites have in common is then compiled once.
ENVIRONMENT = {"CGO_ENABLED": "0"}


def missing() -> str:
    """Why no Go suite can run here; "" when they can."""
    if shutil.which("go") is None:
        return "there is no go command"
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    minor = version.removeprefix("go1.").split(".")[0]
    if not minor.isdecimal() or int(minor) < GO_MINOR_MIN:
        return f"go is {version}, and the modules need 1.{GO_MINOR_MIN} or newer"
    return ""


def downloaded(suite: table.GoSuite | table.ShellSuite) -> Path:
    """The go command's own folder with a module's source, which nobody may write."""
    asked = f"{suite.module}@{suite.version}"
    said = subprocess.run(["go", "mod", "download", "-json", asked], capture_output=True, text=True, check=False)
    if said.returncode:
        raise SystemExit(f"cannot fetch {asked}: {said.stderr or said.stdout}")
    module = json.loads(said.stdout)
    if module["Sum"] != suite.checksum:
        raise SystemExit(f"cannot run {suite.name}: {asked} is not what table.py says")
    return Path(module["Dir"])


def fetch(suite: table.GoSuite | table.ShellSuite, cache: Cache, needed: Sequence[str] = ("",)) -> Path:
    """A folder with the module's source, or what is needed of it."""
    source, folder = downloaded(suite), cache.work / suite.name
    shutil.rmtree(folder, ignore_errors=True)
    for path in needed:
        shutil.copytree(source / path, folder / path, copy_function=shutil.copyfile)
    for path in (folder, *folder.rglob("*/")):
        path.chmod(0o755)
    return folder


def build(suite: table.GoSuite, cache: Cache) -> Path:
    """The module's source, with the tests of its packages compiled."""
    source = fetch(suite, cache)
    binaries = source / BINARIES
    binaries.mkdir()
    compiled(source, "test", "-c", "-vet=off", "-o", f"{binaries}/", *(f"./{package}" for package in suite.packages))
    return source


def compiled(folder: Path, *words: str) -> None:
    """Runs the go command in a module's folder, behind all else that wants the processors."""
    command = ["nice", "-n", "15", "go", words[0], "-ldflags=-s -w", *words[1:]]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False
    )
    if done.returncode:
        raise SystemExit(f"cannot compile in {folder}: {' '.join(command)}:\n{done.stdout}{done.stderr}")


def run(suite: table.GoSuite, source: Path, log: Path, only: str = "") -> expected.Outcomes:
    """{package::test: outcome}; what the tests said is in files beside `log`."""
    found: dict[str, str] = {}
    for package in suite.packages:
        name = package.rpartition("/")[2]
        report = log.with_name(f"{suite.name}-{name}.xml")
        report.unlink(missing_ok=True)
        options = ["--ginkgo.no-color", f"--ginkgo.seed={SEED}", f"--ginkgo.junit-report={report}"]
        focus = [f"--ginkgo.focus={only}"] if only else []
        with api_alone(source / f".server-{name}") as kubeconfig, report.with_suffix(".log").open("wb") as out:
            environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "USE_EXISTING_CLUSTER": "true"}
            subprocess.run(
                [str(source / BINARIES / f"{name}.test"), *options, *focus, f"--ginkgo.timeout={PACKAGE_SECONDS_MAX}s"],
                cwd=source / package, env=environment, stdout=out, stderr=out,
                timeout=PACKAGE_SECONDS_MAX + 60, check=False,
            )  # fmt: skip
        if not report.exists():
            raise SystemExit(
                f"cannot run {package} of {suite.name}: it wrote no report; see {report.with_suffix('.log')}"
            )
        found |= outcomes(report, package)
    return found


def outcomes(report: Path, package: str) -> expected.Outcomes:
    """{package::test: outcome} of Ginkgo's report. What fails before any test counts as one."""
    found: dict[str, str] = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        name, status = case.get("name") or "", case.get("status") or ""
        said = {"passed": expected.PASSED, "pending": expected.SKIPPED, "skipped": expected.SKIPPED}
        outcome = said.get(status, expected.FAILED)
        if name.startswith(TEST) or outcome == expected.FAILED:
            test = f"{package}::{name.removeprefix(TEST)}"
            found[test] = expected.FAILED if expected.FAILED in (outcome, found.get(test)) else outcome
    return found


@contextmanager
def api_alone(directory: Path, *flags: str) -> Iterator[Path]:
    """The kubeconfig of an API server without nodes and, unless the flags say so, controllers."""
    directory.mkdir()
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.suites.api_alone", str(directory), *flags],
            stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not (directory / "address").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"cannot start an API server: {(directory / 'log').read_text()}")
            time.sleep(0.05)
        yield directory / "kubeconfig"
    finally:
        process.terminate()
        process.wait(10)
