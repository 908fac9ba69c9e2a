"""Deployments: the cases of tests/cases/deployments, names of sets, and what a person goes back by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.workloads import deployment, generations, progress, rollout
from petset.kinds.apps import workloads
from petset.objects import meta
from petset.objects.meta import Object
from tests import case_files
from tests.controllers import owners

COUNTED = ("readyReplicas", "availableReplicas")


def deployment_of(**given: Any) -> Object:
    """{replicas, image, surge, missing, strategy, paused, history, deadline, deleting, status, and progress:
    {reason, ago}}."""
    rolling = {"maxSurge": given.get("surge", "25%"), "maxUnavailable": given.get("missing", "25%")}
    strategy = given.get("strategy", "RollingUpdate")
    conditions: list[Object] = []
    if told := given.get("progress"):
        time = owners.time(told["ago"])
        status = "Unknown" if told["reason"] == progress.PAUSED else "True"
        about = {"type": "Progressing", "status": status, "reason": told["reason"], "message": ""}
        conditions.append({**about, "lastUpdateTime": time, "lastTransitionTime": time})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "default",
            "uid": "uid of web",
            "generation": 5,
            "resourceVersion": "7",
            "annotations": given.get("annotations", {}),
            **({"deletionTimestamp": owners.time(0)} if given.get("deleting") else {}),
        },
        "spec": {
            "replicas": given.get("replicas", 1),
            "paused": given.get("paused", False),
            "revisionHistoryLimit": given.get("history", 10),
            "progressDeadlineSeconds": given.get("deadline", 600),
            "strategy": {"type": strategy, **({"rollingUpdate": rolling} if strategy == "RollingUpdate" else {})},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": given.get("image", "a")}]},
            },
        },
        "status": {**given.get("status", {}), **({"conditions": conditions} if conditions else {})},
    }


def set_of(owner: Object, number: int, given: Mapping[str, Any]) -> Object:
    """{image, size, available, replicas: those there are, told: of its present spec, wanted, most, revision, owner}."""
    image, size = given["image"], given["size"]
    template = meta.changed(owner["spec"]["template"], ("spec", "containers"), [{"name": "main", "image": image}])
    labels = {"app": "web", "pod-template-hash": image}
    available = given.get("available", size)
    annotations = {
        generations.REVISION: str(given.get("revision", number)),
        generations.WANTED: str(given.get("wanted", owner["spec"]["replicas"])),
        generations.MOST: str(given.get("most", rollout.most(owner))),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"web-{image}",
            "namespace": "default",
            "uid": f"uid of web-{image}",
            "creationTimestamp": owners.time(1000 - number),
            "generation": 2,
            "resourceVersion": "11",
            "labels": labels,
            "annotations": annotations,
            **({} if given.get("owner") == "none" else {"ownerReferences": [meta.owner_reference(owner)]}),
        },
        "spec": {
            "replicas": size,
            "selector": {"matchLabels": labels},
            "template": meta.changed(template, ("metadata", "labels"), labels),
        },
        "status": {
            "replicas": given.get("replicas", size),
            **dict.fromkeys(COUNTED, available),
            "observedGeneration": 2 if given.get("told", True) else 1,
        },
    }


def world_of(given: Mapping[str, Any]) -> tuple[Object, Snapshot]:
    owner = deployment_of(**given["deployment"])
    sets = [set_of(owner, number, one) for number, one in enumerate(given.get("sets", ()), 1)]
    newest = max((generations.revision(one) for one in sets), default=0)
    annotations = {**meta.annotations(owner), generations.REVISION: str(newest)}
    owner = meta.changed(owner, ("metadata", "annotations"), annotations)
    by_name = {meta.name(one): one for one in sets}
    pods = [owners.pod_of(by_name[f"web-{pod['of']}"], {"name": "p", **pod}) for pod in given.get("pods", ())]
    return owner, Snapshot([owner, *sets, *pods])


def told(steps: Sequence[actions.Action]) -> list[str]:
    """What is done to sets, side by side on one line; reports are left out."""
    lines: list[str] = []
    for step in steps:
        match step:
            case actions.Together(branches):
                inner = [line for branch in branches for line in told(branch)]
                lines += [", ".join(inner)] if inner else []
            case actions.Attempt(branch):
                lines += told(branch)
            case actions.Create(obj):
                (container,) = obj["spec"]["template"]["spec"]["containers"]
                lines.append(f"create web of {obj['spec']['replicas']} for {container['image']}")
            case actions.Update(obj, None) if obj["kind"] == "ReplicaSet":
                had, number = meta.name(obj)[4:], generations.revision(obj)
                lines.append(f"{had} is revision {number}" if number > 2 else f"update {meta.name(obj)}")
            case actions.Update(obj) if obj["kind"] == "ReplicaSet":
                lines.append(f"{meta.name(obj)[4:]} to {obj['spec']['replicas']}")
            case actions.Delete(obj):
                lines.append(f"forget {meta.name(obj)[4:]}")
            case actions.StillThere(obj):
                lines.append(f"check {meta.name(obj)}")
            case actions.RequeueAfter(seconds):
                lines.append(f"look again in {seconds:g} s")
            case _:
                pass
    return lines


def status_of(steps: Sequence[actions.Action]) -> Any:
    found = [step.object["status"] for step in actions.flat(steps) if isinstance(step, actions.UpdateStatus)]
    return found[-1] if found else {}


def reason(status: Any, type_: str) -> Any:
    return next((one["reason"] for one in status.get("conditions", ()) if one["type"] == type_), None)


@pytest.mark.parametrize("case", case_files.cases("deployments"))
def test_case(case: dict[str, Any]) -> None:
    owner, view = world_of(case["given"])
    steps = deployment.reconcile(meta.key(owner), view, owners.NOW)
    assert told(steps) == case["then"]
    status = status_of(steps)
    if "condition" in case:
        assert reason(status, "Progressing") == case["condition"]
    if "available" in case:
        (found,) = [one for one in status["conditions"] if one["type"] == "Available"]
        assert found["status"] == case["available"]


def test_a_set_is_named_by_its_template_and_by_the_collisions_before_it() -> None:
    owner = deployment_of(replicas=3)
    none = generations.Generations(None, [])
    first, collisions = generations.made(owner, none, 3, 4, Snapshot())
    hash_ = meta.labels(first)["pod-template-hash"]
    assert collisions == 0 and meta.name(first) == f"web-{hash_}"
    assert first["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": hash_}
    assert first["spec"]["template"]["metadata"]["labels"] == {"app": "web", "pod-template-hash": hash_}
    assert generations.of(owner, [first], Snapshot()).new is first
    taken = meta.changed(first, ("spec", "template", "spec"), {"containers": []})
    second, collisions = generations.made(owner, none, 3, 4, Snapshot([taken]))
    assert collisions == 1 and meta.name(second) != meta.name(first)
    other = [{"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "other", "controller": True}]
    taken = meta.changed(taken, ("metadata", "ownerReferences"), other)
    steps = deployment.reconcile("default/web", Snapshot([owner, taken]), owners.NOW)
    assert status_of(steps)["collisionCount"] == 1


def test_a_set_carries_what_its_deployment_is_annotated_with_and_its_revisions() -> None:
    cause = "kubernetes.io/change-cause"
    owner = deployment_of(annotations={cause: "again", generations.REVISION: "4"})
    old = [set_of(owner, n, {"image": image, "size": 0}) for n, image in ((2, "b"), (3, "c"))]
    new = meta.changed(set_of(owner, 1, {"image": "a", "size": 0}), ("metadata", "annotations", cause), "first")
    described = generations.described(owner, generations.Generations(new, old))
    assert described is not None
    annotations = meta.annotations(described)
    assert (annotations[cause], annotations[generations.REVISION]) == ("again", "4")
    assert annotations[generations.HISTORY] == "1"
    again = generations.described(owner, generations.Generations(described, old))
    assert again is described


@pytest.mark.parametrize(
    ("said", "following"),
    [("7", 8), ("3546343826724305832", 3546343826724305833), ("9223372036854775807", 1), ("-1", 1), ("x", 1)],
)
def test_a_new_set_is_one_revision_on_from_a_number_of_64_bits(said: str, following: int) -> None:
    owner = deployment_of()
    old = meta.changed(
        set_of(owner, 1, {"image": "b", "size": 0}), ("metadata", "annotations", generations.REVISION), said
    )
    assert generations.next_revision(generations.Generations(None, [old])) == following


AMOUNT = strategies.one_of(strategies.integers(0, 4), strategies.integers(0, 100).map(lambda n: f"{n}%"))
SET = strategies.tuples(strategies.integers(0, 8), strategies.integers(0, 8))


@hypothesis.given(strategies.integers(0, 12), AMOUNT, AMOUNT, strategies.lists(SET, min_size=1, max_size=4))
@hypothesis.settings(max_examples=200, deadline=None)
def test_no_step_leaves_the_bounds(replicas: int, surge: Any, missing: Any, given: list[tuple[int, int]]) -> None:
    """Whatever there is: growing stays below the most, shrinking above the least, and there is always a next step."""
    images = "abcd"[: len(given)]
    owner = deployment_of(replicas=replicas, image=images[-1], surge=surge, missing=missing)
    sets = [
        set_of(owner, number, {"image": image, "size": size, "available": min(size, available)})
        for number, (image, (size, available)) in enumerate(zip(images, given), 1)
    ]
    now = generations.of(owner, sets, Snapshot())
    assert now.new is not None
    total = sum(map(generations.size, now.all))
    next_size = rollout.size_of_new(owner, now)
    grown = next_size - generations.size(now.new)
    assert grown <= 0 or total + grown <= rollout.most(owner)
    sizes = rollout.sizes_of_old(owner, now)
    assert all(sizes[name] >= 0 for name in sizes)
    there = sum(generations.available(one) for one in now.all)
    after = generations.available(now.new) + sum(
        min(generations.available(one), sizes.get(meta.name(one), generations.size(one))) for one in now.old
    )
    least = replicas - rollout.room(owner)[1]
    assert after >= min(there, least)
    healthy = all(generations.available(one) == generations.size(one) for one in now.all)
    is_done = not any(map(generations.size, now.old)) and generations.size(now.new) == replicas
    assert is_done or not healthy or grown or sizes
    scaled = rollout.sizes_when_scaled(owner, now)
    assert sum({**{meta.name(one): generations.size(one) for one in now.all}, **scaled}.values()) <= max(
        total, rollout.most(owner)
    )


@pytest.mark.parametrize(
    ("amount", "up", "down"), [(3, 3, 3), ("30%", 3, 2), ("0%", 0, 0), ("100%", 8, 8), (None, 0, 0)]
)
def test_amounts_of_pods(amount: Any, up: int, down: int) -> None:
    assert (workloads.resolved(amount, 8, up=True), workloads.resolved(amount, 8, up=False)) == (up, down)
