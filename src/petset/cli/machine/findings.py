"""What `petset doctor` finds in the picture of a machine: good, worth knowing, or to be mended; pure.

`CHECKS` is the table: each check reads the picture and tells what it found, and what to do where that is not good.
"fail" is said of what keeps containers from running as they should, "warn" of what somebody will miss one day. Of a
user who is not root only a simulated cluster is asked: what only containers need is no failure then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

OK, WARN, FAIL = "ok", "warn", "fail"

KERNEL_MIN = (5, 6)  # openat2
CONTROLLERS = ("cpu", "memory", "pids")
CAPABILITIES = (
    *("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_MKNOD"),
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SYS_PTRACE"),
)
CAPABILITIES_WISHED = ("CAP_SYS_RESOURCE",)
FREE_BYTES_MIN, FREE_BYTES_WISHED = 1 << 30, 5 << 30
FSYNC_SECONDS_WISHED = 0.02
OPEN_FILES_MIN, OPEN_FILES_WISHED = 4096, 65536
PROCESSES_WISHED = 32768
MEMLOCK_BYTES_WISHED = 64 << 20
INOTIFY_WISHED = 256
UNLIMITED = -1
RELEASED = 1_764_201_600  # 2025-11-27: no clock that is right is before that.


@dataclass(frozen=True, slots=True)
class Finding:
    area: str
    state: str  # ok, warn, fail
    found: str
    to_do: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """What was seen of a machine. What only root can see is None where petset is not."""

    is_root: bool
    rootless_lacks: Sequence[str] = ()  # Why containers cannot run without root, with what to do.
    closed_off: str = ""  # Why pods would reach nothing outside then; "" when they do.
    kernel: str = ""
    openat2: str = ""  # Why not; "" when the kernel has it.
    cgroups: str = "v2"  # v1, v2, hybrid, none
    controllers: Sequence[str] = ()
    programs: Mapping[str, str] = field(default_factory=dict[str, str])  # Its version by name; "" when it is missing.
    seccomp: bool = False
    links: Mapping[str, str] | None = None  # By kind (bridge, veth, tun): why none can be made; "" when one can.
    nft: str | None = None  # Why the kernel takes no rules; "" when it does.
    directory: str = ""  # The state directory, or what of its path is there.
    file_system: str = ""
    free_bytes: int = 0
    total_bytes: int = 0
    fsync_seconds: float | None = None
    overlay: str | None = None  # Why it holds no overlay; "" when it does.
    ports_free: int = 0  # Of those that the API may have.
    port_taken: int = 0  # The one that the instance had, when somebody else has it now.
    runs: bool = False
    clock: float = 0.0
    clock_synchronized: bool | None = None
    certificate_starts: float = 0.0  # Of the instance's authority; 0 when it has none.
    open_files_max: int = UNLIMITED
    memlock_bytes_max: int = UNLIMITED
    processes_max: int = UNLIMITED
    inotify_instances_max: int = UNLIMITED
    capabilities: Sequence[str] = ()
    resolvers: Mapping[str, bool] = field(default_factory=dict[str, bool])  # Whether each answered.


def findings(picture: Picture) -> list[Finding]:
    """All of them, in the order of the table."""
    return [found for check in CHECKS for found in check(picture)]


def worst(found: Iterable[Finding]) -> str:
    states = [one.state for one in found]
    return next((state for state in (FAIL, WARN) if state in states), OK)


def _user(seen: Picture) -> Iterable[Finding]:
    if seen.is_root:
        yield Finding("user", OK, "root")
    else:
        for why in seen.rootless_lacks:
            what, _, to_do = why.partition("; ")
            yield Finding("user", WARN, f"not root, and {what}: only simulated clusters run", f"{to_do}, or use sudo")
        if not seen.rootless_lacks:
            yield Finding("user", OK, "not root: containers run in a user namespace, and their limits do not hold")
        if seen.closed_off and not seen.rootless_lacks:
            what, _, to_do = seen.closed_off.partition("; ")
            yield Finding("user", WARN, f"pods reach nothing outside of this machine: {what}", to_do)


def _kernel(seen: Picture) -> Iterable[Finding]:
    if seen.openat2:
        least = ".".join(map(str, KERNEL_MIN))
        yield Finding("kernel", FAIL, f"Linux {seen.kernel}: {seen.openat2}", f"use Linux {least} or later")
    else:
        yield Finding("kernel", OK, f"Linux {seen.kernel}")


def _cgroups(seen: Picture) -> Iterable[Finding]:
    if seen.cgroups == "none":
        yield Finding("cgroups", FAIL, "none are mounted", "mount cgroup2 at /sys/fs/cgroup")
        return
    told = f"{seen.cgroups}, with {', '.join(sorted(seen.controllers)) or 'no controllers'}"
    if lacks := [name for name in CONTROLLERS if name not in seen.controllers]:
        what = f"{told}; {', '.join(lacks)} missing: such limits of containers do not hold"
        yield Finding("cgroups", FAIL, what, "boot without cgroup_disable=, and enable them for the group petset is in")
    elif seen.cgroups == "hybrid":
        yield Finding("cgroups", OK, f"{told}; petset hides the empty version 2 tree from crun")
    else:
        yield Finding("cgroups", OK, told)


def _programs(seen: Picture) -> Iterable[Finding]:
    runtimes = [name for name in ("crun", "runc") if seen.programs.get(name)]
    if runtimes:
        yield Finding("runtime", OK, f"{runtimes[0]} {seen.programs[runtimes[0]]}")
    else:
        yield Finding("runtime", _of_containers(seen), "neither crun nor runc is installed", "run `petset setup`")
    for name, version in seen.programs.items():
        if name in ("crun", "runc"):
            continue
        if version:
            yield Finding(name, OK, version)
        else:
            only_builds = name == "mmdebstrap"
            what = "not installed" + (": no images can be built here" if only_builds else "")
            yield Finding(name, WARN if only_builds else _of_containers(seen), what, "run `petset setup`")
    if not seen.seccomp:
        yield Finding("seccomp", WARN, "no profile RuntimeDefault is installed", "run `petset setup`")


def _of_containers(seen: Picture) -> str:
    return FAIL if seen.is_root else WARN


def _network(seen: Picture) -> Iterable[Finding]:
    for kind, why in (seen.links or {}).items():
        if why:
            yield Finding("network", FAIL if kind != "tun" else WARN, f"no {kind}: {why}", f"load it: modprobe {kind}")
        else:
            yield Finding("network", OK, f"{kind} can be made")
    if seen.nft:
        yield Finding("network", FAIL, f"nftables: {seen.nft}", "load it: modprobe nf_tables nf_nat")
    elif seen.nft is not None:
        yield Finding("network", OK, "nftables takes rules")


def _disk(seen: Picture) -> Iterable[Finding]:
    free = f"{seen.directory}: {seen.free_bytes / 1e9:.1f} of {seen.total_bytes / 1e9:.1f} GB free ({seen.file_system})"
    if seen.free_bytes < FREE_BYTES_MIN:
        yield Finding("disk", FAIL, free, "free some space, or name another directory with --state")
    elif seen.free_bytes < FREE_BYTES_WISHED:
        yield Finding("disk", WARN, free, "free some space: images and volumes need it")
    else:
        yield Finding("disk", OK, free)
    if seen.fsync_seconds is not None:
        told = f"a write is on the disk after {seen.fsync_seconds * 1000:.1f} ms"
        if seen.fsync_seconds > FSYNC_SECONDS_WISHED:
            yield Finding("disk", WARN, told, "each change of an object waits so long: use a faster disk for --state")
        else:
            yield Finding("disk", OK, told)
    if seen.overlay:
        to_do = "use ext4 or xfs for the state directory (--state)"
        yield Finding("disk", FAIL, f"it holds no overlay of a container: {seen.overlay}", to_do)
    elif seen.overlay is not None:
        yield Finding("disk", OK, "it holds the overlays of containers")


def _ports(seen: Picture) -> Iterable[Finding]:
    if seen.port_taken:
        what = f"the API's port {seen.port_taken} has somebody else now: clients that know it will miss it"
        yield Finding("ports", WARN, what, f"free it (ss -tlnp sport = :{seen.port_taken})")
    elif not seen.ports_free and not seen.runs:
        yield Finding("ports", FAIL, "no port is free for the API", "name one with up --api-port")
    else:
        yield Finding("ports", OK, "the API runs" if seen.runs else f"{seen.ports_free} are free for the API")


def _clock(seen: Picture) -> Iterable[Finding]:
    if seen.clock < max(RELEASED, seen.certificate_starts):
        what = (
            "it is before the time that petset's certificates begin" if seen.certificate_starts else "it is far behind"
        )
        yield Finding("clock", FAIL, what, "set it: certificates and tokens hold from a time on")
    elif seen.clock_synchronized is False:
        yield Finding("clock", WARN, "the kernel says that nobody keeps it right", "run chrony or systemd-timesyncd")
    else:
        yield Finding("clock", OK, "right, as far as can be seen")


def _limits(seen: Picture) -> Iterable[Finding]:
    for name, value, least, wished, to_do in (
        ("open files", seen.open_files_max, OPEN_FILES_MIN, OPEN_FILES_WISHED, "raise LimitNOFILE, or ulimit -Hn"),
        ("locked memory", seen.memlock_bytes_max, 0, MEMLOCK_BYTES_WISHED, "raise LimitMEMLOCK, or ulimit -Hl"),
        ("processes", seen.processes_max, 1024, PROCESSES_WISHED, "raise TasksMax, or sysctl kernel.pid_max"),
        ("inotify", seen.inotify_instances_max, 16, INOTIFY_WISHED, "raise sysctl fs.inotify.max_user_instances"),
    ):
        if value == UNLIMITED or value >= wished:
            yield Finding("limits", OK, f"{name}: {'unlimited' if value == UNLIMITED else value}")
        else:
            yield Finding("limits", FAIL if value < least else WARN, f"{name}: only {value}", to_do)


def _capabilities(seen: Picture) -> Iterable[Finding]:
    if not seen.is_root:
        return
    lacks = [name for name in CAPABILITIES if name not in seen.capabilities]
    wished = [name for name in CAPABILITIES_WISHED if name not in seen.capabilities]
    if lacks:
        what = f"this root lacks {', '.join(lacks)}"
        yield Finding("capabilities", FAIL, what, "run petset where it may have them (a privileged container, a VM)")
    elif wished:
        what = f"this root lacks {', '.join(wished)}: containers cannot have higher limits than petset"
        yield Finding("capabilities", WARN, what, "raise the hard limits of petset itself")
    else:
        yield Finding("capabilities", OK, "all that containers need")


def _dns(seen: Picture) -> Iterable[Finding]:
    silent = [address for address, answered in seen.resolvers.items() if not answered]
    if not seen.resolvers:
        to_do = "name one in /etc/resolv.conf, if pods are to know names outside of the cluster"
        yield Finding("dns", WARN, "no resolver: only names of the cluster are answered", to_do)
    elif len(silent) == len(seen.resolvers):
        yield Finding("dns", WARN, f"{', '.join(silent)} does not answer", "look at /etc/resolv.conf and the network")
    elif silent:
        yield Finding("dns", WARN, f"{', '.join(silent)} does not answer; others do", "take it out of /etc/resolv.conf")
    else:
        yield Finding("dns", OK, f"{', '.join(seen.resolvers)} answers")


CHECKS: tuple[Callable[[Picture], Iterable[Finding]], ...] = (
    *(_user, _kernel, _cgroups, _capabilities, _limits),
    *(_programs, _network, _disk, _ports, _clock, _dns),
)
