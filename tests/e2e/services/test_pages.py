"""Every command of the tutorial and the how-tos is run as it stands there, and answers what the page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.cluster import IMAGES, ROOT
from tests.site import console

pytestmark = pytest.mark.services

PAGES = ("tutorial/pets", "how-to/one-server", "how-to/images", "how-to/reach", "how-to/several-nodes", "how-to/move")
ELSEWHERE = ("cli",)  # On a simulated cluster, by tests/cli/test_docs.py.
COMMAND_SECONDS_MAX = 300


@pytest.fixture
def shell(make_cluster, tmp_path):
    """A shell in the checkout in which petset is on the path, with an instance of its own, and one at ~/elsewhere."""
    cluster, home = make_cluster(), Path(tempfile.mkdtemp(prefix="petset-e2e-", dir="/tmp"))
    (tmp_path / "petset").write_text(f'#!/bin/sh\nexec {sys.executable} -m petset "$@"\n')
    (tmp_path / "petset").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(home),
        "PETSET_STATE": str(cluster.state),
        "PETSET_IMAGES": str(IMAGES),
        "KUBECONFIG": str(cluster.state / "kubeconfig"),
        "KUBECACHEDIR": str(tmp_path / "kubectl-cache"),
    }

    def run(command: str) -> str:
        done = subprocess.run(
            ("bash", "-c", command),
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout

    yield run
    if (home / "elsewhere").exists():
        run("petset --state ~/elsewhere destroy --yes")
    shutil.rmtree(home)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_true(page, shell):
    steps = console.steps((ROOT / "docs" / f"{page}.md").read_text())
    assert steps
    for step in steps:
        said = shell(step.command)
        assert console.is_answer(step.answer, said), f"$ {step.command}\n{said}\nThe page says:\n{step.answer}"


def test_every_page_with_commands_is_run():
    asking = {path for path in Path(ROOT / "docs").rglob("*.md") if console.steps(path.read_text())}
    assert {str(path.relative_to(ROOT / "docs")).removesuffix(".md") for path in asking} == {*PAGES, *ELSEWHERE}
