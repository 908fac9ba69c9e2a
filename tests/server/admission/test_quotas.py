"""ResourceQuotas at work: what is refused, in which words, and that no two writes get the same room."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from petset.server import live
from petset.wire import http
from tests.server.conftest import ADMIN, Server, collection, configmap, pod
from tests.steps import counted

SPACE = "/api/v1/namespaces/default"
PODS, CONFIGMAPS, QUOTAS = f"{SPACE}/pods", f"{SPACE}/configmaps", f"{SPACE}/resourcequotas"
MERGE = "application/merge-patch+json"


def quota(name: str, hard: dict[str, Any], **spec: Any) -> dict[str, Any]:
    spec = {"hard": {key: str(value) for key, value in hard.items()}, **spec}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec}


def sized(name: str, requests: dict[str, str], **spec: Any) -> dict[str, Any]:
    return pod(name, containers=[{"name": "c", "image": "i", "resources": {"requests": requests}}], **spec)


def claim(name: str, storage: str, **spec: Any) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def refusal(server: Server, path: str, obj: Any, method: str = "POST", **options: Any) -> str:
    answer = server(method, path, obj, **options)
    assert answer.code == 403 and answer.body["reason"] == "Forbidden", answer
    return answer.message


def post(server: Server, path: str, obj: Any) -> asyncio.Task[http.Response]:
    request = http.Request("POST", path, (("content-type", "application/json"),), json.dumps(obj).encode(), user=ADMIN)
    return server.loop.create_task(server.api.handle(request))


def posts(server: Server, path: str, objects: list[Any]) -> list[int]:
    """All at once; how each was answered."""

    async def together() -> list[int]:
        return [(await answer).code for answer in [post(server, path, obj) for obj in objects]]

    return server.run(together())


def test_what_is_too_much_is_refused_in_upstream_s_words(server: Server) -> None:
    made = server("POST", QUOTAS, quota("q", {"pods": 2, "requests.memory": "1Gi"}))
    assert made.code == 201 and "warning" not in made.headers
    server.create(sized("a", {"memory": "300Mi"}))
    assert refusal(server, PODS, sized("b", {"memory": "1000Mi"})) == (
        'pods "b" is forbidden: exceeded quota: q, requested: requests.memory=1000Mi, used: requests.memory=300Mi, '
        "limited: requests.memory=1Gi"
    )
    server.create(sized("b", {"memory": "300Mi"}))
    assert refusal(server, PODS, sized("c", {"memory": "1Gi"})).endswith(
        "exceeded quota: q, requested: pods=1,requests.memory=1Gi, used: pods=2,requests.memory=600Mi, "
        "limited: pods=2,requests.memory=1Gi"
    )
    server.ok("DELETE", f"{PODS}/a")
    assert refusal(server, f"{PODS}?dryRun=All", sized("c", {"memory": "1Gi"}))
    server.ok("POST", f"{PODS}?dryRun=All", sized("c", {"memory": "1Mi"}))
    server.create(sized("c", {"memory": "1Mi"}))


def test_who_is_limited_must_say_how_much(server: Server) -> None:
    server.create(quota("q", {"limits.cpu": 2, "cpu": 1, "requests.ephemeral-storage": "1Gi"}))
    assert refusal(server, PODS, pod("p")) == (
        'pods "p" is forbidden: failed quota: q: must specify cpu for: c; limits.cpu for: c'
    )
    limits = {"type": "Container", "default": {"cpu": "100m"}}
    server.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [limits]}})
    server.create(pod("p"))


def test_a_pod_that_has_ended_makes_room(server: Server) -> None:
    server.create(quota("q", {"pods": 1}))
    server.create(pod("p"))
    refusal(server, PODS, pod("q"))
    server.ok("PATCH", f"{PODS}/p/status", {"status": {"phase": "Failed"}}, kind=MERGE)
    server.create(pod("q"))


def test_the_same_pods_in_two_quotas_by_their_scopes(server: Server) -> None:
    server.create(quota("long", {"pods": 1}, scopes=["NotTerminating"]))
    server.create(quota("short", {"pods": 1}, scopes=["Terminating"]))
    server.create(pod("a"))
    server.create(pod("b", activeDeadlineSeconds=60))
    assert "exceeded quota: long," in refusal(server, PODS, pod("c"))
    assert "exceeded quota: short," in refusal(server, PODS, pod("c", activeDeadlineSeconds=60))
    server.ok("PATCH", f"{PODS}/a", {"spec": {"activeDeadlineSeconds": 60}}, kind=MERGE)
    server.create(pod("c"))


def test_updates_count_by_what_they_add(server: Server) -> None:
    server.create(quota("q", {"services.nodeports": 2, "requests.storage": "3Gi", "services": 2}))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    ports = [{"port": number, "name": f"p{number}"} for number in (1, 2, 3)]
    named = {"type": "ExternalName", "externalName": "example.com"}
    server.create({**service, "spec": {**named, "ports": ports}})  # Beside Service kubernetes.
    server.ok("PATCH", f"{SPACE}/services/s", {"metadata": {"labels": {"a": "b"}}}, kind=MERGE)
    assert "exceeded quota: q, requested: services=1, used: services=2, limited: services=2" in refusal(
        server, f"{SPACE}/services", {**service, "metadata": {"name": "t"}, "spec": named}
    )
    claims = f"{SPACE}/persistentvolumeclaims"
    class_ = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "g"}}
    server.create({**class_, "provisioner": "example.com/p", "allowVolumeExpansion": True})
    server.create(claim("c", "2Gi", storageClassName="g"))
    server.ok("PATCH", f"{claims}/c/status", {"status": {"phase": "Bound"}}, kind=MERGE)
    larger = {"spec": {"resources": {"requests": {"storage": "4Gi"}}}}
    bound = {**claim("c", "2Gi", storageClassName="g", volumeName="v")["spec"]}
    server.ok("PATCH", f"{claims}/c", {"spec": bound}, kind=MERGE)
    assert "requested: requests.storage=2Gi, used: requests.storage=2Gi, limited: requests.storage=3Gi" in refusal(
        server, f"{claims}/c", larger, "PATCH", kind=MERGE
    )
    larger["spec"]["resources"]["requests"]["storage"] = "3Gi"
    server.ok("PATCH", f"{claims}/c", larger, kind=MERGE)
    assert "used: requests.storage=3Gi" in refusal(server, claims, claim("d", "1"))


def test_every_kind_is_counted(server: Server) -> None:
    hard = {"count/petsets.apps": 1, "secrets": 1, "count/leases.coordination.k8s.io": 0, "resourcequotas": 1}
    server.create(quota("q", hard))
    server.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})
    told = refusal(server, f"{SPACE}/secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}})
    assert (
        told == 'secrets "t" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1'
    )
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}}
    told = refusal(server, collection(lease["apiVersion"], "Lease"), lease)
    assert told.startswith('leases.coordination.k8s.io "l" is forbidden: exceeded quota: q, requested: count/leases.')
    assert "resourcequotas=1" in refusal(server, QUOTAS, quota("r", {}))
    server.create(configmap("free"))


def test_a_quota_may_change_and_go(server: Server) -> None:
    server.create(configmap("before"))
    server.create(quota("q", {"configmaps": 1}))
    assert "used: configmaps=1" in refusal(server, CONFIGMAPS, configmap("a"))
    server.ok("PATCH", f"{QUOTAS}/q", {"spec": {"hard": {"configmaps": "2"}}}, kind=MERGE)
    server.create(configmap("a"))
    assert "used: configmaps=2" in refusal(server, CONFIGMAPS, configmap("b"))
    server.ok("PATCH", f"{QUOTAS}/q/status", {"status": {"used": {"configmaps": "0"}}}, kind=MERGE)
    refusal(server, CONFIGMAPS, configmap("b"))  # What is told decides nothing.
    server.ok("DELETE", f"{QUOTAS}/q")
    server.create(configmap("b"))


def test_of_many_at_once_as_many_are_let_through_as_there_is_room_for(server: Server) -> None:
    server.create(quota("q", {"count/configmaps": 7, "pods": 5}))
    assert sorted(posts(server, CONFIGMAPS, [configmap(f"c{n}") for n in range(60)])) == [201] * 7 + [403] * 53
    assert sorted(posts(server, PODS, [pod(f"p{n}") for n in range(60)])) == [201] * 5 + [403] * 55
    for name in ("p0", "p1"):
        server.ok("DELETE", f"{PODS}/{name}")
    assert sorted(posts(server, PODS, [pod(f"q{n}") for n in range(9)])) == [201] * 2 + [403] * 7


def test_who_comes_first_is_let_through(server: Server) -> None:
    server.create(quota("q", {"count/configmaps": 20}))
    assert posts(server, CONFIGMAPS, [configmap(f"c{n}") for n in range(40)]) == [201] * 20 + [403] * 20


def test_what_failed_leaves_its_room(server: Server) -> None:
    server.create(quota("q", {"count/configmaps": 2}))
    server.create(configmap("a"))
    assert posts(server, CONFIGMAPS, [configmap("a") for _ in range(5)]) == [409] * 5
    server.create(configmap("b"))
    refusal(server, CONFIGMAPS, configmap("c"))


class SlowDisk:
    """Commits of a server's store are done when a test says so."""

    def __init__(self, server: Server):
        self._loop, self._commit = server.loop, server.store._commit
        self._waiting: list[asyncio.Future[None]] = []
        server.store._commit = self._held  # type: ignore[method-assign]

    def _held(self, batch: Any) -> asyncio.Future[None]:
        self._commit(batch)
        self._waiting.append(self._loop.create_future())
        return self._waiting[-1]

    def commit(self) -> None:
        self._waiting.pop(0).set_result(None)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_quota_counts_what_was_on_its_way_when_it_came(server: Server) -> None:
    """A creation that was let through before there was a quota, and is committed after it."""

    async def scene() -> None:
        disk = SlowDisk(server)
        limits = post(server, QUOTAS, quota("q", {"count/configmaps": 1}))
        await turns()
        before = post(server, CONFIGMAPS, configmap("a"))
        await turns()
        disk.commit()
        assert (await limits).code == 201
        after = post(server, CONFIGMAPS, configmap("b"))
        await turns()
        assert not before.done() and (await after).code == 403
        disk.commit()
        assert (await before).code == 201

    server.run(scene())


