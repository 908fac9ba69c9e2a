"""`petset service`: a systemd unit that runs the instance, at each boot and again when it fails.

A unit an instance, named after it. `systemctl stop` is `petset down`: pods stop with their grace. `systemctl restart`
and a crash leave the containers running, and the next start adopts them: SIGHUP ends petset alone, and KillMode=process
leaves alone what it has started. Options after `--` are those of `petset up`. Without root there is a user's unit, for
a cluster that is simulated.
Follows: systemd.unit(5), systemd.service(5), systemd.syntax(7).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from petset.base import state
from petset.cli import main
from petset.cli.failures import CommandError

STOP_SECONDS_MAX = 300
START_SECONDS_MAX = 300
SILENCE_SECONDS_MAX = 60
SYSTEM_UNITS = Path("/etc/systemd/system")
SYSTEMD_RUNS = Path("/run/systemd/system")
SYSTEMCTL_SECONDS_MAX = START_SECONDS_MAX + STOP_SECONDS_MAX
PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)
TO_THE_PROCESS = ("PETSET_IMAGES",)  # Of the environment, as far as it decides what the instance is.


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser("install", help="write the unit and enable it: it starts at the next boot")
    install.add_argument("--now", action="store_true", help="start it now, too")
    install.add_argument("--print", action="store_true", help="only print the unit")
    install.add_argument("options", nargs="*", metavar="-- OPTION", help="after two dashes: options of `petset up`")
    remove = actions.add_parser("remove", help="stop it, as `petset down` does, and take the unit away; data stays")
    for action in (install, remove):
        action.add_argument("--user", action="store_true", help="a unit of your own, for a simulated cluster (no root)")


def run(args: argparse.Namespace) -> int:
    instance: state.State = args.instance
    place = Place(unit_name(instance), args.user)
    if args.action == "remove":
        return _remove(place)
    text = unit(instance, checked(args.options, args.user), args.user)
    if args.print:
        print(text, end="")
        return 0
    return _install(instance, place, text, args.now)


def unit_name(instance: state.State) -> str:
    return f"petset-{instance.name}.service" if instance.name else "petset.service"


def checked(options: Sequence[str], is_user: bool) -> list[str]:
    """The options, if `petset up` takes them and a service can have them. Raises CommandError."""
    given = main.parser("up").parse_args(["up", *options])  # Says itself what it does not understand.
    if given.detach:
        raise CommandError(
            "cannot install the service: systemd runs petset in the foreground, which is in the background for you; "
            "leave --detach away"
        )
    if is_user and not given.simulate:
        raise CommandError(
            "cannot install the service: one of a user's own has no root, which containers need; "
            "add `-- --simulate`, or leave --user away and be root"
        )
    return list(options)


def unit(instance: state.State, options: Sequence[str], is_user: bool) -> str:
    """The unit's text; pure but for where this petset is."""
    directory = str(instance.directory)
    command = [sys.executable, "-m", "petset", "--state", directory, "up", *options]
    kept = [f"{name}={os.environ[name]}" for name in TO_THE_PROCESS if os.environ.get(name)]
    lines = [
        "# Made by `petset service install`; `petset service remove` takes it away. Your own changes: systemctl edit.",
        "[Unit]",
        f"Description=petset, a Kubernetes of one machine, in {directory.replace('%', '%%')}",
        *(() if is_user else ("Wants=network-online.target", "After=network-online.target")),
        f"RequiresMountsFor={quoted(directory)}",
        "# After ten failures in ten minutes somebody has to look: petset logs says why.",
        "StartLimitIntervalSec=600",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={' '.join(map(quoted_word, command))}",
        *(f"Environment={quoted(one)}" for one in kept),
        "# Pods outlive petset: a restart ends it alone, and the next one adopts them; a stop lets it stop them.",
        "KillMode=process",
        "KillSignal=SIGTERM",
        "RestartKillSignal=SIGHUP",
        "Restart=on-failure",
        "RestartSec=5",
        f"TimeoutStartSec={START_SECONDS_MAX}",
        f"TimeoutStopSec={STOP_SECONDS_MAX}",
        f"WatchdogSec={SILENCE_SECONDS_MAX}",
        "Delegate=yes",
        *(() if is_user else ROOTS_LIMITS),
        "",
        "[Install]",
        f"WantedBy={'default' if is_user else 'multi-user'}.target",
    ]
    return "\n".join(lines) + "\n"


