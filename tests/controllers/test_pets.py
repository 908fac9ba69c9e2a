"""The pets and claims of a set are kept as they change, and are what they would be if they were made anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.pets import family as families
from petset.controllers.pets import pets, petset
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers import sets

ordinals = st.integers(0, 12)
pods = st.fixed_dictionaries(
    {"ordinal": ordinals},
    optional={
        "ready": st.booleans(),
        "ready_since": st.integers(0, 100),
        "phase": st.sampled_from(["", "Pending", "Running", "Failed", "Succeeded"]),
        "deleting": st.booleans(),
        "initialized": st.sampled_from(["false", "true"]),
        "owner": st.sampled_from(["none", "other"]),
        "labels": st.sampled_from(
            [{"app": "web"}, {"app": "other"}, {"app": "web", "controller-revision-hash": "old"}]
        ),
    },
)
claims = st.fixed_dictionaries(
    {"name": st.builds("data-web-{}".format, ordinals)},
    optional={"deleting": st.booleans(), "owner": st.sampled_from(["set", "set, but no controller", "pod web-1 x"])},
)
steps = st.one_of(
    st.tuples(st.just("pod"), pods),
    st.tuples(st.just("claim"), claims),
    st.tuples(st.just("no pod"), ordinals),
    st.tuples(st.just("no claim"), ordinals),
)
specs = st.fixed_dictionaries(
    {"replicas": st.integers(0, 10), "start": st.integers(0, 3)},
    optional={
        "policy": st.just("Parallel"),
        "minReadySeconds": st.sampled_from([0, 50]),
        "strategy": st.just("OnDelete"),
        "partition": st.integers(0, 12),
        "claims": st.just(["data"]),
        "retention": st.sampled_from([{"whenDeleted": "Delete"}, {"whenScaled": "Delete"}]),
        "deleting": st.booleans(),
    },
)


def changed(view: Snapshot, set_: Object, revision: Object, what: str, how: Any) -> None:
    match what:
        case "pod":
            view.of(PODS).put(sets.pod_of(set_, revision, how))
        case "claim":
            view.of(PERSISTENTVOLUMECLAIMS).put(sets.claim_of(set_, how))
        case "no pod":
            view.of(PODS).remove(f"default/web-{how}")
        case _:
            view.of(PERSISTENTVOLUMECLAIMS).remove(f"default/data-web-{how}")


@given(kind=st.sampled_from(families.KINDS), spec=specs, changes=st.lists(steps, max_size=30))
def test_what_is_decided_by_what_was_kept_is_what_is_decided_anew(kind, spec, changes):
    set_ = sets.set_of(kind.resource.kind, **spec)
    revision = sets.revision_of(set_, 1, set_)
    view = Snapshot([set_, revision])
    for one in changes:
        changed(view, set_, revision, *one)
        anew = Snapshot([set_, revision, *view.list(PODS), *view.list(PERSISTENTVOLUMECLAIMS)])
        decided = petset.reconcile(kind, meta.key(set_), view, sets.NOW)
        assert by_branch(decided) == by_branch(petset.reconcile(kind, meta.key(set_), anew, sets.NOW))


@given(kind=st.sampled_from(families.KINDS), spec=specs, changes=st.lists(steps, max_size=30))
def test_who_is_not_looked_at_needs_nothing(kind, spec, changes):
    set_ = sets.set_of(kind.resource.kind, **{**spec, "deleting": False})
    revision = sets.revision_of(set_, 1, set_)
    view = Snapshot([set_, revision])
    for one in changes:
        changed(view, set_, revision, *one)
    kept = petset._pets(kind, set_, view)
    groups, _ = petset.claimed(kind, set_, kept, view)
    own = pets.Pets(view, "default", "web", meta.uid(set_))
    history = petset.revisions.history(set_, [revision], [])
    family = families.Family(kind, set_, own, groups, history, view, sets.NOW)
    looked_at = list(petset.to_look_at(family))
    assert looked_at == sorted(set(looked_at))
    strangers = [i for i in own.by_ordinal if not any(i in group for group in groups)]
    for i in range(family.start, family.end):
        if i not in looked_at and i not in strangers:
            found, is_settled = petset.pet_step(family, i, own.by_ordinal.get(i))
            assert found == [] and (is_settled or not family.is_ordered)


@given(st.lists(ordinals, unique=True), ordinals, ordinals)
def test_missing_ordinals_are_found(there, first, end):
    set_ = sets.set_of()
    revision = sets.revision_of(set_, 1, set_)
    view = Snapshot([sets.pod_of(set_, revision, {"ordinal": i}) for i in there])
    kept = pets.Pets(view, "default", "web", meta.uid(set_))
    missing = [i for i in range(first, end) if i not in there]
    assert list(kept.missing(first, end)) == missing
    assert kept.outside(first, end) == sorted([i for i in there if i not in range(first, end)], reverse=True)


def by_branch(decided: list[actions.Action]) -> list[Any]:
    """Steps as they are; branches side by side and pods to adopt have no order."""
    return [sorted(map(repr, one.branches)) if isinstance(one, actions.Together) else one for one in decided]


@pytest.mark.parametrize("size", [10, 5000])
def test_a_change_of_one_pet_is_a_decision_on_one_pet_of_each_state(size, monkeypatch):
    given_ = {
        "statefulset": {"replicas": size, "policy": "Parallel", "claims": ["data"]},
        "pods": [{"ordinal": i, "ready": True} for i in range(size)],
        "existingClaims": [{"name": f"data-web-{i}"} for i in range(size)],
    }
    kind, set_, view = sets.world_of(given_)
    petset.reconcile(kind, meta.key(set_), view, sets.NOW)
    looked: list[str] = []

    def counted(whole: Any) -> Any:
        return lambda *given, **more: looked.append(whole.__name__) or whole(*given, **more)

    for name in ("pod_step", "pet_step", "owner_steps"):
        monkeypatch.setattr(petset, name, counted(getattr(petset, name)))
    view.of(PODS).put(meta.changed(view.list(PODS)[7], ("status", "phase"), "Failed"))
    steps_ = petset.reconcile(kind, meta.key(set_), view, sets.NOW + 60)
    assert [step.object["metadata"]["name"] for step in actions.flat(steps_) if isinstance(step, actions.Delete)] == [
        meta.name(view.list(PODS)[7])
    ]
    assert sorted(looked) == ["owner_steps", "pet_step", *["pod_step"] * 3]
