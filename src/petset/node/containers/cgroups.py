"""Cgroups of one instance: which version this machine has, OOM kills, and taking the groups away at the end.

All containers of an instance are below one parent, /petset_<instance>/pod<uid>/<container id>, in every hierarchy.
The OCI runtime makes the groups and sets the limits of containers; petset weighs the pods against each other by what
they request, limits those that say what they may have as a whole, reads, and removes. petset itself and the runtime's
programs stay outside of that parent, so that all pods together, however busy, are one neighbour to them. Version 1,
version 2 and hybrid (version 1 with an empty version 2 tree at /sys/fs/cgroup/unified) all occur. crun refuses hybrid
when it creates a container, so the unified tree is taken away in the mount namespace where it does (mounting.py).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from petset.node.runtime import Usage

ROOT = "/sys/fs/cgroup"
REMOVE_ATTEMPTS_MAX = 50
SHARES_MIN, SHARES_MAX = 2, 262_144
CPU_PERIOD_MICROSECONDS, CPU_QUOTA_MICROSECONDS_MIN = 100_000, 1_000


@dataclass(frozen=True, slots=True)
class Cgroups:
    """`hierarchies` maps a controller (or "unified", "name=systemd") to where it is mounted."""

    version: str  # v1, v2, hybrid, none
    hierarchies: dict[str, str]

    @property
    def controllers(self) -> tuple[str, ...]:
        if self.version == "v2":
            with contextlib.suppress(OSError):
                return tuple(Path(self.hierarchies["unified"], "cgroup.controllers").read_text().split())
            return ()
        return tuple(name for name in self.hierarchies if name != "unified" and not name.startswith("name="))

    def roots(self) -> list[str]:
        return list(dict.fromkeys(self.hierarchies.values()))

    def has(self, controller: str, file: str) -> bool:
        """Whether a control file exists in a group below the root (version 1: also in the root)."""
        place = self.hierarchies.get(controller)
        return place is not None and os.path.exists(os.path.join(place, file))


def detect(mountinfo: str | None = None) -> Cgroups:
    """From the mount table; a mount that a later one covers is not there."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    hierarchies: dict[str, str] = {}
    unified = ""
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        target, kind, options = head.split(" ")[4], tail.split(" ")[0], tail.split(" ")[-1].split(",")
        hierarchies = {name: at for name, at in hierarchies.items() if not f"{at}/".startswith(f"{target}/")}
        unified = "" if f"{unified}/".startswith(f"{target}/") else unified
        if kind == "cgroup2":
            unified = target
        elif kind == "cgroup":
            for option in options:
                if option.startswith("name=") or option not in ("rw", "ro", "xattr", "clone_children", "nsdelegate"):
                    hierarchies[option] = target
    if unified == ROOT:
        return Cgroups("v2", {"unified": unified})
    if not hierarchies:
        return Cgroups("none", {"unified": unified} if unified else {})
    return Cgroups("hybrid" if unified else "v1", {**hierarchies, **({"unified": unified} if unified else {})})


def hidden_at_creation(runtime: str, cgroups: Cgroups) -> str:
    """The mount that must not be there where this runtime creates a container; "" for none."""
    return cgroups.hierarchies["unified"] if cgroups.version == "hybrid" and runtime.endswith("/crun") else ""


def oom_kills(cgroups: Cgroups, group: str) -> int:
    """How many processes of a group the kernel has killed for memory; 0 when the group is gone."""
    if cgroups.version == "v2":
        path = f"{cgroups.hierarchies['unified']}{group}/memory.events"
    else:
        path = f"{cgroups.hierarchies.get('memory', '')}{group}/memory.oom_control"
    with contextlib.suppress(OSError, ValueError):
        for line in Path(path).read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


def used(cgroups: Cgroups, group: str) -> Usage:
    """What a group has used and uses, as the kernel counts it; of a file that is not there nothing."""
    if cgroups.version == "v2":
        place = cgroups.hierarchies["unified"] + group
        cpu_seconds = _pairs(f"{place}/cpu.stat").get("usage_usec", 0) / 1e6
        memory, stat = _number(f"{place}/memory.current"), _pairs(f"{place}/memory.stat")
        inactive, rss, cache = stat.get("inactive_file", 0), stat.get("anon", 0), stat.get("file", 0)
        number = _number(f"{place}/pids.current")
    else:
        cpu_seconds = _number(f"{cgroups.hierarchies.get('cpuacct', '')}{group}/cpuacct.usage") / 1e9
        place = cgroups.hierarchies.get("memory", "") + group
        memory, stat = _number(f"{place}/memory.usage_in_bytes"), _pairs(f"{place}/memory.stat")
        inactive, rss, cache = (stat.get(f"total_{name}", 0) for name in ("inactive_file", "rss", "cache"))
        number = _number(f"{cgroups.hierarchies.get('pids', '')}{group}/pids.current")
    return Usage(cpu_seconds, memory, max(0, memory - inactive), rss, cache, number)


