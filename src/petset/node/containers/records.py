"""What the runtime writes down about a sandbox and a container, so that the next petset finds them again.

A record is a small JSON file in the directory of its sandbox or container attempt, replaced whole; it is written before
and after every step that a crash could separate. `place` is where an attempt lives:
<state>/pods/<pod uid>/containers/<name>/<attempt>/. Records of another boot of the machine speak of nothing alive.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from petset.base import state
from petset.kinds.requests import HostPort
from petset.node.linux import Process
from petset.node.runtime import Container, ContainerState, Sandbox
from petset.objects import encoding
from petset.objects.meta import Object

FILE = "record.json"


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    pod_uid: str
    pod_name: str
    namespace: str
    hostname: str
    ip: str
    created_at: float
    boot_id: str  # "" once it was let go.
    kinds: tuple[str, ...]  # The namespaces of its own.
    attempt: int = 0
    ports: tuple[HostPort, ...] = ()  # Of this machine, that lead to it.
    handler: str = ""  # The OCI runtime of its containers; "" for the node's usual one.
    pause: Process | None = None  # The first process of the PID namespace that its containers share.
    users: int = 0  # The machine's id of its root, where its users are its own; 0: they are the machine's.

    def seen(self, alive: bool) -> Sandbox:
        return Sandbox(self.pod_uid, self.pod_name, self.namespace, self.ip, self.created_at, alive, self.attempt)


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One attempt; `state` goes created -> running -> exited."""

    pod_uid: str
    name: str
    attempt: int
    id: str
    state: ContainerState
    image: str
    image_digest: str
    spec_hash: str
    group: str  # Its cgroup.
    log_path: str
    stop_signal: str
    boot_id: str
    created_at: float
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    termination_policy: str = "File"
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int | None = None
    oom_killed: bool = False
    message: str = ""
    conmon: Process | None = None
    process: Process | None = None
    user: tuple[int, ...] = ()  # uid, gid, supplementary groups.
    handler: str = ""  # The OCI runtime that made it; "" for the node's usual one.
    images: tuple[str, ...] = ()  # Of its volumes, by digest: they stay as long as it may.
    users: int = 0  # As its sandbox's.
    resources: dict[str, Any] | None = None  # Of CPU and memory, as its spec said; None in those of an older petset.

    def seen(self) -> Container:
        return Container(
            pod_uid=self.pod_uid,
            name=self.name,
            attempt=self.attempt,
            id=self.id,
            state=self.state,
            image=self.image,
            image_digest=self.image_digest,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            oom_killed=self.oom_killed,
            message=self.message,
            spec_hash=self.spec_hash,
            user=self.user,
            resources=self.resources,
        )

    def ended(self, exit_code: int, finished_at: float, oom_killed: bool, message: str) -> ContainerRecord:
        return replace(
            self,
            state="exited",
            exit_code=exit_code,
            finished_at=max(finished_at, self.started_at),  # It may be over before its start was seen to be done.
            oom_killed=oom_killed,
            message=message,
            conmon=None,
            process=None,
        )


def pod_directory(node: Path, pod_uid: str) -> Path:
    return node / "pods" / pod_uid


def place(node: Path, pod_uid: str, name: str, attempt: int) -> Path:
    """Where an attempt lives."""
    return pod_directory(node, pod_uid) / "containers" / name / str(attempt)


def container_id(pod_uid: str, name: str, attempt: int) -> str:
    """The same for the same attempt, so that a repeated start finds what an interrupted one left."""
    return hashlib.sha256(f"{pod_uid}/{name}/{attempt}".encode()).hexdigest()


def spec_hash(container: Object) -> str:
    return hashlib.sha256(encoding.dumps_sorted(container)).hexdigest()[:16]


def write(directory: Path, record: SandboxRecord | ContainerRecord) -> None:
    state.replace_whole(directory / FILE, encoding.dumps(asdict(record)))


def read_sandbox(directory: Path) -> SandboxRecord | None:
    record = _read(directory)
    if record is None:
        return None
    values = _known(SandboxRecord, record)
    values["ports"] = tuple(HostPort(**port) for port in record.get("ports", ()))
    values["kinds"] = tuple(record.get("kinds", ()))
    values["pause"] = Process(**record["pause"]) if record.get("pause") else None
    return SandboxRecord(**values)


def read_container(directory: Path) -> ContainerRecord | None:
    record = _read(directory)
    if record is None:
        return None
    values = _known(ContainerRecord, record)
    for key in ("conmon", "process"):
        values[key] = Process(**record[key]) if record.get(key) else None
    for key in ("user", "images"):
        values[key] = tuple(record.get(key, ()))
    return ContainerRecord(**values)


def _known(kind: type, record: dict[str, Any]) -> dict[str, Any]:
    """The fields this version knows: a later one may have written more."""
    names = [field.name for field in fields(kind)]
    return {key: value for key, value in record.items() if key in names}


def _read(directory: Path) -> dict[str, Any] | None:
    try:
        return encoding.loads((directory / FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
