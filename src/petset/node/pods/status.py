"""What a pod's status says: from its spec, what is seen of it, and its status so far.

Container states, waiting reasons, phase and conditions (conditions.py) are worked out anew each time; only what cannot
be seen any more is carried over from the status in the API: startTime, transition times, a lost container's last state,
and whatever others wrote (conditions of controllers, readiness gates).

Invariants: pure; Succeeded and Failed are for ever; restartCount never goes back.
Follows: core/v1 PodStatus and the Pod Lifecycle page; reasons and messages are those kubectl's users know.
"""

from __future__ import annotations

from typing import Any

from petset.base import tasks
from petset.kinds import pod_phase, quality_of_service
from petset.kinds.pod_spec import pod_containers
from petset.node.pods import conditions, pulling, resizing
from petset.node.pods import decide as pods
from petset.node.pods.view import View
from petset.node.runtime import Container
from petset.objects import meta
from petset.objects.meta import Object

ENDED_ELSEWHERE = "ContainerStatusUnknown"
REPLACING_SECONDS_MAX = 2.0  # Longer (its image is pulled) is told.


def status(pod: Object, view: View) -> dict[str, Any]:
    """The whole PodStatus."""
    old = meta.part(pod, "status")
    init_statuses: list[Object] = [_container_status(pod, view, spec, init=True) for spec in pods.init_containers(pod)]
    statuses: list[Object] = [_container_status(pod, view, spec, init=False) for spec in pods.containers(pod)]
    phase = _phase(pod, view, init_statuses, statuses)
    new: dict[str, Any] = {
        **{key: value for key, value in old.items() if key not in _OURS},
        "phase": phase,
        "conditions": conditions.of(pod, view, phase, init_statuses, statuses),
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "startTime": old.get("startTime") or tasks.rfc3339(view.now),
        "qosClass": old.get("qosClass") or quality_of_service.of(pod),
        "containerStatuses": statuses,
        **conditions.observed(pod),
    }
    if ephemeral := [_ephemeral_status(pod, view, spec) for spec in pods.ephemeral_containers(pod)]:
        new["ephemeralContainerStatuses"] = ephemeral
    if init_statuses:
        new["initContainerStatuses"] = init_statuses
    ip = _pod_ip(pod, view, phase)
    if ip:
        new["podIP"], new["podIPs"] = ip, [{"ip": ip}]
    if view.failure is not None and phase == "Failed" and not old.get("reason"):
        new["reason"], new["message"] = view.failure.reason, view.failure.message
    elif phase == "Failed" and pods.is_past_deadline(pod, view.now) and not old.get("reason"):
        new["reason"] = "DeadlineExceeded"
        new["message"] = "Pod was active on the node longer than the specified deadline"
    if phase == "Failed" and _never_began(view, old):  # Nothing is to be said of its containers.
        new.pop("initContainerStatuses", None)
        new.pop("ephemeralContainerStatuses", None)
        del new["containerStatuses"]
    return new


def _never_began(view: View, old: Object) -> bool:
    known = [*(old.get("initContainerStatuses") or ()), *(old.get("containerStatuses") or ())]
    return not view.containers and not any(one.get("containerID") for one in known)


_OURS = (
    "phase",
    "conditions",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "qosClass",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
    "observedGeneration",
)


def _pod_ip(pod: Object, view: View, phase: str) -> str:
    if view.sandbox is not None and view.sandbox.alive:
        return view.sandbox.ip
    keeps = phase in pod_phase.ENDED or meta.is_deleting(pod)
    return meta.get(pod, "status", "podIP", default="") if keeps else ""


# ---- containers


def _container_status(pod: Object, view: View, spec: Object, init: bool) -> dict[str, Any]:
    name = spec["name"]
    attempts = view.attempts(name)
    latest = attempts[-1] if attempts else None
    old = pods.status_of(pod, name) or {}
    state, last = _states(pod, view, spec, init, attempts, old)
    running = latest if latest is not None and latest.state == "running" and "running" in state else None
    memory = view.memory_of(running) if running is not None else None
    if init and not pod_containers.is_sidecar(spec):
        ready = meta.get(state, "terminated", "exitCode") == 0
    else:
        ready = memory is not None and memory.ready
    shown = latest if latest is not None and latest.state != "created" else None
    return {
        "name": name,
        "state": state,
        "lastState": last,
        "ready": ready,
        "restartCount": max(latest.attempt if latest else 0, int(old.get("restartCount", 0))),
        "image": shown.image if shown else spec.get("image", ""),
        "imageID": _image_id(shown) if shown else old.get("imageID", ""),
        **_container_id(view, shown, old),
        "started": memory is not None and memory.started,
        **_made(spec, shown, old),
        **_resources(view, spec, running),
    }


