"""The node: registers itself, says that it lives, and keeps one worker for each of its pods.

`run` starts the runtime (which adopts what still runs), registers the Node, follows the node's pods, services and
endpoints, and hands every pod uid to a `worker.PodWorker`. What the runtime or the disk still has of pods that the API
no longer knows gets a worker too, which takes it away. Everything is level-based: a restart begins with the same
lists and comes to the same decisions.

Invariants: only the Lease is written by the clock (LEASE_RENEW_SECONDS), all else by need; a pod waits until no other
worker has anything left of an older pod of its name; cancelling `run` leaves the containers running.
`stop_all` is `petset down`: every container is stopped with its grace, and their records stay for the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from petset.base import tasks
from petset.client import views
from petset.client.client import Client
from petset.client.events import Recorder, Telling
from petset.client.informer import Informer
from petset.kinds import requests
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.lease import LEASES
from petset.kinds.namespace import NODE_LEASES
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import pod_containers
from petset.kinds.service import SERVICES
from petset.node import disk, environment, memory, registration, static_pods, thresholds
from petset.node.network import names
from petset.node.pods import admission, hooks, probes, storage, supplies, worker
from petset.node.pods import decide as pods
from petset.node.pods.references import References
from petset.node.runtime import Container, Runtime
from petset.node.volumes import space
from petset.node.volumes import volumes as volumes_
from petset.objects import errors, meta, quantity
from petset.objects.meta import Object

log = logging.getLogger("petset.node")

STOP_GRACE_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Config:
    """What a node is told about itself and its cluster."""

    node_name: str
    state_directory: Path
    pod_cidr: str
    host_ip: str  # Of the node, as pods reach it.
    dns_address: str
    api_host: str  # Of the Service `kubernetes`.
    api_port: int = 443
    cluster_domain: str = "cluster.local"
    capacity: Mapping[str, str] = field(default_factory=registration.capacity_of_machine)
    allocatable: Mapping[str, str] | None = None  # As capacity when not given.
    node_info: Mapping[str, str] = field(default_factory=dict[str, str])  # kernelVersion, osImage, ...
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    taints: Sequence[Object] = ()  # When it is registered for the first time.
    host_files: names.HostFiles = field(default_factory=names.HostFiles)
    may_mount: bool = True  # Whether memory volumes may be mounted on the host.
    on_disk: bool = True  # Whether volumes are made; else they are judged only, and pods ask for no tokens.
    memory: Callable[[], int] | None = None  # How many bytes of it are available; None: nobody is to care.
    static_pods: Path | None = None  # The directory of their manifests.
    # What RuntimeClasses may name, and the usual runtime, "": whether pods have users of their own under it.
    handlers: Mapping[str, bool] = field(default_factory=dict[str, bool])
    unsafe_sysctls: Sequence[str] = ()  # That pods may set: names, or beginnings of names with a `*`.
    space: space.Space | None = None  # How full the claims' volumes are; None: nobody looks.
    marks: disk.Marks = field(default_factory=disk.Marks)  # From when on a disk is too full.
    eviction: thresholds.Eviction = field(default_factory=thresholds.Eviction)  # From when on pods must go.
    promise: registration.Promise = field(default_factory=registration.Promise)  # That it lives for some time to come.

    @property
    def runtime_name(self) -> str:
        return self.node_info.get("containerRuntimeVersion", "crun://").partition("://")[0]


async def run(
    client: Client,
    config: Config,
    runtime: Runtime,
    *,
    attempts: probes.Attempts | None = None,
    disks: Callable[[], disk.Disks] | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Be the node until cancelled. `attempts` makes probes and hooks, by default through the runtime's streams; `disks`
    says how full the node's disks are, None that nobody is to care."""
    one = Agent(client, runtime, config, attempts)
    await one.run(on_ready, disks)


