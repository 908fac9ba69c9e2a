"""Without root: petset goes into namespaces of its own at the start, and is root in them.

    rootless.enter(instance, command)     this process goes on inside, as that command
    rootless.within(instance, command)    the command inside, to its end; its exit code

Inside, a user namespace over the user's subordinate ids, everything is as for root: the same runtime, bridge, nftables
and DNS; nothing else of petset knows the difference. A process that only sleeps keeps the namespaces, so that
containers that outlive petset and the petset that adopts them are in the same ones; `namespaces.json` says who it is.
What is outside is reached through pasta, where that can run. On the host listen the API, whose socket is made before,
and ports of nodes on loopback, whose sockets a process that stays outside lends (net/lending.py). The host's cgroups
are no user's to write, so they are hidden: no limit of CPU, memory or processes holds.
Follows: user_namespaces(7), subuid(5), newuidmap(1), unshare(1), pasta(1).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from petset.base import networks, state
from petset.net import lending
from petset.node import linux
from petset.objects import meta

RECORD = "namespaces.json"
HELPERS = ("pasta", "lender")  # Processes beside the one that keeps the namespaces.
IDS_MIN = 65535  # So that an image's every id up to nobody's is somebody.
RESOLVER = "169.254.1.53"  # Where pasta answers inside for the host's name server.
BEGIN_SECONDS_MAX = 20.0
KINDS = ("user", "mount", "net", "uts", "ipc")

# Hides the host's cgroups, has names asked at pasta, says that all is there, and keeps it.
_KEEPER = """
mount -t tmpfs -o size=64k,mode=755 none /sys/fs/cgroup || exit
if [ -n "$1" ]; then mount --bind "$1" /etc/resolv.conf || exit; fi
echo kept
exec sleep infinity
"""


class RootlessError(Exception):
    """Why containers cannot run without root here, in one line."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What going in depends on."""

    user: str
    uid: int
    programs: frozenset[str]  # Those of PROGRAMS that are installed.
    subuid: str  # The text of /etc/subuid, and of /etc/subgid.
    subgid: str
    user_namespaces_max: int
    are_restricted: bool  # Debian's and Ubuntu's switches: only root may make them.
    has_tun: bool  # /dev/net/tun can be opened.


PROGRAMS = ("unshare", "nsenter", "newuidmap", "newgidmap", "pasta")
PACKAGES = {"newuidmap": "uidmap", "newgidmap": "uidmap", "pasta": "passt"}


def look() -> Machine:
    """This machine, and the user whose process this is."""
    user = str(os.geteuid())
    with contextlib.suppress(KeyError):  # Nobody knows it by a name.
        user = pwd.getpwuid(os.geteuid()).pw_name
    switches = _number("kernel/unprivileged_userns_clone", 1) == 0
    confined = _number("kernel/apparmor_restrict_unprivileged_userns", 0) == 1
    return Machine(
        user,
        os.geteuid(),
        frozenset(name for name in PROGRAMS if shutil.which(name)),
        _text("/etc/subuid"),
        _text("/etc/subgid"),
        _number("user/max_user_namespaces", 0),
        switches or confined,
        os.access("/dev/net/tun", os.R_OK | os.W_OK),
    )


def lacks(machine: Machine) -> list[str]:
    """What is missing to run containers without root, a sentence each with what to do; [] when nothing is."""
    found: list[str] = []
    if missing := [name for name in PROGRAMS if name not in machine.programs and name != "pasta"]:
        packages = dict.fromkeys(PACKAGES.get(name, "util-linux") for name in missing)
        found.append(f"{', '.join(missing)} are not installed; install {', '.join(packages)}")
    kinds = {"subuid": machine.subuid, "subgid": machine.subgid}
    if few := [kind for kind, text in kinds.items() if ids(text, machine.user, machine.uid) < IDS_MIN]:
        files = " and ".join(f"/etc/{kind}" for kind in few)
        flags = " ".join(f"--add-{kind}s 100000-{100000 + IDS_MIN}" for kind in few)
        todo = f"as root: usermod {flags} {machine.user}"
        found.append(f"{machine.user} has not {IDS_MIN} subordinate ids in {files}; {todo}")
    if machine.user_namespaces_max == 0:
        found.append("the kernel makes no user namespaces; as root: sysctl user.max_user_namespaces=10000")
    if machine.are_restricted:
        switch = "kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
        found.append(f"only root may make user namespaces here; as root: sysctl -e {switch}")
    return found


def closed_off(machine: Machine) -> str:
    """Why pods reach nothing outside of this machine, with what to do; "" when they do."""
    if "pasta" not in machine.programs:
        return "pasta is not installed; install passt"
    if not machine.has_tun:
        return f"{machine.user} may not open /dev/net/tun; as root: chmod 666 /dev/net/tun"
    return ""


def ids(text: str, user: str, uid: int) -> int:
    """The most ids in a row that a file like subuid(5) gives a user."""
    most = 0
    for line in text.splitlines():
        name, _, numbers = line.partition(":")
        _, _, count = numbers.partition(":")
        if name in (user, str(uid)) and count.isdecimal():
            most = max(most, int(count))
    return most


def is_wanted(instance: state.State) -> bool:
    """Whether commands on an instance go in: it has been in, or nobody has been at work there and it can."""
    if instance.path(RECORD).exists():
        return True
    return not instance.database.exists() and not lacks(look())


