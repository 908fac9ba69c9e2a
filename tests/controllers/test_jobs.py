"""Jobs: the cases of tests/cases/jobs, and what their pods are told."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.jobs import indexes, leftovers, pods
from petset.objects import meta
from tests import case_files
from tests.controllers import jobs


@pytest.mark.parametrize("case", case_files.cases("jobs"))
def test_case(case: dict[str, Any]) -> None:
    steps = jobs.reconciled(case["given"])
    assert jobs.told(steps) == case["then"]
    if "status" in case:
        said = jobs.status_of(steps)
        assert {field: said.get(field) for field in case["status"]} == case["status"]


@hypothesis.given(strategies.sets(strategies.integers(0, 60)))
def test_indexes_are_read_as_they_are_written(found: set[int]) -> None:
    whole = indexes.Indexes().plus(found)
    again, half = indexes.read(str(whole), 61), indexes.read(str(whole), 30)
    assert (
        again == whole
        and len(whole) == len(found)
        and [one in whole for one in range(61)] == [one in found for one in range(61)]
    )
    assert half.plus([]) == indexes.Indexes().plus(one for one in found if one < 30)
    assert whole.gap_from(7) == min(one for one in range(7, 62) if one not in found)


@hypothesis.given(strategies.sets(strategies.integers(0, 40)), strategies.sets(strategies.integers(0, 40)))
def test_how_many_two_sets_have_in_common(one: set[int], other: set[int]) -> None:
    assert indexes.Indexes().plus(one).common(indexes.Indexes().plus(other)) == len(one & other)


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1--2", "٣", "9" * 5000, "0,9-" + "9" * 5000])
def test_what_is_no_set_of_indexes_is_none(text: str) -> None:
    assert not indexes.read(text, 10)


def test_a_span_costs_the_same_however_long_it_is() -> None:
    most = 2**31 - 1
    given = {"completionMode": "Indexed", "completions": most, "parallelism": 1, "activeDeadlineSeconds": 2**63 - 1}
    given["successPolicy"] = {"rules": [{"succeededIndexes": f"0-{most - 1}"}]}
    given["status"] = {"started": 60, "completedIndexes": f"0-{most - 5}"}
    told = jobs.told(jobs.reconciled({"job": given}))
    assert told == ["status", f"create index {most - 4}", "again in 86400 s"]


@pytest.mark.parametrize(("found", "text"), [([], ""), ([3], "3"), ([1, 0], "0,1"), ([5, 0, 1, 2, 7, 8], "0-2,5,7,8")])
def test_indexes_are_written_as_spans(found: list[int], text: str) -> None:
    assert str(indexes.Indexes().plus(found)) == text


def test_the_pod_of_an_index_is_told_which() -> None:
    job = jobs.job_of({"completionMode": "Indexed", "completions": 3})
    pod = pods.indexed_pod(job, 2, None)
    name = "batch.kubernetes.io/job-completion-index"
    assert pod["metadata"]["annotations"] == {name: "2"} and pod["metadata"]["labels"] == {"app": "sum", name: "2"}
    assert pod["metadata"]["generateName"] == "sum-2-" and pod["spec"]["hostname"] == "sum-2"
    assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    (variable,) = pod["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{name}']"


# What is left


def released(*objects: Any) -> list[str]:
    steps = leftovers.release("default/a", Snapshot(objects), jobs.NOW)
    return ["ask" if isinstance(step, actions.Gone) else "release" for step in steps]


def test_pods_of_a_job_that_is_gone_are_released_after_the_server_was_asked() -> None:
    job = jobs.job_of({})
    pod = jobs.pod_of(job, {"name": "a"})
    assert released(job, pod) == []
    assert released(pod) == ["ask", "release"]
    assert released(meta.changed(job, ("metadata", "uid"), "another"), pod) == ["ask", "release"]
    assert released(meta.without(pod, ("metadata", "ownerReferences"))) == ["release"]
    assert released(jobs.pod_of(job, {"name": "a", "untracked": True})) == []


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ({"ttlSecondsAfterFinished": 100, "status": {"conditions": ["Complete"]}}, ["delete sum"]),
        ({"ttlSecondsAfterFinished": 160, "status": {"conditions": ["Failed"]}}, ["again in 60 s"]),
        ({"ttlSecondsAfterFinished": 0, "status": {"conditions": ["Suspended"]}}, []),
        ({"status": {"conditions": ["Complete"]}}, []),
    ],
)
def test_a_finished_job_goes_when_its_time_is_over(given: dict[str, Any], then: list[str]) -> None:
    assert jobs.told(leftovers.remove("default/sum", Snapshot([jobs.job_of(given)]), jobs.NOW)) == then
