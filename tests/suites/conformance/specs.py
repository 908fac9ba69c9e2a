"""Runs the suite's specs of one group, and reads what came of each.

Ginkgo takes those whose names say `[Conformance]` and the group's name, in PROCESSES_MAX processes; what may not run
beside others it runs afterwards, alone. `Result.skipped` tells why a spec was left out: by itself, or for want of time.
"""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as xml
from dataclasses import dataclass
from pathlib import Path

from tests.suites import expected, go_suites
from tests.suites.conformance import programs

GROUPS = (
    "sig-architecture", "sig-instrumentation", "sig-scheduling", "sig-cli", "sig-auth",
    "sig-apps", "sig-network", "sig-storage", "sig-node", "sig-api-machinery",
)  # fmt: skip
PROCESSES_MAX = 2
SEED = 1


@dataclass(frozen=True, slots=True)
class Result:
    outcomes: expected.Outcomes
    skipped: dict[str, str]  # spec -> why


def run(
    built: programs.Programs, kubeconfig: Path, group: str, log: Path, seconds: int, only: str = "", processes: int = 2
) -> Result:
    """What the specs and the suite said is in `log`, the report beside it."""
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    command = [
        *(built.path(programs.GINKGO), f"--procs={processes}", f"--seed={SEED}", "--no-color", "--silence-skips"),
        *("--output-interceptor-mode=none", f"--focus={pattern(group, only)}", f"--timeout={seconds}s"),
        *(f"--output-dir={report.parent}", f"--junit-report={report.name}", built.path(programs.SUITE), "--"),
        *(f"--kubeconfig={kubeconfig}", "--provider=skeleton", f"--kubectl-path={built.path(programs.KUBECTL)}"),
        "--disable-log-dump",
    ]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    with log.open("wb") as out:
        subprocess.run(
            command, cwd=log.parent, env=environment, stdout=out, stderr=out, timeout=seconds + 300, check=False
        )
    if not report.exists():
        raise SystemExit(f"cannot run {group}: there is no report; see {log}")
    return read(report, group)


def pattern(group: str, only: str = "") -> str:
    """The regular expression of the names to run."""
    return rf"\[{group}\].*{re.escape(only)}.*\[Conformance\]"


def read(report: Path, group: str) -> Result:
    """What a report in JUnit's form says of a group: specs that Ginkgo passed over for their names are not in it."""
    outcomes: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        name, status = (case.get("name") or "").removeprefix(go_suites.TEST), case.get("status") or ""
        ours = f"[{group}]" in name and "[Conformance]" in name
        if status == "passed" and ours:
            outcomes[name] = expected.PASSED
        elif status not in ("passed", "skipped", "pending"):
            outcomes[name] = expected.FAILED
        elif ours:
            outcomes[name] = expected.SKIPPED
            said = case.find("skipped")
            skipped[name] = (said.get("message") or status) if said is not None else status
    return Result(outcomes, skipped)
