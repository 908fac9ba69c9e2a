"""Runs a suite of a Python client by pytest, unchanged, and reads what came of each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

from tests import kubectl
from tests.suites import expected, table
from tests.suites.sources import HERE

CONFIG = HERE / "config"
SUITE_SECONDS_MAX = 1500
KIND, KIND_KUBECTL = "kind-v0.17.0", "kubectl-v1.25.3"  # The names pytest-kind gives to what it would download.


def run(
    suite: table.PythonSuite, source: Path, python: Path, kubeconfig: Path, log: Path, only: str = ""
) -> expected.Outcomes:
    """{test: outcome}; what pytest said is in `log`. `only`: of the tests, those with this in their names."""
    if suite.kind:
        _provide_kind(source, kubeconfig)
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    command = [
        *(str(python), "-m", "pytest", "-v", "-p", "no:cacheprovider", "-o", "addopts=", "-o", "junit_family=xunit1"),
        *(f"--rootdir={source}", f"--junitxml={report}", "--timeout=120", *suite.options),
        *(("-k", only) if only else ()),
        *suite.tests,
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PETSET"))},
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": os.pathsep.join((str(source), str(CONFIG))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    (source.parent / "pytest.ini").write_text("[pytest]\n")  # For a suite without settings: not those of this checkout.
    with log.open("wb") as out:
        subprocess.run(
            command, cwd=source, env=environment, stdout=out, stderr=out, timeout=SUITE_SECONDS_MAX, check=False
        )
    if not report.exists():
        raise SystemExit(f"cannot run {suite.name}: pytest wrote no report; see {log}")
    return outcomes(report)


def _provide_kind(source: Path, kubeconfig: Path) -> None:
    folder = source / ".pytest-kind" / "pytest-kind"
    folder.mkdir(parents=True)
    shutil.copy(CONFIG / "kind", folder / KIND)
    (folder / KIND_KUBECTL).symlink_to(kubectl.find())
    shutil.copy(kubeconfig, folder / "kubeconfig")
    subprocess.run(
        [kubectl.find(), "--kubeconfig", str(kubeconfig), "apply", "-f", str(CONFIG / "kind.yaml")],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def outcomes(report: Path) -> expected.Outcomes:
    """{file::Class::test: outcome} of a report in JUnit's form; one that failed in its teardown failed."""
    found: dict[str, str] = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        test = _name(case)
        tags = {child.tag for child in case}
        said = expected.FAILED if tags & {"failure", "error"} else expected.SKIPPED if "skipped" in tags else "passed"
        found[test] = expected.FAILED if found.get(test) == expected.FAILED else said
    return found


def _name(case: xml.Element) -> str:
    path, classname = case.get("file") or "", case.get("classname") or ""
    inner = classname.removeprefix(path.removesuffix(".py").replace("/", ".")).strip(".")
    return "::".join(part for part in (path, inner, case.get("name") or "") if part)
