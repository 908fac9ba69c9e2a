"""One pod on this node: looks, decides, takes steps, reports; until the pod is gone and nothing of it is left.

The loop: everything known goes into a `View`; `pod.decide` gives steps, `status.status` the status; steps run as tasks
of their own, each at most once at a time, and every end of one, every probe result, every change from outside just
wakes the loop again. The status is written by a task of its own, so a slow API never holds a container up.

Invariants: only this module takes steps for its pod; nothing is finished while a step still runs; a failed step is
remembered as a `Trouble` and tried again by decide, never lost; the API object is removed only after the runtime has
nothing left of the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from petset.base import tasks
from petset.client.client import Client
from petset.client.informer import Cache
from petset.node import environment, launch, names, payloads, probes, references, status
from petset.node import pod as pods
from petset.node import volumes as volumes_
from petset.node.environment import Facts
from petset.node.payloads import TokenWanted
from petset.node.pod import Memory, Trouble, View
from petset.node.runtime import Container, ImageError, Runtime, RuntimeError_
from petset.objects import errors, meta, resources
from petset.objects.meta import Object

log = logging.getLogger("petset.node")

PULL_SHOWN_AFTER_SECONDS = 0.5  # A fetch that takes longer is told while it goes on.
TOKEN_REFRESH_SHARE = 0.8
VOLUME_REFRESH_RETRY_SECONDS = 10.0

Tell = Callable[[Object, str, str, str, str], None]  # pod, type, reason, message, field path


@dataclass
class Surroundings:
    """What all pods of a node share."""

    client: Client
    runtime: Runtime
    attempts: probes.Attempts
    volumes: volumes_.Volumes
    services: Cache
    endpoints: Cache
    references: references.References
    tell: Tell
    is_older_alive: Callable[[PodWorker], bool]
    ended: Callable[[PodWorker], None]
    node_name: str
    host_ip: str
    dns_address: str
    cluster_domain: str
    host_resolv_conf: str
    api_service: Object
    allocatable: Mapping[str, str]
    runtime_name: str = "crun"


@dataclass
class _Stopping:
    deadline: float
    task: asyncio.Task[None]


@dataclass
class _Probing:
    container_id: str
    task: asyncio.Task[None]


@dataclass
class _Images:
    """When and how a container's image was had, for the events told at its start."""

    said: list[tuple[str, str]] = field(default_factory=list)  # (reason, message)


