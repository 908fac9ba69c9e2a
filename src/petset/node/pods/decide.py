"""What to do next for one pod: its spec, what is seen of it, and the time, give the steps.

The story of a pod: wait until an older pod of the same name has vanished; then images, volumes and sandbox at the same
time; wait a moment until the pod's name is published; init containers one after another; then the containers. A
container that ended is started again as the restart policy says, after a growing delay. Deletion stops the containers
within the grace, then everything is taken away and the API is told. `decide` is called after every change and starts
over from what it is given; a step that is already being taken is simply not taken twice (worker.py).

Invariants: nothing here reads a clock or keeps anything; a container belongs to the present sandbox if it was created
after it, so that a new sandbox runs the init containers again; restartCount is the attempt's number.
Follows: the Pod Lifecycle page of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from petset.base import tasks
from petset.kinds import pod_phase
from petset.kinds.pod_spec import pod_containers
from petset.node.pods import resizing, restarting
from petset.node.pods.restarting import failed
from petset.node.pods.view import RestartDelay, Trouble, View
from petset.node.runtime import Container
from petset.objects import meta
from petset.objects.meta import Object

IMAGE_RETRY_SECONDS_MIN = 10.0
IMAGE_RETRY_SECONDS_MAX = 300.0
IMAGE_ERROR_SHOWN_SECONDS = 2.0  # How long ErrImagePull stays before it reads ImagePullBackOff.
SETUP_RETRY_SECONDS_MIN = 0.5  # Volumes, sandbox, configuration: what is missing may appear any moment.
SETUP_RETRY_SECONDS_MAX = 30.0
STOP_GRACE_SECONDS_MIN = 1.0  # Even a forced deletion lets a process hear of it, unless its pod wants none.
GRACE_SECONDS_DEFAULT = 30
NAME_WAIT_SECONDS_MAX = 3.0
EVICTED = "Evicted"  # The reason of a pod that the node could no longer keep.
ATTEMPTS_KEPT = 2  # The present one, and the one before for `logs --previous`.


# ---- steps


@dataclass(frozen=True, slots=True)
class EnsureImage:
    container: str


@dataclass(frozen=True, slots=True)
class MountVolumes:
    pass


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    pass


@dataclass(frozen=True, slots=True)
class StartContainer:
    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StopContainer:
    container: str
    attempt: int
    deadline: float  # When the grace is over; whoever takes the step gives at least least_grace_seconds.
    message: str  # Of the Killing event.
    hook: bool = True  # Whether preStop is run.


@dataclass(frozen=True, slots=True)
class ResizeContainer:
    """Give it the CPU and memory that the node has agreed to."""

    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Give back the address, the host ports and the volumes of its own that a pod that has ended no longer needs."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Report the end, take sandbox and volumes away, and remove the pod from the API (unless it is gone already)."""

    gone: bool


Step = (
    EnsureImage
    | MountVolumes
    | CreateSandbox
    | StartContainer
    | StopContainer
    | ResizeContainer
    | RemoveContainer
    | StopSandbox
    | Finish
)


@dataclass(frozen=True, slots=True)
class Decision:
    steps: tuple[Step, ...] = ()
    wake_at: float | None = None  # Look again then, even if nothing changed.


