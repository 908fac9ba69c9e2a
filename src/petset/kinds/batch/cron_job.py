"""CronJob: a Job made from a template whenever its schedule says so (batch/v1).

Its Jobs are named after it and the minute, so its own name is at most 52 characters long, and choose their pods by
themselves. Which time zones there are is for the machine to know: here only the form of a name is checked.
"""

from __future__ import annotations

import re
from typing import Any

from petset.kinds.batch import job, schedule
from petset.kinds.pod_spec import filled
from petset.objects import filling, meta, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, at_least, listed, object_metadata, one_of

NAME_CHARACTERS_MAX = 52  # A Job's name, of 63, without "-" and the minute.
SUCCESSFUL_KEPT, FAILED_KEPT = 3, 1

_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _spec)


def _spec(spec: Object) -> Object:
    spec = fill_empty(spec, {"concurrencyPolicy": "Allow"})
    kept = {"successfulJobsHistoryLimit": SUCCESSFUL_KEPT, "failedJobsHistoryLimit": FAILED_KEPT}
    spec = fill(spec, {"suspend": False, **kept})
    return at(spec, "jobTemplate", lambda jobs: at(jobs, "spec", lambda one: at(one, "template", filled.template)))


@listed
def validate(obj: Object) -> Errors:
    spec, name = meta.part(obj, "spec"), obj["metadata"].get("name") or ""
    if len(name) > NAME_CHARACTERS_MAX:
        yield FieldError.invalid("metadata.name", name, f"must be no more than {NAME_CHARACTERS_MAX} characters")
    yield from _times(spec)
    for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from at_least(spec.get(field), f"spec.{field}")
    yield from one_of(spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", ("Allow", "Forbid", "Replace"))
    jobs, path = meta.part(spec, "jobTemplate"), "spec.jobTemplate"
    yield from object_metadata(meta.part(jobs, "metadata"), f"{path}.metadata")
    yield from job.check(meta.part(jobs, "spec"), f"{path}.spec")
    if meta.get(jobs, "spec", "manualSelector"):
        yield FieldError.unsupported(f"{path}.spec.manualSelector", True, ("false",))
    if (selector := meta.get(jobs, "spec", "selector")) is not None:
        yield FieldError.invalid(f"{path}.spec.selector", dict(selector), "`selector` will be auto-generated")


def _times(spec: Object) -> Errors:
    given, zone = spec.get("schedule") or "", spec.get("timeZone")
    if not given:
        yield FieldError.required("spec.schedule")
    elif "TZ" in given:
        both = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        why = both if zone is not None else "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield FieldError.invalid("spec.schedule", given, why)
    elif wrong := schedule.wrong(given):
        yield FieldError.invalid("spec.schedule", given, wrong)
    if zone is None:
        return
    if not zone:
        yield FieldError.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield FieldError.invalid("spec.timeZone", zone, why)
    elif not _ZONE.fullmatch(zone):
        yield FieldError.invalid("spec.timeZone", zone, f"unknown time zone {zone[:100]}")


def cells(obj: Object, now: float) -> list[Any]:
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    last = status.get("lastScheduleTime")
    containers = meta.parts(meta.part(spec, "jobTemplate", "spec", "template", "spec"), "containers")
    return [
        tables.name(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        "True" if spec.get("suspend") else "False",
        len(meta.parts(status, "active")),
        tables.since(last, now) if last else "<none>",
        tables.age(obj, now),
        tables.joined(one.get("name", "") for one in containers),
        tables.joined(one.get("image", "") for one in containers),
        tables.selector(meta.get(spec, "jobTemplate", "spec", "selector")),
    ]


CRONJOBS = Kind(
    "batch",
    "v1",
    "cronjobs",
    "CronJob",
    short_names=("cj",),
    categories=("all",),
    subresources=STATUS,
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({}),
    validate=validate,
    printer=tables.Printer(
        tables.columns(
            "Name, Schedule, Timezone, Suspend, Active, Last Schedule, Age, +Containers, +Images, +Selector", "Active"
        ),
        cells,
    ),
)

KINDS = (CRONJOBS,)