ROOTS_LIMITS = (
    "LimitNOFILE=1048576",
    "LimitMEMLOCK=infinity",
    "LimitNPROC=infinity",
    "TasksMax=infinity",
)


def quoted(text: str) -> str:
    """As one word of a unit: specifiers and quotes mean nothing in it."""
    text = text.replace("%", "%%")
    if PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def quoted_word(text: str) -> str:
    """As one word of a command line, in which variables would be replaced as well."""
    return quoted(text.replace("$", "$$"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit stands, and who is asked about it."""

    name: str
    is_user: bool

    @property
    def file(self) -> Path:
        if not self.is_user:
            return SYSTEM_UNITS / self.name
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        return Path(config) / "systemd" / "user" / self.name

    @property
    def systemctl(self) -> tuple[str, ...]:
        return ("systemctl", "--user") if self.is_user else ("systemctl",)

    def check(self, doing: str) -> None:
        """Raises CommandError."""
        if not self.is_user and os.geteuid() != 0:
            raise CommandError(
                f"cannot {doing} the service: petset is not root; run it with sudo, "
                "or for a simulated cluster as a unit of your own: --user"
            )
        if not shutil.which("systemctl"):
            raise CommandError(
                f"cannot {doing} the service: there is no systemctl; on a machine without systemd run "
                "`petset up -d` from its own start-up files"
            )

    def ask(self, *words: str) -> str:
        """ "", or why systemctl did not do it."""
        command = [*self.systemctl, *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_SECONDS_MAX, check=False)
        except subprocess.TimeoutExpired:
            return f"{' '.join(command)} did not end in {SYSTEMCTL_SECONDS_MAX} s"
        said = (done.stderr or done.stdout).strip().splitlines()
        return "" if done.returncode == 0 else (said[0] if said else f"{' '.join(command)} failed")

    def must(self, doing: str, *words: str) -> None:
        if why := self.ask(*words):
            raise CommandError(
                f"cannot {doing} the service: {why.rstrip('.')}; "
                f"`systemctl status {self.name}` and `petset logs` tell more"
            )


def _install(instance: state.State, place: Place, text: str, now: bool) -> int:
    place.check("install")
    runs = instance.running_process()
    is_of_service = place.file.exists() and not place.ask("is-active", place.name)
    if now and runs is not None and not is_of_service:
        raise CommandError(
            f"cannot start the service: petset runs already in {instance.directory} (process {runs}), and not as a "
            "service; run `petset down` first, or leave --now away"
        )
    place.file.parent.mkdir(parents=True, exist_ok=True)
    state.replace_whole(place.file, text.encode())
    print(f"{place.file} is written")
    if place.is_user or SYSTEMD_RUNS.exists():
        place.must("install", "daemon-reload")
    place.must("install", "enable", place.name)
    if not now:
        print(f"it starts at the next boot, or now with: {' '.join(place.systemctl)} start {place.name}")
        return 0
    if not SYSTEMD_RUNS.exists():
        raise CommandError(
            "cannot start the service: systemd does not run on this machine now; the unit is enabled for its next boot"
        )
    place.must("start", "restart" if is_of_service else "start", place.name)
    print(f"it runs; see it with: {' '.join(place.systemctl)} status {place.name}")
    return 0


def _remove(place: Place) -> int:
    if not place.file.exists():
        print(f"nothing to remove: there is no {place.file}")
        return 0
    place.check("remove")
    if place.is_user or SYSTEMD_RUNS.exists():
        place.must("remove", "disable", "--now", place.name)
    else:
        place.must("remove", "disable", place.name)
    place.file.unlink()
    if place.is_user or SYSTEMD_RUNS.exists():
        place.must("remove", "daemon-reload")
    print(f"{place.file} is removed; the data stays")
    return 0