class _Plan:
    """Collects steps and the earliest time to look again."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.times: list[float] = []

    def step(self, *steps: Step) -> None:
        self.steps.extend(steps)

    def wake(self, at: float) -> None:
        self.times.append(at)

    def decision(self) -> Decision:
        return Decision(tuple(self.steps), min(self.times) if self.times else None)


# ---- reading a pod


def containers(pod: Object) -> Sequence[Object]:
    return pod["spec"].get("containers") or ()


def init_containers(pod: Object) -> Sequence[Object]:
    return pod["spec"].get("initContainers") or ()


def ephemeral_containers(pod: Object) -> Sequence[Object]:
    """Those that somebody has added to look into the pod: each is started once, and holds up nothing."""
    return pod["spec"].get("ephemeralContainers") or ()


def all_containers(pod: Object) -> list[Object]:
    """Those that the pod is made of."""
    return pod_containers.own(pod["spec"])


def container_named(pod: Object, name: str) -> Object | None:
    return next((container for container in pod_containers.every(pod["spec"]) if container["name"] == name), None)


def field_of(pod: Object, name: str) -> str:
    """The list of the spec that has the container of this name."""
    for field_ in (pod_containers.INIT, pod_containers.EPHEMERAL):
        if any(container["name"] == name for container in pod["spec"].get(field_) or ()):
            return field_
    return pod_containers.REGULAR


def changed_images(before: Object, after: Object) -> list[str]:
    """The containers whose image is another now: all that may change in a pod that runs."""
    images = {spec["name"]: spec.get("image") for spec in all_containers(before)}
    return [
        spec["name"]
        for spec in all_containers(after)
        if images.get(spec["name"], spec.get("image")) != spec.get("image")
    ]


def restart_policy(pod: Object) -> str:
    return pod["spec"].get("restartPolicy") or "Always"


def grace_seconds(pod: Object) -> float:
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return float(GRACE_SECONDS_DEFAULT if grace is None else grace if grace >= 0 else 1)


def least_grace_seconds(pod: Object) -> float:
    """What a process gets at least, however late or forced the stop is: nothing where the pod itself asks for that."""
    return min(STOP_GRACE_SECONDS_MIN, grace_seconds(pod))


def restarts(pod: Object, spec: Object, ended: Container, init: bool = False) -> bool:
    """Whether the policy starts this container again after it ended like this."""
    return restarting.begins_again(spec, ended, restart_policy(pod), init)


def begins_again(pod: Object, view: View, spec: Object, ended: Container, init: bool = False) -> bool:
    """Whether it is started again: as the policy says, or since its spec is another one now."""
    return view.memory_of(ended).again or restarts(pod, spec, ended, init)


def deadline(pod: Object) -> float | None:
    """When activeDeadlineSeconds ends the pod."""
    seconds, started = pod["spec"].get("activeDeadlineSeconds"), meta.get(pod, "status", "startTime")
    return tasks.parse_rfc3339(started) + seconds if seconds is not None and started else None


def is_past_deadline(pod: Object, now: float) -> bool:
    end = deadline(pod)
    return end is not None and now >= end


def is_settled(pod: Object, view: View) -> bool:
    """Every container has ended and none of them is ever started again (also across a reboot)."""
    policy, specs = restart_policy(pod), containers(pod)
    if all(restarting.policy_of(spec, policy) == "Always" for spec in specs):
        return False
    if _never(pod) and view.containers and (view.sandbox is None or not view.sandbox.alive):
        return not view.running()  # A pod that is never restarted does not survive its sandbox.
    last = [(spec, view.latest(spec["name"])) for spec in specs]
    return all(
        one is not None
        and one.state == "exited"
        and one.created_at >= view.begun_at
        and not begins_again(pod, view, spec, one)
        for spec, one in last
    )


def _never(pod: Object) -> bool:
    """None of its containers is ever started again."""
    policy = restart_policy(pod)
    specs = containers(pod)
    return all(restarting.policy_of(one, policy) == "Never" and not one.get("restartPolicyRules") for one in specs)


def is_initialized(pod: Object, view: View) -> bool:
    """All init containers have done their work in the present sandbox, or a container was started after them."""
    if any(view.current(container["name"]) for container in containers(pod)):
        return True
    for spec in init_containers(pod):
        current = view.current(spec["name"])
        if current is None:
            return False
        if pod_containers.is_sidecar(spec):
            if not (current.state == "running" and view.memory_of(current).started):
                return False
        elif current.state != "exited" or failed(current):
            return False
    return True


def init_failed(pod: Object, view: View) -> bool:
    """An init container failed and the policy forbids another try."""
    for spec in init_containers(pod):
        latest = view.latest(spec["name"])
        if latest is None or not failed(latest) or latest.created_at < view.begun_at:
            continue
        if not restarts(pod, spec, latest, init=True):
            return True
    return False


def delay_after_start(view: View, name: str, now: float) -> RestartDelay:
    """The delay to remember when a container was just started; `view` is from before."""
    ended, delay = view.current(name), view.memory(name).delay
    if ended is None and view.begun_at and (latest := view.latest(name)) and latest.finished_at >= view.begun_at:
        ended = latest  # It was what had all of them started anew.
    if ended is None or ended.state != "exited" or view.memory_of(ended).again:
        return delay  # A first start in this sandbox: nothing crashed.
    return delay.after_restart(ended.finished_at, now)


def next_attempt(pod: Object, view: View, name: str) -> int:
    """The number of the next start; continues what the API remembers where the runtime knows nothing."""
    latest = view.latest(name)
    if latest is not None:
        return latest.attempt + (latest.state != "created")
    old = status_of(pod, name)
    return int(old.get("restartCount", 0)) + 1 if old and old.get("containerID") else 0


def status_of(pod: Object, name: str) -> Object | None:
    """The container's status as the API has it."""
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for status in meta.get(pod, "status", kind, default=()):
            if status.get("name") == name:
                return status
    return None


