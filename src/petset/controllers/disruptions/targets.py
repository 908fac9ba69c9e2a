"""Pods that were said to be about to go, and stayed: after two minutes they say so no longer.

Whoever evicts or preempts a pod says so on it first, and may die before it deletes it.
Follows: the DisruptionTarget condition of a pod, upstream's disruption controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.base import tasks
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller
from petset.kinds import disruptions, pod_phase
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

STALE_SECONDS = 120.0
BY_ITS_NODE = "TerminationByKubelet"  # Who stops the pod by itself takes as long as it takes.


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    pod = view.get(PODS, *meta.split_key(key))
    if pod is None or (left := seconds_left(pod, now)) is None:
        return []
    if left > 0:
        return [actions.RequeueAfter(left)]
    over = {"type": disruptions.TARGET, "status": "False", "lastTransitionTime": tasks.rfc3339(now)}
    conditions = meta.with_condition(meta.parts(pod, "status", "conditions"), over)
    return [actions.UpdateStatus(meta.changed(pod, ("status", "conditions"), conditions))]


def seconds_left(pod: Object, now: float) -> float | None:
    """For how long what it says may still come true; None when it says nothing, or is going."""
    condition = meta.condition(pod, disruptions.TARGET)
    if condition is None or condition.get("status") != "True" or condition.get("reason") == BY_ITS_NODE:
        return None
    if meta.is_deleting(pod) or pod_phase.has_ended(pod):
        return None
    since = condition.get("lastTransitionTime")
    return max((tasks.parse_rfc3339(since) if since else 0.0) + STALE_SECONDS - now, 0.0)


def keys_of(pod: Object, view: View) -> Iterable[str]:
    return (meta.key(pod),) if meta.condition(pod, disruptions.TARGET) is not None else ()


CONTROLLERS = (
    Controller(
        name="disruptiontargets", component="controllermanager", watches=((PODS, keys_of),), reconcile=reconcile
    ),
)
