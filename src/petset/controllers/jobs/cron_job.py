"""CronJob: a Job whenever the schedule says so.

`reconcile` looks at one CronJob and its Jobs: finished ones beyond the history go, the status says which are active,
and when the last time that has passed has no Job yet, one is made, named after the minute: so that one time never has
two Jobs, whenever the process dies. Only the last of several missed times is made up for. Then it waits for the next.
Follows: "CronJob" of the Kubernetes documentation; messages of events are those that clients show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any

from petset.base import tasks, well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.jobs import job as jobs
from petset.controllers.runner import Controller, own_key
from petset.controllers.workloads import claiming
from petset.kinds.batch import schedule
from petset.kinds.batch.cron_job import CRONJOBS
from petset.kinds.batch.job import JOBS
from petset.objects import meta
from petset.objects.meta import Object

MISSED_TOLD_MIN = 100  # So many missed times are told of.
MINUTE = 60.0
PAST_SECONDS_MAX = 8 * 366 * 24 * 3600  # What was missed longer ago is not made up for: every 29th of February is.


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps of one CronJob; [] when there is nothing to do now."""
    cron = view.get(CRONJOBS, *meta.split_key(key))
    if cron is None:
        return []
    own = [one for one in view.by_index(JOBS, "owner", meta.uid(cron)) if meta.is_controlled_by(one, cron)]
    own = [one for one in own if not meta.is_deleting(one)]
    active = [one for one in own if not jobs.is_finished(one)]
    status = _status(cron, own, active)
    steps: list[actions.Action] = [*_ended(cron, own), *_history(cron, own)]
    if meta.is_deleting(cron) or meta.get(cron, "spec", "suspend"):
        return [*actions.report(cron, status), *steps]
    try:
        times = schedule.read(meta.get(cron, "spec", "schedule", default=""), zone_of(cron))
    except (KeyError, ValueError, OSError):
        why = f'invalid timeZone: "{meta.get(cron, "spec", "timeZone")}": unknown time zone'
        return [*actions.report(cron, status), *steps, actions.EmitEvent(cron, "Warning", "UnknownTimeZone", why)]
    later = times.after(now)
    again = [actions.RequeueAfter(min(later - now, jobs.LOOK_AGAIN_SECONDS_MAX))] if later is not None else []
    due = last_time(cron, times, now)
    if due is None:
        return [*actions.report(cron, status), *steps, *again]
    told, starting = _start(cron, times, due, own, active, now)
    if starting or any(meta.name(one) == job_name(cron, due) for one in own):
        status["lastScheduleTime"] = tasks.rfc3339(due)
    return [*told, *starting, *actions.report(cron, status), *steps, *again]


def zone_of(cron: Object) -> tzinfo:
    """Raises KeyError, ValueError or OSError for one that this machine does not know."""
    name = meta.get(cron, "spec", "timeZone")
    if not name:
        return UTC
    import zoneinfo  # For a CronJob that names one.

    return zoneinfo.ZoneInfo(name)


def job_name(cron: Object, due: float) -> str:
    return f"{meta.name(cron)}-{int(due // MINUTE)}"


def _earliest(cron: Object, now: float) -> float:
    """After which moment a time is still to have its Job."""
    told = meta.get(cron, "status", "lastScheduleTime") or meta.get(cron, "metadata", "creationTimestamp")
    earliest = max(tasks.parse_rfc3339(told), now - PAST_SECONDS_MAX) if told else now
    deadline = meta.get(cron, "spec", "startingDeadlineSeconds")
    return earliest if deadline is None else max(earliest, now - deadline)


def last_time(cron: Object, times: schedule.Times, now: float) -> float | None:
    """The last time that has passed and may have no Job yet."""
    earliest = _earliest(cron, now)
    found = times.after(earliest) if earliest < now else None
    if found is None or found > now:
        return None
    if isinstance(times, schedule.Every):
        return found + (now - found) // times.seconds * times.seconds
    window = MINUTE  # Before now: as short as one that has a time in it.
    while now - window > earliest:
        late = times.after(now - window)
        if late is not None and late <= now:
            found = late
            break
        window *= 2
    while (later := times.after(found)) is not None and later <= now:
        found = later
    return found


