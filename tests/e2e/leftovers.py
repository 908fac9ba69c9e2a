"""What an instance has left on the machine: mounts, interfaces, nftables, cgroups, processes and sockets of its state."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path


def leftovers(state: Path) -> list[str]:
    """Everything on this machine that belongs to the instance of this state directory, in words; [] when nothing does."""
    return [*_mounts(state), *_named(state), *_processes(state)]


def _mounts(state: Path) -> list[str]:
    return [f"mount {line.split()[4]}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(state) in line]


def _named(state: Path) -> list[str]:
    """Bridge, table and cgroup are named in the instance's network plan."""
    try:
        plan = json.loads((state / "network.json").read_text())
    except FileNotFoundError:
        return []
    found = []
    interfaces = os.listdir("/sys/class/net")
    found += [f"interface {name}" for name in interfaces if name == plan["bridge"] or name.startswith(plan["veth_prefix"])]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.split()
    found += [f"nft table {plan['nft_table']}"] if plan["nft_table"] in tables else []
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*/{plan['cgroup_parent']}")]
    return found


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
