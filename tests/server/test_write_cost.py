"""What a write does no more than once, or not at all: counted, never timed.

The most that a write may take is a tenth or two above what it takes (tests/steps.py): who adds to the way of every
write sees it here.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from petset.base import turns as changing
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import validation
from petset.objects import encoding, schema
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap, pod
from tests.steps import counted

SPACE = "/api/v1/namespaces/default"
CONFIGMAPS, PODS_PATH = f"{SPACE}/configmaps", f"{SPACE}/pods"
MERGE = "application/merge-patch+json"


def steps(server: Server, method: str, path: str, body: Any, kind: str = "application/json") -> int:
    request = http.Request(method, path, (("content-type", kind),), json.dumps(body).encode(), user=ADMIN)
    with counted() as counting:
        answer = server.send(request)
    assert answer.code < 300, answer.body
    return counting.count


def test_the_steps_of_a_write(server: Server) -> None:
    writes = {
        "create a ConfigMap": ("POST", CONFIGMAPS, lambda n: configmap(f"c{n}", k="v"), 960),
        "update a ConfigMap": ("PUT", f"{CONFIGMAPS}/c0", lambda n: configmap("c0", k=f"w{n}"), 1_220),
        "create a Pod": ("POST", PODS_PATH, lambda n: pod(f"p{n}"), 3_200),
        "patch a Pod's status": (
            "PATCH",
            f"{PODS_PATH}/p0/status",
            lambda n: {"status": {"podIP": f"10.0.0.{n}"}},
            2_000,
        ),
    }
    for what, (method, path, body, most) in writes.items():
        kind = MERGE if method == "PATCH" else "application/json"
        steps(server, method, path, body(0), kind)  # What is looked up once is known then.
        taken = steps(server, method, path, body(1), kind)
        assert taken <= most, f"to {what} takes {taken} steps"


def _status(number: int) -> dict[str, Any]:
    at = f"2026-01-01T00:00:{number:02}Z"
    types = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    conditions = [{"type": type_, "status": "True", "lastTransitionTime": at} for type_ in types]
    return {"status": {"phase": "Running", "podIP": f"10.0.0.{number}", "conditions": conditions}}


def test_to_follow_the_owners_of_a_status_takes_less_than_a_third_more(server: Server) -> None:
    """By a client that says the same fields again and again; of the other pod nobody was named the owner."""
    kind, taken = "application/strategic-merge-patch+json", dict[str, int]()
    for name in ("followed", "free"):
        server.create(pod(name))
        if name == "free":
            server.ok("PATCH", f"{PODS_PATH}/free", {"metadata": {"managedFields": [{}]}}, kind=MERGE)
        for number in range(4):  # What is looked up once is known then; nobody meets what the other one has said.
            said = _status(number + (20 if name == "free" else 0))
            taken[name] = steps(server, "PATCH", f"{PODS_PATH}/{name}/status", said, kind)
        followed = server.get(f"{PODS_PATH}/{name}")["metadata"].get("managedFields", [])
        assert len(followed) == (2 if name == "followed" else 0)
    assert taken["followed"] <= 1.3 * taken["free"], taken


def test_the_steps_of_a_get(server: Server) -> None:
    server.create(configmap("c", k="v"))
    request = http.Request("GET", f"{CONFIGMAPS}/c", (("accept", "application/json"),), user=ADMIN)
    server.send(request)
    with counted() as counting:
        assert server.send(request).code == 200
    assert counting.count <= 200


def test_a_status_is_written_without_a_look_at_the_spec_that_it_leaves(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create(pod("p"))
    looks: list[str] = []
    valid = validation.spec
    monkeypatch.setattr(validation, "spec", lambda *args: looks.append("spec") or valid(*args))
    path = f"{PODS_PATH}/p"
    server.ok("PATCH", f"{path}/status", {"status": {"phase": "Running"}}, kind=MERGE)
    assert not looks
    server.ok("PATCH", path, {"spec": {"activeDeadlineSeconds": 9}}, kind=MERGE)
    assert looks == ["spec"]
    wrong = server("PATCH", f"{path}/status", {"status": {"podIP": "nonsense"}}, kind=MERGE)
    assert wrong.code == 422 and "podIP" in wrong.message


def test_what_a_patch_leaves_is_not_checked_again_and_what_it_changes_is() -> None:
    stored = pod("p", containers=[{"name": f"c{n}", "image": "i", "stdin": True} for n in range(20)])
    touched = {**stored, "status": {"phase": "Running"}}
    schema.check(touched, PODS)
    with counted() as whole:
        assert schema.check(touched, PODS) == (touched, [], [])
    with counted() as rest_of_it:
        assert schema.check(touched, PODS, stored=stored) == (touched, [], [])
    assert rest_of_it.count * 3 < whole.count
    wrong = {**touched, "spec": {**stored["spec"], "unknown": 1}}
    assert schema.check(wrong, PODS, stored=stored)[1] == ['unknown field "spec.unknown"']
    missing = {key: value for key, value in stored.items() if key != "spec"}
    assert schema.check(missing, PODS, stored=stored) == schema.check(missing, PODS)


# -- turns --------------------------------------------------------------------------------------------------------


def test_changes_of_one_object_take_turns_and_those_of_others_do_not_wait() -> None:
    async def main() -> list[str]:
        turns, order = changing.Turns(), list[str]()
        first = turns.of("a")
        await first.__aenter__()

        async def one(name: str, key: str = "a") -> None:
            async with turns.of(key):
                order.append(name)

        waiting = [asyncio.ensure_future(one(name)) for name in ("1", "2", "3", "4")]
        await one("other", "b")
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
        await first.__aexit__()
        waiting[0].cancel()  # It was its turn already.
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not turns.waiting, "nothing is kept of a key that nobody has"
        return order

    assert asyncio.run(main()) == ["other", "3", "4"]


def test_a_failed_change_leaves_its_turn(server: Server) -> None:
    server.create(configmap("c", k="v"))
    assert server("PUT", f"{CONFIGMAPS}/c", configmap("other")).code == 400
    server.ok("PUT", f"{CONFIGMAPS}/c", configmap("c", k=encoding.dumps(1).decode()))
