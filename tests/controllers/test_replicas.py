"""ReplicaSet and ReplicationController: the cases of tests/cases/replicas, what is kept of their pods, and failures."""

from __future__ import annotations

import asyncio
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from petset.client.views import Snapshot, selector_of
from petset.controllers import actions
from petset.controllers.workloads import claiming, members, replicas
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.pod import PODS
from petset.kinds.resource_quota import RESOURCEQUOTAS
from petset.objects import meta
from tests import case_files
from tests.controllers import cluster, owners


def status_of(steps: list[actions.Action]) -> Any:
    return next((step.object["status"] for step in actions.flat(steps) if isinstance(step, actions.UpdateStatus)), {})


@pytest.mark.parametrize("case", case_files.cases("replicas"))
def test_case(case: dict[str, Any]) -> None:
    steps = owners.reconciled(case["given"])
    assert owners.told(steps) == case["then"]
    status = status_of(steps)
    if "status" in case:
        assert {field: status.get(field) for field in case["status"]} == case["status"]
    if "conditions" in case:
        assert [one["reason"] for one in status.get("conditions", ())] == case["conditions"]


POD = strategies.fixed_dictionaries(
    {
        "name": strategies.sampled_from("abcd"),
        "ready": strategies.booleans(),
        "ready_since": strategies.integers(0, 50),
        "deleting": strategies.booleans(),
        "phase": strategies.sampled_from(("Running", "Pending", "Failed")),
        "labels": strategies.sampled_from(({"app": "web"}, {"app": "web", "tier": "x"}, {"app": "other"})),
        "owner": strategies.sampled_from(("web", "none", "other")),
        "gone": strategies.booleans(),
    }
)


@hypothesis.given(strategies.lists(POD, max_size=12), strategies.integers(0, 60))
@hypothesis.settings(max_examples=60, deadline=None)
def test_what_is_kept_is_what_would_be_found_anew(changes: list[dict[str, Any]], seconds: int) -> None:
    owner = owners.owner_of(labels={"tier": "x"})
    view = Snapshot([owner])

    def told(one: members.Members) -> Any:
        counts = one.full, one.ready, one.available(seconds, owners.NOW), one.seconds_to_next(seconds, owners.NOW)
        return counts, *(sorted(group) for group in (one.active, one.ending, one.ended, one.strangers))

    kept = replicas.members_of(REPLICASETS, owner, view)
    for change in changes:
        pod = owners.pod_of(owner, change)
        if change["gone"]:
            view.of(PODS).remove(meta.key(pod))
        else:
            view.of(PODS).put(pod)
        anew = Snapshot(view.list(PODS))
        assert told(kept) == told(replicas.members_of(REPLICASETS, owner, anew))
    view.forget(members.Members, "ReplicaSet default/web")


@pytest.mark.parametrize("size", [100, 1000])
def test_only_the_pod_that_changed_is_read(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [{"name": f"p{i}", "ready": True} for i in range(size)]
    kind, owner, view = owners.world_of({"replicaset": {"replicas": size}, "pods": pods})
    replicas.reconcile(kind, meta.key(owner), view, owners.NOW)
    read: list[str] = []
    reading = members.read
    monkeypatch.setattr(members, "read", lambda pod, *about: read.append(meta.name(pod)) or reading(pod, *about))
    view.of(PODS).put(owners.pod_of(owner, {"name": "p7", "ready": False}))
    (report,) = replicas.reconcile(kind, meta.key(owner), view, owners.NOW)
    assert isinstance(report, actions.UpdateStatus) and report.object["status"]["readyReplicas"] == size - 1
    assert read == ["p7", "p7"]  # As it was, and as it is.


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"app": "web"}},
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "other"]}]},
        {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]},
    ],
)
def test_an_orphan_and_who_selects_it_find_each_other(selector: Any) -> None:
    owner = meta.changed(owners.owner_of(), ("spec", "selector"), selector)
    far = meta.changed(owner, ("metadata", "namespace"), "far")
    pod = owners.pod_of(owners.owner_of(), {"name": "a", "owner": "none"})
    view = Snapshot([owner, far, pod])
    assert list(claiming.keys_of(REPLICASETS, pod, view)) == ["default/web"]
    assert claiming.orphans(view, PODS, owner, selector_of(owner)) == [pod]
    assert claiming.orphans(view, PODS, far, selector_of(far)) == []


def replica_set(name: str = "web", replicas: int = 2) -> Any:
    spec = {**owners.owner_of(replicas=replicas)["spec"]}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name}, "spec": spec}


def test_what_cannot_be_made_is_told_until_it_can() -> None:
    async def main() -> None:
        async with cluster.running() as it:
            quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}}
            await it.create({**quota, "spec": {"hard": {"pods": "1"}}}, replica_set(replicas=3))

            def failure() -> Any:
                return meta.condition(it.get(REPLICASETS, "web") or {}, "ReplicaFailure")

            await it.until(failure)
            assert failure()["reason"] == "FailedCreate" and "exceeded quota: q" in failure()["message"]
            assert it.events("FailedCreate")[0]["message"].startswith("Error creating: pods ")
            await it.client.delete(RESOURCEQUOTAS, "q", "default")
            await it.until(lambda: len(it.names(PODS)) == 3 and not failure())
            told = sorted(event["message"] for event in it.events("SuccessfulCreate"))
            assert told == [f"Created pod: {name}" for name in sorted(it.names(PODS))]

    asyncio.run(main())
