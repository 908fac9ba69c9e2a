"""What is left when a Job has ended or gone: finalizers of pods whose Job is no more, and Jobs whose time is over.

A pod's finalizer is for its Job to count it; where the server has no such Job any more, nobody will. A finished Job
with ttlSecondsAfterFinished goes, with its pods, when so many seconds have passed.
Follows: KEP-2307; "Automatic Cleanup for Finished Jobs" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.base import tasks
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.jobs import job, pods
from petset.controllers.runner import Controller, own_key
from petset.controllers.workloads import claiming
from petset.kinds.batch.job import JOBS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object


def release(key: str, view: View, now: float) -> list[actions.Action]:
    """A pod whose Job is gone need not be counted."""
    pod = view.get(PODS, *meta.split_key(key))
    owner = meta.controller_of(pod) if pod is not None else None
    if pod is None or not pods.is_tracked(pod):
        return []
    if owner is None:
        return [job.untrack(pod)]
    if not claiming.is_of(JOBS, owner):
        return []
    there = view.get(JOBS, meta.namespace(pod), owner["name"])
    if there is not None and meta.uid(there) == owner["uid"]:
        return []
    return [actions.Gone(JOBS, meta.namespace(pod), owner["name"], owner["uid"]), job.untrack(pod)]


def _tracked(pod: Object, view: View) -> Iterable[str]:
    return (meta.key(pod),) if pods.is_tracked(pod) else ()


def _pods_of(of: Object, view: View) -> Iterable[str]:
    """Of a Job that is gone; while it is there, it counts them itself."""
    there = view.get(JOBS, meta.namespace(of), meta.name(of))
    if there is not None and meta.uid(there) == meta.uid(of):
        return ()
    return [meta.key(pod) for pod in view.by_index(PODS, "controller", meta.uid(of)) if pods.is_tracked(pod)]


def remove(key: str, view: View, now: float) -> list[actions.Action]:
    """A Job that has been finished for long enough."""
    found = view.get(JOBS, *meta.split_key(key))
    seconds = meta.get(found, "spec", "ttlSecondsAfterFinished")
    if found is None or seconds is None or meta.is_deleting(found) or not job.is_finished(found):
        return []
    since = [
        tasks.parse_rfc3339(one["lastTransitionTime"])
        for one in meta.parts(found, "status", "conditions")
        if one.get("type") in (job.COMPLETE, job.FAILED) and one.get("lastTransitionTime")
    ]
    left = max(since, default=now) + seconds - now
    return [actions.RequeueAfter(left)] if left > 0 else [actions.Delete(found, propagation="Foreground")]


CONTROLLERS = (
    Controller(
        name="pods of jobs that are gone",
        component="job-controller",
        watches=((PODS, _tracked), (JOBS, _pods_of)),
        reconcile=release,
    ),
    Controller(
        name="finished jobs",
        component="ttl-after-finished-controller",
        watches=((JOBS, own_key),),
        reconcile=remove,
    ),
)
