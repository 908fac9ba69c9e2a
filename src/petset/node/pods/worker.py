"""One pod on this node: looks, decides, takes steps, reports; until the pod is gone and nothing of it is left.

The loop: everything known goes into a `View`; `pod.decide` gives steps, `status.status` the status; steps run as tasks
of their own, each at most once at a time, and every end of one, every probe result, every change from outside just
wakes the loop again. reporting.py writes the status, probing.py runs the probes, supplies.py brings the volumes.

Invariants: only this module takes steps for its pod; nothing is finished while a step still runs; a failed step is
remembered as a `Trouble` and tried again by decide, never lost; the API object is removed only after the runtime has
nothing left of the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.base import tasks
from petset.client.client import Client
from petset.client.informer import Cache
from petset.kinds import pod_phase
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import sources
from petset.node import environment
from petset.node.network import names
from petset.node.pods import (
    admission,
    hooks,
    launch,
    probes,
    pulling,
    resizing,
    restarting,
    sandboxes,
    status,
    storage,
    supplies,
)
from petset.node.pods import decide as pods
from petset.node.pods.probing import Probing
from petset.node.pods.reporting import Reporter
from petset.node.pods.turns import WRITES_SIDE_BY_SIDE_MAX, Turns
from petset.node.pods.view import RESTART_DELAY_SECONDS_MIN, Failure, Memory, RestartDelay, Trouble, View
from petset.node.runtime import Container, Image, ImageError, RegistryLogin, Runtime, RuntimeError_, Sandbox
from petset.node.volumes import volumes
from petset.objects import errors, meta
from petset.objects.meta import Object

log = logging.getLogger("petset.node")

SHORTER_BY_SECONDS_MIN = 0.5  # A grace that shrinks by less changes nothing.

Tell = Callable[[Object, str, str, str, str], None]  # pod, type, reason, message, field path


@dataclass(frozen=True, slots=True)
class RefreshVolumes:
    """Write payload volumes anew: something they show has changed. The worker's own step, next to pod.py's."""


AnyStep = pods.Step | RefreshVolumes
_PREPARING = (pods.EnsureImage, pods.MountVolumes, RefreshVolumes)
_SETUP_ERRORS = (volumes.VolumeError, environment.ConfigError, errors.ApiError, OSError)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all pods of a node share."""

    client: Client
    runtime: Runtime
    attempts: probes.Attempts
    sources: supplies.Sources
    services: Cache
    slices: Cache  # EndpointSlices, by "service".
    ledger: admission.Ledger
    tell: Tell
    is_older_alive: Callable[[PodWorker], bool]
    ended: Callable[[PodWorker], None]
    host_ip: str
    dns_address: str
    cluster_domain: str
    host_files: names.HostFiles
    runtime_name: str
    turns: Turns = field(default_factory=Turns)
    writing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WRITES_SIDE_BY_SIDE_MAX))


@dataclass(slots=True)
class _Stopping:
    deadline: float
    task: asyncio.Task[None]


