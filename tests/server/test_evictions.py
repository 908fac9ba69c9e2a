"""Evictions: what a budget refuses and in which words, who goes uncounted, preconditions, dry runs, two at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from petset.kinds import disruptions
from petset.wire import http
from tests.server.conftest import ADMIN, Server

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
ALLOWING: dict[str, Any] = {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2}
VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."


def create_pod(server: Server, name: str = "p", phase: str = "Running", ready: bool = True) -> Any:
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}
    server.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}
    )
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"status": {"phase": phase, "conditions": conditions}}
    return server.ok("PATCH", f"{PODS}/{name}/status", status, kind="application/merge-patch+json")


def create_budget(server: Server, name: str = "b", status: Any = ALLOWING, **spec: Any) -> None:
    given = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 2, **spec}
    server.create({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": given})
    server.ok("PATCH", f"{BUDGETS}/{name}/status", {"status": status}, kind="application/merge-patch+json")


def evict(server: Server, name: str = "p", query: str = "", **options: Any) -> Any:
    body: dict[str, Any] = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    if options:
        body["deleteOptions"] = options
    return server("POST", f"{PODS}/{name}/eviction{query}", body)


def status_of(server: Server, name: str = "b") -> Any:
    return server.get(f"{BUDGETS}/{name}")["status"]


def test_an_eviction_takes_one_from_the_budget_and_says_so_on_the_pod(server: Server) -> None:
    create_pod(server)
    create_budget(server)
    watch = server.watch(f"{PODS}?watch=1")
    answer = evict(server)
    assert (answer.code, answer.body["status"]) == (201, "Success")
    seen = [watch.next()["object"] for _ in range(3)][1:]
    watch.close()
    targets = [next(one for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget") for pod in seen]
    assert [(one["status"], one["reason"], one["message"]) for one in targets] == [
        ("True", "EvictionByEvictionAPI", "Eviction API: evicting")
    ] * 2
    assert ["deletionTimestamp" in pod["metadata"] for pod in seen] == [False, True]
    status = status_of(server)
    assert (status["disruptionsAllowed"], list(status["disruptedPods"])) == (0, ["p"])
    [condition] = status["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "InsufficientPods")


NONE_LEFT = {**ALLOWING, "disruptionsAllowed": 0, "currentHealthy": 2}


def failed(reason: str, message: str) -> dict[str, Any]:
    condition = {"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": message}
    return {"conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}


@pytest.mark.parametrize(
    ("status", "code", "message", "cause", "seconds"),
    [
        (NONE_LEFT, 429, VIOLATED, "The disruption budget b needs 2 healthy pods and has 2 currently", None),
        (
            {**NONE_LEFT, **failed("SyncFailed", "it broke")},
            429,
            VIOLATED,
            "The disruption budget b does not allow evicting pods currently because it failed sync: it broke",
            None,
        ),
        (
            {**NONE_LEFT, "currentHealthy": 3, **failed("InsufficientPods", "not yet")},
            429,
            VIOLATED,
            "The disruption budget b does not allow evicting pods currently (InsufficientPods): not yet",
            None,
        ),
        (
            {**NONE_LEFT, "currentHealthy": 3},
            429,
            VIOLATED,
            "The disruption budget b does not allow evicting pods currently",
            None,
        ),
        (
            {**ALLOWING, "observedGeneration": 0},
            429,
            VIOLATED,
            "The disruption budget b is still being processed by the server.",
            "10",
        ),
        (
            {**ALLOWING, "disruptedPods": {f"p{i}": "2026-01-01T00:00:00Z" for i in range(2001)}},
            403,
            'poddisruptionbudget.policy "b" is forbidden: '
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
            "The disruption budget b does not allow evicting pods currently: "
            "too many pending evictions not confirmed by PDB controller",
            None,
        ),
    ],
)
def test_a_refusal_says_why(
    server: Server, status: Any, code: int, message: str, cause: str, seconds: str | None
) -> None:
    create_pod(server)
    create_budget(server, status=status)
    answer = evict(server)
    assert (answer.code, answer.message) == (code, message)
    assert answer.body["details"]["causes"] == [{"reason": "DisruptionBudget", "message": cause}]
    assert answer.headers.get("retry-after") == seconds
    assert answer.body["details"].get("retryAfterSeconds") == (int(seconds) if seconds else None)
    assert "deletionTimestamp" not in server.get(f"{PODS}/p")["metadata"]


def test_a_pod_with_two_budgets_cannot_be_evicted(server: Server) -> None:
    create_pod(server)
    create_budget(server, "a")
    create_budget(server, "b")
    answer = evict(server)
    assert answer.code == answer.body["code"] == 500
    assert (
        answer.message
        == "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_what_does_not_run_asks_no_budget(server: Server, phase: str) -> None:
    create_pod(server, phase=phase, ready=False)
    create_budget(server, status=NONE_LEFT)
    assert evict(server).code == 201
    assert status_of(server).get("disruptedPods") is None


def test_what_is_going_already_asks_no_budget(server: Server) -> None:
    create_pod(server)
    create_budget(server, status=NONE_LEFT)
    server.ok("DELETE", f"{PODS}/p")
    assert evict(server).code == 201


@pytest.mark.parametrize(
    ("policy", "current", "code"),
    [
        (None, 2, 201),  # The healthy ones are as many as must be: one that is not may go, and counts for nothing.
        ("IfHealthyBudget", 2, 201),
        ("IfHealthyBudget", 1, 429),
        (None, 1, 429),
        ("AlwaysAllow", 1, 201),
    ],
)
def test_an_unhealthy_pod(server: Server, policy: str | None, current: int, code: int) -> None:
    create_pod(server, ready=False)
    spec = {"unhealthyPodEvictionPolicy": policy} if policy else {}
    create_budget(server, status={**NONE_LEFT, "currentHealthy": current}, **spec)
    assert evict(server).code == code
    assert status_of(server).get("disruptedPods") is None


def test_preconditions_are_held_and_cost_no_disruption(server: Server) -> None:
    pod = create_pod(server)
    create_budget(server)
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        answer = evict(server, preconditions=wrong)
        assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    assert status_of(server)["disruptionsAllowed"] == 1
    right = {key: pod["metadata"][key] for key in ("uid", "resourceVersion")}
    assert evict(server, preconditions=right, gracePeriodSeconds=7).code == 201
    assert server.get(f"{PODS}/p")["metadata"]["deletionGracePeriodSeconds"] == 7


@pytest.mark.parametrize(("query", "options"), [("?dryRun=All", {}), ("", {"dryRun": ["All"]})])
def test_a_dry_run_changes_nothing_and_is_refused_all_the_same(server: Server, query: str, options: Any) -> None:
    create_pod(server)
    create_budget(server)
    revision = server.store.revision
    assert evict(server, query=query, **options).code == 201
    assert server.store.revision == revision
    server.ok("PATCH", f"{BUDGETS}/b/status", {"status": NONE_LEFT}, kind="application/merge-patch+json")
    assert evict(server, query=query, **options).code == 429


def test_the_name_in_the_body_is_that_of_the_pod(server: Server) -> None:
    create_pod(server)
    answer = server("POST", f"{PODS}/p/eviction", {"kind": "Eviction", "metadata": {"name": "q"}})
    assert (answer.code, answer.message) == (400, "name in URL does not match name in Eviction object")


def test_of_many_evictions_at_once_as_many_pass_as_are_allowed(server: Server) -> None:
    names = [f"p{i}" for i in range(8)]
    for name in names:
        create_pod(server, name)
    create_budget(server, status={**ALLOWING, "disruptionsAllowed": 3, "currentHealthy": 8, "desiredHealthy": 5})

    async def all_at_once() -> list[int]:
        def request(name: str) -> http.Request:
            body = json.dumps({"metadata": {"name": name}}).encode()
            headers = (("content-type", "application/json"),)
            return http.Request("POST", f"{PODS}/{name}/eviction", headers, body, user=ADMIN)

        return [answer.code for answer in await asyncio.gather(*map(server.plane.handle, map(request, names)))]

    codes = server.run(all_at_once())
    assert sorted(codes) == [201] * 3 + [429] * 5
    assert len(status_of(server)["disruptedPods"]) == 3
    going = [pod for pod in server.get(PODS)["items"] if "deletionTimestamp" in pod["metadata"]]
    assert len(going) == 3


def test_a_budget_that_goes_meanwhile_guards_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    create_pod(server)
    create_budget(server, status=NONE_LEFT)
    budget = server.get(f"{BUDGETS}/b")
    server.ok("DELETE", f"{BUDGETS}/b")
    looks = iter([[budget], []])

    def guarding(pod: Any, budgets: Any) -> list[Any]:
        return next(looks)

    monkeypatch.setattr(disruptions, "guarding", guarding)
    assert evict(server).code == 201
    assert list(looks) == []
