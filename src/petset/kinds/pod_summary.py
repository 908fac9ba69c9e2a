"""A pod's row: what READY, STATUS and RESTARTS say about its containers.

STATUS is not the phase: it is the reason that a person looks for first. Init containers come first (Init:0/2,
Init:CrashLoopBackOff), then the containers from the last to the first, so that the first one that waits or ended
decides; a deletion covers all of it with Terminating. Sidecars (init containers that restart always) count as ready
containers. Follows what the API server's pod printer shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petset.kinds import pod_phase
from petset.kinds.pod_spec import pod_containers
from petset.objects import meta
from petset.objects.meta import Object


@dataclass(slots=True)
class Summary:
    """What a pod's containers amount to."""

    ready: int = 0
    total: int = 0
    status: str = ""
    restarts: int = 0
    last_restart: str = ""  # When the newest ended container ended, RFC 3339; "" when none did.


def summary(pod: Object) -> Summary:
    spec, status = meta.part(pod, "spec"), meta.part(pod, "status")
    result = Summary(total=len(meta.parts(spec, "containers")), status=status.get("reason") or status.get("phase", ""))
    scheduled = meta.condition(pod, "PodScheduled")
    if scheduled and scheduled.get("reason") == "SchedulingGated":
        result.status = "SchedulingGated"
    sidecars = [one.get("name") for one in pod_containers.sidecars(spec)]
    result.total += len(sidecars)
    initializing = _initial(result, spec, status, sidecars)
    if not initializing or meta.is_condition_true(pod, "Initialized"):
        _running(result, pod, status, sidecars)
    if meta.is_deleting(pod):
        if status.get("reason") == "NodeLost":
            result.status = "Unknown"
        elif not pod_phase.has_ended(pod):
            result.status = "Terminating"
    return result


def _initial(result: Summary, spec: Object, status: Object, sidecars: list[Any]) -> bool:
    """Count init containers; True when one of them holds the pod up, which then is its status."""
    for index, container in enumerate(meta.parts(status, "initContainerStatuses")):
        result.restarts += container.get("restartCount", 0)
        _note_restart(result, container)
        state = meta.part(container, "state")
        ended, waiting = state.get("terminated"), state.get("waiting")
        is_sidecar = container.get("name") in sidecars
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if is_sidecar and container.get("started"):
            result.ready += bool(container.get("ready"))
            continue
        if ended is not None:
            result.status = f"Init:{_ending(ended)}"
        elif waiting and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            result.status = f"Init:{waiting['reason']}"
        else:
            result.status = f"Init:{index}/{len(meta.parts(spec, 'initContainers'))}"
        return True
    return False


def _running(result: Summary, pod: Object, status: Object, sidecars: list[Any]) -> None:
    """Count the containers proper; init containers' restarts no longer interest once they are done, sidecars' do."""
    result.restarts = sum(
        container.get("restartCount", 0)
        for container in meta.parts(status, "initContainerStatuses")
        if container.get("name") in sidecars
    )
    result.last_restart = ""
    for container in meta.parts(status, "initContainerStatuses"):
        if container.get("name") in sidecars:
            _note_restart(result, container)
    has_running = False
    for container in reversed(meta.parts(status, "containerStatuses")):
        result.restarts += container.get("restartCount", 0)
        _note_restart(result, container)
        state = meta.part(container, "state")
        ended, waiting = state.get("terminated"), state.get("waiting")
        if waiting and waiting.get("reason"):
            result.status = waiting["reason"]
        elif ended is not None:
            result.status = _ending(ended)
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
            result.ready += 1
    if result.status == "Completed" and has_running:  # One ended well while others go on.
        result.status = "Running" if meta.is_pod_ready(pod) else "NotReady"


def _ending(ended: Mapping[str, Any]) -> str:
    if ended.get("reason"):
        return ended["reason"]
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _note_restart(result: Summary, container: Mapping[str, Any]) -> None:
    finished = meta.get(container, "lastState", "terminated", "finishedAt", default="")
    result.last_restart = max(result.last_restart, finished)  # The one time format sorts as text.


def readiness_gates(pod: Object) -> str:
    gates = meta.parts(pod, "spec", "readinessGates")
    if not gates:
        return "<none>"
    fulfilled = sum(meta.is_condition_true(pod, gate.get("conditionType", "")) for gate in gates)
    return f"{fulfilled}/{len(gates)}"
