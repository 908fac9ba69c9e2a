"""What this machine offers containers, and what petset's own process may hand on to them.

`read` looks once, at the start: architecture, kernel, cgroups, held capabilities, hard limits, memory, the seccomp
profile. bundle.py decides with it. `check` names the first thing without which no container can run, as a sentence.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petset.node import linux, paths
from petset.node.containers import bundle, cgroups, seccomp
from petset.objects import encoding

NOT_DEVICES = ("/dev/pts", "/dev/shm", "/dev/mqueue")
OCI_RUNTIMES = ("crun", "runc")


def held_capabilities(status: str, last: int) -> tuple[str, ...]:
    """The capabilities in a /proc/<pid>/status text: what the process has and its bounding set lets it hand on."""
    masks = {
        line.split(":")[0]: int(line.split()[1], 16)
        for line in status.splitlines()
        if line.startswith(("CapPrm:", "CapBnd:"))
    }
    mask = masks.get("CapPrm", 0) & masks.get("CapBnd", 0)
    return tuple(f"CAP_{name}" for bit, name in enumerate(CAPABILITY_NAMES.split()) if bit <= last and mask >> bit & 1)


# In the order of their numbers.
CAPABILITY_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""


def seccomp_profile() -> str:
    """Where the containers packages' profile is; "" when they are not installed."""
    return next((path for path in seccomp.PROFILE_PATHS if os.path.exists(path)), "")


def read(groups: cgroups.Cgroups) -> bundle.Host:
    kernel = platform.release().split(".")
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    profile = seccomp_profile()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    capabilities = held_capabilities(Path("/proc/self/status").read_text(), last)
    return bundle.Host(
        machine=platform.machine(),
        kernel=(int(kernel[0]), int("".join(c for c in kernel[1] if c.isdigit()) or 0)),
        cgroups=groups.version,
        controllers=groups.controllers,
        capabilities=capabilities,
        open_files_max=bundle.OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else hard,
        oom_score_adj_min=-1000
        if "CAP_SYS_RESOURCE" in capabilities and linux.is_first_user_namespace()
        else int(Path("/proc/self/oom_score_adj").read_text()),
        swap_limits=groups.version == "v2" or groups.has("memory", "memory.memsw.limit_in_bytes"),
        cpu_quota=groups.version == "v2" or groups.has("cpu", "cpu.cfs_quota_us"),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        seccomp_profile=encoding.loads(Path(profile).read_bytes()) if profile else None,
    )


def runtimes() -> dict[str, str]:
    """The paths of the OCI runtimes of this machine, by name; the first is the usual one."""
    return {name: path for name in OCI_RUNTIMES if (path := shutil.which(name))}


def find_runtime() -> str:
    """The path of the OCI runtime; "" when there is none."""
    return next(iter(runtimes().values()), "")


def runtime_version(path: str) -> str:
    """Like crun://1.8.1. Blocks for some milliseconds."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        first = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
        return f"{os.path.basename(path)}://{first.split(chr(10))[0].rpartition(' ')[2]}"
    return f"{os.path.basename(path)}://unknown"


def check() -> str:
    """What is missing to run containers here, with what to do; "" when nothing is."""
    if os.geteuid() != 0:
        return "cannot run containers: petset is not root; run it with sudo"
    if not find_runtime():
        return "cannot run containers: there is no OCI runtime; run `petset setup`, or install crun"
    if not shutil.which("conmon"):
        return "cannot run containers: conmon is not installed; run `petset setup`, or install it"
    return paths.why_not()


def devices() -> list[Mapping[str, Any]]:
    """The host's device files, for privileged containers."""
    found: list[Mapping[str, Any]] = []
    for directory, below, names in os.walk("/dev"):
        below[:] = sorted(name for name in below if os.path.join(directory, name) not in NOT_DEVICES)
        for name in sorted(names):
            path = os.path.join(directory, name)
            info = os.lstat(path)
            kind = "c" if stat.S_ISCHR(info.st_mode) else "b" if stat.S_ISBLK(info.st_mode) else ""
            if kind and path != "/dev/console":
                found.append(
                    {
                        "path": path,
                        "type": kind,
                        "major": os.major(info.st_rdev),
                        "minor": os.minor(info.st_rdev),
                        "fileMode": stat.S_IMODE(info.st_mode),
                        "uid": info.st_uid,
                        "gid": info.st_gid,
                    }
                )
    return found


def node_info(boot_id: str) -> dict[str, str]:
    """This machine, as a node's status.nodeInfo tells of it."""
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "bootID": boot_id,
        "containerRuntimeVersion": runtime_version(find_runtime() or "crun"),
        "kernelVersion": platform.release(),
        "operatingSystem": "linux",
        "osImage": _os_image(),
    }


def _os_image() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return "Linux"
