"""Runs kubectl's own integration tests: shell functions, unchanged, by the kubectl on PATH against an API server.

Kubernetes' source comes as a Go module, which the go command holds to its checksum; table.py has it once more. The
functions are those that upstream's script runs, in its order, and what that script does around them is
`config/kubectl_functions.sh`. As there, no pod is ever scheduled.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path

from tests.suites import expected, go_suites, table
from tests.suites.sources import HERE, Cache

SCRIPT = HERE / "config" / "kubectl_functions.sh"
ORDER = "test/cmd/legacy-script.sh"
NEEDED = ("hack", "test/cmd", "test/fixtures", "test/e2e/testing-manifests", "third_party/forked/shell2junit")
SUITE_SECONDS_MAX = 1800


def fetch(suite: table.ShellSuite, cache: Cache) -> Path:
    """A folder with what is needed of the module's source."""
    return go_suites.fetch(suite, cache, NEEDED)


def run(suite: table.ShellSuite, source: Path, log: Path, only: str = "") -> expected.Outcomes:
    """{function: outcome}; what they said is in `log`."""
    named = re.findall(r"^ *(?:record_command )?(run_\w+)$", (source / ORDER).read_text(), re.MULTILINE)
    functions = [name for name in named if name not in suite.left_out and only in name]
    with go_suites.api_alone(source / ".server", "--controllers") as kubeconfig, log.open("wb") as out:
        port = (kubeconfig.parent / "address").read_text()
        temporary = source / ".tmp"
        temporary.mkdir()
        authority = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
        (temporary / "apiserver.crt").write_bytes(base64.b64decode(authority))
        environment = {**os.environ, "SECURE_API_PORT": port, "TMPDIR": str(temporary)}
        subprocess.run(
            ["bash", str(SCRIPT), str(source), *functions], env=environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=SUITE_SECONDS_MAX, check=False,
        )  # fmt: skip
    said = re.findall(r"^outcome (\w+) (1?)$", log.read_text(errors="replace"), re.MULTILINE)
    if [name for name, _ in said] != functions:
        raise SystemExit(f"cannot run {suite.name}: it ended before its functions did; see {log}")
    return {name: expected.FAILED if failed else expected.PASSED for name, failed in said}