def _resources(view: View, spec: Object, running: Container | None) -> dict[str, Any]:
    """What the node has agreed to give it, and what it has."""
    resources = meta.part(spec, "resources")
    allocated = view.resize.allocated.get(spec["name"])
    given = resources if allocated is None else resizing.with_amounts(resources, allocated)
    actual = given if running is None or running.resources is None else running.resources
    actual = resizing.with_amounts(given, actual) if actual is not given else given
    asked = meta.part(given, "requests")
    return {**({"allocatedResources": asked} if asked else {}), "resources": actual}


def is_resizing(pod: Object, view: View) -> bool:
    """Whether a container that goes on has not got yet what the node has agreed to."""
    for spec in pods.all_containers(pod):
        latest = view.latest(spec["name"])
        goes_on = latest is not None and (latest.state == "running" or view.memory_of(latest).again)
        if goes_on and latest is not None and resizing.lacking(view.resize, latest):
            return True
    return False


def _ephemeral_status(pod: Object, view: View, spec: Object) -> dict[str, Any]:
    """It is started once; nobody asks whether it is ready."""
    latest, old = view.latest(spec["name"]), pods.status_of(pod, spec["name"]) or {}
    state: dict[str, Any]
    if latest is not None and latest.state == "running":
        state = {"running": {"startedAt": tasks.rfc3339(latest.started_at)}}
    elif latest is not None and latest.state == "exited":
        state = _terminated(view, latest)
    elif latest is None and old.get("containerID") and old.get("state"):
        state = _last_known(old)
    else:
        begins = {"reason": "PodInitializing" if pods.init_containers(pod) else "ContainerCreating"}
        state = {"waiting": _waiting_for_trouble(view, pod, spec["name"]) or begins}
    shown = latest if latest is not None and latest.state != "created" else None
    return {
        "name": spec["name"],
        "state": state,
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": shown.image if shown else spec.get("image", ""),
        "imageID": _image_id(shown) if shown else old.get("imageID", ""),
        **_container_id(view, shown, old),
        **_made(spec, shown, old),
    }


def _made(spec: Object, shown: Container | None, old: Object) -> dict[str, Any]:
    """How its process was made: as which user, with which volumes, to be stopped by which signal."""
    made: dict[str, Any] = {}
    if shown is not None and shown.user:
        uid, gid, *groups = shown.user
        made["user"] = {"linux": {"uid": uid, "gid": gid, "supplementalGroups": groups}}
    elif shown is None and old.get("user"):
        made["user"] = old["user"]
    if mounts := meta.parts(spec, "volumeMounts"):
        made["volumeMounts"] = [_mounted(mount) for mount in mounts]
    if signal := meta.get(spec, "lifecycle", "stopSignal"):
        made["stopSignal"] = signal
    return made


def _mounted(mount: Object) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        recursive = mount.get("recursiveReadOnly") in ("Enabled", "IfPossible")
        shown |= {"readOnly": True, "recursiveReadOnly": "Enabled" if recursive else "Disabled"}
    return shown


def _container_id(view: View, shown: Container | None, old: Object) -> dict[str, str]:
    identity = f"{view.runtime_name}://{shown.id}" if shown else old.get("containerID", "")
    return {"containerID": identity} if identity else {}


def _image_id(container: Container) -> str:
    if not container.image_digest or "@" in container.image_digest:
        return container.image_digest
    name = container.image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return f"{head if colon and '/' not in tag else name}@{container.image_digest}"


