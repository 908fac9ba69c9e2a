"""What an idle petset has not imported: memory that nobody needs before somebody asks. `bench idle` says how much."""

from __future__ import annotations

import email.utils
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from petset.base import tasks

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
PARTS = ("up", "machine", "controllers.run", "scheduler.loop", "dns.server", "node.agent", "node.simulated")
HEAVY = (
    "yaml",
    "cryptography",
    "email",
    "importlib.metadata",
    "prometheus_client",
    "unittest",
    "cel_expr_python",
    "websockets",
    "rich",
    "h2",
)


def imported(code: str, *arguments: str) -> list[str]:
    """The modules of a Python that has run this."""
    code = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_what_answers_no_request_is_not_imported():
    found = imported("\n".join(f"import petset.{part}" for part in PARTS))
    assert [name for name in HEAVY if name in found] == []


UP = """
import os, pathlib, signal, sys
from petset import up
from petset.base import state

def announced(line):
    if line.startswith("node"):
        os.kill(os.getpid(), signal.SIGTERM)

up.run(up.Options(state.State(pathlib.Path(sys.argv[1])), simulated=True, in_background=True), announced)
"""


def test_no_start_imports_what_makes_keys(tmp_path: Path):
    """The first one neither: a child makes them, in which the 10 MiB stay."""
    for _ in ("first", "next"):
        found = imported(UP, str(tmp_path / "state"))
        assert "petset.node.agent" in found and (tmp_path / "state" / "pki" / "service-accounts.key").exists()
        assert [name for name in found if name.partition(".")[0] in ("cryptography", "cel_expr_python", "yaml")] == []


BEGIN = """
import asyncio
from petset import cluster, up
from petset.cli import up
from petset.store import memory
from petset.wire import http

async def main():
    plane = cluster.ControlPlane(memory.MemoryStore())
    await plane.begin()
    client = plane.client(cluster.ADMINISTRATOR)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    await client.create(made)
    await client.raw("/version")

asyncio.run(main())
"""
# Imported when somebody asks for it, or when there is the first of what it is for.
LATER = (
    "yaml", "petset.node.agent", "petset.controllers", "petset.scheduler", "petset.dns", "petset.server.audit",
    "petset.server.described.documents", "petset.server.described.operations", "petset.server.described.gnostic",
    "petset.why", "petset.server.admission.consulted",
    "petset.server.admission.policies", "petset.server.admission.webhooks",
)  # fmt: skip


def test_before_the_api_answers_only_what_answers_is_imported():
    found = imported(BEGIN)
    assert "petset.server.api" in found
    assert [name for name in found if name.startswith(tuple(LATER))] == []


IDLE = """
import asyncio
from petset.controllers.storage import snapshot_kinds
from petset.kinds import volume_snapshots
from tests.controllers import cluster

async def main():
    async with cluster.running(snapshots=True) as it:
        def is_made():
            classes = snapshot_kinds.of(it.client.kinds.now, volume_snapshots.CLASSES)
            return classes is not None and it.get(classes, "standard", "")
        await it.until(is_made)

asyncio.run(main())
"""


def test_an_idle_cluster_has_not_imported_the_runtime_of_cel():
    """It makes custom kinds whose schemas have rules, which nobody asks before there is an object of them."""
    found = imported(IDLE)
    assert "petset.server.custom.kinds" in found
    assert [name for name in found if name.partition(".")[0] == "cel_expr_python"] == []


def test_of_pyroute2_only_what_a_bridge_needs_is_imported():
    found = imported("from petset.node.network import bridge\nbridge._iproute().close()")
    own = [name for name in found if name.startswith("pyroute2.")]
    assert "pyroute2.iproute.linux" in own and len(own) < 110
    assert "unittest" not in found
    assert not [name for name in own if name.split(".")[1] in ("ndb", "ipdb", "plan9", "nslink", "wiset")]


@pytest.mark.parametrize("seconds", [0, 1, 784111777, 951782400, 1_700_000_000.9, 4_102_444_799])
def test_the_date_of_an_answer_is_that_of_the_standard_library(seconds: float):
    assert tasks.http_date(seconds) == email.utils.formatdate(int(seconds), usegmt=True)