class Agent:
    def __init__(self, client: Client, runtime: Runtime, config: Config, attempts: probes.Attempts | None = None):
        handlers = {name: not runtime.lacks_users(name) for name in ("", *runtime.handlers)}
        config = dataclasses.replace(config, handlers=handlers)
        self._client, self._runtime, self._config = client, runtime, config
        self._attempts = attempts or probes.Prober(runtime.streams)
        self._telling = Telling(Recorder(client, "kubelet", config.node_name))
        self._pods = Informer(client, PODS, field_selector=f"spec.nodeName={config.node_name}")
        of_node = f"metadata.name={config.node_name}"
        self._node = Informer(client, NODES, field_selector=of_node)
        self._lease = Informer(client, LEASES, namespace=NODE_LEASES, field_selector=of_node)
        self._services = Informer(client, SERVICES)
        self._slices = Informer(client, ENDPOINTSLICES, indices=views.indices_of(ENDPOINTSLICES))
        self._volumes = volumes_.Volumes(
            config.state_directory / "volumes",
            may_mount=config.may_mount,
            on_disk=config.on_disk,
            space=config.space,
        )
        self._ledger = admission.Ledger(config.allocatable or config.capacity, config.unsafe_sysctls)
        self._static = self._static_pods(config.static_pods) if config.static_pods is not None else None
        self._workers: dict[str, worker.PodWorker] = {}
        self._of_name: dict[str, list[worker.PodWorker]] = {}  # By namespace/name, oldest first.
        self._images_changed = asyncio.Event()

    async def run(self, on_ready: Callable[[], None] | None, disks: Callable[[], disk.Disks] | None = None) -> None:
        await self._runtime.start()
        await self._volumes.begin()
        found = [container for _, containers in self._runtime.observe().values() for container in containers]
        if running := sum(container.state == "running" for container in found):
            log.info("adopted %d running containers", running)
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._around = self._surroundings(group)
            for informer in (self._node, self._lease, self._services, self._slices, self._pods):
                tasks.spawn(group, informer.run(), f"watch {informer.resource.plural}")
            tasks.spawn(group, self._telling.run(), "node events")
            tasks.spawn(group, self._follow_runtime(), "runtime events")
            await self._until_done("register", lambda: registration.register(self._client, self._config))
            lease = registration.renew_lease(self._client, self._config, self._node_there_is, self._lease_gone)
            tasks.spawn(group, lease, "node lease")
            for informer in (self._services, self._slices, self._pods):
                await informer.synced.wait()
            self._node.on_change(self._node_changed)
            self._node_changed(None, self._registered())
            self._pods.on_change(self._pod_changed)
            self._slices.on_change(self._slice_changed)
            await self._take_over()
            if self._static is not None:
                tasks.spawn(group, self._static.run(), "static pods")
            said = await self._until_done("say it is ready", self._say_ready)
            self._telling.tell(
                said, "Normal", "NodeReady", f"Node {self._config.node_name} status is now: NodeReady", ""
            )
            tasks.spawn(group, self._stay_ready(said), "node readiness")
            tasks.spawn(group, self._tell_images(), "node images")
            for keeper, name in self._keepers(disks):
                tasks.spawn(group, keeper.run(), name)
            if on_ready is not None:
                on_ready()

    def _keepers(
        self, disks: Callable[[], disk.Disks] | None
    ) -> Iterator[tuple[disk.Keeper | memory.Keeper | space.Keeper, str]]:
        """Who looks after what the machine has less and less of."""
        config = self._config
        if disks is not None:
            yield disk.Keeper(self, disks, config.marks, config.eviction), "node disks"
        if config.memory is not None:
            total = quantity.to_bytes(config.capacity["memory"])
            yield memory.Keeper(self, config.memory, total, config.eviction), "node memory"
        if config.space is not None:
            yield space.Keeper(self._client, config.space, self._telling.tell), "the claims' volumes"

    def _static_pods(self, directory: Path) -> static_pods.Keeper:
        def tell(reason: str, message: str) -> None:
            if (node := self._registered()) is not None:
                self._telling.tell(node, "Warning", reason, message, "")

        name = self._config.node_name
        return static_pods.Keeper(self._client, directory, name, self._pods.list, self._registered, tell)

    def _registered(self) -> Object | None:
        return self._node.get("", self._config.node_name)

    async def _node_there_is(self) -> Object:
        while (node := self._registered()) is None:
            await self._node.until(lambda: self._registered() is not None)
        return node

    async def _lease_gone(self, written: Object) -> None:
        seen, revision, key = self._lease, written["metadata"]["resourceVersion"], (NODE_LEASES, meta.name(written))
        await seen.until(lambda: seen.has_seen(revision) and seen.get(*key) is None)

    async def _say_ready(self) -> Object:
        node = self._registered() or await registration.register(self._client, self._config)
        return await registration.set_ready(self._client, self._config, node, self._pressures())

    async def _stay_ready(self, said: Object) -> None:
        """Say so again when somebody took the node for silent (its lease was late, or seen late) or deleted it."""
        while True:
            await self._node.until(lambda said=said: self._node.has_seen(said["metadata"]["resourceVersion"]))
            await self._node.until(lambda: not meta.is_condition_true(self._registered() or {}, "Ready"))
            was_deleted = self._registered() is None
            said = await self._until_done("say it is ready", self._say_ready)
            if not was_deleted:
                # Whoever still sees only old leases would say the opposite at once, and so on for ever.
                await asyncio.sleep(registration.LEASE_RENEW_SECONDS)

    async def _until_done(self, doing: str, attempt: Callable[[], Awaitable[Object]]) -> Object:
        """A server that is unwell or away at the start does not end the node."""
        return await tasks.retrying(f"let the node {doing}", attempt, errors.ApiError, OSError)

    def _surroundings(self, group: asyncio.TaskGroup) -> worker.Surroundings:
        config = self._config
        sources = supplies.Sources(
            client=self._client,
            references=References(self._client, group, self._look_at_volumes),
            volumes=self._volumes,
            services=self._services,
            api_service=environment.kubernetes_service(config.api_host, config.api_port),
            host_ip=config.host_ip,
            allocatable=config.allocatable or config.capacity,
        )
        return worker.Surroundings(
            client=self._client,
            runtime=self._runtime,
            attempts=self._attempts,
            sources=sources,
            services=self._services,
            slices=self._slices,
            ledger=self._ledger,
            tell=self._telling.tell,
            is_older_alive=self._is_older_alive,
            ended=self._ended,
            host_ip=config.host_ip,
            dns_address=config.dns_address,
            cluster_domain=config.cluster_domain,
            host_files=config.host_files,
            runtime_name=config.runtime_name,
        )

    # ---- pods

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        self._ledger.has(meta.part(new or {}, "status", "allocatable"))
        if new is not None and (old is None or meta.uid(old) != meta.uid(new)):
            self._images_changed.set()  # This one has been told of none.

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
            gone = self._workers.get(meta.uid(old))
            if gone is not None:
                gone.set_gone()
        if self._static is not None and any(one is not None and static_pods.is_mirror(one) for one in (old, new)):
            self._static.look()
        if new is not None:
            known = self._workers.get(meta.uid(new))
            if known is not None:
                known.update(new)
            else:
                self._employ(new)

    async def _take_over(self) -> None:
        """Take away what is left of pods that were removed while nobody was here."""
        for uid, (sandbox, _) in list(self._runtime.observe().items()):
            if uid not in self._workers:
                name = sandbox.pod_name if sandbox else uid
                namespace = sandbox.namespace if sandbox else ""
                self._employ(_remains(uid, name, namespace), gone=True)
        for uid in self._volumes.known():
            if uid not in self._workers:
                await self._volumes.remove(uid)

    def _employ(self, pod: Object, gone: bool = False) -> None:
        one = worker.PodWorker(self._around, pod, gone)
        self._workers[one.uid] = one
        # What was there before this process is older than what it is told of now.
        same = self._of_name.setdefault(meta.key(pod), [])
        same.insert(0, one) if gone else same.append(one)
        tasks.spawn(self._group, one.run(), f"pod {meta.key(pod)}")

    def _is_older_alive(self, one: worker.PodWorker) -> bool:
        for other in self._of_name.get(meta.key(one.pod), ()):
            if other is one:
                return False
            if not other.finished:
                return True
        return False

    def _ended(self, one: worker.PodWorker) -> None:
        """Nothing is left of a pod: whoever waits for its name may go on."""
        key = meta.key(one.pod)
        for other in self._of_name.get(key, ()):
            if other is not one:
                other.wake()
        if one.finished and one.gone_at is not None and self._workers.get(one.uid) is one:
            del self._workers[one.uid]
            left = [other for other in self._of_name.get(key, ()) if other is not one]
            if left:
                self._of_name[key] = left
            else:
                self._of_name.pop(key, None)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        changed = new if new is not None else old
        if changed is None:
            return
        namespace = meta.namespace(changed)
        for one in list(self._workers.values()):
            if one.awaits_name and meta.namespace(one.pod) == namespace:
                one.wake()

    def _look_at_volumes(self, uid: str) -> None:
        if uid in self._workers:
            self._workers[uid].look_at_volumes()

    async def _follow_runtime(self) -> None:
        async for event in self._runtime.events():
            self._wake(event.pod_uid)
            self._images_changed.set()  # They may have: whatever begins has an image.

    async def _tell_images(self) -> None:
        """Say in the Node which images there are, a while after they may have changed; what failed, once more."""
        rest = 0.0
        while True:
            await self._images_changed.wait()
            await asyncio.sleep(rest)
            rest = registration.IMAGES_REST_SECONDS
            self._images_changed.clear()  # Before the look: what changes meanwhile asks for another.
            with tasks.best_effort("tell the node's images"):
                try:
                    await self._tell_images_now()
                except Exception:
                    self._images_changed.set()
                    raise

    async def _tell_images_now(self) -> None:
        found = registration.images(await self._runtime.images())
        node = self._registered()  # Where there is none, its registration asks for another look.
        if node is not None and list(meta.parts(node, "status", "images")) != found:
            patch = {"status": {"images": found}}
            await self._client.patch(NODES, self._config.node_name, "", patch, subresource="status")

    def _wake(self, uid: str) -> None:
        if uid in self._workers:
            self._workers[uid].wake()

    # ---- what disk.Keeper asks

    async def collect(self, bytes_wanted: int, logs: bool) -> int:
        try:
            return await self._runtime.collect(bytes_wanted, logs)
        finally:
            self._images_changed.set()

    async def say_pressure(self, lack: thresholds.Lack | None) -> None:
        self._ledger.disk_pressure = lack is not None
        await self._say_lack("disk", lack, "NodeHasDiskPressure" if lack is not None else "NodeHasNoDiskPressure")

    async def evict_largest(self, lack: thresholds.Lack) -> None:
        found = storage.first_to_go([(one.pod, await one.usage()) for one in self._running()])
        if found is not None:
            pod, size = found
            self._evict(pod, lack, f"{size}. ")

    def tell_collection_failed(self, wanted: int, freed: int) -> None:
        if (node := self._registered()) is not None:
            why = f"Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
            message = f"Failed to garbage collect required amount of images. {why}"
            self._telling.tell(node, "Warning", "FreeDiskSpaceFailed", message, "")

    # ---- what memory.Keeper asks

    async def say_memory_pressure(self, lack: thresholds.Lack | None) -> None:
        self._ledger.memory_pressure = lack is not None
        said = "NodeHasInsufficientMemory" if lack is not None else "NodeHasSufficientMemory"
        await self._say_lack("memory", lack, said)

    async def evict_for_memory(self, lack: thresholds.Lack) -> None:
        used: dict[str, int] = {}
        for (uid, _), usage in (await self._runtime.usages()).containers.items():
            used[uid] = used.get(uid, 0) + usage.working_set_bytes
        staying = [one for one in self._running() if not one.is_failing]
        found = memory.first_to_go([(one.pod, used.get(one.uid, 0)) for one in staying])
        if found is not None:
            pod, size = found
            self._evict(pod, lack, f"{size}, and requests {requests.of(pod).get('memory', 0)}. ")

    # ---- what is done for both

    def _running(self) -> list[worker.PodWorker]:
        return [one for one in list(self._workers.values()) if one.is_running and one.gone_at is None]

    def _evict(self, pod: Object, lack: thresholds.Lack, using: str) -> None:
        most = self._config.eviction.pod_grace_seconds_max
        self._workers[meta.uid(pod)].fail(
            pods.EVICTED,
            f"The node was low on resource: {lack.resource}. Threshold quantity: {lack.least}, available: "
            f"{lack.available}. The pod was using {using}",
            0.0 if lack.is_hard else min(pods.grace_seconds(pod), most),
        )

    async def _say_lack(self, of: str, lack: thresholds.Lack | None, said: str) -> None:
        name, node = self._config.node_name, self._registered()
        if node is None:
            return  # It is said when the node is registered again.
        if lack is not None:
            self._telling.tell(node, "Warning", "EvictionThresholdMet", f"Attempting to reclaim {lack.resource}", "")
        self._telling.tell(node, "Normal", said, f"Node {name} status is now: {said}", "")
        await self._until_done(f"say how its {of} is", self._say_ready)

    def _pressures(self) -> list[str]:
        """The conditions of the node that are true and should not be."""
        found = (("DiskPressure", self._ledger.disk_pressure), ("MemoryPressure", self._ledger.memory_pressure))
        return [type_ for type_, is_so in found if is_so]


