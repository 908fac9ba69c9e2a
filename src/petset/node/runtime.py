"""What a container runtime can do for the node agent, and what it can see of it.

The agent decides purely (`pod.steps(spec, observed)`) and acts through this interface; `oci.py` implements it with
crun under conmon, `simulated.py` with a script. Everything is addressed by pod uid and container name. What a runtime
reports survives a restart of petset: `observe` after a restart finds the same sandboxes and containers.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from petset.objects.meta import Object
from petset.wire.streaming import NodeStreams

ContainerState = Literal["created", "running", "exited"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
ImageSource = Literal["pulled", "present", "stand-in", "built"]


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is ready to run: made by the image store, told in the Pulled event, run by the runtime."""

    reference: str  # What the pod asked for.
    digest: str  # sha256:... of its manifest on this node.
    rootfs: str  # Its unpacked tree, shared by all its containers: nobody may write there.
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    source: ImageSource = "present"
    size_bytes: int = 0  # Of the compressed layers and the configuration.


@dataclass(frozen=True, slots=True)
class Credential:
    user: str
    password: str = field(repr=False)

    def encoded(self) -> str:
        """As registries and their tools take it."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """What one pull secret says, by the address of a registry. Made only by `registry_logins.from_secret`."""

    secret: str
    credentials: Mapping[str, Credential]


class ImageError(Exception):
    """`reason` is what the container waits with: ErrImagePull, ErrImageNeverPull, InvalidImageName."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason, self.message = reason, message


class RuntimeError_(Exception):
    """A sandbox or container that cannot be made; `reason` as the kubelet names it (CreateContainerError,
    CreateContainerConfigError, RunContainerError, FailedCreatePodSandBox, FailedMount)."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's network, UTS and IPC namespaces and /etc files; exists before any container."""

    pod_uid: str
    pod_name: str
    namespace: str
    ip: str
    created_at: float
    alive: bool = True  # False after a reboot or `petset down`: it must be made anew.
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Container:
    """One attempt of one container as last seen; times in seconds since 1970."""

    pod_uid: str
    name: str
    attempt: int  # 0, 1, 2, ... = restartCount
    id: str
    state: ContainerState
    image: str
    image_digest: str
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    oom_killed: bool = False
    message: str = ""  # The termination message (terminationMessagePath or the log's tail).
    spec_hash: str = ""  # Of the container spec it was made from.
    user: tuple[int, ...] = ()  # uid, gid and the supplementary groups of its first process.
    resources: Object | None = None  # What it has of CPU and memory, as its spec says it; None: nobody knows.