class PodWorker:
    def __init__(self, around: Surroundings, pod: Object, gone: bool = False):
        self.around = around
        self.pod = pod
        self.uid = meta.uid(pod)
        self.gone_at: float | None = tasks.now() if gone else None
        self.finished = False  # Nothing of the pod is left here.
        # What has begun here before holds what it has, before anybody who is new is asked whether he fits.
        self._admitted = self._has_begun()
        self._allocation = resizing.Allocation(pod, self._observed()[1])
        if self._admitted:
            around.ledger.enter(self._allocation.of(pod))
        self._failure: Failure | None = None
        self._wake = tasks.Signal()
        self._reporter = Reporter(around.client, self, self._spawn, around.writing)
        self._supplies = supplies.Supplies(around.sources, self.uid)
        self._memories: dict[str, Memory] = {}
        self._pulled: dict[str, list[pulling.Said]] = {}  # What to tell of a container's image at its start.
        self._troubles: dict[str, Trouble] = {}  # volumes, sandbox
        self._held: dict[AnyStep, Trouble] = {}  # Steps that failed in a way nobody expected.
        self._busy: dict[AnyStep, asyncio.Task[None]] = {}
        self._stopping: dict[tuple[str, int], _Stopping] = {}
        self._name_wait_until = 0.0
        self._name_wait_told = False
        self._volumes_changed = False

    def _has_begun(self) -> bool:
        if self.gone_at is not None or pod_phase.has_ended(self.pod):
            return False
        sandbox, containers = self._observed()
        return sandbox is not None or bool(containers) or bool(meta.get(self.pod, "status", "podIP"))

    # ---- from outside

    @property
    def awaits_name(self) -> bool:
        """Whether it waits for an EndpointSlice to show its address."""
        return bool(self._name_wait_until)

    def update(self, pod: Object) -> None:
        """A newer version of the pod; older ones are ignored."""
        if meta.revision(pod) >= meta.revision(self.pod):
            if meta.labels(pod) != meta.labels(self.pod) or meta.annotations(pod) != meta.annotations(self.pod):
                self._volumes_changed = True  # A downwardAPI volume may show them.
            if pod.get("status") != self.pod.get("status"):
                self._reporter.forget()  # Somebody else wrote it (the node was taken for silent): say it again.
            changed = pods.changed_images(self.pod, pod)
            self.pod = pod
            for name in changed:
                self.remember(name, image=None, image_trouble=None)
                self._start_anew(name, f"Container {name} definition changed, will be restarted")
            self.wake()

    def set_gone(self) -> None:
        """The API no longer has this pod."""
        if self.gone_at is None:
            self.gone_at = tasks.now()
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    def look_at_volumes(self) -> None:
        self._volumes_changed = True
        self.wake()

    # ---- for the parts of a pod

    def memory(self, name: str) -> Memory:
        return self._memories.get(name) or Memory()

    def remember(self, name: str, **changes: Any) -> None:
        self._memories[name] = dataclasses.replace(self.memory(name), **changes)
        self.wake()

    def tell(self, type_: str, reason: str, message: str, container: str = "") -> None:
        """An event about the pod, or about one of its containers."""
        path = ""
        if container:
            path = f"spec.{pods.field_of(self.pod, container)}{{{container}}}"
        self.around.tell(self.pod, type_, reason, message, path)

    @property
    def is_running(self) -> bool:
        return any(container.state == "running" for container in self._observed()[1])

    @property
    def is_failing(self) -> bool:
        """Whether it is being ended by the node already."""
        return self._failure is not None

    async def usage(self) -> storage.Usage:
        containers = await self.around.runtime.disk_usage(self.uid)
        return storage.Usage(containers, await self._supplies.usage(self.pod))

    def ip(self) -> str:
        sandbox, _ = self._observed()
        return sandbox.ip if sandbox else ""

    def _observed(self) -> tuple[Sandbox | None, Sequence[Container]]:
        return self.around.runtime.observe_pod(self.uid)

    # ---- the loop

    @property
    def _is_over(self) -> bool:
        return self.finished and self.gone_at is not None

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._probing = Probing(self, self.around.attempts, group)
                keeper = tasks.spawn(group, storage.keep_to_limits(self), f"storage of {meta.key(self.pod)}")
                while not self._is_over:
                    await self.around.turns.mine()
                    self._wake.clear()
                    wake_at: float | None = tasks.now() + pods.SETUP_RETRY_SECONDS_MAX
                    # One pod that cannot be understood must not end the node and all others with it.
                    with tasks.best_effort("decide about pod", meta.key(self.pod)):
                        wake_at = self._look()
                    if not self._is_over:  # It may have come to that while it waited for its turn.
                        await self._until(wake_at)
                self._probing.stop()
                self._reporter.stop()
                for task in (keeper, *self._busy.values()):
                    task.cancel()
        finally:
            self._supplies.release()
            self.around.ended(self)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return tasks.spawn(self._group, work, name)

    async def _until(self, wake_at: float | None) -> None:
        delay = None if wake_at is None else max(0.0, wake_at - tasks.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    def _look(self) -> float | None:
        """One turn: view, decide, take steps, report; the time to look again."""
        if self.finished:
            return None
        if self.gone_at is not None or self._failure is not None or pod_phase.has_ended(self.pod):
            self.around.ledger.release(self.uid)
        self._resize()
        view = self._view()
        if not self._admitted and not view.older_alive:
            view = self._admit(view)
        decision = pods.decide(self.pod, view)
        times = [decision.wake_at] if decision.wake_at is not None else []
        for step in decision.steps:
            held = self._held.get(step)
            if held is not None and view.now < held.retry_at:
                times.append(held.retry_at)
            else:
                self._take(step)
        self._probing.keep(view, stopped=self.gone_at is not None or pod_phase.has_ended(self.pod))
        times += self._refresh_volumes_when_due(view)
        if status.is_replacing(self.pod, view):
            times.append(view.now + status.REPLACING_SECONDS_MAX)
        elif self.gone_at is None and not any(isinstance(step, pods.Finish) for step in decision.steps):
            wanted = status.status(self.pod, view)
            for said in status.back_offs(self.pod, self._reporter.wanted or self.pod.get("status") or {}, wanted):
                self.tell(*said)
            self._reporter.want(wanted)
        return min(times) if times else None

    def _resize(self) -> None:
        """Have what the spec wants now of CPU and memory, as far as the node has it."""
        if not self._admitted or self.gone_at is not None or self._failure is not None:
            return
        if meta.is_deleting(self.pod) or pod_phase.has_ended(self.pod):
            return
        ledger = self.around.ledger
        for spec in self._allocation.take(self.pod, ledger, self.tell, self._ask_again):
            self._start_anew(spec["name"], f"Container {spec['name']} resize requires restart")
        if self._allocation.state.generation and not status.is_resizing(self.pod, self._view()):
            self._allocation.done(self.pod, self.tell)

    def _start_anew(self, name: str, why: str) -> None:
        self.remember(name, unhealthy=why, unhealthy_at=tasks.now(), again=True)

    def _ask_again(self) -> None:
        self._allocation.ask_again()
        self.wake()

    def _admit(self, view: View) -> View:
        """Ask once whether the node can take the pod; the view with the answer."""
        self._admitted = True
        if self.gone_at is not None or meta.is_deleting(self.pod) or pod_phase.has_ended(self.pod):
            return view
        self._allocation.begin(self.pod)
        refusal = self.around.ledger.admit(self.pod)
        if refusal is None:
            return view
        return dataclasses.replace(view, failure=self.fail(refusal.reason, refusal.message))

    def fail(self, reason: str, message: str, grace_seconds: float = 0.0) -> Failure:
        """End the pod for good, in the node's own name."""
        if self._failure is None:
            self._failure = Failure(reason, message, tasks.now(), grace_seconds)
            self.tell("Warning", reason, message)
            self.wake()
        return self._failure

    def _refresh_volumes_when_due(self, view: View) -> list[float]:
        if self._supplies.mounted is None or self.gone_at is not None or meta.is_deleting(self.pod):
            return []
        due = self._supplies.due_at()
        if self._volumes_changed or (due is not None and due <= view.now):
            self._take(RefreshVolumes())
        return [due] if due is not None and due > view.now else []

    def _view(self) -> View:
        sandbox, containers = self._observed()
        for container in containers:
            self._get_to_know(container)
        view = View(
            now=tasks.now(),
            sandbox=sandbox,
            containers=tuple(containers),
            begun_at=restarting.began_anew(pods.all_containers(self.pod), containers),
            memories=self._memories,
            gone_at=self.gone_at,
            older_alive=self.around.is_older_alive(self),
            failure=self._failure,
            volumes_ready=self._supplies.mounted is not None,
            volumes_trouble=self._troubles.get("volumes"),
            sandbox_trouble=self._troubles.get("sandbox"),
            resize=self._allocation.state,
            host_ip=self.around.host_ip,
            runtime_name=self.around.runtime_name,
        )
        published = self._is_name_published(view)
        return dataclasses.replace(view, name_published=published, name_wait_until=self._name_wait_until)

    def _is_name_published(self, view: View) -> bool:
        """Whether the EndpointSlices, which names are made of, show the pod where its services show unready pods."""
        service = self._missing_service(view)
        if not service:
            self._name_wait_until = 0.0
            return True
        if not self._name_wait_until:
            self._name_wait_until = view.now + pods.NAME_WAIT_SECONDS_MAX
        elif view.now >= self._name_wait_until and not self._name_wait_told:
            self._name_wait_told = True
            ip = view.sandbox.ip if view.sandbox else ""
            message = f"no EndpointSlice of service {service} shows {ip} yet; starting all the same"
            self.tell("Warning", "NameNotPublished", message)
        return False

    def _missing_service(self, view: View) -> str:
        """The first service that should show this pod before it starts and does not yet."""
        if view.sandbox is None or not view.sandbox.alive or self.pod["spec"].get("hostNetwork") or view.has_begun():
            return ""
        namespace = meta.namespace(self.pod)
        for service in names.awaited_services(self.pod, self.around.services.list(namespace)):
            slices = self.around.slices.by_index("service", f"{namespace}/{service}")
            if not names.has_address(slices, view.sandbox.ip):
                return service
        return ""

    def _get_to_know(self, container: Container) -> None:
        """What is remembered of a running attempt seen for the first time: after a restart, what the API remembers."""
        if container.state != "running" or self.memory(container.name).container_id == container.id:
            return
        if pods.StartContainer(container.name, container.attempt) in self._busy:
            return  # Being started by this process, which will say itself what is known.
        spec = pods.container_named(self.pod, container.name) or {}
        old = pods.status_of(self.pod, container.name) or {}
        is_known = str(old.get("containerID", "")).endswith(f"://{container.id}")
        started = not spec.get("startupProbe") or (is_known and bool(old.get("started")))
        ready = started and (not spec.get("readinessProbe") or (is_known and bool(old.get("ready"))))
        memory = Memory(container_id=container.id, hook="done", started=started, ready=ready)
        self._memories[container.name] = dataclasses.replace(memory, delay=self.memory(container.name).delay)

    # ---- steps

    def _take(self, step: AnyStep) -> None:
        """Begin a step unless it is under way."""
        if isinstance(step, pods.StopContainer):
            self._take_stop(step)
        elif step not in self._busy:
            if isinstance(step, pods.StopSandbox | pods.Finish) and not self._may_finish():
                return
            self._busy[step] = tasks.spawn(self._group, self._guarded(step), f"{step} of {meta.key(self.pod)}")

    def _may_finish(self) -> bool:
        """What only prepares is given up; what changes containers is waited for."""
        for step, task in list(self._busy.items()):
            if isinstance(step, _PREPARING):
                task.cancel()
        return not self._busy

    def _take_stop(self, step: pods.StopContainer) -> None:
        key = (step.container, step.attempt)
        before = self._stopping.get(key)
        if before is None:
            self.tell("Normal", "Killing", step.message, step.container)
        elif step.deadline >= before.deadline - SHORTER_BY_SECONDS_MIN:
            return
        else:
            before.task.cancel()  # The grace became shorter: stop again, with what is left of it.
            step = dataclasses.replace(step, hook=False)
        task = tasks.spawn(self._group, self._guarded(step), f"stop {step.container} of {meta.key(self.pod)}")
        self._stopping[key] = _Stopping(step.deadline, task)
        self._busy[step] = task

    async def _guarded(self, step: AnyStep) -> None:
        try:
            with tasks.best_effort("take a step for pod", meta.key(self.pod)), self._holding(step):
                await self._do(step)
        finally:
            if self._busy.get(step) is asyncio.current_task():
                del self._busy[step]
            if isinstance(step, pods.StopContainer):
                stopping = self._stopping.get((step.container, step.attempt))
                if stopping is not None and stopping.task is asyncio.current_task():
                    del self._stopping[(step.container, step.attempt)]
            self.wake()

    @contextlib.contextmanager
    def _holding(self, step: AnyStep) -> Generator[None, None, None]:
        """A failure makes the same step wait a growing time before it is taken again."""
        try:
            yield
            self._held.pop(step, None)
        except Exception as error:
            # Later ones are counted; the first one says where it comes from, unless the server said why.
            if step not in self._held and not isinstance(error, errors.ApiError):
                log.exception("cannot take %s for pod %s", step, meta.key(self.pod))
            self._held[step] = _setup_trouble(self._held.get(step), type(error).__name__, str(error))
            raise

    async def _do(self, step: AnyStep) -> None:
        match step:
            case pods.EnsureImage(name):
                await self._ensure_image(name)
            case pods.MountVolumes():
                await self._mount_volumes()
            case RefreshVolumes():
                await self._refresh_volumes()
            case pods.CreateSandbox():
                await self._create_sandbox()
            case pods.StartContainer(name, attempt):
                await self._start(name, attempt)
            case pods.StopContainer():
                await self._stop(step)
            case pods.ResizeContainer(name, attempt):
                await self._resize_container(name, attempt)
            case pods.RemoveContainer(name, attempt):
                await self.around.runtime.remove_container(self.uid, name, attempt)
            case pods.StopSandbox():
                await self._supplies.remove()
                await self.around.runtime.stop_sandbox(self.uid)
            case pods.Finish(gone):
                await self._finish(gone)

    async def _ensure_image(self, name: str) -> None:
        spec = pods.container_named(self.pod, name)
        if spec is None:
            return
        logins, troubles = await self._supplies.registry_logins(self.pod)
        for trouble in troubles:
            self.tell("Warning", "FailedToRetrieveImagePullSecret", trouble)
        try:
            info, said = await self._pull(spec, logins)
        except ImageError as error:
            trouble = pulling.trouble_after(self.memory(name).image_trouble, error, tasks.now())
            self.remember(name, image=None, image_trouble=trouble)
            return
        self._pulled[name] = said
        self.remember(name, image=info, image_trouble=None)

    async def _pull(self, spec: Object, logins: Sequence[RegistryLogin]) -> tuple[Image, list[pulling.Said]]:
        """The image, and what is to be said of it. Raises ImageError, when it has been said why."""
        try:
            return await pulling.pull(self.around.runtime, spec, logins, self.tell)
        except ImageError as error:
            for one in pulling.failure(spec, error):
                self.tell(*one)
            raise

    async def _mount_volumes(self) -> None:
        try:
            await self._supplies.prepare(self.pod, await self._volume_images())
        except ImageError as error:
            self._troubles["volumes"] = pulling.trouble_after(self._troubles.get("volumes"), error, tasks.now())
            return
        except _SETUP_ERRORS as error:
            self._troubles["volumes"] = _setup_trouble(self._troubles.get("volumes"), "FailedMount", str(error))
            self.tell("Warning", "FailedMount", str(error))
            return
        self._troubles.pop("volumes", None)

    async def _volume_images(self) -> dict[str, Image]:
        """The images that are volumes of the pod, by volume. Raises ImageError."""
        wanted = pulling.of_volumes(self.pod)
        logins = (await self._supplies.registry_logins(self.pod))[0] if wanted else []
        found: dict[str, Image] = {}
        for name, spec in wanted.items():
            found[name], said = await self._pull(spec, logins)
            for one in said:
                self.tell(*one)
        return found

    async def _refresh_volumes(self) -> None:
        self._volumes_changed = False
        try:
            await self._supplies.prepare(self.pod)
        except _SETUP_ERRORS as error:
            self._supplies.postpone()  # The old version stays.
            self.tell("Warning", "FailedMount", str(error))

    async def _create_sandbox(self) -> None:
        around = self.around
        hosts = names.hosts(self.pod, around.cluster_domain, around.host_files.hosts)
        resolv = names.resolv_conf(self.pod, around.dns_address, around.cluster_domain, around.host_files.resolv_conf)
        self._name_wait_until, self._name_wait_told = 0.0, False
        try:
            hostname = sandboxes.hostname(self.pod, around.cluster_domain)
            handler = await sandboxes.handler(around.client, self.pod, around.runtime.handlers)
            sandboxes.require_offered(self.pod, around.runtime, handler)
            await around.runtime.create_sandbox(self.pod, hosts, resolv, hostname, handler)
        except RuntimeError_ as error:
            self._troubles["sandbox"] = _setup_trouble(self._troubles.get("sandbox"), error.reason, error.message)
            self.tell("Warning", sandboxes.FAILED, f"Failed to create pod sandbox: {error.message}")
            return
        self._troubles.pop("sandbox", None)

    async def _start(self, name: str, attempt: int) -> None:
        pod = self._allocation.of(self.pod)
        spec, image, mounted = pods.container_named(pod, name), self.memory(name).image, self._supplies.mounted
        if spec is None or image is None or mounted is None:
            return
        before = self._view()
        for said in self._pulled.pop(name, ()):
            self.tell(*said, name)
        try:
            facts = await self._supplies.facts(pod, sources.of_container(spec), self.ip())
            facts = dataclasses.replace(facts, files=await self._supplies.env_files(spec))
            config = launch.container_config(pod, spec, attempt, image, facts, mounted)
            container, warnings = await self.around.runtime.start_container(config)
        except RuntimeError_ as error:
            self._start_failed(name, error.reason, error.message, RESTART_DELAY_SECONDS_MIN)
            return
        except _SETUP_ERRORS as error:
            self._start_failed(name, "CreateContainerConfigError", str(error), pods.SETUP_RETRY_SECONDS_MIN)
            return
        for warning in warnings:
            self.tell("Warning", warning.reason, warning.message, name)
        self.tell("Normal", "Created", f"Created container: {name}", name)
        self.tell("Normal", "Started", f"Started container {name}", name)
        self._know_started(spec, container, pods.delay_after_start(before, name, tasks.now()))
        if meta.get(spec, "lifecycle", "postStart"):
            await self._post_start(spec, container)

    def _know_started(self, spec: Object, container: Container, delay: RestartDelay) -> None:
        hook = bool(meta.get(spec, "lifecycle", "postStart"))
        started = not hook and not spec.get("startupProbe")
        self._memories[container.name] = Memory(
            delay=delay,
            container_id=container.id,
            hook="running" if hook else "done",
            started=started,
            ready=started and not spec.get("readinessProbe"),
        )
        self.wake()

    def _start_failed(self, name: str, reason: str, message: str, first: float) -> None:
        most = max(pods.SETUP_RETRY_SECONDS_MAX, first * 30)
        before = self.memory(name).start_trouble
        self.tell("Warning", "Failed", f"Error: {message}", name)
        self.remember(
            name,
            image=None,
            start_trouble=Trouble.after(before, reason, message, tasks.now(), first, most),
        )

    async def _resize_container(self, name: str, attempt: int) -> None:
        pod = self._allocation.of(self.pod)
        spec = pods.container_named(pod, name)
        if spec is None:
            return
        try:
            await self.around.runtime.resize_container(pod, spec, attempt)
        except RuntimeError_ as error:
            retry_at = tasks.now() + pods.SETUP_RETRY_SECONDS_MAX
            self._allocation.failed(self.pod, error.message, retry_at, self.tell)

    async def _post_start(self, spec: Object, container: Container) -> None:
        """postStart runs beside the container; its failure ends the container."""
        name = container.name
        message = await hooks.post_start(
            self.around.attempts, self.pod, spec, self.ip(), lambda: self._ended(name, container.attempt)
        )
        if self.memory(name).container_id != container.id:
            return
        if not message:
            started = not spec.get("startupProbe")
            self.remember(name, hook="done", started=started, ready=started and not spec.get("readinessProbe"))
            return
        self.tell("Warning", "FailedPostStartHook", f"PostStartHook failed: {message}", name)
        self.remember(name, hook="failed", unhealthy="FailedPostStartHook", unhealthy_at=tasks.now())

    async def _ended(self, name: str, attempt: int) -> None:
        """Return when this attempt runs no more."""
        while any((one.name, one.attempt, one.state) == (name, attempt, "running") for one in self._observed()[1]):
            await self._wake.wait()
            await asyncio.sleep(0)  # The loop clears the event in its turn.

    async def _stop(self, step: pods.StopContainer) -> None:
        spec = pods.container_named(self.pod, step.container) or {}
        if step.hook:
            left = step.deadline - tasks.now()

            async def ended() -> None:
                await self._ended(step.container, step.attempt)

            message = await hooks.pre_stop(self.around.attempts, self.pod, spec, self.ip(), left, ended)
            if message:
                self.tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {message}", step.container)
        grace = max(pods.least_grace_seconds(self.pod), step.deadline - tasks.now())
        await self.around.runtime.stop_container(self.uid, step.container, grace)

    async def _finish(self, gone: bool) -> None:
        view = self._view()
        async with asyncio.TaskGroup() as group:
            if not gone and view.containers:
                tasks.spawn(group, self._write_last(status.status(self.pod, view)), "last report")
            tasks.spawn(group, self.around.runtime.remove_sandbox(self.uid), "remove sandbox")
        await self._supplies.remove()
        if not gone and self.gone_at is None:
            try:
                name, namespace = meta.name(self.pod), meta.namespace(self.pod)
                await self.around.client.delete(PODS, name, namespace, uid=self.uid, grace_seconds=0)
            except errors.ApiError as error:
                if error.code not in (404, 409):
                    raise
        self.finished = True
        self.around.ledger.release(self.uid)
        self.around.ended(self)

    async def _write_last(self, final: Object) -> None:
        """The last status is a courtesy: what matters is that the pod goes."""
        self._reporter.wanted = final
        with contextlib.suppress(errors.ApiError, OSError):
            await self._reporter.write(final)


def _setup_trouble(before: Trouble | None, reason: str, message: str) -> Trouble:
    first, most = pods.SETUP_RETRY_SECONDS_MIN, pods.SETUP_RETRY_SECONDS_MAX
    return Trouble.after(before, reason, message, tasks.now(), first, most)
