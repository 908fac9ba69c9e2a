"""The examples for who tests with petset: they run, as they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from petset.objects import documents
from tests.test_house import ROOT
from tests.test_idle import ENVIRONMENT
from tests.testing import notebooks

EXAMPLES = ROOT / "examples"
RUN = {
    **ENVIRONMENT,
    "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
    "PYTEST_ADDOPTS": "-p no:cacheprovider",
}
LOADED = ("-q", "-p", "tests.testing.loading", "-rs")


@pytest.mark.parametrize("name", ["test_manifests.py", "test_weather.py", "test_operator.py", "test_chart.py"])
def test_a_projects_tests_pass(name):
    command = [sys.executable, "-m", "pytest", *LOADED, name]
    done = subprocess.run(
        command, cwd=EXAMPLES / "testing", env=RUN, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0 or (done.returncode == 5 and "skipped" in done.stdout), done.stdout + done.stderr


def test_a_job_without_docker_runs_them():
    environment = {**RUN, "PETSET": "", "PYTHON": sys.executable}
    command = [str(EXAMPLES / "ci" / "job.sh"), str(EXAMPLES / "testing" / "test_manifests.py"), *LOADED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr


def test_the_workflow_runs_what_the_plugin_knows():
    workflow = documents.load((EXAMPLES / "ci" / "github-workflow.yml").read_bytes())
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    options = [word for run in runs if "pytest" in run for word in run.split() if word.startswith("--petset")]
    assert options == ["--petset-real", "--petset-nodes=2"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *LOADED, *options, "--version"], cwd=ROOT, env=RUN, check=False
    )
    assert done.returncode == 0


def test_the_notebooks_cells_run_and_show_pets():
    shown = notebooks.run(EXAMPLES / "notebook" / "pets.ipynb")
    said = [text for text, _ in shown]
    assert "2 of 2 nodes ready" in said[0]
    assert "StatefulSet default/web: 3 of 3 ready" in said[1] and "data-web-2 (Bound)" in said[2]
    assert "Terminating" in said[-3] and "Terminating" not in said[-2]
    assert all("<table>" in html for _, html in shown[1:5])
