"""A change of one pet costs the same work in a set of a hundred and of a thousand: counted, not timed."""

from __future__ import annotations

import pytest

from petset.client.views import Snapshot
from petset.controllers import actions, garbage, queue, runner
from petset.controllers.pets import family as families
from petset.controllers.pets import pets, petset
from petset.kinds.pod import PODS
from petset.objects import meta
from tests.controllers import sets


def family(size: int) -> tuple[str, Snapshot]:
    given = {
        "statefulset": {"replicas": size, "policy": "Parallel"},
        "pods": [{"ordinal": i, "ready": True} for i in range(size)],
    }
    _, set_, view = sets.world_of(given)
    return meta.key(set_), view


@pytest.mark.parametrize("size", [100, 1000])
def test_only_the_pod_that_changed_is_read(size, monkeypatch):
    key, view = family(size)
    petset.reconcile(families.STATEFULSET, key, view, sets.NOW)
    read: list[str] = []
    reading = pets.read
    monkeypatch.setattr(pets, "read", lambda pod: read.append(meta.name(pod)) or reading(pod))
    changed = meta.changed(view.list(PODS)[7], ("metadata", "labels", "new"), "yes")
    view.of(PODS).put(changed)
    petset.reconcile(families.STATEFULSET, key, view, sets.NOW)
    assert read == [meta.name(changed)]


def test_the_pets_of_a_parallel_set_are_made_side_by_side():
    given = {"statefulset": {"replicas": 50, "policy": "Parallel", "claims": ["data"]}}
    kind, set_, view = sets.world_of(given)
    steps = petset.reconcile(kind, meta.key(set_), view, sets.NOW)
    (together,) = [step for step in steps if isinstance(step, actions.Together)]
    assert len(together.branches) == 1 + 50, "and none waits for what is said of the set"
    kinds = [tuple(step.object["kind"] for step in branch) for branch in together.branches]
    assert kinds == [("StatefulSet",), *[("PersistentVolumeClaim", "Pod")] * 50]


@pytest.mark.parametrize(("cost", "rest"), [(0.0, 0.0), (0.001, 0.0), (0.01, 0.04), (5.0, 1.0)])
def test_what_is_large_is_looked_at_less_often(cost, rest):
    assert runner.rest_seconds(cost) == rest


def test_what_is_told_often_is_told_at_a_steady_rate():
    pace = queue.Pace(burst=3, seconds=0.5)
    assert [pace.seconds("one", 10.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.seconds("one", 10.0) == pytest.approx(0.5)
    assert pace.seconds("other", 10.0) == 0.0
    assert pace.seconds("one", 10.5) == 0.0
    assert [pace.seconds("one", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.5)]


@pytest.mark.parametrize("now", [60.15, 1e6 + 0.1])
def test_who_comes_when_he_was_told_to_come_is_told(now):
    pace = queue.Pace(burst=3, seconds=0.05)
    for _ in range(100):
        if wait := pace.seconds("one", now):
            now += wait
            assert pace.seconds("one", now) == 0.0


def test_a_sets_counts_are_paced_and_what_else_it_says_is_not():
    key, view = family(3)
    set_ = view.list(families.STATEFULSET.resource)[0]
    (first,) = petset.reconcile(families.STATEFULSET, key, view, sets.NOW)
    assert isinstance(first, actions.UpdateStatus) and not first.pace  # Of this generation nothing was said.
    view.of(families.STATEFULSET.resource).put(meta.changed(set_, ("status",), first.object["status"]))
    view.of(PODS).put(meta.changed(view.list(PODS)[0], ("status", "phase"), "Pending"))
    (second,) = petset.reconcile(families.STATEFULSET, key, view, sets.NOW)
    assert isinstance(second, actions.UpdateStatus) and second.pace


def test_a_pods_status_is_nothing_to_the_garbage_collector():
    _, view = family(1)
    pod = view.list(PODS)[0]
    assert garbage.ties(pod) == garbage.ties(meta.changed(pod, ("status", "phase"), "Failed"))
    assert garbage.place(pod) == garbage.place(meta.changed(pod, ("status", "phase"), "Failed"))
    going = meta.changed(pod, ("metadata", "deletionTimestamp"), "2016-08-03T00:00:00Z")
    assert garbage.ties(pod) != garbage.ties(going) and garbage.place(pod) != garbage.place(going)
