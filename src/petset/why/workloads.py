"""Why Deployments, ReplicaSets, DaemonSets, Jobs and CronJobs do not get on: what their pods lack, or who refuses them.

All are the same story: how many of its pods are well, why none is made, why the first ones that are not well are not.
A Deployment tells of its newest ReplicaSet, and whether it is paused or its rollout took too long.
Follows: "Deployments", "Jobs" and "DaemonSet" of the Kubernetes documentation.
"""

from __future__ import annotations

from petset.base import well_known
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.batch.job import JOBS
from petset.kinds.pod import PODS
from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.why import deleted, finding, pods, refused
from petset.why.finding import Finding
from petset.why.picture import Picture

PODS_TOLD_MAX = 3


def members(obj: Object, picture: Picture) -> list[Object]:
    """The pods that it controls, the oldest first."""
    return sorted(picture.owned(PODS, obj, str(_selector(obj))), key=meta.by_age)


def _selector(obj: Object) -> selectors.Selector:
    selector = meta.get(obj, "spec", "selector", default={})
    return selectors.from_map(selector) if obj["kind"] == "ReplicationController" else selectors.from_object(selector)


def troubles(members: list[Object], picture: Picture) -> tuple[Finding, ...]:
    """Of the first pods that are not well; those that fail alike are told once."""
    found: list[Finding] = []
    seen: dict[str, None] = {}
    for pod in members:
        told = pods.pod(pod, picture)
        cause = told.because[0].says if told.because else told.says
        if not told.is_well and cause not in seen:
            seen[cause] = None
            found.append(told)
        if len(found) >= PODS_TOLD_MAX:
            break
    return tuple(found)


@deleted.first
def replica_set(obj: Object, picture: Picture) -> Finding:
    wanted, ready = meta.get(obj, "spec", "replicas", default=1), meta.get(obj, "status", "readyReplicas", default=0)
    said = f"{ready} of {wanted} pods are ready"
    mine = members(obj, picture)
    because = troubles(mine, picture)
    if (
        len([pod for pod in mine if not meta.is_deleting(pod)]) < wanted
        and (by := refused.of(obj, picture)) is not None
    ):
        because = (by, *because)
    if because or ready < wanted:
        return finding.of(obj, said, finding.state_of(because), because=because)
    return finding.of(obj, f"is well: {said}", "well")


@deleted.first
def deployment(obj: Object, picture: Picture) -> Finding:
    wanted, status = meta.get(obj, "spec", "replicas", default=1), meta.part(obj, "status")
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    said = f"{available} of {wanted} pods are available, {updated} are of the newest template"
    mine = picture.owned(REPLICASETS, obj)
    newest = max(mine, key=_revision, default=None)
    if meta.get(obj, "spec", "paused") and (updated < wanted or newest is None):
        command = finding.kubectl("rollout resume", obj)
        return finding.of(obj, f"{said}; its rollout is paused (spec.paused)", mend=command)
    if newest is None:
        by = refused.of(obj, picture)
        return finding.of(
            obj, f"{said}; its ReplicaSet is not made yet", "held" if by else "waits", because=(by,) if by else ()
        )
    told = replica_set(newest, picture)
    late = meta.condition(obj, "Progressing") or {}
    is_late = late.get("reason") == "ProgressDeadlineExceeded"
    if is_late:
        seconds = meta.get(obj, "spec", "progressDeadlineSeconds", default=600)
        said = f"{said}; it has not come nearer for {seconds} seconds (ProgressDeadlineExceeded)"
    if not told.is_well:
        return finding.of(obj, said, "held" if is_late else told.state, because=(told,))
    old = [one for one in mine if one is not newest and meta.get(one, "status", "replicas", default=0)]
    if old or updated < wanted or available < wanted:
        return finding.of(
            obj, f"{said}; it is rolling out", "waits", because=tuple(replica_set(one, picture) for one in old[:1])
        )
    return finding.of(obj, f"is well: {said}", "well")


def _revision(replica_set: Object) -> int:
    return meta.annotated_number(replica_set, well_known.DEPLOYMENT_REVISION_ANNOTATION) or 0


@deleted.first
def daemon_set(obj: Object, picture: Picture) -> Finding:
    status = meta.part(obj, "status")
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    said = f"{ready} of {wanted} pods are ready, one for each node that it is for"
    because = troubles(members(obj, picture), picture)
    if (by := refused.of(obj, picture)) is not None and status.get("currentNumberScheduled", 0) < wanted:
        because = (by, *because)
    if not wanted:
        mend = "give a node the labels that its nodeSelector or affinity wants, or let it tolerate the nodes' taints"
        return finding.of(obj, "is for no node: none matches its template", mend=mend)
    if because or ready < wanted:
        return finding.of(obj, said, finding.state_of(because), because=because)
    updated = status.get("updatedNumberScheduled", 0)
    if updated < wanted:
        is_by_hand = meta.get(obj, "spec", "updateStrategy", "type") == "OnDelete"
        says = f"{said}; {updated} are of the newest template"
        if is_by_hand:
            return finding.of(
                obj, f"{says}, with updateStrategy OnDelete", mend="delete the old pods, one after another"
            )
        return finding.of(obj, f"{says}, it is rolling out", "waits")
    return finding.of(obj, f"is well: {said}", "well")


@deleted.first
def job(obj: Object, picture: Picture) -> Finding:
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    wanted, done, failed = spec.get("completions"), status.get("succeeded", 0), status.get("failed", 0)
    said = f"{done} of {wanted if wanted is not None else 'any number of'} pods have succeeded, {failed} have failed"
    if meta.is_condition_true(obj, "Complete"):
        return finding.of(obj, f"is done: {said}", "well")
    because = troubles(members(obj, picture), picture)
    over = next((one for one in ("Failed", "FailureTarget") if meta.is_condition_true(obj, one)), None)
    if over is not None:
        why = meta.condition(obj, over) or {}
        says = f"has failed ({why.get('reason')}): {finding.quoted(why.get('message'))}; {said}"
        return finding.of(
            obj, says, mend="mend what its pods complain of, delete the Job and create it anew", because=because
        )
    if spec.get("suspend"):
        command = finding.patched(obj, ("spec", "suspend"), "false")
        return finding.of(obj, f"is suspended: {said}", mend=command)
    if (by := refused.of(obj, picture)) is not None and not status.get("active"):
        because = (by, *because)
    return finding.of(obj, said, finding.state_of(because), because=because)


@deleted.first
def cron_job(obj: Object, picture: Picture) -> Finding:
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    if spec.get("suspend"):
        command = finding.patched(obj, ("spec", "suspend"), "false")
        return finding.of(obj, "is suspended, and makes no Jobs", mend=command)
    if (
        told := picture.event(obj, "FailedCreate", "UnknownTimeZone", "TooManyMissedTimes", "InvalidSchedule")
    ) is not None:
        return finding.of(obj, f"makes no Job: {finding.quoted(told.get('message'))}")
    mine = picture.owned(JOBS, obj)
    newest = max(mine, key=meta.by_age, default=None)
    last = status.get("lastScheduleTime")
    said = f"makes a Job at {spec.get('schedule')}" + (f", the last at {last}" if last else ", and has made none yet")
    if newest is None:
        return finding.of(obj, f"is well: it {said}", "well")
    told = job(newest, picture)
    return finding.of(
        obj, f"{'is well: it ' if told.is_well else ''}{said}", told.state, because=() if told.is_well else (told,)
    )