def test_what_is_committed_counts_once_before_who_made_it_knows(server: Server) -> None:
    async def scene() -> None:
        disk = SlowDisk(server)
        first = post(server, CONFIGMAPS, configmap("a"))
        await turns()
        disk.commit()
        second = post(server, CONFIGMAPS, configmap("b"))  # Looked at after the commit, and before the first's answer.
        await turns()
        disk.commit()
        assert ((await first).code, (await second).code) == (201, 201)

    server.create(quota("q", {"count/configmaps": 2}))
    server.create(configmap("other"))
    server.ok("DELETE", f"{CONFIGMAPS}/other")
    server.run(scene())


@pytest.mark.parametrize("kind", ["pods", "configmaps"])
def test_what_a_create_costs_does_not_grow_with_what_there_is(server: Server, kind: str) -> None:
    make = pod if kind == "pods" else configmap
    path = f"{SPACE}/{kind}"
    server.create(quota("q", {f"count/{kind}": 5000}))

    def cost(name: str) -> int:
        request = http.Request(
            "POST", path, (("content-type", "application/json"),), json.dumps(make(name)).encode(), user=ADMIN
        )
        with counted() as counting:
            assert server.send(request).code == 201
        return counting.count

    for n in range(10):
        server.create(make(f"a{n}"))
    few = min(cost(f"few{n}") for n in range(3))  # Now and then randomness is taken for many at once.
    for n in range(300):
        server.create(make(f"b{n}"))
    assert min(cost(f"many{n}") for n in range(3)) <= few * 1.02


