"""A runtime that only remembers: sandboxes and containers as records that start, end and fail by a script.

A `Machine` is what outlives a crash of the agent: its records and the script. `SimulatedRuntime` is the runtime's face
of it, made anew at every start of an agent, as oci.py adopts what it finds. A container's end is a time written down at
its start, so nothing has to run for it to happen: `observe` looks at the clock, and `events` sleeps until the next end.
`SimulatedAttempts` answers probes and hooks from the same script.

Invariants: all chance comes from tasks.rng(), all time from tasks.now(); at most one attempt of a container runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from petset.base import tasks, well_known
from petset.kinds.batch.job import JOBS
from petset.kinds.pod_spec import pod_containers, resize
from petset.node.pods.probes import Outcome
from petset.node.runtime import (
    Container,
    ContainerConfig,
    Image,
    ImageError,
    PullPolicy,
    RegistryLogin,
    RuntimeError_,
    RuntimeEvent,
    Sandbox,
    Usage,
    Usages,
    Warning_,
)
from petset.objects import meta, quantity
from petset.objects.meta import Object
from petset.wire.streaming import ExecOptions, LogOptions, NodeStreams, PortConnection, Session, StreamError


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one attempt of one container does."""

    start_seconds: float = 0.01
    runs_seconds: float | None = None  # None: until it is stopped.
    exit_code: int = 0
    ready_after_seconds: float = 0.0
    lives_seconds: float | None = None  # After that its liveness and readiness probes fail.
    stop_seconds: float = 0.01  # How long it takes to obey SIGTERM; beyond the grace it is killed.
    start_error: tuple[str, str] | None = None  # (reason, message)
    message: str = ""
    cores: float = 0.0  # What it says that it uses.
    memory_bytes: int = 0


Script = Callable[[ContainerConfig], Behaviour]
Load = Callable[[Sandbox, str], float]  # How many cores a container of this name uses now.


def usual(config: ContainerConfig) -> Behaviour:
    """Init containers and the pods of Jobs do their work and end; other containers stay."""
    is_init = any(one["name"] == config.name for one in meta.parts(config.pod, "spec", pod_containers.INIT))
    ends = is_init or (meta.controller_of(config.pod) or {}).get("kind") == JOBS.kind
    ends = ends and not pod_containers.is_sidecar(config.container)
    annotations = meta.part(config.pod, "metadata", "annotations")
    return Behaviour(
        runs_seconds=0.02 if ends else None,
        cores=_amount(annotations.get(well_known.SIMULATED_CPU_ANNOTATION, "")),
        memory_bytes=int(_amount(annotations.get(well_known.SIMULATED_MEMORY_ANNOTATION, ""))),
    )


def _amount(text: str) -> float:
    """Of a quantity; 0 of what is none."""
    try:
        return max(0.0, float(quantity.parse(text).value))
    except ValueError:
        return 0.0


OWN_ADDRESSES = 1000  # Of the node's own network, a /22.
PODS_MAX = 20_000
STARTED_KEPT_MAX = 1000


@dataclass(slots=True)
class _Record:
    container: Container
    behaviour: Behaviour
    ends_at: float | None
    cpu_seconds: float = 0.0
    counted_at: float = 0.0  # Up to when; before, when it started.

    def used(self, now: float, cores: float) -> Usage:
        """With the CPU time since it was asked the last time, all of it at this pace."""
        since = max(self.counted_at, self.container.started_at)
        self.cpu_seconds, self.counted_at = self.cpu_seconds + cores * max(0.0, now - since), now
        size = self.behaviour.memory_bytes
        return Usage(self.cpu_seconds, size, size)

    def seen(self, now: float) -> Container:
        if self.container.state == "running" and self.ends_at is not None and now >= self.ends_at:
            code = self.behaviour.exit_code
            self.container = replace(
                self.container, state="exited", finished_at=self.ends_at, exit_code=code, message=self.behaviour.message
            )
        return self.container


