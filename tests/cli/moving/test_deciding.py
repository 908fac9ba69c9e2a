"""A move's steps: in which order, what each needs before it, and that no pet ever lives twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.base import well_known
from petset.cli.moving import deciding, foreseeing, making, record
from petset.cli.moving.deciding import Side, Step
from petset.cli.moving.record import Move
from petset.controllers.pets import translation
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta
from petset.objects.meta import Object

WISHES = making.Wishes("prod", classes=("fast",))


def a_set(replicas: int = 3, start: int = 0, kind: str = "StatefulSet", **spec: Any) -> Object:
    made: Object = {
        "apiVersion": "apps/v1" if kind == "StatefulSet" else "apps/v1alpha1",
        "kind": kind,
        "metadata": {"name": "db", "namespace": "default", "uid": "set-uid", "resourceVersion": "7"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            **spec,
        },
        "status": {"replicas": replicas},
    }
    return meta.changed(made, ("spec", "ordinals"), {"start": start}) if start else made


def a_claim(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeName": "pvc-1",
            "storageClassName": "standard",
            "resources": {"requests": {"storage": "1Gi"}},
        },
        "status": {"capacity": {"storage": "2Gi"}},
    }


def sides(set_: Object) -> tuple[Side, Side]:
    """As it is before anything is moved."""
    first, replicas = making.ordinals(set_)
    names = [f"db-{ordinal}" for ordinal in range(first, first + replicas)]
    here = Side(
        set_,
        {name: foreseeing.pet(set_, name) for name in names},
        {f"data-{name}": a_claim(f"data-{name}") for name in names},
        {"db": {"kind": "Service", "metadata": {"name": "db"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}}}},
    )
    return here, Side(None)


def a_move(set_: Object, kind: str = "StatefulSet") -> Move:
    first, replicas = making.ordinals(set_)
    return Move(
        "m1", "prod, namespace prod", kind, replicas, first, meta.get(set_, *making.RETENTION, default="Retain")
    )


def lives(side: Side) -> set[str]:
    return {name for name, pod in side.pods.items() if not record.is_gate(pod) and "-mover-" not in name}


def played(move: Move, both: tuple[Side, Side]) -> Iterator[tuple[Step, Side, Side]]:
    """Each step with what both clusters are before it; the last one with what they are afterwards."""
    here, there = both
    for _ in range(200):
        step = deciding.next_step(move, WISHES, here, there)
        before = here, there
        here, there = foreseeing.after(step, here, there)
        if isinstance(step, deciding.Done):
            yield step, here, there
            return
        yield step, *before
    pytest.fail("it does not end")


def test_the_highest_goes_first_and_each_is_there_before_the_next_goes() -> None:
    told = [step.why for step, _, _ in played(a_move(a_set(2)), sides(a_set(2)))]
    assert told == [
        "remember what is moved, and where to",
        "make the Service db there",
        "make the StatefulSet there, without pets yet",
        "db-1 stops here",
        "its place here is taken: db-1",
        "make the claim data-db-1 there",
        "what db-1 had of volumes is copied",
        "db-1 starts there",
        "db-0 stops here",
        "its place here is taken: db-0",
        "make the claim data-db-0 there",
        "what db-0 had of volumes is copied",
        "db-0 starts there",
        "a tombstone here says where it is",
        "the claim data-db-0 there is like any other",
        "the claim data-db-1 there is like any other",
        "the StatefulSet there is like any other",
        "the move is over",
    ]


@given(
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from(["OrderedReady", "Parallel"]),
    st.sampled_from(["Retain", "Delete"]),
    st.booleans(),
)
def test_no_pet_lives_twice_and_each_is_copied_while_it_lives_nowhere(
    replicas: int, start: int, policy: str, when_scaled: str, at_once: bool
) -> None:
    set_ = a_set(replicas, start, podManagementPolicy=policy)
    if when_scaled == "Delete":
        set_ = meta.changed(set_, making.RETENTION, "Delete")
    before = sides(set_)
    here, there, copied = *before, []
    for step, here, there in played(replace(a_move(set_), at_once=at_once), before):
        assert not lives(here) & lives(there)
        assert not (at_once and lives(here) and lives(there))
        for name in lives(there):
            assert record.is_gate(here.pods[name]), "nobody can make a second"
        if isinstance(step, deciding.Copy):
            assert step.pet not in lives(here) | lives(there)
            assert record.is_gate(here.pods[step.pet])
            assert meta.get(here.set_, *making.RETENTION, default="Retain") == "Retain"
            copied.append(step.pet)
    names = [f"db-{ordinal}" for ordinal in range(start, start + replicas)]
    assert copied == names[::-1] and lives(there) == set(names) and not lives(here)
    assert here.claims == before[0].claims, "what is here is kept"
    assert record.is_tombstone(here.set_) and not record.of(here.set_)
    assert making.ordinals(there.set_) == (start, replicas)
    assert "petset.local" not in str([there.set_, there.claims, there.services]), "nothing tells of it"
    assert meta.get(there.set_, *making.RETENTION, default="Retain") == when_scaled


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_who_scales_it_up_meanwhile_gets_no_second_pet(scaled_up: list[bool]) -> None:
    """Somebody applies the old manifest again and again, in the end at every step: places that are taken stay so."""
    set_ = a_set(3)
    here, there = sides(set_)
    for again in itertools.chain(scaled_up, itertools.repeat(False, 60)):
        step = deciding.next_step(a_move(set_), WISHES, here, there)
        here, there = foreseeing.after(step, here, there)
        if isinstance(step, deciding.Done):
            break
        if again or len(lives(there)) == 3:
            here = foreseeing._settled(replace(here, set_=meta.changed(here.set_, ("spec", "replicas"), 3)))
        assert not lives(here) & lives(there)
    else:
        pytest.fail("it does not end")
    assert lives(there) == {"db-0", "db-1", "db-2"}


def test_the_way_back_takes_the_tombstone_and_copies_again() -> None:
    set_ = a_set(2, kind="PetSet")
    *_, (_, here, there) = played(a_move(set_, "PetSet"), sides(set_))
    back = Move("m2", "this instance, namespace default", "PetSet", 2, 0)
    copied: list[str] = []
    for step, there, here in played(back, (there, here)):  # noqa: B020
        assert not lives(here) & lives(there)
        copied += [step.pet] if isinstance(step, deciding.Copy) else []
    assert copied == ["db-1", "db-0"] and lives(here) == {"db-0", "db-1"} and not lives(there)
    assert record.is_tombstone(there.set_) and not record.is_tombstone(here.set_)
    assert well_known.MOVED_TO_ANNOTATION not in meta.annotations(here.set_)


def test_a_set_that_is_there_already_is_left_alone() -> None:
    here, _ = sides(a_set())
    with pytest.raises(ValueError, match="there is a StatefulSet db already"):
        list(played(a_move(a_set()), (here, Side(a_set(1)))))


def test_a_claim_there_is_as_large_as_the_volume_and_of_a_class_that_is_there() -> None:
    made = making.claim(a_move(a_set()), WISHES, a_claim("data-db-0"))
    assert made == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-db-0", "namespace": "prod"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    }
    chosen = making.claim(a_move(a_set()), replace(WISHES, storage_class="fast"), a_claim("data-db-0"))
    assert chosen["spec"]["storageClassName"] == "fast"


def test_a_stateful_set_says_nothing_in_words_of_2016() -> None:
    set_ = meta.changed(
        a_set(kind="PetSet"),
        ("spec", "template", "metadata", "annotations"),
        {
            "pod.alpha.kubernetes.io/initialized": "true",
            "pod.alpha.kubernetes.io/init-containers": '[{"name":"first","image":"i","command":["true"]}]',
            "own": "kept",
        },
    )
    wishes = replace(WISHES, images=translation.images_of(["i=registry/i"]))
    made = making.set_there(a_move(set_), wishes, set_)
    template = made["spec"]["template"]
    assert (made["apiVersion"], made["kind"]) == ("apps/v1", "StatefulSet")
    assert meta.annotations(template) == {"own": "kept"}
    assert [one["image"] for one in template["spec"]["initContainers"]] == ["registry/i"]
    assert [one["image"] for one in template["spec"]["containers"]] == ["registry/i"]
    same = making.set_there(a_move(set_, "PetSet"), WISHES, set_)
    assert same["spec"]["template"] == set_["spec"]["template"], "a PetSet is left as it was written"


def test_a_gate_is_no_pet_and_goes_with_the_set() -> None:
    gate = record.gate(a_set(), "db-1", "elsewhere")
    assert not meta.labels(gate) and meta.controller_of(gate) is None
    assert [one["uid"] for one in gate["metadata"]["ownerReferences"]] == ["set-uid"]
    mine = making.mover_name("db-1", "0123456789")
    assert making.moved_by({"metadata": {"name": mine}}) == "db-1" and mine != making.mover_name("db-1", "abcdefgh")
    assert making.moved_by({"metadata": {"name": "db-1"}}) == making.moved_by({"metadata": {"name": "db-mover"}}) == ""


def test_what_a_set_is_in_is_read_back() -> None:
    move = replace(a_move(a_set()), when_scaled="Delete", at_once=True)
    assert record.of(making.begun(a_set(), move)) == move
    assert move.resource is STATEFULSETS
    for wrong in (
        "{}",
        "[]",
        '{"id":"a","to":"b","kind":"Pod","replicas":1,"start":0,"whenScaled":"Retain","atOnce":false}',
        "x",
    ):
        with pytest.raises(ValueError):
            record.of(meta.changed(a_set(), ("metadata", "annotations"), {well_known.MOVE_ANNOTATION: wrong}))
