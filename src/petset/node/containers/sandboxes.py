"""What a pod's sandbox is made of beside its network: which namespaces are its own, their sysctls, and one /dev/shm."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from petset.base import user_ids
from petset.base.networks import NetworkError
from petset.node import linux
from petset.node.containers import records
from petset.node.containers.records import SandboxRecord
from petset.objects import meta
from petset.objects.meta import Object

SHM_BYTES = 64 << 20
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0"}  # A pod's ports are its own: no reason to reserve some.
SYSCTL_PREFIXES = {"net": ("net.",), "ipc": ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")}


def own_namespaces(pod: Object) -> tuple[str, ...]:
    spec = pod["spec"]
    found = () if spec.get("hostNetwork") else ("net", "uts")
    return found if spec.get("hostIPC") else (*found, "ipc")


def has_own_users(pod: Object) -> bool:
    return pod["spec"].get("hostUsers") is False


def sysctls(pod: Object, kinds: Sequence[str]) -> dict[str, str]:
    """The pod's sysctls on top of ours; only those that belong to the pod's own namespaces."""
    wanted = dict(SYSCTLS) if "net" in kinds else {}
    allowed = tuple(prefix for kind in kinds for prefix in SYSCTL_PREFIXES.get(kind, ()))
    for entry in meta.get(pod, "spec", "securityContext", "sysctls", default=()):
        name = entry["name"].replace("/", ".")
        if not name.startswith(allowed):
            raise NetworkError(f"sysctl {name} is not the pod's own: it would change the node")
        wanted[name] = str(entry.get("value", ""))
    return wanted


def make(directory: Path, own_users: bool) -> int:
    """Blocks: its directory, and one /dev/shm for all containers of the pod; the first id of the machine's that its
    users are, 0 where they are the machine's own. Raises OSError, IdsError.
    """
    shm = directory / "shm"
    shm.mkdir(parents=True, exist_ok=True)
    users = user_ids.take(directory) if own_users else 0
    if not os.path.ismount(shm):
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("shm", str(shm), "tmpfs", flags, f"mode=1777,size={SHM_BYTES},uid={users},gid={users}")
    return users


def write_down(directory: Path, files: Mapping[str, str], sandbox: SandboxRecord) -> None:
    """Blocks: the files that its containers see in /etc, and last of all that there is a sandbox."""
    for name, text in files.items():
        (directory / name).write_text(text)
        if sandbox.users:
            os.chown(directory / name, sandbox.users, sandbox.users)
    records.write(directory, sandbox)


def let_go(directory: Path, dead: SandboxRecord | None) -> None:
    """Blocks: what `make` made, and then its record says that it is no more."""
    linux.unmount(str(directory / "shm"))
    if dead is not None:
        records.write(directory, dead)
        if dead.users:
            user_ids.give_back(dead.users, directory)
