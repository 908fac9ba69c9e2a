"""The conditions of a pod: what it has reached, from its phase, its containers' statuses and what is seen of it.

Each is worked out anew and keeps its transition time; what others wrote (controllers, readiness gates) stays. Those of
a resize are there only as long as there is one.

Invariants: pure.
Follows: the Pod Lifecycle page; reasons and messages are those kubectl's users know.
"""

from __future__ import annotations

from typing import Any

from petset.base import tasks
from petset.kinds import pod_phase
from petset.kinds.pod_spec import pod_containers
from petset.node.pods import decide as pods
from petset.node.pods import restarting
from petset.node.pods.view import View
from petset.objects import meta
from petset.objects.meta import Object


def of(pod: Object, view: View, phase: str, init_statuses: list[Object], statuses: list[Object]) -> list[Object]:
    now = tasks.rfc3339(view.now)
    done = phase in pod_phase.ENDED
    conditions: list[Object] = list(meta.get(pod, "status", "conditions", default=()))
    has_sandbox = view.sandbox is not None and view.sandbox.alive and not done
    unready = [one["name"] for one in statuses if not one["ready"]]
    unready = [one["name"] for one in _sidecar_statuses(pod, init_statuses) if not one["ready"]] + unready
    containers_ready = _ready("ContainersReady", phase, unready)
    for condition in (
        {"type": "PodReadyToStartContainers", "status": "True" if has_sandbox else "False"},
        _initialized(pod, view, phase, init_statuses, statuses),
        _pod_ready(pod, containers_ready),
        containers_ready,
        {"type": "PodScheduled", "status": "True"},
    ):
        conditions = meta.with_condition(conditions, {**condition, "lastTransitionTime": now, **observed(pod)})
    for type_, told in _resizes(pod, view, done).items():
        if told is None:
            conditions = [one for one in conditions if one.get("type") != type_]
        else:
            told = {"type": type_, "status": "True", **told, "lastTransitionTime": now}
            conditions = meta.with_condition(conditions, told)
    if restarting.may_restart_all(pods.all_containers(pod)):
        conditions = meta.with_condition(conditions, {**_restarting_all(view, done), "lastTransitionTime": now})
    if view.failure is not None and view.failure.reason == pods.EVICTED:
        disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
        disrupted |= {"message": view.failure.message, "lastTransitionTime": now}
        conditions = meta.with_condition(conditions, disrupted)
    return conditions


def _resizes(pod: Object, view: View, done: bool) -> dict[str, dict[str, Any] | None]:
    """What is told of a resize, by the type of the condition; None: that there is none."""
    waiting: dict[str, Any] | None = None
    going_on: dict[str, Any] | None = None
    state = view.resize
    if state.pending is not None and not done:
        waiting = {"reason": state.pending.reason, "message": state.pending.message, **observed(pod)}
    if state.generation and not done:
        why = {"reason": "Error", "message": state.error} if state.error else {}
        going_on = {**why, "observedGeneration": state.generation}
    return {"PodResizePending": waiting, "PodResizeInProgress": going_on}


def _restarting_all(view: View, done: bool) -> dict[str, str]:
    """True from the end that starts all containers anew until the first of them has begun again."""
    if done or not view.begun_at or (not view.outdated() and view.has_begun()):
        return {"type": "AllContainersRestarting", "status": "False"}
    said = {"reason": "RestartAllContainersStarted", "message": "container exited with restart policy rule"}
    return {"type": "AllContainersRestarting", "status": "True", **said}


def _sidecar_statuses(pod: Object, init_statuses: list[Object]) -> list[Object]:
    return [one for spec, one in zip(pods.init_containers(pod), init_statuses) if pod_containers.is_sidecar(spec)]


def _initialized(
    pod: Object, view: View, phase: str, init_statuses: list[Object], statuses: list[Object]
) -> dict[str, str]:
    if phase == "Succeeded":
        return {"type": "Initialized", "status": "True", "reason": "PodCompleted"}
    if not init_statuses or pods.is_initialized(pod, view) or (phase == "Failed" and has_run(statuses)):
        return {"type": "Initialized", "status": "True"}
    incomplete = " ".join(one["name"] for one in init_statuses if not one["ready"])
    return {
        "type": "Initialized",
        "status": "False",
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{incomplete}]",
    }


def _ready(type_: str, phase: str, unready: list[str]) -> dict[str, str]:
    if phase == "Succeeded":
        return {"type": type_, "status": "False", "reason": "PodCompleted"}
    if phase == "Failed":
        return {"type": type_, "status": "False", "reason": "PodFailed"}
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return {"type": type_, "status": "False", "reason": "ContainersNotReady", "message": message}
    return {"type": type_, "status": "True"}


def _pod_ready(pod: Object, containers_ready: dict[str, str]) -> dict[str, str]:
    """Ready is ContainersReady and every readiness gate."""
    if containers_ready["status"] != "True":
        return {**containers_ready, "type": "Ready"}
    for gate in pod["spec"].get("readinessGates") or ():
        type_ = gate.get("conditionType", "")
        if not meta.is_condition_true(pod, type_):
            return {
                "type": "Ready",
                "status": "False",
                "reason": "ReadinessGatesNotReady",
                "message": f'the readiness gate "{type_}" is not True',
            }
    return {"type": "Ready", "status": "True"}


def observed(pod: Object) -> dict[str, int]:
    """Which generation of the pod all this is about."""
    generation = pod["metadata"].get("generation")
    return {"observedGeneration": generation} if generation else {}


def has_run(statuses: list[Object]) -> bool:
    return any("waiting" not in one["state"] or one["lastState"] for one in statuses)
