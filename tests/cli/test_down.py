"""`petset down` of one that is killed meanwhile: what it left is taken down all the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from petset import up
from petset.base import networks, state
from petset.cli import down


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An instance whose process ends at the first signal, and takes nothing down."""
    instance = state.State(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setattr(state.State, "running_process", lambda self: process.pid)
        monkeypatch.setattr(up, "stop_left_over", lambda instance: "2 containers were stopped")
        yield instance
        process.kill()
    if plan := networks.plan_of(instance.read("network.json")):
        networks.forget(plan.nodes)


def test_what_is_left_of_one_that_was_killed_goes(running: state.State, monkeypatch) -> None:
    networks.choose_networks(running.directory)
    monkeypatch.setattr(networks.NodePlan, "bridge", "lo")  # A device that is there.
    assert down.stop(running) == "petset was killed; 2 containers were stopped"


@pytest.mark.parametrize("has_run_containers", [True, False])
def test_one_that_took_its_pods_down_has_left_nothing(running: state.State, has_run_containers: bool) -> None:
    if has_run_containers:
        networks.choose_networks(running.directory)
    assert down.stop(running) == f"stopped; the data stays in {running.directory}"
