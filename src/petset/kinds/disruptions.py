"""What a disruption budget means: which pods it guards, what its status says, who may be evicted under it.

The controller writes the status, an eviction takes one from it, and the scheduler counts what a preemption would
break: all of them ask here. Pure.
Follows: PodDisruptionBudget of policy/v1, the eviction subresource of a pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from petset.base import tasks
from petset.kinds import pod_phase
from petset.objects import errors, meta, selectors
from petset.objects.meta import Object

ALLOWED = "DisruptionAllowed"
SUFFICIENT, INSUFFICIENT, SYNC_FAILED = "SufficientPods", "InsufficientPods", "SyncFailed"
TARGET = "DisruptionTarget"  # The condition of a pod that is about to be taken away.
CAUSE = "DisruptionBudget"
DELETION_SECONDS = 120.0  # Within these an evicted pod is expected to be deleted.
UNCONFIRMED_MAX = 2000  # Evictions that the controller has not seen come true.
BUSY_SECONDS = 10
VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


def selector_of(budget: Object) -> selectors.Selector:
    """A budget without a selector guards nothing, one with an empty selector the whole namespace."""
    return selectors.from_object(meta.part(budget, "spec").get("selector"))


def guarding(pod: Object, budgets: Iterable[Object]) -> list[Object]:
    """Those of the budgets of its namespace that guard the pod."""
    labels = meta.labels(pod)
    return [budget for budget in budgets if selector_of(budget).matches(labels)]


def needs_no_budget(pod: Object) -> bool:
    """It does not run, no longer, or is going already: to evict it disrupts nothing."""
    return pod_phase.has_ended(pod) or meta.is_deleting(pod) or meta.get(pod, "status", "phase") == "Pending"


def is_free(pod: Object, budget: Object) -> bool:
    """Whether a pod that is not ready may go without being counted."""
    if meta.is_pod_ready(pod):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = meta.part(budget, "status")
    return status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0


def counted(budget: Object, pod_name: str, now: float) -> Object:
    """The budget with one disruption less, of this pod. Raises ApiError 429 or 403 when it allows none."""
    name, status = meta.name(budget), meta.part(budget, "status")
    allowed = status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise busy(name)
    if allowed < 0:
        why = "pdb disruptions allowed is negative"
        raise _forbidden(name, why, f"The disruption budget {name} does not allow evicting pods currently: {why}")
    disrupted = meta.part(status, "disruptedPods")
    if len(disrupted) > UNCONFIRMED_MAX:
        raise _forbidden(
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            f"The disruption budget {name} does not allow evicting pods currently: "
            "too many pending evictions not confirmed by PDB controller",
        )
    if allowed == 0:
        raise _too_many(_why_none(name, status), 0)
    left = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": {**disrupted, pod_name: tasks.rfc3339(now)}}
    return {**budget, "status": with_allowed(left, now) if allowed == 1 else left}


def busy(name: str) -> errors.ApiError:
    """What the budget counts is about to change."""
    return _too_many(f"The disruption budget {name} is still being processed by the server.", BUSY_SECONDS)


def _why_none(name: str, status: Object) -> str:
    condition = meta.condition({"status": status}, ALLOWED) or {}
    told = condition.get("message", "") if condition.get("status") == "False" else ""
    if told and condition.get("reason") == SYNC_FAILED:
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {told}"
    current, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if current <= desired:
        return f"The disruption budget {name} needs {desired} healthy pods and has {current} currently"
    reason = f" ({condition.get('reason', '')}): {told}" if told else ""
    return f"The disruption budget {name} does not allow evicting pods currently{reason}"


def _too_many(why: str, retry_after_seconds: int) -> errors.ApiError:
    if retry_after_seconds:
        error = errors.too_many_requests(VIOLATED, retry_after_seconds)
    else:  # When it will be allowed nobody knows: clients ask again at their own pace.
        error = errors.ApiError(429, "TooManyRequests", VIOLATED, {})
    error.details = {**(error.details or {}), "causes": [{"reason": CAUSE, "message": why}]}
    return error


def _forbidden(name: str, why: str, cause: str) -> errors.ApiError:
    error = errors.forbidden("poddisruptionbudget", name, why, "policy")
    error.details = {**(error.details or {}), "causes": [{"reason": CAUSE, "message": cause}]}
    return error


def with_allowed(status: Object, now: float) -> Object:
    """The status with the condition that follows from what it allows."""
    allows = status.get("disruptionsAllowed", 0) > 0
    return with_condition(status, allows, SUFFICIENT if allows else INSUFFICIENT, "", now)


def with_condition(status: Object, allows: bool, reason: str, message: str, now: float) -> Object:
    condition: dict[str, Any] = {
        "type": ALLOWED,
        "status": "True" if allows else "False",
        "observedGeneration": status.get("observedGeneration", 0),
        "lastTransitionTime": tasks.rfc3339(now),
        "reason": reason,
        "message": message,
    }
    return {**status, "conditions": meta.with_condition(meta.parts(status, "conditions"), condition)}


def targeted(pod: Object, reason: str, message: str, now: float) -> Object:
    """The pod with the condition that says who is about to take it away."""
    condition = {
        "type": TARGET,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": tasks.rfc3339(now),
    }
    conditions = meta.parts(pod, "status", "conditions")
    return {**pod, "status": {**meta.part(pod, "status"), "conditions": meta.with_condition(conditions, condition)}}


def is_expected_to_go(disrupted: Mapping[str, str], name: str, now: float) -> bool:
    """Whether a pod was evicted so short a time ago that it may still be there."""
    since = disrupted.get(name)
    return since is not None and tasks.parse_rfc3339(since) + DELETION_SECONDS > now
