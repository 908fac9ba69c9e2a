"""The first process of a pod whose containers share their processes (shareProcessNamespace), which does nothing.

A PID namespace lives as long as its first process; a container's own would take the others with it. So the pod has one
more, under the OCI runtime like any container, as nobody, without capabilities and with a root of its own in which
there is nothing else: a program of a few instructions that ignores SIGCHLD, so that the kernel buries whatever its
orphans were, and then waits for ever. `start` makes it, `stop` takes away what the runtime knows of it.
Follows: "Share Process Namespace between Containers in a Pod" of the Kubernetes documentation; elf(5), rt_sigaction(2).
"""

from __future__ import annotations

import contextlib
import platform
import struct
from pathlib import Path
from typing import Any

from petset.node import linux, user_namespaces
from petset.node.containers import mounting
from petset.node.containers.attempts import VOLUMES, Tools
from petset.node.linux import Process
from petset.node.runtime import RuntimeError_
from petset.node.user_namespaces import Users
from petset.objects import encoding

NAME = "pause"
USER = 65535
OOM_SCORE_ADJ = -998  # As a kubelet has it for its own.
_BASE, _HEADERS = 0x400000, 64 + 56

# For x86-64, after the label of the system call that each asks for.
_CODE = b"".join(
    (
        b"\xb8\x0d\x00\x00\x00",  # rt_sigaction:
        b"\xbf\x11\x00\x00\x00",  # SIGCHLD,
        b"\x48\x8d\x35\x13\x00\x00\x00",  # what stands behind this code,
        b"\x31\xd2",  # and nothing is asked of what was before.
        b"\x41\xba\x08\x00\x00\x00",
        b"\x0f\x05",
        b"\xb8\x22\x00\x00\x00",  # pause,
        b"\x0f\x05",
        b"\xeb\xf7",  # again and again.
    )
)
_IGNORE = struct.pack("<QQQQ", 1, 0, 0, 0)  # SIG_IGN, no flags, no restorer, no mask.


def program() -> bytes:
    """The executable, in the form of elf(5): one segment with everything."""
    size = _HEADERS + len(_CODE) + len(_IGNORE)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identity + header + segment + _CODE + _IGNORE


def _id(pod_uid: str) -> str:
    return f"{NAME}-{pod_uid}"


def start(tools: Tools, directory: Path, pod_uid: str, group: str, oom_score_adj: int, users: int = 0) -> Process:
    """Blocks: the process, in the pod's cgroup `group`, and in its user namespace where `users` are its own.

    Raises RuntimeError_, OSError.
    """
    if platform.machine() != "x86_64":
        why = f"cannot share the process namespace of containers on {platform.machine()}"
        raise RuntimeError_("FailedCreatePodSandBox", why)
    stop(tools, pod_uid)
    bundle = directory / NAME
    root = bundle / "rootfs"
    for name in ("proc", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    executable = root / NAME
    executable.write_bytes(program())
    executable.chmod(0o755)
    own = user_namespaces.of(directory, users)
    config = _config(f"{group}/{NAME}", oom_score_adj, mounting.found_at(root, own), own)
    (bundle / "config.json").write_bytes(encoding.dumps(config))
    words = ("run", "--detach", f"--bundle={bundle}", f"--pid-file={bundle}/pid", _id(pod_uid))
    said = bundle / "said"
    with mounting.prepared(bundle / VOLUMES, (), tools.hidden, own, [root]) as entering:
        started = tools.run_detached(*words, entering=entering, said=said)
    if not started:
        why = said.read_text(errors="replace").strip().splitlines()[-1:] or ["the OCI runtime gave no reason"]
        raise RuntimeError_("FailedCreatePodSandBox", f"cannot make the pod's first process: {why[0]}")
    process = linux.process(int((bundle / "pid").read_text()))
    if process is None:
        raise RuntimeError_("FailedCreatePodSandBox", "cannot make the pod's first process: it has ended")
    return process


def stop(tools: Tools, pod_uid: str) -> None:
    """Blocks: end it, if it is there, and have the runtime forget it."""
    if (Path(tools.root) / _id(pod_uid)).is_dir():
        with contextlib.suppress(OSError):
            tools.run("delete", "--force", _id(pod_uid))


def _config(group: str, oom_score_adj: int, root: str, own: Users | None) -> dict[str, Any]:
    none: list[str] = []
    users = [{"type": user_namespaces.KIND, "path": own.namespace}] if own else []
    proc = {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}
    devices = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "size=64k"]}
    return {
        "ociVersion": "1.0.0",
        "process": {
            "terminal": False,
            "user": {"uid": USER, "gid": USER},
            "args": [f"/{NAME}"],
            "env": none,
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), none),
            "noNewPrivileges": True,
            "oomScoreAdj": oom_score_adj,
        },
        "root": {"path": root, "readonly": True},
        "mounts": [proc, devices],
        "linux": {"cgroupsPath": group, "namespaces": [*users, {"type": "mount"}, {"type": "pid"}]},
    }