def test_a_long_book_is_read_in_slices(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(25):
        server.create(configmap(f"c{n}"))
    monkeypatch.setattr(live, "SLICE_OBJECTS_MAX", 4)
    server.create(quota("q", {"count/configmaps": 30}))
    assert sorted(posts(server, CONFIGMAPS, [configmap(f"d{n}") for n in range(20)])) == [201] * 5 + [403] * 15


def test_a_quota_that_changes_while_its_book_is_read(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(25):
        server.create(configmap(f"c{n}"))
    monkeypatch.setattr(live, "SLICE_OBJECTS_MAX", 4)
    server.create(quota("q", {"count/configmaps": 30}))

    async def scene() -> list[int]:
        def send(method: str, path: str, obj: Any, kind: str = "application/json") -> asyncio.Task[http.Response]:
            request = http.Request(method, path, (("content-type", kind),), json.dumps(obj).encode(), user=ADMIN)
            return server.loop.create_task(server.api.handle(request))

        first = [send("POST", CONFIGMAPS, configmap(f"d{n}")) for n in range(10)]
        await asyncio.sleep(0)
        change = send("PATCH", f"{QUOTAS}/q", {"spec": {"hard": {"count/configmaps": "27"}}}, MERGE)
        assert (await change).code == 200
        later = [send("POST", CONFIGMAPS, configmap(f"e{n}")) for n in range(10)]
        return [(await one).code for one in (*first, *later)]

    codes = server.run(scene())
    made = 25 + codes.count(201)
    assert codes.count(403) + codes.count(201) == 20
    assert 27 <= made <= 30 and codes[10:].count(201) == max(0, 27 - 25 - codes[:10].count(201))
