"""The pods of a Job as they are: which index each has, which run, which have ended and how, and how long to wait.

A pod has failed when its phase says so, and, unless the Job replaces only what has failed, as soon as it is being
deleted. One that was deleted without a node, or by force, is gone: nobody will write its phase. How long the next one
waits follows from the pods that are there: 10 s after a failure, twice as long after each one more, 600 s at most,
since the last success.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.base import tasks, well_known
from petset.controllers.workloads import templates
from petset.kinds import pod_phase
from petset.kinds.pod_spec import pod_containers
from petset.objects import meta
from petset.objects.meta import Object

BACKOFF_FIRST_SECONDS, BACKOFF_SECONDS_MAX = 10.0, 600.0
FAILURES_TOLD_APART = 7  # After so many in a row the longest back-off is reached.
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"


def index_of(pod: Object) -> int | None:
    """None where it has none, or one that is no number."""
    return meta.annotated_number(pod, well_known.JOB_INDEX_LABEL)


def failure_count(pod: Object) -> int:
    """How many failures of its index were counted before it."""
    return meta.annotated_number(pod, well_known.JOB_INDEX_FAILURES_ANNOTATION) or 0


def is_tracked(pod: Object) -> bool:
    """Whether it is still to be counted."""
    return well_known.JOB_TRACKING_FINALIZER in meta.texts(pod, "metadata", "finalizers")


def is_terminating(pod: Object) -> bool:
    return not pod_phase.has_ended(pod) and meta.is_deleting(pod) and not is_lost(pod)


def is_lost(pod: Object) -> bool:
    """Deleted, and only finalizers keep it: it never had a node, or its time is over."""
    has_no_time = meta.get(pod, "metadata", "deletionGracePeriodSeconds") == 0
    return meta.is_deleting(pod) and (has_no_time or not meta.get(pod, "spec", "nodeName"))


def has_succeeded(pod: Object) -> bool:
    return meta.get(pod, "status", "phase") == "Succeeded"


def replaces_only_failed(job: Object) -> bool:
    spec = meta.part(job, "spec")
    return spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None


def has_failed(pod: Object, replaces_only_failed: bool) -> bool:
    """`replaces_only_failed`: whether its Job does."""
    if meta.get(pod, "status", "phase") == "Failed":
        return True
    return meta.is_deleting(pod) and not has_succeeded(pod) and (is_lost(pod) or not replaces_only_failed)


def restarts(pod: Object) -> int:
    status = meta.part(pod, "status")
    containers = (*meta.parts(status, "containerStatuses"), *meta.parts(status, "initContainerStatuses"))
    return sum(one.get("restartCount", 0) for one in containers)


def ended_at(pod: Object) -> float:
    """When its last container ended, or it was deleted; when it was made where nothing tells."""
    status = meta.part(pod, "status")
    ended = [
        meta.get(one, "state", "terminated", "finishedAt")
        for one in (*meta.parts(status, "containerStatuses"), *meta.parts(status, "initContainerStatuses"))
    ]
    told = [one for one in ended if one] or [
        meta.get(pod, "metadata", "deletionTimestamp") or meta.get(pod, "metadata", "creationTimestamp")
    ]
    return max((tasks.parse_rfc3339(one) for one in told if one), default=0.0)


def remaining(failures: int, last: float, now: float) -> float:
    """How many seconds are left after so many failures without a success, the last one then; 0.0 for none."""
    if not failures:
        return 0.0
    wait = min(BACKOFF_FIRST_SECONDS * 2 ** (min(failures, FAILURES_TOLD_APART) - 1), BACKOFF_SECONDS_MAX)
    return max(0.0, last + wait - now)


# -- new ones


def pod_for(job: Object) -> dict[str, Any]:
    """Of a Job whose pods are all alike."""
    return dict(tracked(templates.pod_for(job, meta.part(job, "spec", "template"))))


def tracked(pod: Object) -> Object:
    """To be counted before it goes."""
    others = [one for one in meta.texts(pod, "metadata", "finalizers") if one != well_known.JOB_TRACKING_FINALIZER]
    return meta.changed(pod, ("metadata", "finalizers"), [*others, well_known.JOB_TRACKING_FINALIZER])


def indexed_pod(job: Object, index: int, failures: int | None) -> dict[str, Any]:
    """The pod of an index: it says so in an annotation, a label, a variable of each container and its host name.

    `failures`: those of its index that were counted before it; None where they are not counted apart.
    """
    pod = pod_for(job)
    metadata, number = pod["metadata"], str(index)
    annotations = {**meta.annotations(pod), well_known.JOB_INDEX_LABEL: number}
    if failures is not None:
        annotations[well_known.JOB_INDEX_FAILURES_ANNOTATION] = str(failures)
    return {
        **pod,
        "metadata": {
            **metadata,
            "generateName": f"{meta.name(job)}-{index}-",
            "labels": {**meta.labels(pod), well_known.JOB_INDEX_LABEL: number},
            "annotations": annotations,
        },
        "spec": _indexed_spec(pod["spec"], f"{meta.name(job)}-{index}"),
    }


def _indexed_spec(spec: Object, hostname: str) -> Object:
    path = f"metadata.labels['{well_known.JOB_INDEX_LABEL}']"
    variable = {"name": INDEX_VARIABLE, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}

    def told(containers: Sequence[Object]) -> list[Object]:
        return [
            one
            if any(given.get("name") == INDEX_VARIABLE for given in meta.parts(one, "env"))
            else {**one, "env": [*meta.parts(one, "env"), variable]}
            for one in containers
        ]

    fields = [field for field in pod_containers.OWN if spec.get(field)]
    return {**spec, "hostname": hostname, **{field: told(meta.parts(spec, field)) for field in fields}}
