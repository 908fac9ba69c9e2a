"""The status of a Deployment: the counts of its sets, and whether it is available, gets on, or has failed.

`Progressing` tells how a rollout gets on: it began (a set was made or found), moved (counts changed for the better), is
complete, or has not moved for progressDeadlineSeconds. Its lastUpdateTime is when it last moved. While it is paused
time does not count.
Follows: "Deployment status" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petset.base import tasks
from petset.controllers.workloads import rollout
from petset.controllers.workloads.generations import Generations, size
from petset.objects import meta
from petset.objects.meta import Object

AVAILABLE, PROGRESSING, FAILURE = "Available", "Progressing", "ReplicaFailure"
COMPLETE, TIMED_OUT, PAUSED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"
NO_DEADLINE = 2**31 - 1
COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")


def deadline(deployment: Object) -> int | None:
    """Seconds without progress after which a rollout counts as failed; None: never."""
    seconds: int | None = meta.get(deployment, "spec", "progressDeadlineSeconds")
    return None if seconds == NO_DEADLINE else seconds


def status(deployment: Object, now_sets: Generations, now: float, is_moving: bool) -> dict[str, Any]:
    """The status as it is now. `is_moving`: it is not paused and its size has not just changed, so progress counts."""
    said = meta.part(deployment, "status")
    counts = _counts(now_sets)
    result: dict[str, Any] = {
        **{key: value for key, value in counts.items() if value or key == "terminatingReplicas"},
        "observedGeneration": meta.get(deployment, "metadata", "generation", default=0),
        **({"collisionCount": said["collisionCount"]} if said.get("collisionCount") is not None else {}),
    }
    conditions = [*meta.parts(said, "conditions")]
    least = size(deployment) - rollout.room(deployment)[1]
    if counts["availableReplicas"] >= least:
        available = condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Enough pods are available.")
    else:
        available = condition(AVAILABLE, "False", "MinimumReplicasUnavailable", "Too few pods are available.")
    conditions = with_condition(conditions, available, now)
    if is_moving:
        conditions = _progressed(deployment, now_sets, counts, conditions, now)
        conditions = _failures(now_sets, conditions, now)
    result["conditions"] = _paused_or_not(deployment, conditions, now)
    return result


def _counts(now_sets: Generations) -> dict[str, int]:
    def together(field: str) -> int:
        return sum(meta.part(one, "status").get(field, 0) for one in now_sets.all)

    available = together("availableReplicas")
    new = now_sets.new
    return {
        "replicas": together("replicas"),
        "updatedReplicas": meta.part(new, "status").get("replicas", 0) if new is not None else 0,
        "readyReplicas": together("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(map(size, now_sets.all)) - available),
        "terminatingReplicas": together("terminatingReplicas"),
    }


def condition(type_: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def with_condition(conditions: list[Object], new: Object, now: float, is_news: bool = False) -> list[Object]:
    """With this one set, at this time; `is_news`: also when it says what it said before."""
    old = next((one for one in conditions if one.get("type") == new["type"]), None)
    is_same = old is not None and all(old.get(key) == new[key] for key in ("status", "reason"))
    if old is not None and is_same and not is_news:
        return conditions
    time = tasks.rfc3339(now)
    return meta.with_condition(conditions, {**new, "lastUpdateTime": time, "lastTransitionTime": time})


def of_type(conditions: list[Object], type_: str) -> Object:
    nothing: Object = {}
    return next((one for one in conditions if one.get("type") == type_), nothing)


def is_complete(deployment: Object, counts: Mapping[str, int]) -> bool:
    """All pods are of the present template and available, and there are no others."""
    wanted = size(deployment)
    return counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == wanted


def _progressed(
    deployment: Object, now_sets: Generations, counts: Mapping[str, int], conditions: list[Object], now: float
) -> list[Object]:
    if deadline(deployment) is None:
        return [one for one in conditions if one.get("type") != PROGRESSING]
    current = of_type(conditions, PROGRESSING)
    if counts["replicas"] == counts["updatedReplicas"] and current.get("reason") == COMPLETE:
        return conditions
    new = now_sets.new
    who = f'ReplicaSet "{meta.name(new)}"' if new is not None else f'Deployment "{meta.name(deployment)}"'
    if is_complete(deployment, counts):
        done = condition(PROGRESSING, "True", COMPLETE, f"{who} has successfully progressed.")
        return with_condition(conditions, done, now)
    if _has_moved(meta.part(deployment, "status"), counts):
        moved = condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{who} is progressing.")
        return with_condition(conditions, moved, now, is_news=True)
    if not current and new is not None:
        found = condition(PROGRESSING, "True", "FoundNewReplicaSet", f"{who} was found.")
        return with_condition(conditions, found, now)
    seconds = seconds_left(deployment, conditions, now)
    if seconds is not None and seconds <= 0:
        late = condition(PROGRESSING, "False", TIMED_OUT, f"{who} has timed out progressing.")
        return with_condition(conditions, late, now)
    return conditions


def _has_moved(said: Object, counts: Mapping[str, int]) -> bool:
    """More pods are of the present template, fewer of others, more are ready or available."""

    def before(field: str) -> int:
        return said.get(field, 0)

    old_before = before("replicas") - before("updatedReplicas")
    return (
        counts["replicas"] - counts["updatedReplicas"] < old_before
        or counts["updatedReplicas"] > before("updatedReplicas")
        or counts["readyReplicas"] > before("readyReplicas")
        or counts["availableReplicas"] > before("availableReplicas")
    )


def seconds_left(deployment: Object, conditions: list[Object], now: float) -> float | None:
    """How long until a rollout that does not move counts as failed; None when nothing is waited for."""
    current, seconds = of_type(conditions, PROGRESSING), deadline(deployment)
    since = current.get("lastUpdateTime")
    if seconds is None or not since or current.get("reason") in (COMPLETE, TIMED_OUT, PAUSED):
        return None
    return tasks.parse_rfc3339(since) + seconds - now


def _failures(now_sets: Generations, conditions: list[Object], now: float) -> list[Object]:
    """What the sets say that they cannot make; the new one's first."""
    newest_first = [*([now_sets.new] if now_sets.new is not None else []), *now_sets.old]
    failure = next((found for one in newest_first if (found := meta.condition(one, FAILURE))), None)
    if failure is None:
        return [one for one in conditions if one.get("type") != FAILURE]
    told = condition(FAILURE, failure["status"], failure.get("reason", ""), failure.get("message", ""))
    return with_condition(conditions, told, now)


def _paused_or_not(deployment: Object, conditions: list[Object], now: float) -> list[Object]:
    current = of_type(conditions, PROGRESSING)
    if deadline(deployment) is None or current.get("reason") == TIMED_OUT:
        return conditions
    is_told, is_paused = current.get("reason") == PAUSED, is_paused_now(deployment)
    if is_paused and not is_told:
        return with_condition(conditions, condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused"), now)
    if is_told and not is_paused:
        resumed = condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed")
        return with_condition(conditions, resumed, now)
    return conditions


def is_paused_now(deployment: Object) -> bool:
    return bool(meta.get(deployment, "spec", "paused"))
