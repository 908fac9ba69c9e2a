"""What an instance has left on the machine: mounts, interfaces, nftables, cgroups, processes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from petset.base import networks


def leftovers(state: Path) -> list[str]:
    """Everything on this machine that belongs to the instance of this state directory, in words."""
    return [*_mounts(state), *_named(state), *_processes(state)]


def _mounts(state: Path) -> list[str]:
    return [
        f"mount {line.split()[4]}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if str(state) in line
    ]


def nodes_of(state: Path) -> Sequence[networks.NodePlan]:
    """The names and networks of the instance's nodes, as it remembers them."""
    try:
        plan = networks.plan_of(json.loads((state / "network.json").read_text()))
    except FileNotFoundError:
        return ()
    assert plan is not None
    return plan.nodes


def plan_of(state: Path) -> networks.NodePlan | None:
    """Its first node's."""
    return next(iter(nodes_of(state)), None)


def _named(state: Path) -> list[str]:
    """Everything on the machine that is named after the instance."""
    return [one for plan in nodes_of(state) for one in _named_after(plan)]


def _named_after(plan: networks.NodePlan) -> list[str]:
    interfaces = os.listdir("/sys/class/net")
    found = [f"interface {name}" for name in interfaces if name == plan.bridge or name.startswith(plan.veth_prefix)]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.split()
    found += [f"nft table {table}" for table in tables if table.startswith(plan.table)]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*{plan.cgroup}")]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*/{plan.cgroup[1:]}")]
    return found + ([f"reservation {plan.reservation}"] if plan.reservation.exists() else [])


def _processes(state: Path) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(state) in command:
            found.append(f"process {entry}: {command[:120]}")
    return found