# As the documentation names it; what the kernel calls it is mounting.py's alone.
Propagation = Literal["None", "HostToContainer", "Bidirectional"]


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` is a place whose path no container can change; `sub_path`, below it, is one that containers may."""

    source: str  # Absolute on the host; "" for tmpfs.
    target: str
    read_only: bool = False
    sub_path: str = ""
    kind: Literal["bind", "tmpfs"] = "bind"
    propagation: Propagation = "None"
    recursive: bool = False  # Whether what is mounted below is read only, too.
    size_bytes: int | None = None  # tmpfs
    options: tuple[str, ...] = ()  # noexec, nodev, nosuid
    image: str = ""  # The digest of the image that it is, which others may have, too.


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """All a runtime needs to start one container; computed purely from pod, image and node facts."""

    pod_uid: str
    name: str
    attempt: int
    image: Image
    command: tuple[str, ...]  # The whole argv, $(VAR) already expanded.
    env: tuple[tuple[str, str], ...]  # The container's own; the image's stand below them.
    working_dir: str
    mounts: tuple[Mount, ...]
    pod: Object = field(hash=False, default_factory=dict[str, Any])  # For security context and resources.
    container: Object = field(hash=False, default_factory=dict[str, Any])
    log_path: str = ""
    termination_message_path: str = "/dev/termination-log"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container, a pod or a machine has used of CPUs until now, and uses of memory."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    working_set_bytes: int = 0  # Without what could be taken away at once.
    rss_bytes: int = 0
    cache_bytes: int = 0
    processes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.cpu_seconds + other.cpu_seconds,
            self.memory_bytes + other.memory_bytes,
            self.working_set_bytes + other.working_set_bytes,
            self.rss_bytes + other.rss_bytes,
            self.cache_bytes + other.cache_bytes,
            self.processes + other.processes,
        )


@dataclass(frozen=True, slots=True)
class Usages:
    """Of the machine, and of each running container by (pod uid, name)."""

    node: Usage
    memory_bytes_total: int
    containers: Mapping[tuple[str, str], Usage]
    at: float  # When they were read.


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something changed in a pod: look again (no content to rely on)."""

    pod_uid: str


@dataclass(frozen=True, slots=True)
class Warning_:
    """What could not be granted exactly as asked (a capability, an rlimit); becomes a Warning event on the pod."""

    reason: str
    message: str


class Runtime(Protocol):
    """Every method may be called again after a crash: they are idempotent by pod uid, container name and attempt."""

    @property
    def streams(self) -> NodeStreams: ...

    async def start(self) -> None:
        """Adopt what runs; afterwards `observe` is complete."""
        ...

    def observe(self) -> Mapping[str, tuple[Sandbox | None, Sequence[Container]]]:
        """By pod uid; containers oldest attempt first. Immediate, from what is known."""
        ...

    def observe_pod(self, pod_uid: str) -> tuple[Sandbox | None, Sequence[Container]]:
        """The same of one pod; (None, ()) of one that is not known."""
        ...

    def events(self) -> AsyncIterator[RuntimeEvent]: ...

    async def ensure_image(self, reference: str, policy: PullPolicy, logins: Sequence[RegistryLogin]) -> Image:
        """Raises ImageError."""
        ...

    @property
    def handlers(self) -> Sequence[str]:
        """What RuntimeClasses may name."""
        ...

    def lacks_users(self, handler: str) -> str:
        """Why a pod under this one of the handlers ("" is the usual one) cannot have users of its own; or ""."""
        ...

    async def create_sandbox(
        self, pod: Object, hosts: str, resolv_conf: str, hostname: str = "", handler: str = ""
    ) -> Sandbox:
        """Namespaces, address and /etc files; raises RuntimeError_("FailedCreatePodSandBox", ...).

        `$(POD_IP)` in `hosts` stands for the address, which is chosen here; `hostname` is the kernel's, the pod's own
        name where it is "", `handler` what runs its containers. An existing sandbox that is alive is
        returned as it is; one that is not is made anew with the next attempt number, and its containers' records stay.
        """
        ...

    async def start_container(self, config: ContainerConfig) -> tuple[Container, Sequence[Warning_]]:
        """Create and start; raises RuntimeError_."""
        ...

    async def stop_container(self, pod_uid: str, name: str, grace_seconds: float) -> None:
        """SIGTERM (or the image's stop signal), then SIGKILL after the grace; returns when it has exited."""
        ...

    async def resize_container(self, pod: Object, container: Object, attempt: int) -> None:
        """Give a container that runs the CPU and memory of its spec as it is now; raises RuntimeError_."""
        ...

    async def remove_container(self, pod_uid: str, name: str, attempt: int) -> None: ...

    async def disk_usage(self, pod_uid: str) -> Mapping[str, int]:
        """Bytes on disk of each container's latest attempt: its writable layer and its logs."""
        ...

    async def usages(self) -> Usages:
        """As the kernel counts them now."""
        ...

    async def images(self) -> Sequence[tuple[Sequence[str], int]]:
        """Names and bytes of the images that the node has."""
        ...

    async def collect(self, bytes_wanted: int, logs: bool) -> int:
        """Remove images that no container uses; with `logs` those of attempts before the latest. The bytes freed."""
        ...

    async def stop_sandbox(self, pod_uid: str) -> None:
        """Gives back address, namespaces and host ports of a pod whose containers have ended; logs and records stay."""
        ...

    async def remove_sandbox(self, pod_uid: str) -> None:
        """Kills what is left in it, gives the address back, removes namespaces, containers and logs of the pod.

        What others keep in the pod's directory (volumes) is theirs to remove.
        """
        ...

    async def close(self) -> None:
        """Let go without stopping anything."""
        ...