def of_machine(proc: str = "/proc") -> tuple[Usage, int]:
    """What the whole machine uses, and how much memory it has."""
    total = available = cached = anonymous = 0
    seconds = 0.0
    with contextlib.suppress(OSError, ValueError):
        user, nice, system, _, _, interrupts, soft, *_ = Path(proc, "stat").read_text().split("\n", 1)[0].split()[1:]
        seconds = sum(map(int, (user, nice, system, interrupts, soft))) / os.sysconf("SC_CLK_TCK")
    with contextlib.suppress(OSError):
        found = _pairs(f"{proc}/meminfo")
        total, available, cached, anonymous = (
            1024 * found.get(f"{name}:", 0) for name in ("MemTotal", "MemAvailable", "Cached", "AnonPages")
        )
    in_use = max(0, total - available)
    return Usage(seconds, in_use + cached, in_use, anonymous, cached), total


def _number(path: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(path).read_text())
    return 0


def _pairs(path: str) -> dict[str, int]:
    """A file of lines "name number", with a unit or without."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            name, _, rest = line.partition(" ")
            value = rest.split()[:1]
            if value and value[0].isdigit():
                found[name] = int(value[0])
    return found


def processes(cgroups: Cgroups, group: str) -> list[int]:
    """The ids of all processes in a group and below."""
    found: list[int] = []
    for root in cgroups.roots():
        for directory, _, _ in os.walk(root + group):
            with contextlib.suppress(OSError):
                found += [int(line) for line in Path(directory, "cgroup.procs").read_text().split()]
    return sorted(dict.fromkeys(found))


def remove(cgroups: Cgroups, group: str) -> None:
    """Kill what is left in a group and remove it with all below it, in every hierarchy. Blocks for milliseconds."""
    for attempt in range(REMOVE_ATTEMPTS_MAX):
        left = [root for root in cgroups.roots() if os.path.isdir(root + group) and not _remove_tree(root + group)]
        if not left:
            return
        for pid in processes(cgroups, group):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _let_processes_end(attempt)
    raise OSError(16, "processes do not end", group)


def _remove_tree(path: str) -> bool:
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _let_processes_end(attempt: int) -> None:
    """A killed process leaves its group a moment later, and no event tells."""
    select.select([], [], [], min(0.002 * 2**attempt, 0.1))


def of_pod(node: str, pod_uid: str) -> str:
    """The name of a pod's group below the node's."""
    return f"{node}/pod{pod_uid}"


def weigh(cgroups: Cgroups, group: str, shares: int) -> None:
    """How much of a busy CPU a group gets beside its neighbours; `shares` as version 1 counts them, 1024 a CPU."""
    if cgroups.version == "v2":
        file, value = f"{cgroups.hierarchies['unified']}{group}/cpu.weight", weight_of(shares)
    elif "cpu" in cgroups.hierarchies:
        file, value = f"{cgroups.hierarchies['cpu']}{group}/cpu.shares", max(SHARES_MIN, shares)
    else:
        return
    with contextlib.suppress(OSError):  # Without the controller, or the right to it, nothing is shared out.
        Path(file).write_text(str(value))


def limit(cgroups: Cgroups, group: str, memory_bytes: int, cpu_milli: int) -> list[str]:
    """What all of a group may have together; 0 is no limit. The names of those that the machine cannot keep."""
    wanted: list[tuple[str, str, str, str, str]] = []
    quota = max(CPU_QUOTA_MICROSECONDS_MIN, cpu_milli * CPU_PERIOD_MICROSECONDS // 1000)
    if memory_bytes:
        wanted.append(("memory", "memory.max", str(memory_bytes), "memory.limit_in_bytes", str(memory_bytes)))
    if cpu_milli:
        wanted.append(("CPU", "cpu.max", f"{quota} {CPU_PERIOD_MICROSECONDS}", "cpu.cfs_quota_us", str(quota)))
    lacking: list[str] = []
    for name, file, value, old_file, old_value in wanted:
        if cgroups.version == "v2":
            path, text = f"{cgroups.hierarchies['unified']}{group}/{file}", value
        else:
            path, text = f"{cgroups.hierarchies.get(name.lower(), '')}{group}/{old_file}", old_value
        try:
            Path(path).write_text(text)
        except OSError:
            lacking.append(name)
    return lacking


def weight_of(shares: int) -> int:
    """Version 2's 1 to 10,000 for version 1's 2 to 262,144, as the runtimes translate it."""
    return 1 + (min(max(shares, SHARES_MIN), SHARES_MAX) - SHARES_MIN) * 9999 // (SHARES_MAX - SHARES_MIN)


def place_supervisor(cgroups: Cgroups, group: str, pid: int) -> None:
    """Move a conmon out of the groups that a service manager would kill together with petset."""
    for name in ("name=systemd", "unified"):
        if root := cgroups.hierarchies.get(name):
            with contextlib.suppress(OSError):
                os.makedirs(root + group, exist_ok=True)
                Path(root + group, "cgroup.procs").write_text(str(pid))
    weigh(cgroups, group, SHARES_MAX)  # A conmon needs little, and at once: it carries a container's output and end.
