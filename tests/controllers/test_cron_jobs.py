"""CronJobs: when a schedule comes, and what is done about it."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import strategies

from petset.base import tasks
from petset.client.views import Snapshot
from petset.controllers.jobs import cron_job
from petset.kinds.batch import cron_job as kind
from petset.kinds.batch import schedule
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers import jobs

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str, zone: tzinfo = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("text", "after", "then"),
    [
        ("* * * * *", "2016-07-31 10:00:00", "2016-07-31 10:01"),
        ("* * * * *", "2016-07-31 10:00:59", "2016-07-31 10:01"),
        ("30 2 * * *", "2016-07-31 10:00", "2016-08-01 02:30"),
        ("0 0 1 1 *", "2016-07-31 10:00", "2017-01-01 00:00"),
        ("@monthly", "2016-12-31 23:59", "2017-01-01 00:00"),
        ("@hourly", "2016-07-31 10:00", "2016-07-31 11:00"),
        ("@every 90s", "2016-07-31 10:00:00", "2016-07-31 10:01:30"),
        ("@every 1h30m", "2016-07-31 10:00:00", "2016-07-31 11:30"),
        ("5/20 * * * ?", "2016-07-31 10:06", "2016-07-31 10:25"),
        ("0 12 * * mon-fri", "2016-07-30 13:00", "2016-08-01 12:00"),
        ("0 12 13 * fri", "2016-07-31 13:00", "2016-08-05 12:00"),  # One of both days is enough,
        ("0 12 13 * *", "2016-07-31 13:00", "2016-08-13 12:00"),  # where both are given,
        ("0 12 */2 * fri", "2016-07-31 13:00", "2016-08-01 12:00"),  # and every second day is.
        ("0 0 29 2 *", "2016-03-01 00:00", "2020-02-29 00:00"),
        ("0 0 31 2 *", "2016-03-01 00:00", None),
    ],
)
def test_when_a_schedule_comes(text: str, after: str, then: str | None) -> None:
    assert not schedule.wrong(text)
    found = schedule.read(text, UTC).after(moment(after))
    assert found == (moment(then) if then else None)


def test_a_change_of_the_clock() -> None:
    """An hour that is left out does not come, one that is repeated comes twice; each hour comes each hour."""
    at_half_past_two = schedule.read("30 2 * * *", BERLIN)
    spring = at_half_past_two.after(moment("2016-03-26 03:00", BERLIN))
    assert spring == moment("2016-03-28 02:30", BERLIN)
    first = at_half_past_two.after(moment("2016-10-29 03:00", BERLIN))
    assert first is not None and first == moment("2016-10-30 00:30") and at_half_past_two.after(first) == first + 3600
    hourly, at = schedule.read("0 * * * *", BERLIN), moment("2016-03-26 20:00")
    for _ in range(24):
        assert hourly.after(at) == at + 3600
        at += 3600


@hypothesis.given(
    strategies.integers(0, 40_000_000), strategies.sampled_from(["*/7 3 * * *", "0 0 1 * mon", "@every 7m"])
)
def test_the_last_time_is_found_without_going_through_all(ago: int, text: str) -> None:
    times = schedule.read(text, UTC)
    cron = cron_of({"schedule": text}, made=ago)
    found = cron_job.last_time(cron, times, jobs.NOW)
    first = times.after(jobs.NOW - ago)
    if first is None or first > jobs.NOW:
        assert found is None
    else:
        later = times.after(found) if found is not None else None
        assert found is not None and first <= found <= jobs.NOW and later is not None and later > jobs.NOW


# What is done (it is 2016-07-31 21:20:00)

MINUTE_NAME = f"nightly-{int(jobs.NOW // 60)}"


def cron_of(spec: Any, made: float = 90, **status: Any) -> Object:
    template = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example/sum:1"}]}}}}
    obj: Object = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": "nightly",
            "namespace": "default",
            "uid": "uid of nightly",
            "resourceVersion": "7",
            "creationTimestamp": jobs.time(made),
        },
        "spec": {"schedule": "* * * * *", "jobTemplate": template, **spec},
        "status": status,
    }
    return kind.defaults(obj)


def job_of(cron: Object, name: str, ended: str = "", started: float = 100) -> Object:
    conditions = [ended] if ended else []
    job = jobs.job_of({"status": {"conditions": conditions, "started": started}})
    metadata = {
        **job["metadata"],
        "name": name,
        "uid": f"uid of {name}",
        "ownerReferences": [meta.owner_reference(cron)],
    }
    job = {**job, "metadata": metadata}
    if ended == "Complete":
        job = meta.changed(job, ("status", "completionTime"), jobs.time(5))
    return job


def told(cron: Object, *own: Object) -> list[str]:
    steps = cron_job.reconcile("default/nightly", Snapshot([cron, *own]), jobs.NOW)
    return jobs.told(steps)


def test_a_job_is_made_when_it_is_time_and_then_the_next_is_waited_for() -> None:
    cron = cron_of({"timeZone": "Europe/Berlin"})
    create, status, again = cron_job.reconcile("default/nightly", Snapshot([cron]), jobs.NOW)
    made = create.object  # type: ignore[union-attr]
    assert meta.name(made) == MINUTE_NAME and meta.is_controlled_by(made, cron)
    assert meta.annotations(made) == {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2016-07-31T23:20:00+02:00"}
    assert status.object["status"] == {"lastScheduleTime": "2016-07-31T21:20:00Z"}  # type: ignore[union-attr]
    assert jobs.told([again]) == ["again in 60 s"]


def test_one_time_has_one_job_whatever_the_status_says() -> None:
    cron = cron_of({})
    job = job_of(cron, MINUTE_NAME)
    assert told(cron, job) == ["status", "again in 60 s"]
    reference = {key: meta.object_reference(job)[key] for key in ("apiVersion", "kind", "name", "namespace", "uid")}
    done = cron_of({}, lastScheduleTime=jobs.time(0), active=[reference])
    assert told(done, job) == ["again in 60 s"]


@pytest.mark.parametrize(
    ("spec", "then"),
    [
        ({}, ["create", "status", "again in 60 s"]),
        ({"concurrencyPolicy": "Forbid"}, ["Normal JobAlreadyActive", "status", "again in 60 s"]),
        ({"concurrencyPolicy": "Replace"}, ["delete before", "create", "status", "again in 60 s"]),
        ({"suspend": True}, ["status"]),
        ({"timeZone": "Nowhere/Land"}, ["status", "Warning UnknownTimeZone"]),
    ],
)
def test_when_the_last_one_still_runs(spec: Any, then: list[str]) -> None:
    cron = cron_of(spec)
    assert told(cron, job_of(cron, "before")) == then


@pytest.mark.parametrize(
    ("spec", "made", "then"),
    [
        ({}, 90_000, ["Warning TooManyMissedTimes", "create", "status", "again in 60 s"]),
        ({"startingDeadlineSeconds": 120}, 90_000, ["create", "status", "again in 60 s"]),
        ({"schedule": "0 21 * * *", "startingDeadlineSeconds": 600}, 90_000, ["again in 85200 s"]),
        ({"schedule": "0 21 * * *", "startingDeadlineSeconds": 1800}, 90_000, ["create", "status", "again in 85200 s"]),
        ({"schedule": "0 21 * * *"}, 600, ["again in 85200 s"]),
        ({}, 1_400_000_000, ["Warning TooManyMissedTimes", "create", "status", "again in 60 s"]),
        ({}, -200_000_000_000, ["again in 60 s"]),
        ({"schedule": f"@every {'9' * 900}h"}, 600, ["again in 86400 s"]),
    ],
)
def test_what_was_missed(spec: Any, made: float, then: list[str]) -> None:
    assert told(cron_of(spec, made=made)) == then


def test_the_history_is_as_long_as_it_may_be() -> None:
    cron = cron_of({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0, "suspend": True})
    own = [
        *(job_of(cron, name, "Complete", started) for name, started in (("a", 300), ("b", 200), ("c", 100))),
        job_of(cron, "d", "Failed", 50),
    ]
    assert told(cron, *own) == ["status", "delete a", "delete b", "delete d"]
    done = cron_of({"suspend": True}, lastSuccessfulTime=jobs.time(5), active=[{"uid": "uid of c"}])
    assert told(done, own[2]) == ["status", "Normal SawCompletedJob"]


def test_times_are_written_as_upstream_writes_them() -> None:
    assert tasks.parse_rfc3339("2016-07-31T23:20:00+02:00") == jobs.NOW - jobs.NOW % 60