class PodWorker:
    def __init__(self, around: Surroundings, pod: Object, gone: bool = False):
        self.around = around
        self.pod = pod
        self.uid = meta.uid(pod)
        self.gone_at: float | None = tasks.now() if gone else None
        self.finished = False  # Nothing of the pod is left here.
        self._wake = asyncio.Event()
        self._report_wanted = asyncio.Event()
        self._memories: dict[str, Memory] = {}
        self._images: dict[str, _Images] = {}
        self._mounted: dict[str, volumes_.Mounted] | None = None
        self._tokens: dict[TokenWanted, tuple[str, float]] = {}  # Token, and when to ask for the next.
        self._troubles: dict[str, Trouble] = {}  # volumes, sandbox, finish
        self._held: dict[_Step, Trouble] = {}  # Steps that failed in a way nobody expected.
        self._busy: dict[pods.Step, asyncio.Task[None]] = {}
        self._stopping: dict[tuple[str, int], _Stopping] = {}
        self._probing: dict[tuple[str, str], _Probing] = {}
        self._name_wait_until = 0.0
        self._name_wait_told = False
        self._status: Object | None = None  # As wanted.
        self._written: Object | None = None  # As last written by this process.
        self._volumes_changed = False

    # ---- from outside

    @property
    def awaits_name(self) -> bool:
        """Whether it waits for the Endpoints to show its address."""
        return bool(self._name_wait_until)

    def update(self, pod: Object) -> None:
        """A newer version of the pod; older ones are ignored."""
        if meta.revision(pod) >= meta.revision(self.pod):
            if meta.labels(pod) != meta.labels(self.pod) or meta.annotations(pod) != meta.annotations(self.pod):
                self._volumes_changed = True  # A downwardAPI volume may show them.
            self.pod = pod
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

    # ---- the loop

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                writer = tasks.spawn(group, self._write_reports(), f"report {meta.key(self.pod)}")
                while not (self.finished and self.gone_at is not None):
                    self._wake.clear()
                    wake_at = self._look()
                    await self._until(wake_at)
                for task in (writer, *self._busy.values(), *(one.task for one in self._probing.values())):
                    task.cancel()
        finally:
            self.around.references.release(self.uid)
            self.around.ended(self)

    async def _until(self, wake_at: float | None) -> None:
        delay = None if wake_at is None else max(0.0, wake_at - tasks.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    def _look(self) -> float | None:
        """One turn: view, decide, take steps, report; the time to look again."""
        if self.finished:
            return None
        view = self._view()
        decision = pods.decide(self.pod, view)
        times = [decision.wake_at] if decision.wake_at is not None else []
        for step in decision.steps:
            held = self._held.get(step)
            if held is not None and view.now < held.retry_at:
                times.append(held.retry_at)
            else:
                self._take(step)
        self._watch_probes(view)
        if self._mounted is not None and self.gone_at is None and not meta.is_deleting(self.pod):
            times += [at for _, at in self._tokens.values() if at > view.now]
            if self._volumes_changed or any(at <= view.now for _, at in self._tokens.values()):
                self._take(_RefreshVolumes())
        if self.gone_at is None and not any(isinstance(step, pods.Finish) for step in decision.steps):
            wanted = status.status(self.pod, view)
            self._tell_changes(wanted)
            self._report(wanted)
        return min(times) if times else None

    def _view(self) -> View:
        now = tasks.now()
        sandbox, containers = self.around.runtime.observe().get(self.uid, (None, ()))
        for container in containers:
            self._get_to_know(container)
        view = View(
            now=now,
            sandbox=sandbox,
            containers=tuple(containers),
            memories=self._memories,
            gone_at=self.gone_at,
            older_alive=self.around.is_older_alive(self),
            volumes_ready=self._mounted is not None,
            volumes_trouble=self._troubles.get("volumes"),
            sandbox_trouble=self._troubles.get("sandbox"),
            finish_trouble=self._troubles.get("finish"),
            host_ip=self.around.host_ip,
            runtime_name=self.around.runtime_name,
        )
        published = self._is_name_published(view)
        return dataclasses.replace(view, name_published=published, name_wait_until=self._name_wait_until)

    def _is_name_published(self, view: View) -> bool:
        """Whether this node's view of the Endpoints shows the pod where its services show unready pods."""
        if view.sandbox is None or not view.sandbox.alive or self.pod["spec"].get("hostNetwork") or view.containers:
            return True
        namespace = meta.namespace(self.pod)
        for service in names.awaited_services(self.pod, self.around.services.list(namespace)):
            if not names.has_address(self.around.endpoints.get(namespace, service), view.sandbox.ip):
                if not self._name_wait_until:
                    self._name_wait_until = view.now + pods.NAME_WAIT_SECONDS_MAX
                elif view.now >= self._name_wait_until and not self._name_wait_told:
                    self._name_wait_told = True
                    message = f"Endpoints of service {service} do not show {view.sandbox.ip} yet; starting all the same"
                    self._tell("Warning", "NameNotPublished", message)
                return False
        return True

    def _get_to_know(self, container: Container) -> None:
        """What is remembered of a running attempt seen for the first time: after a restart, what the API remembers."""
        memory = self._memories.get(container.name) or Memory()
        if container.state != "running" or memory.container_id == container.id:
            return
        if pods.StartContainer(container.name, container.attempt) in self._busy:
            return  # Being started by this process: it will say itself what is known.
        spec = pods.container_named(self.pod, container.name) or {}
        old = pods.status_of(self.pod, container.name) or {}
        is_known = str(old.get("containerID", "")).endswith(f"://{container.id}")
        started = not spec.get("startupProbe") or (is_known and bool(old.get("started")))
        ready = started and (not spec.get("readinessProbe") or (is_known and bool(old.get("ready"))))
        self._memories[container.name] = dataclasses.replace(
            memory, container_id=container.id, hook="done", started=started, ready=ready, unhealthy="", image=None
        )

    def _remember(self, name: str, **changes: Any) -> None:
        self._memories[name] = dataclasses.replace(self._memories.get(name) or Memory(), **changes)
        self.wake()

    # ---- telling

    def _tell(self, type_: str, reason: str, message: str, container: str = "") -> None:
        path = ""
        if container:
            is_init = any(spec["name"] == container for spec in pods.init_containers(self.pod))
            path = f"spec.{'initContainers' if is_init else 'containers'}{{{container}}}"
        self.around.tell(self.pod, type_, reason, message, path)

    def _tell_changes(self, wanted: Object) -> None:
        """Events for back-offs, told when a container begins to wait."""
        before = {
            one["name"]: meta.get(one, "state", "waiting", "reason", default="")
            for one in _container_statuses(self._status or self.pod.get("status") or {})
        }
        for one in _container_statuses(wanted):
            name, reason = one["name"], meta.get(one, "state", "waiting", "reason", default="")
            if reason == before.get(name, "") or not reason:
                continue
            if reason == "ImagePullBackOff":
                image = (pods.container_named(self.pod, name) or {}).get("image", "")
                self._tell("Normal", "BackOff", f'Back-off pulling image "{image}"', name)
                self._tell("Warning", "Failed", "Error: ImagePullBackOff", name)
            elif reason == "CrashLoopBackOff":
                where = f"{meta.name(self.pod)}_{meta.namespace(self.pod)}({self.uid})"
                message = f"Back-off restarting failed container {name} in pod {where}"
                self._tell("Warning", "BackOff", message, name)

    def _report(self, wanted: Object) -> None:
        self._status = wanted
        if wanted != (self._written if self._written is not None else self.pod.get("status")):
            self._report_wanted.set()

    async def _write_reports(self) -> None:
        """Write the status as last wanted; what changes meanwhile is written together."""
        backoff = tasks.Backoff(first=0.05, most=10.0)
        while True:
            await self._report_wanted.wait()
            self._report_wanted.clear()
            if self._status is None or self._status == self._written or self.gone_at is not None or self.finished:
                continue
            try:
                await self._write(self._status)
                backoff.reset()
            except (errors.ApiError, OSError) as error:
                if isinstance(error, errors.ApiError) and error.code == 404:
                    continue  # The watch will say that it is gone.
                log.info("cannot report the status of pod %s: %s", meta.key(self.pod), error)
                await asyncio.sleep(backoff.next())
                self._report_wanted.set()

    async def _write(self, wanted: Object) -> None:
        """PUT the status; on a conflict read the pod again, and let the next turn work the status out anew."""
        try:
            answer = await self.around.client.update({**self.pod, "status": wanted}, "status")
        except errors.ApiError as error:
            if error.code != 409:
                raise
            name, namespace = meta.name(self.pod), meta.namespace(self.pod)
            fresh = await self.around.client.get(resources.PODS, name, namespace)
            if meta.uid(fresh) != self.uid:
                self.set_gone()
                return
            self._written = None
            self.update(fresh)
            return
        self._written = wanted
        self.update(answer)

    # ---- steps

    def _take(self, step: _Step) -> None:
        """Begin a step unless it is under way."""
        if isinstance(step, pods.StopContainer):
            self._take_stop(step)
            return
        if step in self._busy:
            return
        if isinstance(step, pods.Finish):
            # What only prepares is given up; what changes containers is waited for.
            for other, task in list(self._busy.items()):
                if isinstance(other, (pods.EnsureImage, pods.MountVolumes, _RefreshVolumes)):
                    task.cancel()
            if self._busy:
                return
        self._busy[step] = tasks.spawn(self._group, self._guarded(step), f"{step} of {meta.key(self.pod)}")

    def _take_stop(self, step: pods.StopContainer) -> None:
        key = (step.container, step.attempt)
        before = self._stopping.get(key)
        if before is not None:
            if step.deadline >= before.deadline - 0.5:
                return
            before.task.cancel()  # The grace became shorter: stop again, with what is left of it.
        else:
            self._tell("Normal", "Killing", step.message, step.container)
        task = tasks.spawn(self._group, self._stop(step, again=before is not None), f"stop {step.container}")
        self._stopping[key] = _Stopping(step.deadline, task)
        self._busy[step] = task

    async def _guarded(self, step: _Step) -> None:
        try:
            with tasks.best_effort(f"take a step for pod {meta.key(self.pod)}"), self._holding(step):
                await self._do(step)
        finally:
            self._busy.pop(step, None)
            self.wake()

    async def _do(self, step: _Step) -> None:
        match step:
            case pods.EnsureImage(name):
                await self._ensure_image(name)
            case pods.MountVolumes():
                await self._mount_volumes()
            case _RefreshVolumes():
                await self._refresh_volumes()
            case pods.CreateSandbox():
                await self._create_sandbox()
            case pods.StartContainer(name, attempt):
                await self._start(name, attempt)
            case pods.RemoveContainer(name, attempt):
                await self.around.runtime.remove_container(self.uid, name, attempt)
            case pods.Finish(gone):
                await self._finish(gone)

    @contextlib.contextmanager
    def _holding(self, step: _Step) -> Iterator[None]:
        """A failure makes the same step wait a growing time before it is taken again."""
        try:
            yield
            self._held.pop(step, None)
        except Exception as error:
            self._held[step] = _setup_trouble(self._held.get(step), type(error).__name__, str(error))
            raise

    def _note_trouble(self, what: str, reason: str, message: str) -> None:
        self._troubles[what] = _setup_trouble(self._troubles.get(what), reason, message)

    async def _ensure_image(self, name: str) -> None:
        spec = pods.container_named(self.pod, name)
        if spec is None:
            return
        reference, policy = spec.get("image", ""), spec.get("imagePullPolicy") or "IfNotPresent"
        said = self._images[name] = _Images()
        began = tasks.now()
        async with asyncio.TaskGroup() as group:
            slow = tasks.spawn(group, self._tell_slow_pull(reference, name, said), f"pull {reference}")
            try:
                secrets = await self._pull_secrets()
                info = await self.around.runtime.ensure_image(reference, policy, secrets)
            except ImageError as error:
                self._image_failed(name, reference, error)
                return
            finally:
                slow.cancel()
        if info.source == "pulled":
            if not said.said:
                said.said.append(("Pulling", f'Pulling image "{reference}"'))
            took = f"{tasks.now() - began:.3f}s"
            said.said.append(("Pulled", f'Successfully pulled image "{reference}" in {took}.{_size(info.size_bytes)}'))
        elif info.source in ("stand-in", "built"):
            said.said.append(("Pulled", f'Using petset\'s own stand-in for image "{reference}", built on this machine'))
        else:
            said.said.append(("Pulled", f'Container image "{reference}" already present on machine'))
        self._remember(name, image=info, image_trouble=None)

    async def _tell_slow_pull(self, reference: str, name: str, said: _Images) -> None:
        await asyncio.sleep(PULL_SHOWN_AFTER_SECONDS)
        message = f'Pulling image "{reference}"'
        said.said.append(("", message))
        self._tell("Normal", "Pulling", message, name)

    def _image_failed(self, name: str, reference: str, error: ImageError) -> None:
        trouble = pods.trouble_after(
            (self._memories.get(name) or Memory()).image_trouble,
            error.reason,
            error.message,
            tasks.now(),
            pods.IMAGE_RETRY_SECONDS_MIN,
            pods.IMAGE_RETRY_SECONDS_MAX,
        )
        if error.reason == "ErrImageNeverPull":
            message = f'Container image "{reference}" is not present with pull policy of Never'
            self._tell("Warning", "ErrImageNeverPull", message, name)
        elif error.reason == "InvalidImageName":
            self._tell("Warning", "InspectFailed", error.message, name)
        else:
            self._tell("Warning", "Failed", f'Failed to pull image "{reference}": {error.message}', name)
        self._tell("Warning", "Failed", f"Error: {error.reason}", name)
        self._remember(name, image=None, image_trouble=trouble)

    async def _pull_secrets(self) -> list[Object]:
        found = []
        for reference in self.pod["spec"].get("imagePullSecrets") or ():
            secret = await self.around.references.get(
                meta.namespace(self.pod), environment.Reference("Secret", reference.get("name", ""))
            )
            if secret is not None:
                found.append(secret)
        return found

    # ---- volumes

    async def _mount_volumes(self) -> None:
        try:
            self._mounted = await self._prepared_volumes()
        except (volumes_.VolumeError, environment.ConfigError, errors.ApiError, OSError) as error:
            message = getattr(error, "message", "") or str(error)
            self._note_trouble("volumes", "FailedMount", message)
            self._tell("Warning", "FailedMount", message)
            return
        self._troubles.pop("volumes", None)

    async def _refresh_volumes(self) -> None:
        self._volumes_changed = False
        try:
            self._mounted = await self._prepared_volumes()
        except (volumes_.VolumeError, environment.ConfigError, errors.ApiError, OSError) as error:
            # The old version stays; due tokens are asked for again after a pause.
            later = tasks.now() + VOLUME_REFRESH_RETRY_SECONDS
            self._tokens = {key: (token, max(at, later)) for key, (token, at) in self._tokens.items()}
            self._tell("Warning", "FailedMount", getattr(error, "message", "") or str(error))

    async def _prepared_volumes(self) -> dict[str, volumes_.Mounted]:
        volumes = self.pod["spec"].get("volumes") or ()
        if not volumes:
            return {}
        wanted = payloads.references(volumes)
        self.around.references.hold(self.uid, meta.namespace(self.pod), wanted)
        facts = await self._facts(wanted)
        claims = {}
        for name in volumes_.referenced_claims(volumes):
            bound = await self._claimed(name)
            if bound is not None:
                claims[name] = bound
        issued = {wanted: await self._token(wanted) for wanted in payloads.tokens(volumes)}
        return await self.around.volumes.prepare(self.pod, facts, claims, issued)

    async def _claimed(self, name: str) -> volumes_.Claimed | None:
        client = self.around.client
        claim = await client.get(resources.PERSISTENTVOLUMECLAIMS, name, meta.namespace(self.pod))
        volume = meta.get(claim, "spec", "volumeName")
        if not volume:
            return None
        return volumes_.Claimed(claim, await client.get(resources.PERSISTENTVOLUMES, volume))

    async def _token(self, wanted: TokenWanted) -> str:
        known = self._tokens.get(wanted)
        if known is not None and known[1] > tasks.now():
            return known[0]
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"namespace": meta.namespace(self.pod)},
            "spec": {
                "audiences": [wanted.audience] if wanted.audience else [],
                "expirationSeconds": wanted.seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": meta.name(self.pod),
                    "uid": self.uid,
                },
            },
        }
        account = self.pod["spec"].get("serviceAccountName") or "default"
        answer = await self.around.client.create(request, resources.SERVICEACCOUNTS, "token", account)
        token, now = answer["status"]["token"], tasks.now()
        expires = meta.get(answer, "status", "expirationTimestamp")
        seconds = tasks.parse_rfc3339(expires) - now if expires else wanted.seconds
        self._tokens[wanted] = (token, now + max(1.0, seconds * TOKEN_REFRESH_SHARE))
        return token

    async def _facts(self, wanted: list[environment.Reference], ip: str = "") -> Facts:
        namespace = meta.namespace(self.pod)
        sources: dict[tuple[str, str], Object] = {}
        for reference in wanted:
            found = await self.around.references.get(namespace, reference)
            if found is not None:
                sources[(reference.kind, reference.name)] = found
        services = [self.around.api_service]
        services += [one for one in self.around.services.list(namespace) if meta.name(one) != "kubernetes"]
        return Facts(self.pod, ip, self.around.host_ip, self.around.allocatable, services, sources)

    # ---- sandbox and containers

    async def _create_sandbox(self) -> None:
        around = self.around
        hosts = names.hosts(self.pod, around.cluster_domain)
        resolv = names.resolv_conf(self.pod, around.dns_address, around.cluster_domain, around.host_resolv_conf)
        self._name_wait_until, self._name_wait_told = 0.0, False
        try:
            await around.runtime.create_sandbox(self.pod, hosts, resolv)
        except RuntimeError_ as error:
            self._note_trouble("sandbox", error.reason, error.message)
            self._tell("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error.message}")
            return
        self._troubles.pop("sandbox", None)

    async def _start(self, name: str, attempt: int) -> None:
        spec, memory = pods.container_named(self.pod, name), self._memories.get(name) or Memory()
        if spec is None or memory.image is None or self._mounted is None:
            return
        sandbox, containers = self.around.runtime.observe().get(self.uid, (None, ()))
        before = [one for one in containers if one.name == name and one.state == "exited"]
        for reason, message in (self._images.get(name) or _Images()).said:
            if reason:
                self._tell("Normal", reason, message, name)
        self._images.pop(name, None)
        try:
            facts = await self._facts(environment.references(spec), sandbox.ip if sandbox else "")
            config = launch.container_config(self.pod, spec, attempt, memory.image, facts, self._mounted)
        except (environment.ConfigError, errors.ApiError, OSError) as error:
            self._start_failed(name, "CreateContainerConfigError", str(error), pods.SETUP_RETRY_SECONDS_MIN)
            return
        try:
            container, warnings = await self.around.runtime.start_container(config)
        except RuntimeError_ as error:
            self._start_failed(name, error.reason, error.message, pods.RESTART_DELAY_SECONDS_MIN)
            return
        delay = memory.delay
        if before and sandbox is not None and before[-1].created_at >= sandbox.created_at:
            delay = delay.after_restart(before[-1].finished_at, tasks.now())
        for warning in warnings:
            self._tell("Warning", warning.reason, warning.message, name)
        self._tell("Normal", "Created", f"Created container: {name}", name)
        self._tell("Normal", "Started", f"Started container {name}", name)
        hook = meta.get(spec, "lifecycle", "postStart")
        started = not hook and not spec.get("startupProbe")
        self._remember(
            name,
            container_id=container.id,
            image=None,
            start_trouble=None,
            delay=delay,
            hook="running" if hook else "done",
            started=started,
            ready=started and not spec.get("readinessProbe"),
            unhealthy="",
            unhealthy_grace=None,
        )
        if hook:
            await self._post_start(spec, container, hook)

    def _start_failed(self, name: str, reason: str, message: str, first: float) -> None:
        before = (self._memories.get(name) or Memory()).start_trouble
        most = max(pods.SETUP_RETRY_SECONDS_MAX, first * 30)
        trouble = pods.trouble_after(before, reason, message, tasks.now(), first, most)
        self._tell("Warning", "Failed", f"Error: {message}", name)
        self._remember(name, start_trouble=trouble)

    async def _post_start(self, spec: Object, container: Container, hook: Object) -> None:
        """postStart runs beside the container; its failure ends the container."""
        name, ip = spec["name"], self._ip()
        running = tasks.spawn(self._group, self._until_ended(container), f"end of {name}")
        attempt = tasks.spawn(self._group, self.around.attempts.hook(self.pod, spec, hook, ip), f"postStart of {name}")
        try:
            await asyncio.wait((running, attempt), return_when=asyncio.FIRST_COMPLETED)
            ok, message = (attempt.result().ok, attempt.result().message) if attempt.done() else (False, "it ended")
        finally:
            running.cancel()
            attempt.cancel()
        memory = self._memories.get(name) or Memory()
        if memory.container_id != container.id:
            return
        if ok:
            started = not spec.get("startupProbe")
            self._remember(name, hook="done", started=started, ready=started and not spec.get("readinessProbe"))
            return
        self._tell("Warning", "FailedPostStartHook", f"PostStartHook failed: {message}", name)
        unhealthy = "FailedPostStartHook"
        self._remember(name, hook="failed", unhealthy=unhealthy, unhealthy_at=tasks.now(), unhealthy_grace=None)

    async def _until_ended(self, container: Container) -> None:
        while True:
            _, containers = self.around.runtime.observe().get(self.uid, (None, ()))
            if not any(one.id == container.id and one.state == "running" for one in containers):
                return
            await self._wake.wait()
            await asyncio.sleep(0)

    def _ip(self) -> str:
        sandbox, _ = self.around.runtime.observe().get(self.uid, (None, ()))
        return sandbox.ip if sandbox else ""

    async def _stop(self, step: pods.StopContainer, again: bool) -> None:
        key = (step.container, step.attempt)
        try:
            with tasks.best_effort(f"stop container {step.container} of pod {meta.key(self.pod)}"), self._holding(step):
                spec = pods.container_named(self.pod, step.container) or {}
                hook = meta.get(spec, "lifecycle", "preStop")
                if hook and step.hook and not again:
                    await self._pre_stop(spec, hook, step.deadline - tasks.now())
                grace = max(pods.STOP_GRACE_SECONDS_MIN, step.deadline - tasks.now())
                await self.around.runtime.stop_container(self.uid, step.container, grace)
        finally:
            self._busy.pop(step, None)
            stopping = self._stopping.get(key)
            if stopping is not None and stopping.task is asyncio.current_task():
                del self._stopping[key]
            self.wake()

    async def _pre_stop(self, spec: Object, hook: Object, seconds: float) -> None:
        message = await run_pre_stop(self.around.attempts, self.pod, spec, hook, self._ip(), seconds)
        if message:
            self._tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {message}", spec["name"])

    async def _finish(self, gone: bool) -> None:
        view = self._view()
        async with asyncio.TaskGroup() as group:
            if not gone and view.containers:
                final = status.status(self.pod, view)
                tasks.spawn(group, self._write_last(final), "last report")
            tasks.spawn(group, self.around.runtime.remove_sandbox(self.uid), "remove sandbox")
        await self.around.volumes.remove(self.uid)
        self.around.references.release(self.uid)
        self.finished = True
        if not gone and self.gone_at is None:
            try:
                name, namespace = meta.name(self.pod), meta.namespace(self.pod)
                await self.around.client.delete(resources.PODS, name, namespace, uid=self.uid, grace_seconds=0)
            except errors.ApiError as error:
                if error.code not in (404, 409):
                    self.finished = False
                    raise
            except OSError:
                self.finished = False
                raise
        self.around.ended(self)

    async def _write_last(self, final: Object) -> None:
        """The last status is a courtesy: what matters is that the pod goes."""
        with contextlib.suppress(errors.ApiError, OSError):
            self._status = final
            await self._write(final)

    # ---- probes

    def _watch_probes(self, view: View) -> None:
        """Have exactly the probes run that running containers ask for now."""
        wanted: dict[tuple[str, str], tuple[Container, Object, probes.Kind, Object]] = {}
        if self.gone_at is None and not pods.is_terminal(self.pod):
            for container in view.running():
                spec = pods.container_named(self.pod, container.name)
                if spec is None or view.current(container.name) != container:
                    continue
                for kind, probe in _probes_now(spec, view.memory_of(container), meta.is_deleting(self.pod)):
                    wanted[(container.name, kind)] = (container, spec, kind, probe)
        for key, probing in list(self._probing.items()):
            if key not in wanted or wanted[key][0].id != probing.container_id:
                probing.task.cancel()
                del self._probing[key]
        for key, (container, spec, kind, probe) in wanted.items():
            if key not in self._probing:
                task = tasks.spawn(self._group, self._probe(container, spec, kind, probe), f"{kind} probe of {key[0]}")
                self._probing[key] = _Probing(container.id, task)

    async def _probe(self, container: Container, spec: Object, kind: probes.Kind, probe: Object) -> None:
        memory = self._memories.get(container.name) or Memory()
        passed = memory.ready if kind == "readiness" else False
        progress = probes.begin(kind, probe, container.started_at, tasks.now(), passed)
        while True:
            await asyncio.sleep(max(0.0, probes.next_at(progress) - tasks.now()))
            began = tasks.now()
            outcome = await self._attempt(spec, probe)
            before = progress
            progress, counts = probes.after(progress, probe, outcome.ok, began, tasks.now())
            if not outcome.ok and counts:
                message = f"{kind.capitalize()} probe failed: {outcome.message}"
                self._tell("Warning", "Unhealthy", message, container.name)
            self._judge(container, kind, probe, before, progress)

    async def _attempt(self, spec: Object, probe: Object) -> probes.Outcome:
        try:
            return await self.around.attempts.probe(self.pod, spec, probe, self._ip())
        except Exception as error:
            log.warning("cannot probe container %s of pod %s: %r", spec["name"], meta.key(self.pod), error)
            return probes.Outcome(False, f"probe errored: {error}")

    def _judge(
        self,
        container: Container,
        kind: probes.Kind,
        probe: Object,
        before: probes.Progress,
        progress: probes.Progress,
    ) -> None:
        name = container.name
        memory = self._memories.get(name) or Memory()
        if memory.container_id != container.id:
            return
        threshold = int(probe.get("failureThreshold") or probes.FAILURE_THRESHOLD_DEFAULT)
        if kind == "readiness":
            if memory.ready != progress.passed:
                self._remember(name, ready=progress.passed)
        elif kind == "startup" and progress.passed:
            spec = pods.container_named(self.pod, name) or {}
            self._remember(name, started=True, ready=not spec.get("readinessProbe"))
        elif progress.failures >= threshold and not memory.unhealthy:
            self._remember(
                name,
                unhealthy=f"Container {name} failed {kind} probe, will be restarted",
                unhealthy_at=tasks.now(),
                unhealthy_grace=probe.get("terminationGracePeriodSeconds"),
            )


