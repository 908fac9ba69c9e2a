"""What a request costs grows at most like n log n with its size: the nastiest bodies, each at two sizes, by count.

Tracing (tests/steps.py) sees no loop inside of C; that no list is searched for each element of another is
held by tests/test_house.py, and expansions by the limits that each case here runs into.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from petset.base import tasks
from petset.client import elsewhere
from petset.objects import encoding, meta
from petset.objects.registry import Kind
from petset.server.custom import conversion_review
from petset.server.described import remotes
from petset.wire import http
from tests.server.conftest import JANE, Server
from tests.server.nasty import CASES, LARGER, Nasty, role
from tests.steps import counted

GROWTH_MAX = LARGER * 1.25  # n log n from 250 to 1,000 is 5.0, from 10,000 to 40,000 is 4.6.


def serving() -> Server:
    """A server on which Jane may make roles and holds every verb on pods."""
    server = Server()
    roles = {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}
    pods = {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}
    server.create({**role(roles, pods), "metadata": {"name": "maker"}})
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    server.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "maker"},
            "roleRef": {**group, "kind": "Role", "name": "maker"},
            "subjects": [{**group, "kind": "User", "name": JANE.name}],
        }
    )
    return server


def cost(case: Nasty, n: int) -> int:
    """The steps of the request at this size, on a server of its own."""
    with tasks.environment(tasks.Environment(threads=False)):  # What is done off the loop is counted too.
        server = serving()
        body, method, target = case.body(n), case.method, case.target
        if case.before is not None:
            method, target = "PATCH", f"{target}/{meta.name(server.create(case.before(n)))}{case.subresource}"
        if query := case.query(n):
            target = f"{target}?{query}"
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = http.Request(method, target, (("content-type", case.kind),), data, user=case.user)
        with counted() as steps:
            response = server.send(request)
        server.close()
    assert response.code == case.code, response.body[:300]
    return steps.count


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_request_costs_no_more_than_n_log_n(case, monkeypatch):
    monkeypatch.setattr(encoding, "VALUES_MAX", 40_000)  # Reached sooner, so that the test is.
    cost(case, case.small + 1)  # What is looked up once is known then.
    small, large = cost(case, case.small), cost(case, case.small * LARGER)
    assert large <= small * GROWTH_MAX, (small, large)


# -- what others answer that this server has asked

GATEWAYS = Kind("networking.example.com", "v1", "gateways", "Gateway", elsewhere=True)


def converted(n: int) -> Callable[[], object]:
    """A webhook's answer about objects that it has given labels."""
    sent = [thing("g/v1", f"a{i}") for i in range(n)]
    labelled = [{**thing("g/v2", f"a{i}"), "metadata": {"name": f"a{i}", "labels": {f"k{i}": "v"}}} for i in range(n)]
    about = {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1"}
    response = {"uid": "u", "result": {"status": "Success"}, "convertedObjects": labelled}
    data = json.dumps({**about, "response": response}).encode()
    return lambda: conversion_review.read("v1", "u", sent, "g/v2", data)


def thing(api_version: str, name: str) -> dict[str, object]:
    return {"apiVersion": api_version, "kind": "Thing", "metadata": {"name": name}}


def resources(n: int) -> Callable[[], object]:
    """An APIResourceList of many subresources, half of them of resources that are none."""
    rows = [{"name": f"r{i // 2}" + (f"/s{i}" if i % 2 else ""), "kind": "K", "verbs": ["list"] * 3} for i in range(n)]
    tree = {"kind": "APIResourceList", "resources": rows}
    return lambda: remotes.resources(tree, "g", "v1")


def owners(n: int) -> Callable[[], object]:
    """An object of another server with many owners, of whom few are kept."""
    one = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}
    obj = {"metadata": {"name": "a", "namespace": "b", "ownerReferences": [one] * n, "finalizers": ["f/x"] * n}}
    return lambda: elsewhere.read(GATEWAYS, obj)


@pytest.mark.parametrize(("made", "size"), [(converted, 100), (resources, 200), (owners, 400)])
def test_an_answer_costs_no_more_than_n_log_n(made: Callable[[int], Callable[[], object]], size: int) -> None:
    def steps_of(n: int) -> int:
        read = made(n)
        with counted() as steps:
            read()
        return steps.count

    steps_of(size + 1)
    small, large = steps_of(size), steps_of(size * LARGER)
    assert 0 < large <= small * GROWTH_MAX, (small, large)