# ---- deciding


def decide(pod: Object, view: View) -> Decision:
    """The steps to take now, and when to look again if nothing happens before."""
    plan = _Plan()
    if view.gone_at is not None:
        _stop_and_finish(pod, view, plan, view.gone_at + least_grace_seconds(pod), gone=True)
    elif meta.is_deleting(pod):
        # deletionTimestamp is when the grace ends; a second, shorter deletion moves it.
        _stop_and_finish(pod, view, plan, tasks.parse_rfc3339(pod["metadata"]["deletionTimestamp"]), gone=False)
    elif view.failure is not None and not pod_phase.has_ended(pod):
        _stop_all(pod, view, plan, view.failure.at + max(view.failure.grace_seconds, least_grace_seconds(pod)))
    elif pod_phase.has_ended(pod) or is_past_deadline(pod, view.now) or init_failed(pod, view):
        end = deadline(pod) if is_past_deadline(pod, view.now) else None
        if _stop_all(pod, view, plan, (view.now if end is None else end) + grace_seconds(pod)):
            _rest(pod, view, plan)
    elif is_settled(pod, view):
        _stop_sidecars(pod, view, plan)
    elif not view.older_alive and _prepare(pod, view, plan):
        _run(pod, view, plan)
    if not meta.is_deleting(pod) and not pod_phase.has_ended(pod):
        end = deadline(pod)
        if end is not None and end > view.now:
            plan.wake(end)
    return plan.decision()


def _prepare(pod: Object, view: View, plan: _Plan) -> bool:
    """Images, volumes and sandbox, all at the same time; True when containers may start."""
    for spec in all_containers(pod):
        if view.current(spec["name"]) is None:
            _ensure_image(view, plan, spec["name"])
    ready = True
    if not view.volumes_ready:
        ready = False
        _try(view, plan, view.volumes_trouble, MountVolumes())
    if view.sandbox is None or not view.sandbox.alive:
        ready = False
        # What an old sandbox left running shares nothing with the new one and must not run beside it.
        left = view.running()
        for container in left:
            plan.step(_stop(container, view.now + least_grace_seconds(pod), "its sandbox is gone", hook=False))
        if not left:
            _try(view, plan, view.sandbox_trouble, CreateSandbox())
    elif not view.name_published and view.now < view.name_wait_until and not view.has_begun():
        ready = False
        plan.wake(view.name_wait_until)
    return ready


def _try(view: View, plan: _Plan, trouble: Trouble | None, step: Step) -> None:
    if trouble is not None and view.now < trouble.retry_at:
        plan.wake(trouble.retry_at)
    else:
        plan.step(step)


def _run(pod: Object, view: View, plan: _Plan) -> None:
    _run_ephemeral_containers(pod, view, plan)
    if outdated := [one for one in view.outdated() if not _is_ephemeral(pod, one.name)]:
        for container in outdated:
            plan.step(_stop(container, view.now, restarting.ALL_MESSAGE, hook=False))
        return
    if not _run_init_containers(pod, view, plan):
        return
    for spec in containers(pod):
        current = view.current(spec["name"])
        if current is None or current.state == "created":
            _start(pod, view, plan, spec, None)
        elif current.state == "running":
            _check_health(pod, view, plan, spec, current)
        elif begins_again(pod, view, spec, current):
            _start(pod, view, plan, spec, None if view.memory_of(current).again else current)
        # A postStart hook holds up the containers after its own, as it does upstream.
        if meta.get(spec, "lifecycle", "postStart") and not _is_hook_done(view, current):
            break
    _remove_old_attempts(pod, view, plan)


def _run_ephemeral_containers(pod: Object, view: View, plan: _Plan) -> None:
    """Each once, whatever the others do: also to find out why an init container does not end."""
    for spec in ephemeral_containers(pod):
        latest = view.latest(spec["name"])
        if latest is None:
            known = status_of(pod, spec["name"])
            if known is None or not known.get("containerID"):  # Else it ran, and nothing is left of it.
                _start(pod, view, plan, spec, None)
        elif latest.state == "created":
            _start(pod, view, plan, spec, None)


def _is_ephemeral(pod: Object, name: str) -> bool:
    return any(spec["name"] == name for spec in ephemeral_containers(pod))


def _is_hook_done(view: View, current: Container | None) -> bool:
    if current is None or current.state == "created":
        return False
    return current.state == "exited" or view.memory_of(current).hook in ("done", "failed")


