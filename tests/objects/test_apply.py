"""Server-side apply: what becomes of an object, and who owns what of it. Cases first, then laws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.base import well_known
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import apply, encoding, managed, owners, schema, typed_fields
from petset.objects.meta import Object
from petset.objects.owners import Owner

POD, SERVICE = schema.node_of(PODS), schema.node_of(SERVICES)
NOTHING_YET: Object = {"metadata": {"name": "p"}}


def who(name: str, subresource: str = "") -> Owner:
    return Owner(name, owners.APPLY, "v1", subresource)


def pod(*containers: Any, **spec: Any) -> dict[str, Any]:
    spec = {"containers": list(containers), **spec} if containers else spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def once(live: Object, config: Object, type_: Any, *rest: Any) -> Object:
    return apply.at_once(apply.applying(live, config, type_, *rest), type_)


def applied(*steps: tuple[str, Object], force: bool = False, live: Object = NOTHING_YET) -> Object:
    for number, (name, config) in enumerate(steps):
        live = once(live, config, POD, who(name), f"2016-08-03T00:00:0{number}Z", force)
    return live


def fields(obj: Object, manager: str) -> Any:
    return next((entry["fieldsV1"] for entry in owners.of(obj) if entry["manager"] == manager), None)


WEB, SIDE = {"name": "web", "image": "w"}, {"name": "side", "image": "s"}


def test_who_applies_owns_the_leaves_and_the_elements() -> None:
    made = applied(("a", pod({**WEB, "ports": [{"containerPort": 80}]}, nodeSelector={"disk": "ssd"})))
    assert fields(made, "a") == {
        "f:spec": {
            "f:containers": {
                'k:{"name":"web"}': {
                    ".": {},
                    "f:image": {},
                    "f:name": {},
                    "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                }
            },
            "f:nodeSelector": {},  # Atomic: owned as a whole.
        }
    }


def test_elements_of_a_list_by_key_are_each_their_appliers() -> None:
    both = applied(("a", pod(WEB)), ("b", pod(SIDE)))
    assert both["spec"]["containers"] == [WEB, SIDE]
    assert applied(("a", pod(terminationGracePeriodSeconds=3)), live=both)["spec"] == {
        "containers": [SIDE],
        "terminationGracePeriodSeconds": 3,
    }


def test_a_field_of_another_is_a_conflict_unless_forced() -> None:
    live = applied(("a", pod(WEB)))
    with pytest.raises(apply.Conflicts) as conflicts:
        applied(("b", pod({**WEB, "image": "other"})), live=live)
    status = apply.refusal(conflicts.value).status()
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "a": .spec.containers[name="web"].image'
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "a"',
            "field": '.spec.containers[name="web"].image',
        }
    ]
    forced = applied(("b", pod({**WEB, "image": "other"})), live=live, force=True)
    assert forced["spec"]["containers"] == [{**WEB, "image": "other"}]
    assert "f:image" not in fields(forced, "a")["f:spec"]["f:containers"]['k:{"name":"web"}']


def test_several_conflicts_are_told_by_owner() -> None:
    update = Owner("kubectl edit", owners.UPDATE, "v1", "status")
    live = applied(("a", pod({**WEB, "command": ["x"]})))
    found = typed_fields.compare(POD, {}, {"metadata": {}, "spec": {"hostname": "h"}})
    live = owners.with_entries({**live, "spec": {**live["spec"], "hostname": "h"}},
                               owners.updated(owners.of(live), found, update, "T9"))  # fmt: skip
    with pytest.raises(apply.Conflicts) as conflicts:
        applied(("b", pod({**WEB, "image": "o", "command": ["y"]}, hostname="i")), live=live)
    assert apply.refusal(conflicts.value).message == (
        'Apply failed with 3 conflicts: conflicts with "a":\n'
        '- .spec.containers[name="web"].command\n'
        '- .spec.containers[name="web"].image\n'
        'conflicts with "kubectl edit" with subresource "status" using v1:\n'
        "- .spec.hostname"
    )


def test_an_equal_value_has_two_owners_and_stays_until_the_last_lets_go() -> None:
    live = applied(("a", pod(WEB, hostname="h")), ("b", pod(hostname="h")))
    live = applied(("a", pod(WEB)), live=live)
    assert live["spec"]["hostname"] == "h"
    assert "hostname" not in applied(("b", pod(subdomain="s")), live=live)["spec"]


def test_the_order_is_the_appliers_and_others_stay_between() -> None:
    one, two, three = ({"name": name, "image": "i"} for name in ("one", "two", "three"))
    live = applied(("a", pod(one, two, three)))
    assert applied(("b", pod(three, one)), live=live)["spec"]["containers"] == [two, three, one]
    assert applied(("b", pod(two, SIDE)), live=live)["spec"]["containers"] == [one, two, three, SIDE]


def test_what_was_there_before_the_first_apply_has_an_owner() -> None:
    live = {"metadata": {"name": "p", "labels": {"x": "y"}}, "spec": {"containers": [WEB]}}
    with pytest.raises(apply.Conflicts) as conflicts:
        applied(("a", pod({**WEB, "image": "o"})), live=live)
    assert 'conflict with "before-first-apply" using v1' in apply.refusal(conflicts.value).message
    assert fields(applied(("a", pod(WEB)), live=live), "before-first-apply")["f:metadata"] == {
        "f:labels": {".": {}, "f:x": {}}
    }


def test_kubectl_takes_over_what_it_applied_on_its_own_side() -> None:
    config = pod(WEB)
    text = encoding.dumps(config).decode()
    annotations = {well_known.LAST_APPLIED_ANNOTATION: text}
    live = {"metadata": {"name": "p", "annotations": annotations}, "spec": config["spec"]}
    changed = pod({**WEB, "image": "new"})
    with pytest.raises(apply.Conflicts):
        applied(("someone", changed), live=live)
    new = applied(("kubectl", changed), live=live)
    assert new["spec"]["containers"][0]["image"] == "new"
    assert encoding.loads(new["metadata"]["annotations"][well_known.LAST_APPLIED_ANNOTATION]) == changed
    elsewhere = {**live, "spec": {"containers": [{**WEB, "image": "edited"}]}}
    with pytest.raises(apply.Conflicts):
        applied(("kubectl", changed), live=elsewhere)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (pod(WEB, WEB), 'duplicate entries for key [name="web"]'),
        (pod({"image": "i"}), "omits all key fields"),
    ],
)
def test_a_list_without_its_keys_is_refused(config: Object, why: str) -> None:
    with pytest.raises(apply.NotTyped, match=why.replace("[", r"\[").replace("]", r"\]")):
        applied(("a", config))


def test_a_selector_is_one_field() -> None:
    def service(**selector: str) -> Object:
        return {"metadata": {"name": "s"}, "spec": {"selector": selector}}

    live = once(NOTHING_YET, service(a="1", b="2"), SERVICE, who("a"), "T")
    assert once(live, service(a="1"), SERVICE, who("a"), "T")["spec"] == {"selector": {"a": "1"}}


# -- updates ------------------------------------------------------------------------------------------------------


def updated(live: Object, new: Object, manager: str, now: str = "T") -> Object:
    found = typed_fields.compare(POD, live, new)
    return owners.with_entries(new, owners.updated(owners.of(live), found, Owner(manager, owners.UPDATE, "v1"), now))


def test_an_update_takes_what_it_changes() -> None:
    live = applied(("a", pod(WEB, hostname="h")))
    new = updated(live, {**live, "spec": {**live["spec"], "hostname": "i"}}, "edit")
    assert fields(new, "edit") == {"f:spec": {"f:hostname": {}}}
    assert "f:hostname" not in fields(new, "a")["f:spec"]
    gone = updated(new, {**new, "spec": {"containers": [WEB]}}, "other")
    assert fields(gone, "edit") is None and fields(gone, "other") is None


def test_an_update_of_ones_own_fields_changes_the_time_alone() -> None:
    live = updated({"metadata": {}}, {"metadata": {}, "status": {"phase": "Pending"}}, "kubelet", "T1")
    new = updated(live, {**live, "status": {"phase": "Running"}}, "kubelet", "T2")
    (before,), (after,) = owners.of(live), owners.of(new)
    assert after == {**before, "time": "T2"} and after["fieldsV1"] is before["fieldsV1"]
    assert updated(new, dict(new), "kubelet", "T3") == new


def test_the_oldest_of_many_updates_become_one() -> None:
    live: Object = {"metadata": {}, "spec": {}}
    for number in range(14):
        labels = {**live["metadata"].get("labels", {}), f"l{number}": "x"}
        live = updated(
            live, {**live, "metadata": {**live["metadata"], "labels": labels}}, f"m{number}", f"T{number:02}"
        )
    names = [entry["manager"] for entry in owners.of(live)]
    assert len(names) == owners.UPDATERS_MAX and names[0] == owners.ANCIENT_CHANGES and names[-1] == "m13"
    assert fields(live, owners.ANCIENT_CHANGES)["f:metadata"]["f:labels"].keys() >= {"f:l0", "f:l4"}


ENTRY = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}}
LIVE = [{**ENTRY, "manager": "live"}]


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ([ENTRY], [ENTRY]),
        ([{}], ()),
        ([], LIVE),
        (None, LIVE),
        ("x", LIVE),
        ([{**ENTRY, "operation": "Patch"}], LIVE),
        ([{**ENTRY, "fieldsType": ""}], LIVE),
        ([{**ENTRY, "fieldsV1": {"x": {}}}], LIVE),
        ([ENTRY, {**ENTRY, "fieldsV1": {"f:b": {}}}], [{**ENTRY, "fieldsV1": {"f:b": {}}}]),
    ],
)
def test_what_an_update_says_of_owners(given: Any, then: Any) -> None:
    assert owners.given(given, LIVE) == then


def test_names_of_owners_have_a_length() -> None:
    found = owners.wrong([{**ENTRY, "manager": "x" * 129, "subresource": "y" * 257}])
    assert [error.field for error in found] == [
        "metadata.managedFields[0].manager",
        "metadata.managedFields[0].subresource",
    ]


# -- laws ---------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["one", "two", "three"])
CONTAINERS = st.builds(
    lambda name, image, env: {"name": name, "image": image, **({"env": env} if env else {})},
    NAMES,
    st.sampled_from(["i", "j"]),
    st.lists(st.builds(lambda n, v: {"name": n, "value": v}, NAMES, NAMES), max_size=2, unique_by=lambda e: e["name"]),
)
CONFIGS = st.builds(
    lambda containers, labels, seconds: {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", **({"labels": labels} if labels else {})},
        "spec": {**({"containers": containers} if containers else {}), **({"activeDeadlineSeconds": seconds})},
    },
    st.lists(CONTAINERS, max_size=3, unique_by=lambda container: container["name"]),
    st.dictionaries(NAMES, NAMES, max_size=2),
    st.integers(1, 3),
)


def without_times(obj: Object) -> Object:
    entries = [{**entry, "time": ""} for entry in owners.of(obj)]
    return owners.with_entries(obj, sorted(entries, key=lambda entry: entry["manager"]))


@given(CONFIGS, CONFIGS)
def test_to_apply_twice_is_to_apply_once(first: Object, second: Object) -> None:
    live = applied(("a", first), ("b", second), force=True)
    assert applied(("b", second), live=live) == live


@given(CONFIGS, CONFIGS)
def test_what_is_applied_is_so_and_owned(first: Object, second: Object) -> None:
    live = applied(("a", first), ("b", second), force=True)
    wanted = typed_fields.stripped(typed_fields.of(POD, dict(second)))
    assert fields(live, "b") == managed.ordered(wanted)
    found = typed_fields.compare(POD, second, live)
    assert not found.modified and not found.removed


@given(CONFIGS, CONFIGS)
def test_conflicts_are_symmetric(first: Object, second: Object) -> None:
    def paths(one: Object, other: Object) -> frozenset[managed.Path]:
        try:
            applied(("b", other), live=applied(("a", one)))
        except apply.Conflicts as conflicts:
            return frozenset(conflict.path for conflict in conflicts.found)
        return frozenset()

    assert paths(first, second) == paths(second, first)


@given(CONFIGS, CONFIGS)
def test_who_does_not_disagree_may_apply_in_any_order(first: Object, second: Object) -> None:
    try:
        one, other = applied(("a", first), ("b", second)), applied(("b", second), ("a", first))
    except apply.Conflicts:
        return
    found = typed_fields.compare(POD, one, other)
    assert not found.added and not found.modified and not found.removed
    assert owners.of(without_times(one)) == owners.of(without_times(other))


@given(CONFIGS)
def test_the_last_owner_takes_all_away(config: Object) -> None:
    live = applied(("a", config))
    left = applied(("a", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}), live=live)
    assert left == {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}


@given(CONFIGS, CONFIGS)
def test_the_merged_object_has_its_type(first: Object, second: Object) -> None:
    live = applied(("a", first), ("b", second), force=True)
    assert schema.partial(live, PODS) == (live, [])


def paths_of(config: Object) -> frozenset[managed.Path]:
    return frozenset(managed.paths(typed_fields.stripped(typed_fields.of(POD, dict(config)))))


@given(CONFIGS, CONFIGS)
def test_a_comparison_says_what_the_sets_of_both_differ_in(first: Object, second: Object) -> None:
    found = typed_fields.compare(POD, first, second)
    old, new = (
        frozenset(managed.paths(typed_fields.stripped(typed_fields.of(POD, dict(one))))) for one in (first, second)
    )
    assert new - old <= frozenset(managed.paths(found.added))
    assert old - new <= frozenset(managed.paths(found.removed))
    assert not frozenset(managed.paths(found.modified)) & frozenset(managed.paths(found.added))


@given(CONFIGS)
def test_what_a_new_object_sets_is_what_its_end_removes(config: Object) -> None:
    made, gone = typed_fields.compare(POD, {}, config), typed_fields.compare(POD, config, {})
    assert managed.ordered(made.added) == managed.ordered(gone.removed)
    assert not made.modified and not made.removed and not gone.added and not gone.modified


def test_what_a_new_object_sets_is_told_without_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[object] = []
    compare_maps = typed_fields._compare_maps
    monkeypatch.setattr(typed_fields, "_compare_maps", lambda *args: compared.append(args[0]) or compare_maps(*args))
    typed_fields.compare(POD, {}, pod(WEB, {**WEB, "name": "other"}, hostname="h"))
    assert len(compared) <= 1, "of the metadata only"