@dataclass(frozen=True, slots=True)
class _RefreshVolumes:
    """Write payload volumes anew: something they show has changed."""


_Step = pods.Step | _RefreshVolumes


def _setup_trouble(before: Trouble | None, reason: str, message: str) -> Trouble:
    first, most = pods.SETUP_RETRY_SECONDS_MIN, pods.SETUP_RETRY_SECONDS_MAX
    return pods.trouble_after(before, reason, message, tasks.now(), first, most)


def _container_statuses(status_: Object) -> list[Object]:
    return [*(status_.get("initContainerStatuses") or ()), *(status_.get("containerStatuses") or ())]


def _size(size_bytes: int) -> str:
    return f" Image size: {size_bytes} bytes." if size_bytes else ""


def _probes_now(spec: Object, memory: Memory, deleting: bool) -> list[tuple[probes.Kind, Object]]:
    """Startup first and alone; then readiness, and liveness while the container is to live."""
    if memory.hook == "running" or memory.unhealthy:
        return []
    if spec.get("startupProbe") and not memory.started:
        return [] if deleting else [("startup", spec["startupProbe"])]
    found: list[tuple[probes.Kind, Object]] = []
    if spec.get("readinessProbe"):
        found.append(("readiness", spec["readinessProbe"]))
    if spec.get("livenessProbe") and not deleting:
        found.append(("liveness", spec["livenessProbe"]))
    return found


async def run_pre_stop(
    attempts: probes.Attempts, pod: Object, spec: Object, hook: Object, ip: str, seconds: float
) -> str:
    """Run a preStop hook within the time that is left; why it failed, or ""."""
    if seconds <= 0:
        return ""
    try:
        async with asyncio.timeout(seconds):
            outcome = await attempts.hook(pod, spec, hook, ip)
    except TimeoutError:
        return "it did not end within the grace period"
    return "" if outcome.ok else outcome.message


