"""Flow control: what one user may have at once, and a 429 that says when to come again."""

from __future__ import annotations

import asyncio

import pytest

from petset.server import flow
from petset.wire import http
from tests.server.conftest import ADMIN, JANE, Server, configmap

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr(flow, "REQUESTS_IN_FLIGHT_MAX", 3)
    monkeypatch.setattr(flow, "STREAMS_MAX", 2)
    monkeypatch.setattr(flow, "STORE_WAITING_BYTES_MAX", 1000)


def allow(server: Server, user: http.User) -> None:
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    server.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"all-{user.name}"},
            "roleRef": {**group, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{**group, "kind": "User", "name": user.name}],
        },
        namespace="",
    )


def from_outside(user: http.User, method: str, target: str, body: bytes = b"") -> http.Request:
    headers = (("content-type", "application/json"),)
    return http.Request(method, target, headers, body, peer=http.Peer("127.0.0.1", user))


def waiting(revision: int) -> str:
    """A list that waits for a revision that does not come."""
    return f"{CONFIGMAPS}?resourceVersion={revision}"


def test_a_user_has_so_many_requests_under_way_and_others_have_their_own(server, limits):
    allow(server, JANE)
    bob = http.User("bob", ("developers",))
    allow(server, bob)
    far = server.store.revision + 1000

    async def crowd() -> tuple[http.Response, ...]:
        many = [asyncio.create_task(server.api.handle(from_outside(JANE, "GET", waiting(far)))) for _ in range(3)]
        await asyncio.sleep(0)
        refused = await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))
        other = await server.api.handle(from_outside(bob, "GET", CONFIGMAPS))
        inside = await server.api.handle(http.Request("GET", CONFIGMAPS, user=JANE))
        assert inside.code == 200
        for task in many:
            task.cancel()
        await asyncio.gather(*many, return_exceptions=True)
        return refused, other, await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))

    refused, other, after = server.run(crowd())
    assert (refused.code, refused.header("retry-after")) == (429, "1")
    assert b'"TooManyRequests"' in refused.body and b'"retryAfterSeconds":1' in refused.body
    assert (other.code, after.code) == (200, 200)


def test_a_user_has_so_many_watches_until_they_end(server, limits):
    allow(server, JANE)
    target = f"{CONFIGMAPS}?watch=true&resourceVersion={server.store.revision}"
    open_ = [server.send(from_outside(JANE, "GET", target)) for _ in range(2)]
    assert [response.code for response in open_] == [200, 200]
    assert server.send(from_outside(JANE, "GET", target)).code == 429
    assert server.send(from_outside(JANE, "GET", CONFIGMAPS)).code == 200
    assert server.send(from_outside(ADMIN, "GET", target)).code == 200
    server.run(open_[0].body.aclose())  # One that nobody ever read from counts as well.
    third = server.send(from_outside(JANE, "GET", target))
    assert third.code == 200
    server.run(third.body.aclose())
    server.run(third.body.aclose())
    ended = server.send(from_outside(JANE, "GET", f"{target}&timeoutSeconds=1"))
    assert ended.code == 200

    async def to_the_end() -> None:
        async for _ in ended.body:
            pass

    server.run(to_the_end())
    assert server.send(from_outside(JANE, "GET", target)).code == 200


def test_writes_wait_for_a_slow_disk_up_to_a_limit(server, limits, monkeypatch):
    allow(server, JANE)
    commits: list[asyncio.Future[None]] = []

    def slowly(batch):
        commits.append(asyncio.get_running_loop().create_future())
        return commits[-1]

    monkeypatch.setattr(server.store, "_commit", slowly)
    body = b'{"metadata":{"name":"%s"},"data":{"k":"' + b"x" * 1000 + b'"}}'

    async def writes() -> list[int]:
        first = asyncio.create_task(server.api.handle(from_outside(JANE, "POST", CONFIGMAPS, body % b"a")))
        await asyncio.sleep(0.01)
        assert server.store.waiting_bytes > 1000
        refused = await server.api.handle(from_outside(JANE, "POST", CONFIGMAPS, body % b"b"))
        admin = await server.api.handle(from_outside(ADMIN, "POST", CONFIGMAPS, body % b"c"))
        read = await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))
        commits[0].set_result(None)
        done = await first
        monkeypatch.undo()
        after = await server.api.handle(from_outside(JANE, "POST", CONFIGMAPS, body % b"d"))
        return [refused.code, admin.code, read.code, done.code, after.code]

    assert server.run(writes()) == [429, 429, 200, 201, 201]
    assert server.store.waiting_bytes == 0


def test_what_waits_is_counted_down_when_a_commit_fails(server, monkeypatch):
    def failing(batch):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(OSError("full"))
        return future

    monkeypatch.setattr(server.store, "_commit", failing)
    assert server("POST", CONFIGMAPS, configmap("a")).code >= 500
    assert server.store.waiting_bytes == 0
