"""Runs kubectl's own integration tests: shell functions, unchanged, by the kubectl on PATH against an API server.

Kubernetes' source comes as Debian's source package, through apt and by the machine's own package sources; of the
archive that upstream made, table.py has the hash. The functions are those that upstream's script runs, in its order,
and what that script does around them is `config/kubectl_functions.sh`. As there, no pod is ever scheduled.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from petset.node.images import building
from tests.suites import expected, go_suites, table
from tests.suites.sources import HERE, Cache

SCRIPT = HERE / "config" / "kubectl_functions.sh"
ORDER = "test/cmd/legacy-script.sh"
NEEDED = ("hack", "test/cmd", "test/fixtures", "test/e2e/testing-manifests", "third_party/forked/shell2junit")
SUITE_SECONDS_MAX, APT_SECONDS_MAX = 900, 300


def fetch(suite: table.ShellSuite, cache: Cache) -> Path:
    """A folder with what is needed of the package's source."""
    archive = cache.downloads / suite.archive
    if not archive.exists():
        _download(suite.package, cache.downloads)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != suite.sha256:
        raise SystemExit(f"cannot run {suite.name}: {archive} is not what table.py says; remove it")
    folder = cache.work / suite.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = [f"*/{path}/*" for path in NEEDED]
    command = ["tar", "-xf", str(archive), "-C", str(folder), "--strip-components=1", "--no-same-owner", "--wildcards"]
    subprocess.run([*command, *wanted], check=True)
    return folder


def _download(package: str, downloads: Path) -> None:
    sources, lists = downloads / "source.list", downloads / "lists"
    lists.mkdir(exist_ok=True)
    sources.write_text(re.sub("(?m)^deb ", "deb-src ", asyncio.run(building.host_sources())))
    settings = {
        "Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "-", "Dir::State::Lists": lists,
        "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    for words in (("update",), ("source", "--download-only", package)):
        done = subprocess.run(
            [*apt, *words], cwd=downloads, capture_output=True, text=True, timeout=APT_SECONDS_MAX, check=False
        )
        if done.returncode:
            raise SystemExit(f"cannot fetch the source of Debian's {package}: {done.stderr or done.stdout}")


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
