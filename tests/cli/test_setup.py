"""`petset setup` says what it will run, asks before it does, and shares its list with the Makefile's scripts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from petset.cli import main, setup
from petset.cli.machine import system_packages
from tests.waiting import SECONDS_MAX

ROOT = Path(__file__).resolve().parents[2]
LIST = """
# a comment
run    crun  crun     crun   crun  runs containers
run    -     seccomp  other  -     a profile
build  mmdebstrap  mmdebstrap mmdebstrap -  the base of images
"""


@pytest.mark.parametrize(
    ("release", "system"),
    [
        ({"ID": "debian", "VERSION_ID": "12"}, "debian"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "ubuntu"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "ubuntu"),
        ({"ID": "raspbian", "ID_LIKE": "debian"}, "debian"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "fedora"),
        ({"ID": "arch"}, ""),
        ({}, ""),
    ],
)
def test_whose_packages_a_system_has(release, system):
    assert system_packages.system_of(release) == system


@pytest.mark.parametrize(
    ("system", "installed", "names", "unavailable"),
    [
        ("debian", (), ["crun", "seccomp"], []),
        ("ubuntu", ("crun",), ["other"], []),
        ("fedora", (), ["crun"], ["a profile"]),
        ("debian", ("crun", "seccomp"), [], []),
    ],
)
def test_what_a_machine_lacks(system, installed, names, unavailable):
    packages = system_packages.parsed(LIST)
    lacking = system_packages.missing(packages, ("run",), system, lambda name: name in installed)
    assert [one.name(system) for one in lacking] == names
    assert [one.what_for for one in system_packages.unavailable(packages, ("run",), system)] == unavailable


def test_the_commands_install_what_is_missing_and_nothing_else():
    assert system_packages.commands("debian", ["crun", "umoci"]) == [
        ("apt-get", "update"),
        ("apt-get", "install", "-y", "--no-install-recommends", "crun", "umoci"),
    ]
    assert system_packages.commands("fedora", ["crun"]) == [
        ("dnf", "install", "-y", "--setopt=install_weak_deps=False", "crun")
    ]
    assert system_packages.commands("debian", []) == []


def test_the_list_is_whole():
    packages = system_packages.listed()
    assert {"crun", "conmon", "skopeo", "umoci", "nft", "unshare"} <= {one.program for one in packages}
    for one in packages:
        assert one.name("debian") and one.name("ubuntu"), one
        assert one.purpose not in system_packages.ALL or one.what_for, one


def test_the_scripts_read_the_same_list():
    done = subprocess.run(
        [ROOT / "scripts" / "setup-system", "--names", "run", "build"],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS_MAX,
    )
    own = [one.name("debian") for one in system_packages.listed() if one.purpose in system_packages.RUNNING]
    assert done.stdout.split() == own


# The command, on a machine that is made up


class Machine:
    def __init__(self, monkeypatch, tmp_path, system: str, installed: tuple[str, ...], root: bool):
        monkeypatch.setattr(setup, "this_system", lambda: system)
        monkeypatch.setattr(setup, "is_installed", lambda name: name in installed)
        monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("apt-get", "dnf"):
            (programs / name).write_text(f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/ran\n[ "$2" != broken ]\n')
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        self.log = tmp_path / "ran"

    def commands(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.rpartition("/")[2] for line in lines]


ALL_BUT_CRUN = tuple(
    one.name("debian") for one in system_packages.listed() if one.name("debian") and one.program != "crun"
)


def test_it_runs_what_it_has_said(monkeypatch, tmp_path, capsys):
    machine = Machine(monkeypatch, tmp_path, "debian", ALL_BUT_CRUN, root=True)
    assert main.main(["setup", "--yes"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "missing: crun (runs containers)"
    assert [line.strip() for line in said if line.startswith("  ")] == machine.commands()
    assert machine.commands() == ["apt-get update", "apt-get install -y --no-install-recommends crun"]


def test_a_machine_that_has_all_is_left_alone(monkeypatch, tmp_path, capsys):
    machine = Machine(monkeypatch, tmp_path, "debian", (*ALL_BUT_CRUN, "crun"), root=True)
    assert main.main(["setup"]) == 0
    assert capsys.readouterr().out.startswith("nothing to do") and machine.commands() == []


def test_who_is_not_root_is_told_what_to_run(monkeypatch, tmp_path, capsys):
    machine = Machine(monkeypatch, tmp_path, "fedora", (), root=False)
    assert main.main(["setup", "--yes"]) == 3
    said = capsys.readouterr().out
    assert "  sudo dnf install -y" in said and "note: fedora has no package of mmdebstrap" in said
    assert machine.commands() == []


def test_nobody_is_there_to_answer(monkeypatch, tmp_path, capsys):
    machine = Machine(monkeypatch, tmp_path, "debian", (), root=True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert main.main(["setup"]) == 1
    assert capsys.readouterr().err.startswith("petset: cannot install packages: it asks first")
    assert machine.commands() == []


@pytest.mark.parametrize(("answer", "code", "ran"), [("yes", 0, 2), ("no", 3, 0)])
def test_it_asks(monkeypatch, tmp_path, answer, code, ran):
    machine = Machine(monkeypatch, tmp_path, "debian", ALL_BUT_CRUN, root=True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert main.main(["setup"]) == code and len(machine.commands()) == ran


def test_an_installation_that_fails_is_one_line(monkeypatch, tmp_path, capsys):
    Machine(monkeypatch, tmp_path, "debian", ALL_BUT_CRUN, root=True)
    monkeypatch.setattr(system_packages, "commands", lambda *_: [("apt-get", "-x", "broken")])
    assert main.main(["setup", "--yes"]) == 1
    assert "apt-get failed with exit code 1" in capsys.readouterr().err


def test_a_system_that_nobody_knows(monkeypatch, capsys):
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "arch", "NAME": "Arch Linux"})
    assert main.main(["setup"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("petset: cannot set up this machine: it is Arch Linux") and "crun, conmon, nft" in said


def test_what_is_installed_is_asked_of_the_package_manager():
    assert not setup.is_installed("no-such-package-of-petset")
