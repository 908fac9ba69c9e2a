"""The real runtime: pods as namespaces on a bridge, containers under crun (or runc) and conmon.

What it knows is in memory (`observe` is immediate) and on disk (records.py): `start` adopts what an earlier petset left
(adoption.py). A container's end is learned from the kernel: its conmon's pidfd becomes readable, the exit code is in
conmon's file. Blocking steps (starting.py, attempts.py) run in a few threads; a step goes on when its caller is
cancelled, and what it made is remembered all the same, when the disk says so and not before.

Invariants: a container's directory exists from before its start until after its removal; the pod's sandbox record is
removed only after everything it speaks of is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import platform
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, Protocol

from petset.base import tasks, user_ids
from petset.base.networks import NetworkError, NodePlan
from petset.kinds import requests
from petset.node import linux, meter, user_namespaces
from petset.node.containers import (
    adoption,
    attempts,
    cgroups,
    host,
    logs,
    pause,
    records,
    sandboxes,
    seccomp,
    starting,
)
from petset.node.containers.records import ContainerRecord, SandboxRecord
from petset.node.containers.streams import streams
from petset.node.network import names
from petset.node.network.bridge import PodNetwork
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
    Usages,
    Warning_,
)
from petset.objects import meta
from petset.objects.meta import Object
from petset.wire.streaming import NodeStreams, StreamError

WORKERS = 4
PIDS_MAX = 1024  # Processes and threads of one container.
KILLED_SECONDS_MAX = 30.0

P = ParamSpec("P")
Key = tuple[str, int]  # container name, attempt


class ImageStore(Protocol):
    """What is asked of images.Images."""

    async def ensure(self, reference: str, policy: PullPolicy, logins: Sequence[RegistryLogin] = ()) -> Image: ...

    async def collect(self, in_use: Collection[str], bytes_wanted: int) -> int: ...

    async def known(self) -> Sequence[tuple[Sequence[str], int]]: ...


@dataclass(slots=True)
class _Pod:
    """What the disk says of a pod, and the steps that are about to change that."""

    sandbox: SandboxRecord | None = None
    alive: bool = False
    settling: asyncio.Future[None] | None = None  # The sandbox's record is being written or removed.
    containers: dict[Key, ContainerRecord] = field(default_factory=dict[Key, ContainerRecord])
    starting: dict[Key, asyncio.Future[ContainerRecord]] = field(
        default_factory=dict[Key, asyncio.Future[ContainerRecord]]
    )
    ended: dict[Key, asyncio.Event] = field(default_factory=dict[Key, asyncio.Event])
    cleaning: dict[Key, asyncio.Future[ContainerRecord]] = field(
        default_factory=dict[Key, asyncio.Future[ContainerRecord]]
    )
    removing: dict[Key, asyncio.Future[None]] = field(default_factory=dict[Key, asyncio.Future[None]])


class OciRuntime:
    """node/runtime.Runtime on this machine. `network` must have been set up before the first sandbox."""

    def __init__(
        self,
        directory: Path,
        plan: NodePlan,
        network: PodNetwork,
        images: ImageStore | None = None,
        *,
        pids_max: int = PIDS_MAX,
        seccomp_default: str = seccomp.UNCONFINED,
        seccomp_profiles: Path | None = None,
    ):
        """`directory` is the node's; profiles of type Localhost are in its seccomp/ if nowhere else."""
        # Mount tables and conmon's arguments name real paths.
        self._directory = Path(os.path.realpath(directory))
        self._seccomp_profiles = seccomp_profiles or self._directory / "seccomp"
        self._plan, self._network, self._images, self._pids_max = plan, network, images, pids_max
        self._seccomp_default = seccomp_default
        self._workers = tasks.Thread("petset-containers", WORKERS)
        self._pods: dict[str, _Pod] = {}
        self._changed = asyncio.Event()
        self._pending: dict[str, None] = {}
        self._watched: dict[int, None] = {}  # pidfds of conmons
        self._watcher = logs.Watcher()
        self._meter = meter.Meter()
        self._streams = streams.Streams(lambda: self._tools, self._find, self._watcher, self._network_of)
        self._tools: attempts.Tools
        self._starter: starting.Starter
        self._boot_id = linux.boot_id()
        self._closed = False

    @property
    def streams(self) -> NodeStreams:
        return self._streams

    @property
    def handlers(self) -> Sequence[str]:
        return list(host.runtimes())

    def lacks_users(self, handler: str) -> str:
        found = host.runtimes()
        return user_namespaces.lacking(found.get(handler, "") if handler else next(iter(found.values()), ""))

    def node_info(self) -> dict[str, str]:
        """For the node's status.nodeInfo."""
        return host.node_info(self._boot_id)

    # ---- what is there

    def observe(self) -> Mapping[str, tuple[Sandbox | None, Sequence[Container]]]:
        return {uid: self.observe_pod(uid) for uid, pod in self._pods.items() if pod.sandbox or pod.containers}

    def observe_pod(self, pod_uid: str) -> tuple[Sandbox | None, Sequence[Container]]:
        pod = self._pods.get(pod_uid)
        if pod is None:
            return None, ()
        found = sorted(pod.containers.values(), key=lambda one: (one.name, one.attempt))
        return pod.sandbox.seen(pod.alive) if pod.sandbox else None, [record.seen() for record in found]

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        while True:
            await self._changed.wait()
            self._changed.clear()
            pending, self._pending = self._pending, {}
            for uid in pending:
                yield RuntimeEvent(uid)

    def _tell(self, uid: str) -> None:
        self._pending[uid] = None
        self._changed.set()

    def _find(self, uid: str, name: str, previous: bool) -> streams.Found | None:
        pod = self._pods.get(uid)
        numbers = sorted(attempt for one, attempt in (pod.containers if pod else ()) if one == name)
        if pod is None or len(numbers) < (2 if previous else 1):
            return None
        record = pod.containers[(name, numbers[-2 if previous else -1])]
        return streams.Found(record, self._place(record))

    def _network_of(self, uid: str) -> Path | None:
        """Where a pod's network namespace is pinned; None when it has the machine's."""
        pod = self._pods.get(uid)
        if pod is None or pod.sandbox is None or not pod.alive:
            raise StreamError(404, "cannot reach the pod: its sandbox does not run")
        return self._pod_directory(uid) / "sandbox" / "net" if "net" in pod.sandbox.kinds else None

    def _pod_directory(self, uid: str) -> Path:
        return records.pod_directory(self._directory, uid)

    def _place(self, record: ContainerRecord) -> Path:
        return records.place(self._directory, record.pod_uid, record.name, record.attempt)

    # ---- the beginning

    async def start(self) -> None:
        found = await self._workers.submit(self._prepare)
        for uid, (sandbox, alive, tries) in found.items():
            pod = self._pods[uid] = _Pod(sandbox, alive)
            if sandbox is not None and alive and "net" in sandbox.kinds:
                self._network.hold(f"{sandbox.namespace}/{sandbox.pod_name}", uid, sandbox.ip)
            for record in tries:
                pod.containers[(record.name, record.attempt)] = record
                if record.state == "running":
                    self._watch(record)
            self._tell(uid)
        with tasks.best_effort("publish host ports again"):
            await self._network.restore_ports(
                {uid: (one.ip, one.ports) for uid, (one, alive, _) in found.items() if one is not None and alive}
            )

    def _prepare(self) -> dict[str, adoption.Found]:
        """In a worker: the tools, the host's facts, and every record, made true."""
        self._tools = attempts.tools(self._directory / "oci", self._plan.cgroup)
        self._starter = starting.Starter(
            directory=self._directory,
            tools=self._tools,
            host=host.read(self._tools.groups),
            cgroup=self._plan.cgroup,
            boot_id=self._boot_id,
            seccomp_default=self._seccomp_default,
            seccomp_profiles=self._seccomp_profiles,
        )
        return adoption.read_all(self._directory, self._tools, self._boot_id)

    # ---- images

    async def ensure_image(self, reference: str, policy: PullPolicy, logins: Sequence[RegistryLogin]) -> Image:
        if self._images is None:
            raise ImageError("ErrImageNeverPull", "cannot get an image: this node has no image store")
        return await self._images.ensure(reference, policy, logins)

    # ---- sandboxes

    async def create_sandbox(
        self, pod: Object, hosts: str, resolv_conf: str, hostname: str = "", handler: str = ""
    ) -> Sandbox:
        uid = meta.uid(pod)
        known = self._pods.setdefault(uid, _Pod())
        await _settled(known)
        if known.sandbox is not None and known.alive:
            return known.sandbox.seen(True)
        kinds, hostname = sandboxes.own_namespaces(pod), hostname or names.hostname(pod)
        own_users = sandboxes.has_own_users(pod)
        directory = self._pod_directory(uid) / "sandbox"
        pod_name, namespace = meta.name(pod), meta.namespace(pod)
        try:
            sysctls = sandboxes.sysctls(pod, kinds)
            users = await self._workers.submit(sandboxes.make, directory, own_users)
            ip = await self._network.join(directory, f"{namespace}/{pod_name}", uid, hostname, sysctls, kinds, users)
            kinds = (*kinds, user_namespaces.KIND) if users else kinds
            ports = tuple(requests.host_ports(pod)) if "net" in kinds else ()
            await self._network.publish(uid, ip, ports)
            ip = ip or self._plan.gateway
            hostname = hostname if "uts" in kinds else platform.node()
            first = await self._pause(pod, directory, users)
            files = {
                "hosts": hosts.replace(names.POD_IP, ip),
                "hostname": hostname + "\n",
                "resolv.conf": resolv_conf,
            }
            attempt = known.sandbox.attempt + 1 if known.sandbox else 0
            sandbox = SandboxRecord(
                *(uid, pod_name, namespace, hostname, ip, tasks.now(), self._boot_id, kinds, attempt, ports, handler),
                pause=first,
                users=users,
            )
            await self._settle(uid, known, sandbox, True, sandboxes.write_down, directory, files, sandbox)
        except (OSError, NetworkError, RuntimeError_, user_ids.IdsError) as error:
            with tasks.best_effort("clean up a sandbox"):
                await self._workers.submit(pause.stop, self._tools, uid)
                await self._network.leave(directory, uid)
                await self._workers.submit(linux.unmount, str(directory / "shm"))
            raise RuntimeError_("FailedCreatePodSandBox", f"cannot make the pod's sandbox: {error}") from error
        return sandbox.seen(True)

    async def _pause(self, pod: Object, directory: Path, users: int) -> linux.Process | None:
        """The first process of the namespace that all containers of the pod share, where they share one."""
        if not pod["spec"].get("shareProcessNamespace") or pod["spec"].get("hostPID"):
            return None
        group = cgroups.of_pod(self._plan.cgroup, meta.uid(pod))
        score = max(pause.OOM_SCORE_ADJ, self._starter.host.oom_score_adj_min)
        return await self._workers.submit(pause.start, self._tools, directory, meta.uid(pod), group, score, users)

    async def _settle(
        self,
        uid: str,
        pod: _Pod,
        then: SandboxRecord | None,
        alive: bool,
        step: Callable[P, None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Change in a worker what the disk says of a sandbox; memory says it once that is done, whoever still waits.

        A step that fails leaves nothing alive. Raises what it raises.
        """

        def done(settling: asyncio.Future[None]) -> None:
            pod.settling = None
            if settling.cancelled() or settling.exception() is not None:
                pod.alive = False
            else:
                pod.sandbox, pod.alive = then, alive
            self._tell(uid)

        pod.settling = self._workers.submit(step, *args, **kwargs)
        pod.settling.add_done_callback(done)
        await asyncio.shield(pod.settling)

    async def disk_usage(self, pod_uid: str) -> Mapping[str, int]:
        pod, directory = self._pods.get(pod_uid), self._pod_directory(pod_uid) / "containers"
        latest = {name: self._find(pod_uid, name, False) for name, _ in (pod.containers if pod else ())}
        places = {
            name: [os.path.relpath(path, directory) for path in attempts.kept(found.directory, found.record)]
            for name, found in latest.items()
            if found is not None
        }
        measured = await self._meter.bytes_in(directory, [path for paths in places.values() for path in paths])
        return {name: sum(measured.get(path, 0) for path in paths) for name, paths in places.items()}

    async def images(self) -> Sequence[tuple[Sequence[str], int]]:
        return await self._images.known() if self._images is not None else ()

    async def collect(self, bytes_wanted: int, logs: bool) -> int:
        freed = 0
        for uid, pod in list(self._pods.items()) if logs else ():
            latest = dict(sorted(pod.containers))
            for (name, attempt), record in list(pod.containers.items()):
                if record.state == "exited" and attempt < latest[name]:
                    freed += attempts.log_bytes(record)
                    await self.remove_container(uid, name, attempt)
        if self._images is not None:
            found = [one for pod in self._pods.values() for one in pod.containers.values()]
            in_use = [digest for one in found for digest in (one.image_digest, *one.images)]
            freed += await self._images.collect(in_use, bytes_wanted)
        return freed

    async def stop_sandbox(self, pod_uid: str) -> None:
        pod = self._pods.get(pod_uid)
        if pod is None:
            return
        await _settled(pod)
        if not pod.alive:
            return
        if pod.cleaning:
            await asyncio.wait(list(pod.cleaning.values()))
        await self._let_go(pod_uid, pod)

    async def remove_sandbox(self, pod_uid: str) -> None:
        pod = self._pods.get(pod_uid)
        if pod is None:
            return
        for name, attempt in list(dict.fromkeys([*pod.starting, *pod.containers])):
            await self.remove_container(pod_uid, name, attempt)
        await self._let_go(pod_uid, pod)
        await self._settle(pod_uid, pod, None, False, attempts.remove_pod, self._pod_directory(pod_uid))
        self._pods.pop(pod_uid, None)

    async def usages(self) -> Usages:
        groups = {
            (uid, record.name): record.group
            for uid, pod in self._pods.items()
            for record in pod.containers.values()
            if record.state == "running"
        }
        return await self._workers.call(_usages, self._tools.groups, groups)

    async def _let_go(self, uid: str, pod: _Pod) -> None:
        """Namespaces, address, mounts and cgroup of a sandbox without containers; its record says that it is dead."""
        await _settled(pod)
        directory = self._pod_directory(uid) / "sandbox"
        if directory.is_dir():
            await self._network.leave(directory, uid)
        await self._workers.submit(pause.stop, self._tools, uid)
        await self._workers.submit(cgroups.remove, self._tools.groups, cgroups.of_pod(self._plan.cgroup, uid))
        dead = pod.sandbox and dataclasses.replace(pod.sandbox, boot_id="")
        await self._settle(uid, pod, dead, False, sandboxes.let_go, directory, dead)

    # ---- containers

    async def start_container(self, config: ContainerConfig) -> tuple[Container, Sequence[Warning_]]:
        pod, key = self._pods.get(config.pod_uid), (config.name, config.attempt)
        if pod is None or pod.sandbox is None or not pod.alive:
            raise RuntimeError_("CreateContainerError", "cannot start a container: its pod has no sandbox")
        if (there := pod.containers.get(key)) is not None:
            return there.seen(), ()
        for (name, _), record in pod.containers.items():
            if name == config.name and record.state == "running":
                raise RuntimeError_("CreateContainerError", f"cannot start {name}: an older attempt still runs")
        warnings: list[Warning_] = []
        future = pod.starting.get(key)
        if future is None:
            record = self._starter.record(config)
            if pod.sandbox.pause is not None and not pod.sandbox.pause.alive():
                pod.alive = False  # Somebody has killed it, and with it everything in the pod.
                self._tell(config.pod_uid)
                raise RuntimeError_("CreateContainerError", "cannot start a container: its pod's first process is gone")
            target = pod.sandbox.pause or _target(pod, config)
            future = self._workers.submit(
                self._starter.start, config, record, pod.sandbox, self._pids_max, warnings, target
            )
            pod.starting[key] = future
            future.add_done_callback(lambda done: self._started(pod, key, done))
        record = await asyncio.shield(future)
        return pod.containers.get(key, record).seen(), tuple(warnings)

    def _started(self, pod: _Pod, key: Key, done: asyncio.Future[ContainerRecord]) -> None:
        pod.starting.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            return
        record = done.result()
        pod.containers[key] = record
        self._watch(record)
        self._tell(record.pod_uid)

    # ---- their ends

    def _watch(self, record: ContainerRecord) -> None:
        """Hear from the kernel when the container's conmon ends."""
        pod, key = self._pods[record.pod_uid], (record.name, record.attempt)
        pod.ended[key] = asyncio.Event()
        self._watcher.keep(record.log_path)
        descriptor = record.conmon.pidfd() if record.conmon else None
        if descriptor is None:
            self._conmon_ended(record)
            return
        loop = asyncio.get_running_loop()

        def on_end() -> None:
            loop.remove_reader(descriptor)
            self._watched.pop(descriptor, None)
            os.close(descriptor)
            self._conmon_ended(record)

        self._watched[descriptor] = None
        loop.add_reader(descriptor, on_end)

    def _conmon_ended(self, record: ContainerRecord) -> None:
        if record.conmon is not None:
            linux.reap(record.conmon.pid)
        pod, key, directory = self._pods.get(record.pod_uid), (record.name, record.attempt), self._place(record)
        if pod is None:
            return
        ended = attempts.end(self._tools, directory, record)
        if ended is not None:
            self._remember_end(pod, key, ended)
        cleaned = self._workers.submit(self._after_end, directory, record, ended)
        pod.cleaning[key] = cleaned
        cleaned.add_done_callback(lambda done: self._cleaned(pod, key, done))

    def _remember_end(self, pod: _Pod, key: Key, ended: ContainerRecord) -> None:
        if key in pod.containers:
            pod.containers[key] = ended
        pod.ended.setdefault(key, asyncio.Event()).set()
        self._watcher.forget(ended.log_path)
        self._watcher.wake(ended.log_path)
        self._tell(ended.pod_uid)

    def _after_end(self, directory: Path, record: ContainerRecord, ended: ContainerRecord | None) -> ContainerRecord:
        """In a worker: a conmon that was killed left no exit code, and perhaps a container."""
        if ended is None:
            ended = attempts.abandon(self._tools, directory, record, attempts.EXIT_CODE_KILLED)
        with tasks.best_effort("clean up after container", record.name):
            attempts.clean(self._tools, directory, ended)
        return ended

    def _cleaned(self, pod: _Pod, key: Key, done: asyncio.Future[ContainerRecord]) -> None:
        pod.cleaning.pop(key, None)
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            with tasks.best_effort("learn the end of container", key[0]):
                raise error
        elif not pod.ended[key].is_set():
            self._remember_end(pod, key, done.result())

    async def stop_container(self, pod_uid: str, name: str, grace_seconds: float) -> None:
        pod = self._pods.get(pod_uid)
        if pod is None:
            return
        for key, future in list(pod.starting.items()):
            if key[0] == name:
                await asyncio.wait([future])
        for key, record in list(pod.containers.items()):
            if key[0] == name and record.state == "running":
                await self._stop(pod, key, record, grace_seconds)

    async def _stop(self, pod: _Pod, key: Key, record: ContainerRecord, grace_seconds: float) -> None:
        ended = pod.ended[key]
        if record.process is not None and grace_seconds > 0:
            attempts.send(record.process, attempts.signal_number(record.stop_signal))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await ended.wait()
        if ended.is_set():
            return
        if record.process is not None:
            attempts.send(record.process, attempts.signal_number("SIGKILL"))
        try:
            async with asyncio.timeout(KILLED_SECONDS_MAX):
                await ended.wait()
        except TimeoutError:
            raise RuntimeError_(
                "KillContainerError", f"cannot stop container {record.name}: it does not end after SIGKILL"
            ) from None

    async def resize_container(self, pod: Object, container: Object, attempt: int) -> None:
        known, key = self._pods.get(meta.uid(pod)), (container["name"], attempt)
        record = known.containers.get(key) if known is not None else None
        if known is None or record is None or record.state != "running":
            return
        resized = await self._workers.call(self._starter.resize, pod, container, record)
        if known.containers.get(key) is record:
            known.containers[key] = resized
            self._tell(record.pod_uid)

    async def remove_container(self, pod_uid: str, name: str, attempt: int) -> None:
        pod, key = self._pods.get(pod_uid), (name, attempt)
        if pod is None:
            return
        if (future := pod.starting.get(key)) is not None:
            await asyncio.wait([future])
            await asyncio.sleep(0)  # Its callback remembers what was started.
        record = pod.containers.get(key)
        if record is None:
            return
        if record.state == "running":
            await self._stop(pod, key, record, 0)
        if (cleaning := pod.cleaning.get(key)) is not None:
            await asyncio.wait([cleaning])
        record = pod.containers.get(key)
        if record is None:
            return
        if key not in pod.removing:
            pod.removing[key] = self._workers.submit(self._remove, record)
            pod.removing[key].add_done_callback(lambda done: self._removed(pod_uid, pod, key, done))
        await asyncio.shield(pod.removing[key])

    def _removed(self, uid: str, pod: _Pod, key: Key, done: asyncio.Future[None]) -> None:
        pod.removing.pop(key, None)
        if not done.cancelled() and done.exception() is None:
            pod.containers.pop(key, None)
            pod.ended.pop(key, None)
            self._tell(uid)

    def _remove(self, record: ContainerRecord) -> None:
        """In a worker."""
        directory = self._place(record)
        attempts.clean(self._tools, directory, record)
        attempts.remove(directory, record)

    # ---- the end

    async def shut_down(self) -> None:
        """Stop everything now and take it off the machine; records, logs and data stay. For `petset down`."""
        if not hasattr(self, "_tools"):
            return  # It never started.
        for uid, pod in list(self._pods.items()):
            for (name, _), record in list(pod.containers.items()):
                if record.state == "running" or pod.starting:
                    with tasks.best_effort("stop container", name):
                        await self.stop_container(uid, name, 0)
            if pod.cleaning:
                await asyncio.wait(list(pod.cleaning.values()))
            with tasks.best_effort("let a sandbox go"):
                await self._let_go(uid, pod)
        await self._workers.submit(self._sweep)

    def _sweep(self) -> None:
        """In a worker: whatever no record spoke of."""
        cgroups.remove(self._tools.groups, self._plan.cgroup)
        for target in linux.mount_points(str(self._directory / "pods")):
            linux.unmount(target)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        for descriptor in list(self._watched):
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._watched.clear()
        self._watcher.close()
        await asyncio.sleep(0)
        self._workers.close()


def _target(pod: _Pod, config: ContainerConfig) -> linux.Process | None:
    """The first process of the container whose processes an ephemeral one is to see. Raises RuntimeError_."""
    name = config.container.get("targetContainerName")
    if not name:
        return None
    for record in pod.containers.values():
        if record.name == name and record.state == "running" and record.process is not None:
            return record.process
    raise RuntimeError_("CreateContainerConfigError", f"unable to find target container {name}: it does not run")


async def _settled(pod: _Pod) -> None:
    """Once the disk and the memory agree on its sandbox, however that ended."""
    while (settling := pod.settling) is not None:
        await asyncio.wait([settling])
        await asyncio.sleep(0)  # Its callback remembers what was done.


def _usages(groups: cgroups.Cgroups, named: Mapping[tuple[str, str], str]) -> Usages:
    node, memory_bytes_total = cgroups.of_machine()
    used = {key: cgroups.used(groups, group) for key, group in named.items()}
    return Usages(node, memory_bytes_total, used, tasks.now())
