"""Deployment, ReplicaSet, DaemonSet, ReplicationController, Job, CronJob: what they are given and what is wrong."""

from typing import Any

import pytest

from petset.kinds import builtin
from petset.objects import meta, tables, validation
from petset.objects.meta import Object

CONTAINER = {"name": "c", "image": "redis:7"}
LABELS = {"app": "web"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
SPEC: Object = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
RUN: Object = {"template": {"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}}
BY_NAME = {row.kind: row for row in builtin.KINDS}
VALID: dict[str, Object] = {
    "Deployment": SPEC,
    "ReplicaSet": SPEC,
    "DaemonSet": SPEC,
    "ReplicationController": {"template": TEMPLATE},
    "Job": RUN,
    "CronJob": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": RUN}},
}


def made(kind: str, spec: Object, name: str = "web") -> Object:
    """As it would be stored."""
    row = BY_NAME[kind]
    given = {"metadata": {"name": name, "namespace": "default", "uid": "u-1"}, "spec": spec}
    return row.prepare(row.default(given), None)


def wrong(kind: str, obj: Object, old: Object | None = None) -> list[tuple[str, str]]:
    row = BY_NAME[kind]
    found = [*validation.metadata(row, obj, old), *row.validate(obj)]
    if old is not None:
        found += row.validate_update(obj, old)
    return [(error.field, error.message) for error in found]


def with_(spec: Object, path: str, value: Any) -> Object:
    return meta.changed(spec, path.split("."), value)


@pytest.mark.parametrize("kind", VALID)
def test_the_smallest_of_each_is_valid_and_may_be_written_again(kind: str) -> None:
    obj = made(kind, VALID[kind])
    assert wrong(kind, obj) == [] == wrong(kind, obj, obj)
    assert BY_NAME[kind].default(obj) == obj


ROLL = "strategy.rollingUpdate"


@pytest.mark.parametrize(
    ("kind", "place", "value", "field", "text"),
    [
        ("Deployment", "replicas", -1, "spec.replicas", "must be greater than or equal to 0"),
        ("Deployment", "selector", {}, "spec.selector", "empty selector is invalid for deployment"),
        ("Deployment", "selector.matchLabels", {"a": "b"}, "spec.template.metadata.labels", "does not match template"),
        ("Deployment", "strategy.type", "Sometimes", "spec.strategy.type", '"Recreate", "RollingUpdate"'),
        ("Deployment", "strategy", {"type": "Recreate", "rollingUpdate": {}}, f"spec.{ROLL}", "'Recreate'"),
        ("Deployment", ROLL, {"maxUnavailable": 0, "maxSurge": "0%"}, f"spec.{ROLL}.maxUnavailable", "may not be 0"),
        (
            "Deployment",
            f"{ROLL}.maxUnavailable",
            "101%",
            f"spec.{ROLL}.maxUnavailable",
            "must not be greater than 100%",
        ),
        ("Deployment", f"{ROLL}.maxSurge", "many", f"spec.{ROLL}.maxSurge", "a valid percent string"),
        ("Deployment", "minReadySeconds", 600, "spec.progressDeadlineSeconds", "must be greater than minReadySeconds"),
        ("Deployment", "template.spec.restartPolicy", "Never", "spec.template.spec.restartPolicy", '"Always"'),
        ("ReplicaSet", "template.spec.containers", [], "spec.template.spec.containers", "Required value"),
        (
            "ReplicaSet",
            "template.spec.activeDeadlineSeconds",
            5,
            "spec.template.spec.activeDeadlineSeconds",
            "ReplicaSet",
        ),
        ("DaemonSet", "updateStrategy.type", "No", "spec.updateStrategy", '"RollingUpdate", "OnDelete"'),
        (
            "DaemonSet",
            "updateStrategy.rollingUpdate.maxSurge",
            1,
            "spec.updateStrategy.rollingUpdate.maxSurge",
            "non-zero",
        ),
        (
            "DaemonSet",
            "updateStrategy.rollingUpdate.maxUnavailable",
            0,
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            "cannot be 0 when maxSurge is 0",
        ),
        ("DaemonSet", "selector", {}, "spec.selector", "empty selector is invalid for daemonset"),
        ("ReplicationController", "template.metadata", {}, "spec.selector", "Required value"),
        ("ReplicationController", "selector", {"a": "b"}, "spec.template.metadata.labels", "does not match template"),
        (
            "Job",
            "template.spec.restartPolicy",
            "Always",
            "spec.template.spec.restartPolicy",
            'valid values: "OnFailure"',
        ),
        ("Job", "backoffLimitPerIndex", 1, "spec.backoffLimitPerIndex", "requires indexed completion mode"),
        ("Job", "selector", {"matchLabels": {"a": "b"}}, "spec.selector", "`selector` not auto-generated"),
        ("Job", "template.metadata", {"labels": {"job-name": "x"}}, "spec.template.metadata.labels[job-name]", "'web'"),
        ("Job", "podFailurePolicy", {"rules": [{"action": "Count"}]}, "spec.podFailurePolicy.rules[0]", "is required"),
        ("Job", "successPolicy", {"rules": [{}]}, "spec.successPolicy", "requires indexed completion mode"),
        ("Job", "managedBy", "me", "spec.managedBy", "domain-prefixed path"),
        ("Job", "podReplacementPolicy", "Never", "spec.podReplacementPolicy", '"Failed", "TerminatingOrFailed"'),
        ("CronJob", "schedule", "* * * *", "spec.schedule", "expected exactly 5 fields, found 4"),
        ("CronJob", "schedule", "TZ=UTC 0 * * * *", "spec.schedule", "use timeZone field instead"),
        ("CronJob", "timeZone", "local", "spec.timeZone", "an explicit time zone"),
        ("CronJob", "concurrencyPolicy", "Maybe", "spec.concurrencyPolicy", '"Allow", "Forbid", "Replace"'),
        ("CronJob", "jobTemplate.spec.selector", {}, "spec.jobTemplate.spec.selector", "will be auto-generated"),
    ],
)
def test_one_wrong_place(kind: str, place: str, value: Any, field: str, text: str) -> None:
    found = wrong(kind, made(kind, with_(VALID[kind], place, value)))
    assert any(at == field and text in why for at, why in found), found


def test_what_may_not_change() -> None:
    for kind in ("Deployment", "ReplicaSet", "DaemonSet"):
        old = made(kind, SPEC)
        new = meta.changed(old, ("spec", "selector"), {"matchLabels": {"app": "web", "b": "c"}})
        assert ("spec.selector" in [at for at, why in wrong(kind, new, old) if "field is immutable" in why]) is True
    old = made("Job", RUN)
    image = meta.changed(old, ("spec", "template", "spec", "containers"), [{**CONTAINER, "image": "other"}])
    assert [at for at, _ in wrong("Job", BY_NAME["Job"].default(image), old)] == ["spec.template"]
    assert wrong("Job", meta.changed(old, ("spec", "parallelism"), 5), old) == []
    assert [at for at, _ in wrong("Job", meta.changed(old, ("spec", "completions"), 5), old)] == ["spec.completions"]


def test_a_job_that_has_not_run_may_be_sent_elsewhere() -> None:
    old = made("Job", {**RUN, "suspend": True})
    moved = meta.changed(old, ("spec", "template", "spec", "nodeSelector"), {"disk": "fast"})
    assert wrong("Job", moved, old) == []
    ran = meta.changed(old, ("status", "startTime"), "2016-08-03T00:00:00Z")
    assert [at for at, _ in wrong("Job", moved, ran)] == ["spec.template"]


def test_what_they_are_given() -> None:
    spec = made("Deployment", SPEC)["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": "25%"}
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    controller = made("ReplicationController", {"template": TEMPLATE})
    assert controller["spec"]["selector"] == LABELS == controller["metadata"]["labels"]
    job = made("Job", RUN)
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    assert job["spec"]["template"]["metadata"]["labels"]["job-name"] == "web"
    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (1, 1, 6)
    assert "completions" not in made("Job", {**RUN, "parallelism": 3})["spec"]


@pytest.mark.parametrize("text", ["0 0 1 jan sun", "*/15 0-5 1,15 * MON-FRI", "@daily", "@every 1h30m", "? * * * *"])
def test_schedules(text: str) -> None:
    assert wrong("CronJob", made("CronJob", with_(VALID["CronJob"], "schedule", text))) == []


@pytest.mark.parametrize(
    "text", ["60 * * * *", "* 24 * * *", "*/0 * * * *", "5-1 * * * *", "@often", "a b c d e", "* * 0 * *"]
)
def test_no_schedules(text: str) -> None:
    assert [at for at, _ in wrong("CronJob", made("CronJob", with_(VALID["CronJob"], "schedule", text)))] == [
        "spec.schedule"
    ]


def test_an_indexed_job_succeeds_by_some_of_its_pods() -> None:
    endless = {**RUN, "completionMode": "Indexed", "parallelism": 5}
    assert [at for at, _ in wrong("Job", made("Job", endless))] == ["spec.completions"]
    indexed = {**endless, "completions": 5}
    for rule, is_right in (
        ({"succeededIndexes": "0,2-4", "succeededCount": 4}, True),
        ({"succeededIndexes": "0,2-4", "succeededCount": 5}, False),
        ({"succeededIndexes": "2,1"}, False),
        ({"succeededIndexes": "5"}, False),
        ({}, False),
    ):
        assert (wrong("Job", made("Job", {**indexed, "successPolicy": {"rules": [rule]}})) == []) is is_right, rule


def test_how_they_are_shown() -> None:
    def row(kind: str, obj: Object) -> dict[str, Any]:
        shown = tables.table(BY_NAME[kind].printer, [obj], 0.0)
        return {
            one["name"]: cell for one, cell in zip(shown["columnDefinitions"], shown["rows"][0]["cells"], strict=True)
        }

    deployment = {**made("Deployment", SPEC), "status": {"readyReplicas": 1, "updatedReplicas": 1}}
    assert row("Deployment", deployment) == {
        "Name": "web",
        "Ready": "1/1",
        "Up-to-date": 1,
        "Available": 0,
        "Age": "<unknown>",
        "Containers": "c",
        "Images": "redis:7",
        "Selector": "app=web",
    }
    job = row("Job", {**made("Job", RUN), "status": {"startTime": "1970-01-01T00:00:00Z", "succeeded": 1}})
    assert (job["Status"], job["Completions"], job["Duration"]) == ("Running", "1/1", "0s")
    cron = row("CronJob", made("CronJob", VALID["CronJob"]))
    assert (cron["Schedule"], cron["Timezone"], cron["Suspend"], cron["Active"]) == (
        "*/5 * * * *",
        "<none>",
        "False",
        0,
    )
    daemons = row("DaemonSet", {**made("DaemonSet", SPEC), "status": {"desiredNumberScheduled": 3, "numberReady": 2}})
    assert (daemons["Desired"], daemons["Ready"], daemons["Node Selector"]) == (3, 2, "<none>")