def _start(
    cron: Object, times: schedule.Times, due: float, own: Sequence[Object], active: Sequence[Object], now: float
) -> tuple[list[actions.Action], list[actions.Action]]:
    """(events, the steps that make the Job of that time)."""
    if any(meta.name(one) == job_name(cron, due) for one in own):
        return [], []
    told: list[actions.Action] = []
    if _missed(cron, times, now) > MISSED_TOLD_MIN:
        why = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        told.append(actions.EmitEvent(cron, "Warning", "TooManyMissedTimes", why))
    policy = meta.get(cron, "spec", "concurrencyPolicy", default="Allow")
    if policy == "Forbid" and active:
        why = "Not starting job because prior execution is running and concurrency policy is Forbid"
        return [*told, actions.EmitEvent(cron, "Normal", "JobAlreadyActive", why)], []
    replaced = [_removed(cron, one) for one in active] if policy == "Replace" else []
    name = job_name(cron, due)
    create = actions.Create(
        job_of(cron, due),
        on_success=actions.EmitEvent(cron, "Normal", "SuccessfulCreate", f"Created job {name}"),
        on_failure=actions.EmitEvent(cron, "Warning", "FailedCreate", "Error creating job: {error}"),
    )
    return told, [*replaced, create]


def _missed(cron: Object, times: schedule.Times, now: float) -> float:
    """About how many times have passed without a Job, by the distance of the first two."""
    first = times.after(_earliest(cron, now))
    second = times.after(first) if first is not None else None
    return (now - first) / (second - first) if first is not None and second is not None else 0.0


def job_of(cron: Object, due: float) -> dict[str, Any]:
    template = meta.part(cron, "spec", "jobTemplate")
    moment = datetime.fromtimestamp(due, zone_of(cron)).isoformat().replace("+00:00", "Z")
    annotations = {**meta.part(template, "metadata", "annotations"), well_known.CRON_JOB_SCHEDULED_ANNOTATION: moment}
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": job_name(cron, due),
            "namespace": meta.namespace(cron),
            "labels": dict(meta.part(template, "metadata", "labels")),
            "annotations": annotations,
            "ownerReferences": [meta.owner_reference(cron)],
        },
        "spec": meta.part(template, "spec"),
    }


def _removed(cron: Object, one: Object) -> actions.Action:
    return actions.Delete(
        one,
        propagation="Background",
        on_success=actions.EmitEvent(cron, "Normal", "SuccessfulDelete", f"Deleted job {meta.name(one)}"),
        on_failure=actions.EmitEvent(cron, "Warning", "FailedDelete", "Deleted job: {error}"),
    )


def _history(cron: Object, own: Iterable[Object]) -> list[actions.Action]:
    """Finished Jobs beyond those that are kept go, the oldest first."""
    going: list[Object] = []
    for condition, field in ((jobs.COMPLETE, "successfulJobsHistoryLimit"), (jobs.FAILED, "failedJobsHistoryLimit")):
        ended = [one for one in own if meta.is_condition_true(one, condition)]
        kept = meta.get(cron, "spec", field)
        if kept is not None and len(ended) > kept:
            ended.sort(key=lambda one: (meta.get(one, "status", "startTime") or "", meta.name(one)))
            going += ended[: len(ended) - kept]
    return actions.together([[_removed(cron, one)] for one in going])


def _ended(cron: Object, own: Iterable[Object]) -> list[actions.Action]:
    """What is told of Jobs that were active and are finished."""
    before = [one.get("uid") for one in meta.parts(cron, "status", "active")]
    return [
        actions.EmitEvent(
            cron, "Normal", "SawCompletedJob", f"Saw completed job: {meta.name(one)}, condition: {_how(one)}"
        )
        for one in own
        if jobs.is_finished(one) and meta.uid(one) in before
    ]


def _how(one: Object) -> str:
    return jobs.COMPLETE if meta.is_condition_true(one, jobs.COMPLETE) else jobs.FAILED


def _status(cron: Object, own: Iterable[Object], active: Iterable[Object]) -> dict[str, Any]:
    said = meta.part(cron, "status")
    references = [
        {key: value for key, value in meta.object_reference(one).items() if key != "resourceVersion"} for one in active
    ]
    known = {one.get("uid"): one for one in meta.parts(said, "active")}
    succeeded = [meta.get(one, "status", "completionTime") for one in own if meta.is_condition_true(one, jobs.COMPLETE)]
    last = max([said.get("lastSuccessfulTime") or "", *(one for one in succeeded if one)])
    kept = {key: value for key, value in said.items() if key not in ("active", "lastSuccessfulTime")}
    return {
        **kept,
        **({"active": [known.get(one["uid"], one) for one in references]} if references else {}),
        **({"lastSuccessfulTime": last} if last else {}),
    }


CONTROLLERS = (
    Controller(
        name="cronjobs",
        component="cronjob-controller",
        watches=((CRONJOBS, own_key), (JOBS, partial(claiming.keys_of_controller, CRONJOBS))),
        reconcile=reconcile,
    ),
)
