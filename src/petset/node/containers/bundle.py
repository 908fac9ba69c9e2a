"""The OCI configuration of one container, decided purely: pod, image, user, host facts and places in; config.json out.

`config` puts together the process, the mounts and the Linux section; each is a small function below. What the host
cannot grant (a capability petset itself does not hold, a limit without its cgroup controller) is left out and told as a
Warning, so that the container starts all the same. What contradicts itself raises
RuntimeError_("CreateContainerConfigError").

Network, UTS and IPC namespaces are the sandbox's, joined by path ("" is the host's); PID and mount namespaces are the
container's own, but one of a pod that shares its processes, and an ephemeral one with a target, join another's.
Follows: OCI runtime-spec 1.0; the pages "Configure a Security Context" and "Pod Quality of Service Classes" of the
Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from petset.kinds import quality_of_service
from petset.node import environment
from petset.node.containers import mounting, seccomp
from petset.node.containers.cgroups import CPU_PERIOD_MICROSECONDS, CPU_QUOTA_MICROSECONDS_MIN
from petset.node.containers.users import User
from petset.node.runtime import ContainerConfig, Mount, RuntimeError_, Warning_
from petset.objects import meta, quantity
from petset.objects.meta import Object

DEFAULT_CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

CPU_SHARES_MIN = 2
OPEN_FILES_MAX = 1_048_576
OOM_GUARANTEED, OOM_BEST_EFFORT = -997, 1000


@dataclass(frozen=True, slots=True)
class Host:
    """What this machine offers and petset's own process may hand on."""

    machine: str = "x86_64"
    kernel: tuple[int, int] = (6, 0)
    cgroups: str = "v2"  # v1, v2, hybrid
    controllers: tuple[str, ...] = ("cpu", "memory", "pids")
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    open_files_max: int = OPEN_FILES_MAX
    oom_score_adj_min: int = -1000
    swap_limits: bool = True
    cpu_quota: bool = True
    memory_bytes: int = 1 << 30
    seccomp_profile: Object | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Where on the host this container's parts are; a namespace path of "" is the host's own namespace."""

    rootfs: str
    cgroup: str
    network: str
    uts: str
    ipc: str
    shm: str
    hosts: str
    hostname_file: str
    resolv_conf: str
    termination_log: str
    volumes: str  # Where mounting.py puts the container's mounts, by their number.
    hostname: str
    pid: str = ""  # Of another container, whose processes this one is to see; "" for a namespace of its own.
    users: str = ""


def config(
    wanted: ContainerConfig,
    places: Places,
    user: User,
    host: Host,
    *,
    pids_max: int,
    devices: Sequence[Object] = (),
    localhost_profile: Object | None = None,
    seccomp_default: str = seccomp.UNCONFINED,
) -> tuple[dict[str, Any], list[Warning_]]:
    """config.json and what could not be granted. `devices` are the host's, for privileged containers.

    `pids_max` limits the container's processes and threads; -1 does not.
    """
    warnings: list[Warning_] = []
    own = meta.part(wanted.container, "securityContext")
    privileged = bool(own.get("privileged"))
    held = _capabilities(own, privileged, host, warnings)
    hostpid = bool(meta.get(wanted.pod, "spec", "hostPID"))
    if own.get("seLinuxOptions") or meta.get(wanted.pod, "spec", "securityContext", "seLinuxOptions"):
        warnings.append(
            Warning_(
                "SELinuxNotApplied", "cannot label the container: petset applies no SELinux labels; it runs without"
            )
        )
    namespaces: list[dict[str, str]] = [{"type": "mount"}]
    if not hostpid:
        namespaces.append({"type": "pid", **({"path": places.pid} if places.pid else {})})
    pinned = {"user": places.users, "network": places.network, "uts": places.uts, "ipc": places.ipc}
    for kind, path in pinned.items():
        if path:
            namespaces.append({"type": kind, "path": path})
    if host.cgroups == "v2" and not privileged:
        namespaces.append({"type": "cgroup"})
    linux: dict[str, Any] = {
        "cgroupsPath": places.cgroup,
        "namespaces": namespaces,
        "resources": resources(wanted.container, privileged, host, pids_max, warnings),
        "rootfsPropagation": mounting.of_root(wanted.mounts),
    }
    if privileged:
        linux["devices"] = list(devices)
    elif own.get("procMount") != "Unmasked":
        linux["maskedPaths"] = list(MASKED_PATHS)
        linux["readonlyPaths"] = list(READONLY_PATHS)
    if not privileged:
        profile = seccomp_profile(wanted.pod, own) or {"type": seccomp_default}
        filter_ = _seccomp(profile, held, host, localhost_profile)
        if filter_ is not None:
            linux["seccomp"] = filter_
    return {
        "ociVersion": "1.0.0",
        "process": _process(wanted, places, user, host, own, held, privileged),
        "root": {"path": places.rootfs, "readonly": bool(own.get("readOnlyRootFilesystem"))},
        "mounts": mounts(wanted, places, privileged, bool(own.get("readOnlyRootFilesystem"))),
        "linux": linux,
        "annotations": {
            "io.kubernetes.pod.namespace": meta.namespace(wanted.pod),
            "io.kubernetes.pod.name": meta.name(wanted.pod),
            "io.kubernetes.pod.uid": wanted.pod_uid,
            "io.kubernetes.container.name": wanted.name,
        },
    }, warnings


# ---- the process


def _process(
    wanted: ContainerConfig,
    places: Places,
    user: User,
    host: Host,
    own: Object,
    held: Sequence[str],
    privileged: bool,
) -> dict[str, Any]:
    if not wanted.command:
        raise RuntimeError_(
            "CreateContainerConfigError", f"no command: neither container {wanted.name} nor its image names one"
        )
    tty = bool(wanted.container.get("tty"))
    env = environment.with_image(dict(wanted.env), wanted.image, places.hostname, tty)
    return {
        "terminal": tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": list(wanted.command),
        "env": [f"{name}={value}" for name, value in env.items()],
        "cwd": wanted.working_dir or wanted.image.working_dir or "/",
        "capabilities": {kind: list(held) for kind in ("bounding", "effective", "permitted")},
        "rlimits": [
            {
                "type": "RLIMIT_NOFILE",
                "soft": min(OPEN_FILES_MAX, host.open_files_max),
                "hard": min(OPEN_FILES_MAX, host.open_files_max),
            }
        ],
        "noNewPrivileges": own.get("allowPrivilegeEscalation") is False and not privileged,
        "oomScoreAdj": max(oom_score_adj(wanted.pod, wanted.container, host.memory_bytes), host.oom_score_adj_min),
    }


def _capabilities(own: Object, privileged: bool, host: Host, warnings: list[Warning_]) -> list[str]:
    if privileged:
        return list(host.capabilities)
    add = [_capability(name) for name in meta.texts(own, "capabilities", "add")]
    drop = [_capability(name) for name in meta.texts(own, "capabilities", "drop")]
    wanted = [] if "CAP_ALL" in drop else [name for name in DEFAULT_CAPABILITIES if name not in drop]
    if "CAP_ALL" in add:
        wanted = [name for name in host.capabilities if name not in drop]
    wanted += [name for name in add if name != "CAP_ALL" and name not in wanted]
    lacking = [name for name in wanted if name not in host.capabilities]
    if asked_lacking := [name for name in lacking if name in add]:
        warnings.append(
            Warning_("CapabilityNotGranted", f"cannot add {', '.join(asked_lacking)}: petset itself does not hold it")
        )
    return [name for name in wanted if name not in lacking]


def _capability(name: str) -> str:
    name = name.upper()
    return name if name.startswith("CAP_") else f"CAP_{name}"


def oom_score_adj(pod: Object, container: Object, memory_bytes: int) -> int:
    """By quality of service; a burstable container's score falls with the share of memory it requests."""
    quality = meta.get(pod, "status", "qosClass") or quality_of_service.of(pod)
    if quality == "Guaranteed":
        return OOM_GUARANTEED
    if quality == "BestEffort":
        return OOM_BEST_EFFORT
    limits, requests = (meta.part(container, "resources", kind) for kind in ("limits", "requests"))
    text = requests.get("memory") or limits.get("memory") or "0"
    return min(max(1000 - 1000 * quantity.to_bytes(str(text)) // max(memory_bytes, 1), 3), 999)


# ---- limits


def resources(
    container: Object, privileged: bool, host: Host, pids_max: int, warnings: list[Warning_]
) -> dict[str, Any]:
    """OCI resources in the version 1 form, which the runtime translates for version 2."""
    limits, requests = (meta.part(container, "resources", kind) for kind in ("limits", "requests"))
    result: dict[str, Any] = {"devices": [{"allow": privileged, "access": "rwm"}]}

    def lacking(what: str, controller: str) -> None:
        warnings.append(
            Warning_("LimitNotApplied", f"cannot apply {what}: this machine has no {controller} cgroup controller")
        )

    if memory := quantity.to_bytes(str(limits.get("memory", "0"))):
        if "memory" not in host.controllers:
            lacking("the memory limit", "memory")
        else:
            result["memory"] = {"limit": memory, **({"swap": memory} if host.swap_limits else {})}
    cpu_limit = quantity.to_milli(str(limits.get("cpu", "0")))
    cpu_request = quantity.to_milli(str(requests.get("cpu", limits.get("cpu", "0"))))
    if "cpu" in host.controllers:
        result["cpu"] = {"shares": max(CPU_SHARES_MIN, cpu_request * 1024 // 1000)}
        if cpu_limit and host.cpu_quota:
            quota = max(CPU_QUOTA_MICROSECONDS_MIN, cpu_limit * CPU_PERIOD_MICROSECONDS // 1000)
            result["cpu"].update(quota=quota, period=CPU_PERIOD_MICROSECONDS)
    if cpu_limit and not ("cpu" in host.controllers and host.cpu_quota):
        lacking("the CPU limit", "cpu")
    if "pids" in host.controllers and pids_max > 0:
        result["pids"] = {"limit": pids_max}
    return result


# ---- mounts


def mounts(wanted: ContainerConfig, places: Places, privileged: bool, read_only_root: bool) -> list[dict[str, Any]]:
    """The usual file systems, then the pod's own files and the container's mounts, outer ones first."""
    sys_mode = "rw" if privileged else "ro"
    host_network = not places.network
    given = {_normal(mount.target) for mount in wanted.mounts}
    # A new sysfs shows the devices of its network namespace; the host's own cannot be mounted anew by every runtime.
    sys = (
        _bind("/sys", "/sys", sys_mode, "nosuid", "noexec", "nodev")
        if host_network
        else _special("/sys", "sysfs", "nosuid", "noexec", "nodev", sys_mode)
    )
    found = [
        _special("/proc", "proc", "nosuid", "noexec", "nodev"),
        _special("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _special("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        _special("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        sys,
        _special("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", sys_mode),
        _bind(places.shm, "/dev/shm", "rw", "nosuid", "nodev", "noexec"),
    ]
    file_mode = "ro" if read_only_root else "rw"
    files = [
        _bind(places.hosts, "/etc/hosts", file_mode),
        _bind(places.hostname_file, "/etc/hostname", file_mode),
        _bind(places.resolv_conf, "/etc/resolv.conf", file_mode),
        _bind(places.termination_log, _normal(wanted.termination_message_path), "rw"),
    ]
    found, files = ([one for one in some if one["destination"] not in given] for some in (found, files))
    files += [_volume(mount, mounting.place(places.volumes, number)) for number, mount in enumerate(wanted.mounts)]
    return found + sorted(files, key=lambda one: one["destination"].count("/"))


def _volume(mount: Mount, source: str) -> dict[str, Any]:
    mode = "rro" if mount.recursive else "ro" if mount.read_only else "rw"
    if mount.kind == "tmpfs":
        size = [f"size={mount.size_bytes}"] if mount.size_bytes else []
        return _special(_normal(mount.target), "tmpfs", "nosuid", "nodev", "mode=1777", mode, *size, source="tmpfs")
    return {
        "destination": _normal(mount.target),
        "type": "bind",
        "source": source,
        "options": ["rbind", mounting.KERNEL[mount.propagation].option, mode, *mount.options],
    }


def _special(target: str, kind: str, *options: str, source: str = "") -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source or kind, "options": list(options)}


def _bind(source: str, target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": ["rbind", "rprivate", *options]}


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


# ---- seccomp


def _seccomp(
    profile: Object, held: Collection[str], host: Host, localhost_profile: Object | None
) -> dict[str, Any] | None:
    kind = profile.get("type", seccomp.UNCONFINED)
    if kind == seccomp.RUNTIME_DEFAULT:
        if host.seccomp_profile is None:
            raise RuntimeError_(
                "CreateContainerConfigError",
                f"cannot use seccompProfile RuntimeDefault: there is no {seccomp.PROFILE_PATHS[0]}; "
                "install golang-github-containers-common",
            )
        return seccomp.convert(host.seccomp_profile, host.machine, held, host.kernel)
    if kind == "Localhost":
        if localhost_profile is None:
            raise RuntimeError_(
                "CreateContainerConfigError",
                f"cannot use seccompProfile Localhost: there is no {profile.get('localhostProfile', '')!r} "
                "in the state directory's seccomp/",
            )
        return seccomp.convert(localhost_profile, host.machine, held, host.kernel)
    return None


def seccomp_profile(pod: Object, own: Object) -> Object:
    """The profile that a container with this security context asks for; {} when it asks for none."""
    return own.get("seccompProfile") or meta.get(pod, "spec", "securityContext", "seccompProfile", default={})