class LowestFree:
    """The lowest address that is free; beyond the node's own network, in the space that is nobody's (RFC 6598)."""

    def __init__(self, network: str):
        self._network = network
        self._numbers: dict[str, int] = {}  # Of those that are taken.
        self._returned: list[int] = []  # A heap.
        self._next = 0

    def take(self) -> str:
        if self._returned:
            number = heapq.heappop(self._returned)
        else:
            number, self._next = self._next, self._next + 1
        address = self._address(number)
        self._numbers[address] = number
        return address

    def give_back(self, address: str) -> None:
        heapq.heappush(self._returned, self._numbers.pop(address))
        if not self._numbers:
            self._returned, self._next, self._numbers = [], 0, {}

    def _address(self, number: int) -> str:
        first, second, third = (int(part) for part in self._network.strip(".").split("."))
        if number >= OWN_ADDRESSES:
            first, second, third, number = 100, 64, 0, number - OWN_ADDRESSES
        block, last = divmod(number, 250)
        return f"{first}.{second + (third + block) // 256}.{(third + block) % 256}.{2 + last}"


@dataclass
class Machine:
    """What survives a crash of the agent."""

    script: Script = usual
    network: str = "10.200.0."  # The first three numbers of the first of its pods.
    images_missing: dict[str, str] = field(default_factory=dict[str, str])  # reference -> message of ErrImagePull
    image_seconds: float = 0.0
    sandbox_seconds: float = 0.005
    sandbox_errors: list[str] = field(default_factory=list[str])  # Taken one by one by the next creations.
    resize_errors: list[str] = field(default_factory=list[str])  # Likewise, by resizes.
    sandboxes: dict[str, Sandbox] = field(default_factory=dict[str, Sandbox])
    records: dict[str, list[_Record]] = field(default_factory=dict[str, list[_Record]])
    # (pod name, container, attempt), the latest in order.
    started: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    started_kept_max: int = STARTED_KEPT_MAX  # For whoever asks what was started.
    containers_made: int = 0
    lacks_users: str = ""  # Why no pod has users of its own here.
    images: list[tuple[list[str], int]] = field(default_factory=list[tuple[list[str], int]])  # Names and bytes.
    collections: list[tuple[int, bool]] = field(default_factory=list[tuple[int, bool]])  # What `collect` was asked for.
    # By pod uid and container.
    disk_bytes: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    load: Load | None = None  # None: as the script says.

    def __post_init__(self) -> None:
        self.addresses = LowestFree(self.network)

    def reboot(self) -> None:
        """Everything that ran has ended; the records stay."""
        now = tasks.now()
        for uid, sandbox in self.sandboxes.items():
            self.sandboxes[uid] = replace(sandbox, alive=False)
        for records in self.records.values():
            for record in records:
                if record.seen(now).state == "running":
                    record.container = replace(record.container, state="exited", finished_at=now, exit_code=137)

    def crash(self, pod_uid: str, name: str, exit_code: int = 137) -> None:
        """End a running container now."""
        now = tasks.now()
        for record in self.records.get(pod_uid, ()):
            if record.container.name == name and record.seen(now).state == "running":
                record.container = replace(record.container, state="exited", finished_at=now, exit_code=exit_code)

    def running(self) -> list[tuple[str, str]]:
        """(namespace/name of the pod, container) of everything that runs, in the order in which it started."""
        now = tasks.now()
        found = [
            (one.started_at, f"{self.sandboxes[uid].namespace}/{self.sandboxes[uid].pod_name}", one.name)
            for uid, records in self.records.items()
            for record in records
            if (one := record.seen(now)).state == "running"
        ]
        return [(pod, name) for _, pod, name in sorted(found)]


