"""Jobs: the cases of tests/cases/jobs, and what their pods are told."""

from __future__ import annotations

import sys
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.jobs import indexes, leftovers, pods, tally
from petset.controllers.jobs import job as controller
from petset.kinds.batch.job import JOBS
from petset.kinds.pod import PODS
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


POD = strategies.fixed_dictionaries(
    {
        "name": strategies.sampled_from("abc"),
        "phase": strategies.sampled_from(("Running", "Running", "Running", "Pending", "Failed", "Succeeded")),
        "index": strategies.sampled_from((None, 0, 0, 1, 7)),
        "failures": strategies.integers(0, 2),
        "ended": strategies.integers(0, 30),
        "restarts": strategies.integers(0, 2),
        "deleting": strategies.sampled_from((False, False, False, True)),
        "lost": strategies.sampled_from((False, False, False, False, True)),
        "untracked": strategies.booleans(),
        "owner": strategies.sampled_from(("sum", "sum", "sum", "none")),
        "labels": strategies.sampled_from(({"app": "sum"}, {"app": "sum"}, {"app": "sum"}, {"app": "other"})),
        "gone": strategies.sampled_from((False, False, False, True)),
    }
)
INDEXED = {"completionMode": "Indexed", "completions": 4, "parallelism": 3}
JOB = strategies.sampled_from(
    (
        {"completions": 5, "parallelism": 2},
        {"parallelism": 3},
        {"parallelism": 1, "podReplacementPolicy": "Failed"},
        {"completions": 2, "restartPolicy": "OnFailure", "backoffLimit": 3},
        {"completions": 5, "suspend": True},
        {"deleting": True},
        INDEXED,
        {**INDEXED, "podReplacementPolicy": "Failed"},
        {**INDEXED, "backoffLimitPerIndex": 1},
    )
)
SAID = strategies.sampled_from(
    (
        {},
        {"completedIndexes": "1", "uncounted": {"succeeded": ["uid of a"], "failed": ["uid of b"]}},
        {"completedIndexes": "0-2", "conditions": ["FailureTarget"]},
        {"conditions": ["SuccessCriteriaMet"]},
        {"conditions": ["Complete"]},
    )
)


def kept(of: Any) -> dict[str, Any]:
    """All that a tally knows."""
    return {name: vars(one) if isinstance(one, tally.ByIndex) else one for name, one in vars(of).items()} | {"close": 0}


@hypothesis.given(JOB, strategies.lists(strategies.tuples(POD, SAID), min_size=5, max_size=20))
@hypothesis.settings(max_examples=60, deadline=None)
def test_what_is_decided_by_what_was_kept_is_what_is_decided_anew(spec: Any, changes: list[Any]) -> None:
    view = Snapshot()
    for given, said in changes:
        job = jobs.job_of({**spec, "status": {"started": 60, **said}})
        view.of(JOBS).put(job)
        pod = jobs.pod_of(job, given)
        if given["gone"]:
            view.of(PODS).remove(meta.key(pod))
        else:
            view.of(PODS).put(pod)
        anew = Snapshot([job, *view.list(PODS)])
        steps = controller.reconcile("default/sum", view, jobs.NOW)
        assert steps == controller.reconcile("default/sum", anew, jobs.NOW)
        assert kept(controller.tally_of(job, view)) == kept(controller.tally_of(job, anew))
    view.of(JOBS).remove("default/sum")
    assert controller.reconcile("default/sum", view, jobs.NOW) == []


def running(size: int, mode: str) -> Snapshot:
    """A Job of twice so many, half of which have succeeded and are counted."""
    status: dict[str, Any] = {"started": 60, "succeeded": size, "active": size, "ready": size, "terminating": 0}
    status |= {"uncounted": {}, **({"completedIndexes": f"0-{size - 1}"} if mode == "Indexed" else {})}
    spec = {"completionMode": mode, "completions": 3 * size, "parallelism": size}
    job = jobs.job_of({**spec, "status": status})

    def pod(number: int) -> Any:
        phase = {"phase": "Succeeded", "untracked": True} if number < size else {}
        return jobs.pod_of(job, {"name": f"p{number}", "index": number if mode == "Indexed" else None, **phase})

    return Snapshot([job, *map(pod, range(2 * size))])


def work(view: Snapshot, size: int, mode: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str], int]:
    """What a look after one success reads, what it does, and how many functions it calls."""
    controller.reconcile("default/sum", view, jobs.NOW)
    read: list[str] = []
    reading = tally.read
    with monkeypatch.context() as patched:
        patched.setattr(tally, "read", lambda pod, *about: read.append(meta.name(pod)) or reading(pod, *about))
        name = f"p{size + 7}"
        job = view.list(JOBS)[0]
        index = {"index": size + 7} if mode == "Indexed" else {}
        view.of(PODS).put(jobs.pod_of(job, {"name": name, "phase": "Succeeded", **index}))
        calls = 0

        def count(frame: Any, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            steps = controller.reconcile("default/sum", view, jobs.NOW)
        finally:
            sys.setprofile(before)
    return read, jobs.told(steps), calls


@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
def test_a_success_costs_the_same_however_many_the_pods_are(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (work(running(size, mode), size, mode, monkeypatch) for size in (100, 1000))
    assert small[0] == ["p107"] and large[0] == ["p1007"], "only the pod that changed is read"
    index = {"NonIndexed": "", "Indexed": " index {}"}[mode]
    assert small[1] == ["status", "count p107", "create" + index.format(200)]
    assert large[1] == ["status", "count p1007", "create" + index.format(2000)]
    assert large[2] < 1.1 * small[2]


def test_a_jobs_status_is_nothing_to_the_pods_it_has() -> None:
    view = running(10, "NonIndexed")
    job = view.list(JOBS)[0]
    (keys,) = (keys for kind, keys in leftovers.CONTROLLERS[0].watches if kind is JOBS)
    assert list(keys(job, view)) == []
    view.of(JOBS).remove(meta.key(job))
    assert len(list(keys(job, view))) == 10
