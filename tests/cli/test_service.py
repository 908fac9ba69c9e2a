"""`petset service`: the unit that is written, that systemd understands it, and who is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from petset.base import state
from petset.cli import main, service

VERIFY_SECONDS_MAX = 60


def settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("directory", "name"),
    [(state.default_directory(), "petset.service"), (Path("/srv/blue"), "petset-blue.service")],
)
def test_a_unit_is_named_after_its_instance(directory, name):
    assert service.unit_name(state.State(directory)) == name


def test_pods_outlive_a_restart_and_not_a_stop():
    found = settings(service.unit(state.State(Path("/srv/blue")), [], False))
    assert (found["KillMode"], found["RestartKillSignal"], found["KillSignal"]) == ("process", "SIGHUP", "SIGTERM")
    assert (found["Type"], found["Restart"], found["Delegate"]) == ("notify", "on-failure", "yes")
    assert found["ExecStart"] == f"{sys.executable} -m petset --state /srv/blue up"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("--nodes=3", "--nodes=3"),
        ("/srv/a b", '"/srv/a b"'),
        ("/srv/100%", '"/srv/100%%"'),
        ("/srv/$HOME", '"/srv/$$HOME"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("", '""'),
    ],
)
def test_a_word_means_itself_in_a_unit(text, word):
    assert service.quoted_word(text) == word


@pytest.mark.parametrize("is_user", [False, True])
@pytest.mark.parametrize("directory", ["state", "a b", "100%", "$HOME", 'quote"d'])
def test_systemd_understands_it(directory, is_user, tmp_path):
    assert shutil.which("systemd-analyze"), "systemd is not installed; run make system-test"
    instance = state.State(tmp_path / directory)
    instance.create()
    options = ["--nodes", "3", "--manifests", "/etc"] if not is_user else ["--simulate"]
    file = tmp_path / service.unit_name(instance)
    file.write_text(service.unit(instance, service.checked(options, is_user), is_user))
    command = ["systemd-analyze", "verify", "--man=no", *(("--user",) if is_user else ()), str(file)]
    environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=VERIFY_SECONDS_MAX, env=environment
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if file.name in line]
    assert (done.returncode, said) == (0, []), done.stderr


def refused(capsys, *words: str) -> str:
    assert main.main(list(words)) == 1
    said = capsys.readouterr().err
    assert said.startswith("petset: cannot ") and said.count("\n") == 1
    return said


def test_options_are_those_of_up(capsys):
    assert "leave --detach away" in refused(capsys, "service", "install", "--print", "--", "-d")
    with pytest.raises(SystemExit) as ended:
        main.main(["service", "install", "--print", "--", "--nodess"])
    assert ended.value.code == 2 and "--nodess" in capsys.readouterr().err


def test_a_users_own_unit_is_of_a_simulated_cluster(capsys):
    assert "add `-- --simulate`" in refused(capsys, "service", "install", "--user")
    assert main.main(["service", "install", "--user", "--print", "--", "--simulate"]) == 0
    assert settings(capsys.readouterr().out)["WantedBy"] == "default.target"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """One whose systemctl writes down what it was asked; it says no to what stands in `refuses`."""
    programs, units, runs = tmp_path / "bin", tmp_path / "units", tmp_path / "runs"
    programs.mkdir()
    runs.mkdir()
    (programs / "systemctl").write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n'
        f'if grep -qx "$1" {tmp_path}/refuses; then echo "Failed: no." >&2; exit 1; fi\n'
    )
    (programs / "systemctl").chmod(0o755)
    (tmp_path / "refuses").write_text("is-active\n")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("PETSET_STATE", str(tmp_path / "blue"))
    monkeypatch.setattr(service, "SYSTEM_UNITS", units)
    monkeypatch.setattr(service, "SYSTEMD_RUNS", runs)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return tmp_path


def asked(machine: Path) -> list[str]:
    found = (machine / "asked").read_text().splitlines()
    (machine / "asked").unlink()
    return found


def test_it_is_installed_and_removed(machine, capsys):
    unit = machine / "units" / "petset-blue.service"
    assert main.main(["service", "install", "--now", "--", "--nodes=2"]) == 0
    assert settings(unit.read_text())["ExecStart"].endswith("up --nodes=2")
    assert asked(machine) == ["daemon-reload", "enable petset-blue.service", "start petset-blue.service"]
    (machine / "refuses").write_text("")  # It runs.
    assert main.main(["service", "install", "--now"]) == 0
    assert asked(machine)[-1] == "restart petset-blue.service"
    assert main.main(["service", "remove"]) == 0
    assert asked(machine) == ["disable --now petset-blue.service", "daemon-reload"] and not unit.exists()
    assert main.main(["service", "remove"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_where_systemd_does_not_run_it_starts_at_the_next_boot(machine, capsys):
    (machine / "runs").rmdir()
    assert main.main(["service", "install"]) == 0
    assert asked(machine) == ["enable petset-blue.service"]
    assert "systemd does not run on this machine" in refused(capsys, "service", "install", "--now")


def test_what_systemctl_refuses_is_told(machine, capsys):
    (machine / "refuses").write_text("is-active\nenable\n")
    assert "cannot install the service: Failed: no; `systemctl status petset-blue" in refused(
        capsys, "service", "install"
    )


def test_who_is_not_root_is_refused(machine, capsys, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "run it with sudo" in refused(capsys, "service", "install")
    assert not (machine / "units").exists()


def test_an_instance_that_runs_otherwise_is_not_started_twice(machine, capsys):
    with state.State(machine / "blue").lock():
        said = refused(capsys, "service", "install", "--now")
    assert "run `petset down` first" in said and not (machine / "units").exists()