def _run_init_containers(pod: Object, view: View, plan: _Plan) -> bool:
    """One after another; True when the containers may start."""
    begun = any(view.current(container["name"]) for container in containers(pod))
    for spec in init_containers(pod):
        current = view.current(spec["name"])
        if pod_containers.is_sidecar(spec):
            if current is not None and current.state == "running":
                _check_health(pod, view, plan, spec, current)
                if view.memory_of(current).started or begun:
                    continue
            else:
                ended = current if current is not None and current.state == "exited" else None
                _start(pod, view, plan, spec, ended)
            if not begun:
                return False
        elif begun or (current is not None and current.state == "exited" and not failed(current)):
            continue
        elif current is None or current.state != "running":
            ended = current if current is not None and current.state == "exited" else None
            _start(pod, view, plan, spec, ended)
            _remove_old_attempts(pod, view, plan)
            return False
        else:
            _check_health(pod, view, plan, spec, current)
            return False
    return True


def _start(pod: Object, view: View, plan: _Plan, spec: Object, ended: Container | None) -> None:
    """Start a container as soon as its delay is over and its image is there."""
    name = spec["name"]
    memory = view.memory(name)
    if ended is None and view.begun_at:
        ended = restarting.trigger(spec, view.latest(name), view.begun_at)
    if ended is not None:
        allowed = memory.delay.until(ended.finished_at)
        if view.now < allowed:
            plan.wake(allowed)
            return
    if memory.start_trouble is not None and view.now < memory.start_trouble.retry_at:
        plan.wake(memory.start_trouble.retry_at)
        return
    if memory.image is None:
        _ensure_image(view, plan, name)
    else:
        plan.step(StartContainer(name, next_attempt(pod, view, name)))


def _ensure_image(view: View, plan: _Plan, name: str) -> None:
    memory = view.memory(name)
    if memory.image is not None or EnsureImage(name) in plan.steps:
        return
    trouble = memory.image_trouble
    if trouble is not None and view.now < trouble.at + IMAGE_ERROR_SHOWN_SECONDS:
        plan.wake(trouble.at + IMAGE_ERROR_SHOWN_SECONDS)
    _try(view, plan, trouble, EnsureImage(name))


def _check_health(pod: Object, view: View, plan: _Plan, spec: Object, container: Container) -> None:
    memory = view.memory_of(container)
    if memory.unhealthy:
        grace = grace_seconds(pod) if memory.unhealthy_grace is None else memory.unhealthy_grace
        plan.step(_stop(container, memory.unhealthy_at + grace, memory.unhealthy))
    elif resizing.lacking(view.resize, container):
        if view.now < view.resize.retry_at:
            plan.wake(view.resize.retry_at)
        else:
            plan.step(ResizeContainer(container.name, container.attempt))


def _stop(container: Container, until: float, message: str = "", hook: bool = True) -> StopContainer:
    text = message or f"Stopping container {container.name}"
    return StopContainer(container.name, container.attempt, until, text, hook)


def _stop_all(pod: Object, view: View, plan: _Plan, until: float, hook: bool = True) -> bool:
    """The containers at once, then the sidecars in reverse order; True when nothing runs any more."""
    running = view.running()
    sidecars = [spec["name"] for spec in init_containers(pod) if pod_containers.is_sidecar(spec)]
    first = [container for container in running if container.name not in sidecars]
    for container in first:
        plan.step(_stop(container, until, hook=hook))
    if not first:
        for container in sorted(running, key=lambda one: -sidecars.index(one.name))[:1]:
            plan.step(_stop(container, until, hook=hook))
    return not running


def _stop_sidecars(pod: Object, view: View, plan: _Plan) -> None:
    ended = [one.finished_at for one in view.containers if one.state == "exited"]
    _stop_all(pod, view, plan, max(ended, default=view.now) + grace_seconds(pod))


def _stop_and_finish(pod: Object, view: View, plan: _Plan, until: float, gone: bool) -> None:
    if _stop_all(pod, view, plan, until, hook=not gone):
        plan.step(Finish(gone))


def _rest(pod: Object, view: View, plan: _Plan) -> None:
    """A pod whose end is told keeps its containers' logs, and nothing else."""
    if pod_phase.has_ended(pod) and ((view.sandbox is not None and view.sandbox.alive) or view.volumes_ready):
        plan.step(StopSandbox())


def _remove_old_attempts(pod: Object, view: View, plan: _Plan) -> None:
    for name in _names(view.containers):
        for container in view.attempts(name)[:-ATTEMPTS_KEPT]:
            if container.state != "running":
                plan.step(RemoveContainer(name, container.attempt))


def _names(attempts: Iterable[Container]) -> list[str]:
    return list(dict.fromkeys(container.name for container in attempts))
