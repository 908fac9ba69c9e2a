"""Disruption budgets: the cases of tests/cases/budgets, what is kept of the guarded pods, and pods that stayed."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.disruptions import budget, guarded, targets
from petset.kinds import disruptions
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from tests import case_files
from tests.controllers import owners

KEY = "default/budget"
FOREIGN = {
    "daemons": ("apps/v1", "DaemonSet", "agents"),
    "missing": ("apps/v1", "ReplicaSet", "gone"),
}


def budget_of(**given: Any) -> Object:
    """{minAvailable, maxUnavailable, everything, nothing, evicted: {pod: seconds ago}, said: the status}."""
    selector = {} if given.get("everything") else {"matchLabels": {"app": "web"}}
    evicted = {name: owners.time(ago) for name, ago in given.get("evicted", {}).items()}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "budget", "namespace": "default", "uid": "uid of budget", "generation": 3},
        "spec": {
            **{key: given[key] for key in ("minAvailable", "maxUnavailable") if key in given},
            **({"selector": selector} if "nothing" not in given else {}),
        },
        "status": {**given.get("said", {}), **({"disruptedPods": evicted} if evicted else {})},
    }


def test_a_budget_without_a_spec_guards_nothing() -> None:
    bare = {key: value for key, value in budget_of().items() if key != "spec"}
    pod = owners.pod_of(owners.owner_of("ReplicaSet", name="web"), {"name": "a"})
    assert disruptions.guarding(pod, [bare]) == []
    view = Snapshot([bare, pod])
    (said,) = [step for step in budget.reconcile(KEY, view, 0) if isinstance(step, actions.UpdateStatus)]
    assert said.object["status"]["disruptionsAllowed"] == 0


def objects_of(given: dict[str, Any]) -> list[Object]:
    sets = [owners.owner_of("ReplicaSet", **one) for one in given.get("sets", ({"name": "web"},))]
    by_name = {meta.name(one): one for one in sets}
    pods: list[Object] = []
    for one in given.get("pods", ()):
        pod = owners.pod_of(by_name[one.get("of", "web")], one)
        if (foreign := FOREIGN.get(one.get("owner"))) is not None:
            api_version, kind, name = foreign
            above = {"apiVersion": api_version, "kind": kind, "name": name, "uid": "foreign", "controller": True}
            pod = meta.changed(pod, ("metadata", "ownerReferences"), [above])
        pods.append(pod)
    if (above := given.get("deployment")) is not None:
        made = owners.owner_of("Deployment", replicas=above["replicas"])
        sets.append(meta.changed(made, ("metadata", "uid"), above["uid"]))
    return [budget_of(**given["budget"]), *sets, *pods]


def told(step: actions.Action) -> str:
    assert isinstance(step, actions.EmitEvent)
    return f"{step.type} {step.reason} {meta.name(step.about)}: {step.message}"


@pytest.mark.parametrize("case", case_files.cases("budgets"))
def test_case(case: dict[str, Any]) -> None:
    steps = budget.reconcile(KEY, Snapshot(objects_of(case["given"])), owners.NOW)
    [written] = [step for step in steps if isinstance(step, actions.UpdateStatus)]
    status = written.object["status"]
    shown = {**status, "disruptedPods": list(status.get("disruptedPods", {}))}
    assert {field: shown.get(field) for field in case["then"]} == case["then"]
    condition = meta.condition(written.object, "DisruptionAllowed") or {}
    assert [condition["status"], condition["reason"], condition["message"]] == case["condition"]
    if condition["reason"] != "SyncFailed":
        assert status["observedGeneration"] == condition["observedGeneration"] == 3
    events = [told(step) for step in steps if isinstance(step, actions.EmitEvent)]
    wanted = case.get("events", [])
    assert len(events) == len(wanted)
    assert all(event.startswith(start) for event, start in zip(events, wanted, strict=True)), events
    again = [step.seconds for step in steps if isinstance(step, actions.RequeueAfter)]
    assert again == ([case["again"]] if "again" in case else [])
    # What is told is not told again.
    settled = Snapshot([written.object, *objects_of(case["given"])[1:]])
    steps = budget.reconcile(KEY, settled, owners.NOW)
    assert not [step for step in steps if not isinstance(step, actions.RequeueAfter)]


CHANGE = strategies.fixed_dictionaries(
    {
        "name": strategies.sampled_from("abcd"),
        "ready": strategies.booleans(),
        "deleting": strategies.booleans(),
        "labels": strategies.sampled_from(({"app": "web"}, {"app": "db", "x": "y"}, {"app": "other"}, {"tier": "x"})),
        "owner": strategies.sampled_from(("web", "none", "other")),
        "gone": strategies.booleans(),
    }
)
SELECTORS: tuple[Any, ...] = (
    {"matchLabels": {"app": "web"}},
    {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]},
    {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
    {},
    None,
)


@hypothesis.given(strategies.lists(CHANGE, max_size=12), strategies.sampled_from(SELECTORS))
@hypothesis.settings(max_examples=60, deadline=None)
def test_what_is_kept_is_what_would_be_found_anew(changes: list[dict[str, Any]], selector: Any) -> None:
    found = disruptions.selector_of({"spec": {"selector": selector}})
    view, owner = Snapshot([owners.owner_of()]), owners.owner_of()

    def seen(one: guarded.Guarded) -> Any:
        owned = {key: sorted(names) for key, names in one.owners.items()}
        return one.count, owned, sorted(one.staying), sorted(one.healthy), sorted(one.unmanaged)

    kept = view.kept(guarded.Guarded, KEY, "default", found)
    for change in changes:
        pod = owners.pod_of(owner, change)
        if change["gone"]:
            view.of(PODS).remove(meta.key(pod))
        else:
            view.of(PODS).put(pod)
        anew = Snapshot(view.list(PODS)).kept(guarded.Guarded, KEY, "default", found)
        assert seen(kept) == seen(anew)
    view.forget(guarded.Guarded, KEY)


def test_whom_a_change_concerns() -> None:
    objects = objects_of(
        {"budget": {"minAvailable": 1}, "pods": [{"name": "a"}, {"name": "b", "labels": {"app": "x"}}]}
    )
    view = Snapshot(objects)
    concerned = {meta.name(pod): list(budget.budgets_of(pod, view)) for pod in view.list(PODS)}
    assert concerned == {"a": [KEY], "b": []}
    assert list(budget.budgets_near(objects[1], view)) == [KEY]
    other = meta.changed(objects[1], ("spec", "template", "metadata", "labels"), {"app": "x"})
    assert list(budget.budgets_near(other, view)) == []
    boat = {"kind": "Boat", "metadata": {"name": "b", "namespace": "default"}, "spec": {"replicas": 2}}
    assert list(budget.budgets_near(boat, view)) == [KEY]


@pytest.mark.parametrize("size", [100, 1000])
def test_only_the_pod_that_changed_is_looked_at(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [{"name": f"p{i}", "ready": True} for i in range(size)]
    view = Snapshot(objects_of({"budget": {"maxUnavailable": 1}, "pods": pods}))
    budget.reconcile(KEY, view, owners.NOW)
    looked: list[str] = []
    is_ready = meta.is_pod_ready

    def look(pod: Object) -> bool:
        looked.append(meta.name(pod))
        return is_ready(pod)

    monkeypatch.setattr(meta, "is_pod_ready", look)
    view.of(PODS).put(owners.pod_of(owners.owner_of(), {"name": "p7"}))
    [written] = [step for step in budget.reconcile(KEY, view, owners.NOW) if isinstance(step, actions.UpdateStatus)]
    assert written.object["status"]["currentHealthy"] == size - 1
    assert looked == ["p7"]


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ({"ago": 30}, 90.0),
        ({"ago": 120}, 0.0),
        ({"ago": 500, "status": "False"}, None),
        ({"ago": 500, "reason": "TerminationByKubelet"}, None),
        ({"ago": 500, "deleting": True}, None),
        ({"ago": 500, "phase": "Succeeded"}, None),
    ],
)
def test_a_pod_that_stayed_says_no_longer_that_it_goes(given: dict[str, Any], then: float | None) -> None:
    pod = owners.pod_of(owners.owner_of(), {"name": "a", "ready": True, **given})
    pod = disruptions.targeted(pod, given.get("reason", "EvictionByEvictionAPI"), "", owners.NOW - given["ago"])
    if "status" in given:
        condition = {**(meta.condition(pod, "DisruptionTarget") or {}), "status": given["status"]}
        pod = meta.changed(pod, ("status", "conditions"), [condition])
    assert targets.seconds_left(pod, owners.NOW) == then
    steps = targets.reconcile("default/a", Snapshot([pod]), owners.NOW)
    match then:
        case None:
            assert steps == []
        case 0.0:
            [step] = steps
            assert isinstance(step, actions.UpdateStatus)
            assert (meta.condition(step.object, "DisruptionTarget") or {})["status"] == "False"
        case _:
            assert steps == [actions.RequeueAfter(then)]