def enter(instance: state.State, words: Sequence[str], tell: Callable[[str], None]) -> NoReturn:
    """Go on inside as `petset WORDS`; the process keeps its id and its open files. Raises RootlessError."""
    keeper = _kept(instance, tell)
    command = _entering(keeper, instance, words)
    os.execvpe(command[0], command, _environment())


def within(instance: state.State, words: Sequence[str], ends: bool) -> int:
    """`petset WORDS` inside, to its end; its exit code. Raises RootlessError.

    The namespaces go with it where they were made for it, and where it `ends` the instance.
    """
    was_kept = keeper_of(instance) is not None
    keeper = _kept(instance, lambda line: None)
    helpers = [_recorded(instance, name) for name in HELPERS]  # Read now: the command may delete all that is written.
    code = subprocess.run(_entering(keeper, instance, words), env=_environment(), check=False).returncode
    if (ends and code == 0) or not was_kept:
        for one in (*helpers, keeper):
            _end(one)
    return code


def _end(process: linux.Process | None) -> None:
    if process is None or (descriptor := process.pidfd()) is None:
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)


def keeper_of(instance: state.State) -> linux.Process | None:
    """Who keeps the namespaces, if it lives."""
    return _recorded(instance, "keeper")


def _recorded(instance: state.State, name: str) -> linux.Process | None:
    """A process of the record, if it lives: none does that had its id before the machine was started anew."""
    found = instance.read(RECORD) or {}
    one = meta.part(found, name)
    if found.get("boot") != linux.boot_id() or not one:
        return None
    process = linux.Process(int(one["pid"]), int(one["started"]))
    return process if process.alive() else None


def _entering(keeper: linux.Process, instance: state.State, words: Sequence[str]) -> list[str]:
    flags = [f"--{kind}" for kind in KINDS]
    own = (sys.executable, "-m", "petset", "--state", str(instance.directory), *words)
    return ["nsenter", f"--target={keeper.pid}", *flags, "--preserve-credentials", f"--wd={os.getcwd()}", "--", *own]


def _environment() -> dict[str, str]:
    return {**os.environ, networks.OWNER: str(os.geteuid())}


def _kept(instance: state.State, tell: Callable[[str], None]) -> linux.Process:
    """The namespaces of the instance, made where there are none. Raises RootlessError."""
    if (keeper := keeper_of(instance)) is not None:
        return keeper
    machine = look()
    if missing := lacks(machine):
        raise RootlessError(
            f"cannot run containers without root: {'; and '.join(missing)}; or run petset with sudo, "
            "or without containers: up --simulate"
        )
    instance.create()
    closed = closed_off(machine)
    keeper = _begin(instance, "" if closed else RESOLVER)
    closed = closed or _connect(keeper, instance.path("pasta.pid"))
    known: dict[str, Any] = {"keeper": asdict(keeper), "boot": linux.boot_id()}
    if not closed and (pasta := linux.process(int(instance.path("pasta.pid").read_text()))):
        known["pasta"] = asdict(pasta)
    if (lends := lender(instance)) is not None:
        known["lender"] = asdict(lends)
    instance.write(RECORD, known)
    if closed:
        tell(f"network: pods reach nothing outside of this machine: {closed}")
    return keeper


def _begin(instance: state.State, resolver: str) -> linux.Process:
    """New namespaces, and the process that keeps them."""
    names = ""
    if resolver:
        names = str(instance.path("resolv.conf"))
        searched = re.findall(r"^(?:search|options) .*$", _text("/etc/resolv.conf"), re.MULTILINE)
        Path(names).write_text("\n".join((f"nameserver {resolver}", *searched)) + "\n")
    flags = ("--user", "--map-auto", "--map-root-user", "--mount", "--net", "--uts", "--ipc", "--propagation=slave")
    process = subprocess.Popen(
        ("unshare", *flags, "--", "sh", "-c", _KEEPER, "sh", names),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    if process.stdout.readline().strip() != "kept":
        said = process.stderr.read().strip().splitlines()
        process.wait(BEGIN_SECONDS_MAX)
        why = said[-1] if said else "unshare says nothing"
        raise RootlessError(f"cannot run containers without root: {why}; `petset doctor` looks at what it needs")
    process.stdout.close()
    process.stderr.close()
    found = linux.process(process.pid)
    if found is None:
        why = "the process that keeps the namespaces has ended"
        raise RootlessError(f"cannot run containers without root: {why}; `petset doctor` looks at what it needs")
    return found


def lender(instance: state.State) -> linux.Process | None:
    """Who lends sockets of the host, from now on. Raises OSError."""
    with lending.listening(instance.path(lending.SOCKET)) as asked:
        process = subprocess.Popen(
            (sys.executable, "-m", "petset.net.lending"),
            stdin=asked.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return linux.process(process.pid)


def _connect(keeper: linux.Process, named: Path) -> str:
    """Have pasta carry what goes out; why it does not, or ""."""
    none = ("--tcp-ports=none", "--udp-ports=none", "--tcp-ns=none", "--udp-ns=none", "--no-map-gw")
    try:
        done = subprocess.run(
            ("pasta", "--config-net", "--quiet", *none, f"--dns-forward={RESOLVER}", f"--pid={named}", str(keeper.pid)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=BEGIN_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "pasta does not come to an end of its start"
    said = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else f"pasta says: {said[-1] if said else done.returncode}"


def _number(name: str, default: int) -> int:
    text = _text(f"/proc/sys/{name}").strip()
    return int(text) if text.isdecimal() else default


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""