class SimulatedRuntime:
    def __init__(self, machine: Machine):
        self.machine = machine
        self._changed = asyncio.Event()
        self._pending: list[str] = []
        self._ending: list[tuple[float, str, str]] = []  # A heap: when, id, pod.

    @property
    def streams(self) -> NodeStreams:
        return _NoStreams()

    @property
    def handlers(self) -> Sequence[str]:
        return ("crun",)

    def lacks_users(self, handler: str) -> str:
        return self.machine.lacks_users

    async def start(self) -> None:
        return None

    def observe(self) -> Mapping[str, tuple[Sandbox | None, Sequence[Container]]]:
        uids = dict.fromkeys([*self.machine.sandboxes, *self.machine.records])
        return {uid: self.observe_pod(uid) for uid in uids}

    def observe_pod(self, pod_uid: str) -> tuple[Sandbox | None, Sequence[Container]]:
        now = tasks.now()
        return self.machine.sandboxes.get(pod_uid), [one.seen(now) for one in self.machine.records.get(pod_uid, ())]

    def look_again(self, pod_uid: str) -> None:
        """Tell whoever listens that something changed (after Machine.crash)."""
        self._pending.append(pod_uid)
        self._changed.set()

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        for uid, records in self.machine.records.items():
            for record in records:
                self._will_end(uid, record)
        while True:
            self._changed.clear()
            pending, self._pending = self._pending, []
            for uid in pending:
                yield RuntimeEvent(uid)
            while self._ending and self._ending[0][0] <= tasks.now():
                yield RuntimeEvent(heapq.heappop(self._ending)[2])
            due = self._ending[0][0] if self._ending else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - tasks.now())):
                    await self._changed.wait()

    def _will_end(self, uid: str, record: _Record) -> None:
        if record.ends_at is not None:
            heapq.heappush(self._ending, (record.ends_at, record.container.id, uid))

    async def ensure_image(self, reference: str, policy: PullPolicy, logins: Sequence[RegistryLogin]) -> Image:
        if self.machine.image_seconds:
            await asyncio.sleep(self.machine.image_seconds)
        if reference in self.machine.images_missing:
            reason = "ErrImageNeverPull" if policy == "Never" else "ErrImagePull"
            raise ImageError(reason, self.machine.images_missing[reference])
        return Image(reference, "sha256:" + "0" * 64, "/simulated", command=("run",))

    async def create_sandbox(
        self, pod: Object, hosts: str, resolv_conf: str, hostname: str = "", handler: str = ""
    ) -> Sandbox:
        await asyncio.sleep(self.machine.sandbox_seconds)
        machine, uid = self.machine, meta.uid(pod)
        if machine.sandbox_errors:
            raise RuntimeError_("FailedCreatePodSandBox", machine.sandbox_errors.pop(0))
        before = machine.sandboxes.get(uid)
        if before is not None and before.alive:
            return before
        attempt = before.attempt + 1 if before else 0
        ip = before.ip if before else machine.addresses.take()
        sandbox = Sandbox(uid, meta.name(pod), meta.namespace(pod), ip, tasks.now(), attempt=attempt)
        machine.sandboxes[uid] = sandbox
        return sandbox

    async def start_container(self, config: ContainerConfig) -> tuple[Container, Sequence[Warning_]]:
        machine, behaviour = self.machine, self.machine.script(config)
        await asyncio.sleep(behaviour.start_seconds)
        if behaviour.start_error is not None:
            raise RuntimeError_(*behaviour.start_error)
        sandbox = machine.sandboxes.get(config.pod_uid)
        if sandbox is None or not sandbox.alive:
            raise RuntimeError_("CreateContainerError", "cannot start a container: its pod has no sandbox")
        records, now = machine.records.setdefault(config.pod_uid, []), tasks.now()
        for record in records:
            same_name = record.container.name == config.name
            if same_name and record.container.attempt == config.attempt:
                return record.seen(now), ()
            if same_name and record.seen(now).state == "running":
                raise RuntimeError_("CreateContainerError", f"cannot start {config.name}: an older attempt still runs")
        machine.containers_made += 1
        container = Container(
            pod_uid=config.pod_uid,
            name=config.name,
            attempt=config.attempt,
            id=f"simulated{machine.containers_made:08d}",
            state="running",
            image=config.image.reference,
            image_digest=config.image.digest,
            created_at=now,
            started_at=now,
            resources=resize.resizable(meta.part(config.container, "resources")),
        )
        ends_at = None if behaviour.runs_seconds is None else now + behaviour.runs_seconds
        records.append(_Record(container, behaviour, ends_at))
        self._will_end(config.pod_uid, records[-1])
        machine.started.append((sandbox.pod_name, config.name, config.attempt))
        del machine.started[: max(0, len(machine.started) - machine.started_kept_max)]
        self.look_again(config.pod_uid)
        return container, ()

    async def stop_container(self, pod_uid: str, name: str, grace_seconds: float) -> None:
        for record in list(self.machine.records.get(pod_uid, ())):
            if record.container.name != name or record.seen(tasks.now()).state != "running":
                continue
            obeys = record.behaviour.stop_seconds <= grace_seconds
            await asyncio.sleep(min(record.behaviour.stop_seconds, grace_seconds))
            if record.seen(tasks.now()).state == "running":
                code = 143 if obeys else 137
                record.container = replace(record.container, state="exited", finished_at=tasks.now(), exit_code=code)
            self.look_again(pod_uid)

    async def resize_container(self, pod: Object, container: Object, attempt: int) -> None:
        for record in self.machine.records.get(meta.uid(pod), ()):
            if (record.container.name, record.container.attempt) == (container["name"], attempt):
                if self.machine.resize_errors:
                    raise RuntimeError_("ResizeError", self.machine.resize_errors.pop(0))
                given = resize.resizable(meta.part(container, "resources"))
                record.container = replace(record.container, resources=given)

    async def remove_container(self, pod_uid: str, name: str, attempt: int) -> None:
        records = self.machine.records.get(pod_uid, [])
        keep = [one for one in records if (one.container.name, one.container.attempt) != (name, attempt)]
        self.machine.records[pod_uid] = keep

    async def disk_usage(self, pod_uid: str) -> Mapping[str, int]:
        return {name: size for (uid, name), size in self.machine.disk_bytes.items() if uid == pod_uid}

    async def usages(self) -> Usages:
        """As the script says, which is usually nothing: nothing runs."""
        machine, now = self.machine, tasks.now()
        running: dict[tuple[str, str], Usage] = {}
        for uid, records in machine.records.items():
            for record in records:
                if record.seen(now).state == "running":
                    name, sandbox = record.container.name, machine.sandboxes.get(uid)
                    cores = record.behaviour.cores
                    if machine.load is not None and sandbox is not None:
                        cores = machine.load(sandbox, name)
                    running[uid, name] = record.used(now, cores)
        return Usages(sum(running.values(), Usage()), 0, running, now)

    async def images(self) -> Sequence[tuple[Sequence[str], int]]:
        return self.machine.images

    async def collect(self, bytes_wanted: int, logs: bool) -> int:
        self.machine.collections.append((bytes_wanted, logs))
        return 0

    async def stop_sandbox(self, pod_uid: str) -> None:
        await asyncio.sleep(self.machine.sandbox_seconds)
        if (sandbox := self.machine.sandboxes.get(pod_uid)) is not None:
            self.machine.sandboxes[pod_uid] = replace(sandbox, alive=False)

    async def remove_sandbox(self, pod_uid: str) -> None:
        await asyncio.sleep(self.machine.sandbox_seconds)
        self.machine.records.pop(pod_uid, None)
        if (sandbox := self.machine.sandboxes.pop(pod_uid, None)) is not None:
            self.machine.addresses.give_back(sandbox.ip)

    async def close(self) -> None:
        return None


