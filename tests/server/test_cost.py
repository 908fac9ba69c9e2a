"""What a request costs grows at most like n log n with its size: the nastiest bodies, each at two sizes, by count.

Tracing (tests/steps.py) sees no loop inside of C; that no list is searched for each element of another is
held by tests/test_house.py, and expansions by the limits that each case here runs into.
"""

from __future__ import annotations

import json

import pytest

from petset.base import tasks
from petset.objects import encoding, meta
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
            method, target = "PATCH", f"{target}/{meta.name(server.create(case.before(n)))}"
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