def _states(
    pod: Object, view: View, spec: Object, init: bool, attempts: list[Container], old: Object
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(state, lastState) of one container."""
    name = spec["name"]
    ended = [one for one in attempts if one.state == "exited"]
    before = _terminated(view, ended[-1]) if ended else dict(old.get("lastState") or {})
    latest = attempts[-1] if attempts else None
    if latest is not None and latest.state == "running":
        return {"running": {"startedAt": tasks.rfc3339(latest.started_at)}}, before
    is_current = view.current(name) is not None
    is_over = _is_over(pod, view)
    if latest is not None and latest.state == "exited":
        stays = is_over or (is_current and not pods.begins_again(pod, view, spec, latest, init))
        waiting = _waiting_again(pod, view, name, latest) if is_current and not stays else None
        if stays or (is_current and waiting is None):
            earlier = _terminated(view, ended[-2]) if len(ended) > 1 else {}
            if not earlier and meta.get(old, "lastState", "terminated", "containerID") != _id(view, latest):
                earlier = dict(old.get("lastState") or {})
            return _terminated(view, latest), earlier
        return {"waiting": waiting or _waiting_first(pod, view, name)}, before
    if is_over and not attempts and old.get("state"):
        return _last_known(old), dict(old.get("lastState") or {})
    if not attempts and "terminated" in (old.get("state") or {}):
        before = dict(old["state"])  # Its record is gone, but the API remembers how it ended.
    return {"waiting": _waiting_first(pod, view, name)}, before


def _is_over(pod: Object, view: View) -> bool:
    """Whether none of its containers is started again."""
    if pod_phase.has_ended(pod) or meta.is_deleting(pod) or pods.is_settled(pod, view) or view.failure is not None:
        return True
    return pods.is_past_deadline(pod, view.now) or pods.init_failed(pod, view)


def _last_known(old: Object) -> dict[str, Any]:
    """For a container of which nothing is left to see: how it was last known, never as running."""
    state = old["state"]
    if "running" not in state:
        return dict(state)
    message = "The container could not be located when the pod was terminated"
    return {"terminated": {"exitCode": 137, "reason": ENDED_ELSEWHERE, "message": message}}


def _waiting_again(pod: Object, view: View, name: str, ended: Container) -> dict[str, str] | None:
    """Why a container that ended is not started again yet; None when it is about to be."""
    memory = view.memory(name)
    until = memory.delay.until(ended.finished_at)
    if view.now < until:
        seconds = int(memory.delay.seconds)
        shown = f"{seconds // 60}m{seconds % 60}s" if seconds >= 60 else f"{seconds}s"
        message = f"back-off {shown} restarting failed container={name} pod={_where(pod)}"
        return {"reason": "CrashLoopBackOff", "message": message}
    return _waiting_for_trouble(view, pod, name)


def is_replacing(pod: Object, view: View) -> bool:
    """Whether the node has just ended a container to start it anew, and nothing holds that up.

    Nobody is told of this moment, as a kubelet stops and starts in one go: a pod that goes on must not look unready.
    """
    if _is_over(pod, view):
        return False
    for spec in pods.all_containers(pod):
        ended = view.current(spec["name"])
        if ended is None or ended.state != "exited" or not view.memory_of(ended).unhealthy:
            continue
        goes_on = pods.begins_again(pod, view, spec, ended, init=pod_containers.is_sidecar(spec))
        is_soon = view.now < ended.finished_at + REPLACING_SECONDS_MAX
        if goes_on and is_soon and _waiting_again(pod, view, spec["name"], ended) is None:
            return True
    return False


def _waiting_first(pod: Object, view: View, name: str) -> dict[str, str]:
    """Why a container that has not run in this sandbox does not run yet."""
    is_init = any(spec["name"] == name for spec in pods.init_containers(pod))
    if is_init or pods.is_initialized(pod, view):
        trouble = _waiting_for_trouble(view, pod, name)
        if trouble is not None and _is_its_turn(pod, view, name):
            return trouble
    return {"reason": "PodInitializing" if pods.init_containers(pod) else "ContainerCreating"}


def _is_its_turn(pod: Object, view: View, name: str) -> bool:
    """Images are fetched ahead; their trouble is told when the container would start."""
    for spec in pods.init_containers(pod):
        if spec["name"] == name:
            return True
        current = view.current(spec["name"])
        if current is None or (
            not pod_containers.is_sidecar(spec) and (current.state != "exited" or pods.failed(current))
        ):
            return False
    return True


def _waiting_for_trouble(view: View, pod: Object, name: str) -> dict[str, str] | None:
    memory = view.memory(name)
    of_volume = view.volumes_trouble is not None and view.volumes_trouble.reason in _OF_IMAGES
    trouble = memory.image_trouble or (view.volumes_trouble if of_volume else None)
    if trouble is not None:
        if trouble.reason == "ErrImagePull" and view.now >= trouble.at + pods.IMAGE_ERROR_SHOWN_SECONDS:
            image = _image_waited_for(pod, name, trouble is memory.image_trouble)
            message = f'Back-off pulling image "{image}": ErrImagePull: {trouble.message}'
            return {"reason": "ImagePullBackOff", "message": message}
        return {"reason": trouble.reason, "message": trouble.message}
    if memory.start_trouble is not None:
        return {"reason": memory.start_trouble.reason, "message": memory.start_trouble.message}
    return None


_OF_IMAGES = ("ErrImagePull", "ErrImageNeverPull", "InvalidImageName")


def _image_waited_for(pod: Object, name: str, is_own: bool) -> str:
    """The container's own image, or the pod's first one that is a volume."""
    if is_own:
        return (pods.container_named(pod, name) or {}).get("image", "")
    return next((one["image"] or "" for one in pulling.of_volumes(pod).values()), "")


def _id(view: View, container: Container) -> str:
    return f"{view.runtime_name}://{container.id}"


def _terminated(view: View, container: Container) -> dict[str, Any]:
    code = container.exit_code
    if code is None:
        code = 128 + container.signal if container.signal else 137
    reason = "OOMKilled" if container.oom_killed else "Completed" if code == 0 else "Error"
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            **({"message": container.message} if container.message else {}),
            "startedAt": tasks.rfc3339(container.started_at or container.created_at),
            "finishedAt": tasks.rfc3339(container.finished_at),
            "containerID": _id(view, container),
        }
    }


# ---- what is told when a container begins to wait


def back_offs(pod: Object, before: Object, after: Object) -> list[tuple[str, str, str, str]]:
    """The events (type, reason, message, container) of containers that have begun to wait for another try."""
    reasons = {one["name"]: _waits_with(one) for one in _all_statuses(before)}
    found: list[tuple[str, str, str, str]] = []
    for one in _all_statuses(after):
        name, reason = one["name"], _waits_with(one)
        if reason == reasons.get(name, ""):
            continue
        if reason == "ImagePullBackOff":
            image = (pods.container_named(pod, name) or {}).get("image", "")
            found.append(("Normal", "BackOff", f'Back-off pulling image "{image}"', name))
            found.append(("Warning", "Failed", "Error: ImagePullBackOff", name))
        elif reason == "CrashLoopBackOff":
            message = f"Back-off restarting failed container {name} in pod {_where(pod)}"
            found.append(("Warning", "BackOff", message, name))
    return found


def _waits_with(container_status: Object) -> str:
    return meta.get(container_status, "state", "waiting", "reason", default="")


def _all_statuses(status_: Object) -> list[Object]:
    """Those that say of which container: what an older petset stored may have none."""
    fields = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    return [one for field in fields for one in status_.get(field) or () if one.get("name")]


def _where(pod: Object) -> str:
    return f"{meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})"


# ---- phase


def _phase(pod: Object, view: View, init_statuses: list[Object], statuses: list[Object]) -> str:
    """Pending, Running, Succeeded or Failed, by the containers' states."""
    if pod_phase.has_ended(pod):
        return pod["status"]["phase"]
    if view.failure is not None or pods.is_past_deadline(pod, view.now) or pods.init_failed(pod, view):
        return "Failed" if not view.running() else "Running" if conditions.has_run(statuses) else "Pending"
    if not conditions.has_run(statuses) and not pods.is_initialized(pod, view) and not meta.is_deleting(pod):
        return "Pending"
    never_ran = any("waiting" in one["state"] and not one["lastState"] for one in statuses)
    if never_ran and not (meta.is_deleting(pod) and conditions.has_run(statuses)):
        return "Pending"
    if any("running" in one["state"] for one in statuses):
        return "Running"
    # A pod that is being deleted, or whose containers are all done, has its end once nothing runs (sidecars included).
    if (meta.is_deleting(pod) or pods.is_settled(pod, view)) and not view.running():
        codes = [meta.get(one["state"], "terminated", "exitCode", default=1) for one in statuses]
        return "Succeeded" if all(code == 0 for code in codes) else "Failed"
    return "Running"
