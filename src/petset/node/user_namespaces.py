"""A pod's user namespace, where its users are its own (hostUsers: false), and the namespaces that it owns.

`make` pins them: the user namespace first, in which 0 to 65,535 are so many ids of the machine's that nobody else has
(base/user_ids.py), and network, host name and IPC, which belong to it, so that its root may do in them what root may.
A thread of petset's cannot enter a user namespace (setns(2) wants a process of one thread), so a program makes them and
waits until they are pinned. What lies on disk keeps its ids: files are mapped where they are mounted (`linux.map_ids`).
`lacking` says why a machine has none of this. Follows: KEP-127; user_namespaces(7), ipc_namespaces(7).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from petset.base.user_ids import COUNT
from petset.node import linux

KIND = "user"
IDS_MAX = COUNT - 1
MAKING_SECONDS_MAX = 20.0
RUNTIME = "crun"
NAMESPACES_MAX = Path("/proc/sys/user/max_user_namespaces")


@dataclass(frozen=True, slots=True)
class Users:
    """A pod's own."""

    namespace: str  # Where it is pinned.
    first: int  # The machine's id of its root.


def of(directory: Path, first: int) -> Users | None:
    """Those of a pod whose namespaces are pinned in this directory, by the machine's id of its root; 0: it has none."""
    return Users(str(directory / KIND), first) if first else None


class UserNamespaceError(Exception):
    """Why a namespace cannot be had or set up."""


def lacking(runtime: str) -> str:
    """Why this machine gives no pod users of its own under an OCI runtime of this path, with what to do; or ""."""
    if os.path.basename(runtime) != RUNTIME:
        return f"under {os.path.basename(runtime) or 'no OCI runtime'} petset makes none; install {RUNTIME}"
    if not linux.is_first_user_namespace():
        why = "petset runs without root, and only the machine's root may map the ids of its file systems"
        return f"{why}; run petset with sudo"
    try:
        most = int(NAMESPACES_MAX.read_text())
    except FileNotFoundError:
        most = 0  # A kernel without them.
    return "" if most else "the kernel makes no user namespaces; sysctl user.max_user_namespaces=10000"


def make(directory: Path, kinds: Sequence[str], first: int) -> None:
    """Blocks: new namespaces of these kinds and the user namespace that owns them, pinned at directory/<kind>.

    `first` is the machine's id of its root. Raises UserNamespaceError, OSError.
    """
    flags = [f"--{kind}" for kind in (KIND, *kinds)]
    maker = subprocess.Popen(
        ("unshare", *flags, "--", "sh", "-c", "echo made; exec cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    try:
        assert maker.stdout is not None
        if maker.stdout.readline().strip() == "made":
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{maker.pid}/{name}").write_text(f"0 {first} {COUNT}\n")
            linux.pin((KIND, *kinds), directory, str(maker.pid))
    finally:
        _, said = maker.communicate(timeout=MAKING_SECONDS_MAX)  # Which ends what it reads, and it.
    if maker.returncode != 0:
        raise UserNamespaceError(f"cannot make a user namespace: {_last(said)}")


def set_sysctl(directory: Path, name: str, value: str) -> None:
    """Blocks: one of the IPC namespace that is pinned there, as its root, since nobody else may.

    Raises UserNamespaceError.
    """
    entering = (f"--user={directory / KIND}", f"--ipc={directory / 'ipc'}", "--setuid=0", "--setgid=0")
    done = subprocess.run(
        ("nsenter", *entering, "--", "sh", "-c", 'printf %s "$1" >"$0"', f"/proc/sys/{name.replace('.', '/')}", value),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=MAKING_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise UserNamespaceError(f"cannot set sysctl {name} to {value!r}: {_last(done.stderr)}")


def _last(said: str) -> str:
    return (said.strip().splitlines() or ["no reason is given"])[-1]