def _remains(uid: str, name: str, namespace: str) -> Object:
    """As much of a pod as is needed to take its remains away."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
        "spec": {},
    }


async def stop_all(
    client: Client | None,
    runtime: Runtime,
    *,
    node_name: str,
    state_directory: Path,
    grace_seconds_max: float = STOP_GRACE_SECONDS_MAX,
    attempts: probes.Attempts | None = None,
) -> None:
    """Stop every container with its pod's grace, preStop hooks included; after `run` was cancelled, before the runtime
    is closed. The records stay, so that the next start sees pods whose containers ended, as after a reboot.
    """
    known: dict[str, Object] = {}
    if client is not None:
        with contextlib.suppress(Exception):
            items, _ = await client.list(PODS, field_selector=f"spec.nodeName={node_name}")
            known = {meta.uid(item): item for item in items}
    attempts = attempts or probes.Prober(runtime.streams)
    async with asyncio.TaskGroup() as group:
        for uid, (sandbox, containers) in list(runtime.observe().items()):
            pod = known.get(uid) or _remains(uid, uid, "")
            running = [one for one in containers if one.state == "running"]
            ip = sandbox.ip if sandbox else ""
            stop = _stop_pod(runtime, attempts, pod, running, ip, grace_seconds_max)
            tasks.spawn(group, stop, f"stop pod {meta.name(pod)}")
    await volumes_.Volumes(Path(state_directory) / "volumes").unmount_all()


async def _stop_pod(
    runtime: Runtime,
    attempts: probes.Attempts,
    pod: Object,
    running: list[Container],
    ip: str,
    grace_seconds_max: float,
) -> None:
    least = pods.least_grace_seconds(pod)
    grace = max(least, min(pods.grace_seconds(pod), grace_seconds_max))
    until = tasks.now() + grace
    sidecars = [spec["name"] for spec in pods.init_containers(pod) if pod_containers.is_sidecar(spec)]

    async def stop(name: str) -> None:
        with tasks.best_effort("stop container", f"{name} of pod {meta.name(pod)}"):
            spec = pods.container_named(pod, name) or {}
            if why := await hooks.pre_stop(attempts, pod, spec, ip, until - tasks.now()):
                log.warning("preStop hook of container %s of pod %s failed: %s", name, meta.name(pod), why)
            left = max(least, until - tasks.now())
            await runtime.stop_container(meta.uid(pod), name, left)

    async with asyncio.TaskGroup() as group:
        for container in running:
            if container.name not in sidecars:
                tasks.spawn(group, stop(container.name), f"stop {container.name}")
    for name in reversed(sidecars):
        if any(container.name == name for container in running):
            await stop(name)
