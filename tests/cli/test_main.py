"""Every failure is one line that says what cannot be done; nothing is imported that is not used."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys

import pytest

from petset.base import state
from petset.cli import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kubeconfig"], "there is no instance in"),
        (["image", "load", "nowhere.tar"], "there is no such file"),
    ],
)
def test_failures_are_one_line(words, said, tmp_path, capsys):
    assert main.main(["--state", str(tmp_path / "s"), *words]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("petset: cannot ") and said in written.err and written.err.count("\n") == 1


def test_status_of_nothing(tmp_path, capsys):
    assert main.main(["--state", str(tmp_path / "s"), "status"]) == 3
    assert "not running" in capsys.readouterr().out


def test_down_of_nothing_is_fine(tmp_path, capsys):
    assert main.main(["--state", str(tmp_path / "s"), "down"]) == 0


def test_a_state_directory_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main.main(["--state", str(tmp_path / "file" / "s"), "image", "ls"]) == 1
    assert "name another with --state" in capsys.readouterr().err


def test_the_lock_is_held_by_one(tmp_path):
    instance = state.State(tmp_path)
    with instance.lock():
        with pytest.raises(state.StateError, match="running in it already"), instance.lock():
            pass
        assert instance.running_process() is not None
    assert instance.running_process() is None


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from petset.cli import main; main.parser(None); "
        "print([m for m in ('uvloop', 'cryptography', 'rich', 'pyroute2', 'yaml') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("on", True), ("off", False), ("1", True)]
)
def test_switches_are_spelt_as_kubernetes_spells_them(text, value):
    from petset.cli import up

    assert up.switch(text) is value


@pytest.mark.parametrize("text", ["0", "-2", "many"])
def test_a_limit_of_processes_is_a_number_or_none(text, capsys):
    with pytest.raises(SystemExit):
        main.main(["up", f"--pod-pids-limit={text}"])
    assert "--pod-pids-limit" in capsys.readouterr().err


def test_limits_go_on_to_the_cluster_in_the_background_too():
    from petset import cluster
    from petset.cli import up

    fields = [field.name for field in dataclasses.fields(cluster.Limits)]
    for flag, name, *_ in up.LIMITS:
        assert flag == "--" + name.replace("_", "-") and name in fields
    given = main.parser("up").parse_args(["up", "--pod-pids-limit=-1", "--image-gc-high-threshold=90"])
    assert up._limits_given(given) == {"pod_pids_limit": -1, "image_gc_high_threshold": 90}
    assert up._limits_given(argparse.Namespace()) == {}


def test_up_without_root_says_what_to_do(tmp_path, capsys, monkeypatch):
    """Where nobody has made subordinate ids for the user: tests/e2e/services has a machine where somebody did."""
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
    assert main.main(["--state", str(tmp_path / "s"), "up"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("petset: cannot run containers without root: ") and said.count("\n") == 1
    assert "4000000 has not 65535 subordinate ids" in said and said.endswith("up --simulate\n")
