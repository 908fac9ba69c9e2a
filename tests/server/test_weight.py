"""Large bodies are worked on beside the loop, which goes on; what was validated there is admitted again."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from petset.kinds.namespace import NAMESPACES
from petset.objects import encoding, meta, patch, schema
from petset.server import decoding, rest, weight
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap, pod

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
LINES = {f"k{n}": "a line of some length" for n in range(3000)}


@pytest.fixture
def where(server, monkeypatch):
    """Which thread did what, of the steps that cost in proportion to a body."""
    server.create(configmap("first"))  # What is read once, is.
    done: dict[str, list[bool]] = {}

    def noting(module: Any, name: str) -> None:
        real = getattr(module, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            done.setdefault(name, []).append(threading.current_thread() is threading.main_thread())
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, noted)

    noting(encoding, "loads")
    noting(schema, "check")
    noting(patch, "strategic_merge")
    return done


def test_small_bodies_are_worked_on_in_the_loop_and_large_ones_beside_it(server, where):
    server.create(configmap("small"))
    assert where == {"loads": [True], "check": [True]}
    where.clear()
    server.create(configmap("large", **LINES))
    assert where == {"loads": [False], "check": [False]}
    where.clear()
    kind = "application/strategic-merge-patch+json"  # A small patch of what is large is large work.
    server.ok("PATCH", f"{CONFIGMAPS}/large", {"data": {"k1": "x"}}, kind=kind)
    assert where == {"loads": [True], "check": [False], "strategic_merge": [False]}


def test_the_loop_goes_on_while_a_large_body_is_checked(server: Server, monkeypatch):
    """The check waits for something that only the loop can do."""
    asked = threading.Event()
    real = schema.check

    def waiting(*args: Any, **options: Any) -> Any:
        assert asked.wait(30)
        return real(*args, **options)

    async def both() -> list[int]:
        monkeypatch.setattr(schema, "check", waiting)
        body = encoding.dumps(configmap("large", **LINES))
        headers = (("content-type", "application/json"),)
        large = asyncio.create_task(server.api.handle(http.Request("POST", CONFIGMAPS, headers, body, user=ADMIN)))
        await asyncio.sleep(0)
        read = await server.api.handle(http.Request("GET", CONFIGMAPS, user=ADMIN))
        asked.set()
        return [read.code, (await large).code]

    assert server.run(both()) == [200, 201]


def test_of_many_large_bodies_at_once_one_is_worked_on_at_a_time(server: Server, monkeypatch):
    """However many users bring them: two would hold the interpreter's lock for twice as long."""
    working: list[int] = [0]
    lock = threading.Lock()

    def counting(module: Any, name: str) -> None:
        real = getattr(module, name)

        def counted(*args: Any, **options: Any) -> Any:
            with lock:
                working.append(working[-1] + 1)
            try:
                return real(*args, **options)
            finally:
                with lock:
                    working.append(working[-1] - 1)

        monkeypatch.setattr(module, name, counted)

    counting(decoding, "_tree")
    counting(schema, "check")
    counting(rest, "_found")

    async def post(name: str) -> int:
        body = encoding.dumps(configmap(name, **LINES))
        user = http.User(f"user-{name}", ("system:masters",))
        headers = (("content-type", "application/json"),)
        return (await server.api.handle(http.Request("POST", CONFIGMAPS, headers, body, user=user))).code

    async def crowd() -> list[int]:
        return await asyncio.gather(*[post(f"large{at}") for at in range(16)])

    assert server.run(crowd()) == [201] * 16
    assert len(working) == 1 + 2 * 3 * 16 and max(working) == 1


def test_what_changes_while_a_large_object_is_validated_counts(server: Server, monkeypatch):
    """The namespace begins to end in between: nothing is created in it any more."""
    server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ending"}}, namespace="")
    server.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "finalizers": ["x/y"]}}, "ending")
    real = weight.Work.in_turn
    ends = iter([False, False, True])  # Read, filled in, validated.

    async def in_turn(self: weight.Work, work: Any, *args: Any) -> Any:
        result = await real(self, work, *args)
        if next(ends):
            entry = server.store.get(NAMESPACES.key("", "ending"))
            gone = meta.changed(entry.object, ("metadata", "deletionTimestamp"), "2016-08-03T00:00:00Z")
            await server.store.put(entry.key, gone, entry.revision)
        return result

    monkeypatch.setattr(weight.Work, "in_turn", in_turn)
    answer = server("POST", "/api/v1/namespaces/ending/configmaps", configmap("large", **LINES))
    assert answer.code == 403 and "being terminated" in answer.message


def test_a_large_pod_gets_what_admission_gives_once(server: Server):
    many = [{"name": f"A{n}", "value": "some value or other"} for n in range(1500)]
    made = server.create(pod("large", containers=[{"name": "c", "image": "i", "env": many}]))
    assert len(made["spec"]["volumes"]) == len(made["spec"]["containers"][0]["volumeMounts"]) == 1
    assert len(made["spec"]["tolerations"]) == 2