class SimulatedAttempts:
    """Probes and hooks answered by the script: ready after its time, alive until its time."""

    def __init__(self, machine: Machine):
        self._machine = machine
        self.hooks: list[tuple[str, str]] = []  # (pod, container) in the order in which hooks ran.

    async def probe(self, pod: Object, container: Object, probe: Object, ip: str) -> Outcome:
        now = tasks.now()
        for record in self._machine.records.get(meta.uid(pod), ()):
            one = record.seen(now)
            if one.name != container["name"] or one.state != "running":
                continue
            age, behaviour = now - one.started_at, record.behaviour
            if age < behaviour.ready_after_seconds:
                return Outcome(False, "not ready yet")
            if behaviour.lives_seconds is not None and age > behaviour.lives_seconds:
                return Outcome(False, "no longer alive")
            return Outcome(True)
        return Outcome(False, "it does not run")

    async def hook(self, pod: Object, container: Object, handler: Object, ip: str) -> Outcome:
        self.hooks.append((meta.name(pod), container["name"]))
        del self.hooks[: max(0, len(self.hooks) - self._machine.started_kept_max)]
        if handler.get("sleep") is not None:
            await asyncio.sleep(float(handler["sleep"].get("seconds") or 0))
        return Outcome(True)


class _NoStreams:
    """There is no process to talk to."""

    async def exec(self, pod_uid: str, container: str, options: ExecOptions) -> Session:
        raise StreamError(501, "cannot run a command: this container is simulated")

    async def attach(self, pod_uid: str, container: str, options: ExecOptions) -> Session:
        raise StreamError(501, "cannot attach: this container is simulated")

    async def logs(self, pod_uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        yield b"this container is simulated\n"

    async def connect(self, pod_uid: str, port: int) -> PortConnection:
        raise StreamError(501, "cannot forward a port: this container is simulated")
