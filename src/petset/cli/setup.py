"""`petset setup`: installs the packages of this machine's system that petset needs, or says what would.

It looks at which are missing, says the commands, asks, and runs them. Who is not root, or has a system that nobody
knows here, is told what to do. Exit code 0 when all is there, 3 when something is still to be installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess

from petset.cli import exit_codes
from petset.cli.failures import CommandError
from petset.cli.given import consent
from petset.cli.machine import system_packages

INSTALL_SECONDS_MAX = 1800


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also what only some recipes of images need: Maven, for those of Cassandra and ZooKeeper",
    )


def run(args: argparse.Namespace) -> int:
    system = this_system()
    is_root = os.geteuid() == 0
    usual = system_packages.RUNNING if is_root else system_packages.ROOTLESS
    purposes = system_packages.ALL if args.all else usual
    packages = system_packages.listed()
    for one in system_packages.unavailable(packages, purposes, system):
        print(f"note: {system} has no package of {one.program}: you have to do without {one.what_for}")
    lacking = system_packages.missing(packages, purposes, system, is_installed)
    if not lacking:
        print("nothing to do: this machine has what petset needs")
        return 0
    for one in lacking:
        print(f"missing: {one.name(system)} ({one.what_for})")
    commands = system_packages.commands(system, [one.name(system) for one in lacking])
    print("this installs it:" if is_root else "as root, this installs it (petset is not root):")
    for command in commands:
        print(f"  {'' if is_root else 'sudo '}{shlex.join(command)}", flush=True)
    if not is_root:
        return exit_codes.NOT_SO
    if not consent.given(args.yes, "install packages", lost="Nothing else of this machine is changed."):
        return exit_codes.NOT_SO
    for command in commands:
        _must_run(command)
    print("done: this machine has what petset needs; look at the rest of it with `petset doctor`")
    return 0


def this_system() -> str:
    """Raises CommandError for one that nobody knows here."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {"NAME": "a system without /etc/os-release"}
    if system := system_packages.system_of(release):
        return system
    run = [one for one in system_packages.listed() if one.purpose == "run"]
    programs = ", ".join(one.program for one in run if one.program)
    raise CommandError(
        f"cannot set up this machine: it is {release.get('NAME', 'unknown')}, whose packages petset does not know; "
        f"install with its own package manager what has these programs: {programs}"
    )


def is_installed(name: str) -> bool:
    """Whether this machine's own package manager says so."""
    for command, says in (
        (("dpkg-query", "-W", "-f=${db:Status-Status}", name), "installed"),
        (("rpm", "-q", "--quiet", name), ""),
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except FileNotFoundError:
            continue
        if done.returncode == 0 and done.stdout == says:
            return True
    return False


def _must_run(command: tuple[str, ...]) -> None:
    """Raises CommandError. Its own words are for the user, too."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        code = subprocess.run(command, env=environment, timeout=INSTALL_SECONDS_MAX, check=False).returncode
    except FileNotFoundError:
        raise CommandError(f"cannot install packages: there is no {command[0]} here; install them by hand") from None
    except subprocess.TimeoutExpired:
        why = f"{command[0]} did not end in {INSTALL_SECONDS_MAX} s"
        raise CommandError(f"cannot install packages: {why}; run it by hand and see what it waits for") from None
    if code != 0:
        raise CommandError(
            f"cannot install packages: {command[0]} failed with exit code {code} (above: why); mend that and try again"
        )
