"""What decisions are made from is up to date at each look, made anew where it changed only, and read in slices."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from petset import cluster
from petset.objects import encoding
from petset.objects.meta import Object
from petset.server import live
from petset.server.access import rbac
from petset.server.live import LiveView
from petset.store import memory, store
from petset.wire import http
from tests.server.conftest import JANE, NODE, STEP_SECONDS_MAX, configmap, pod

PREFIX = "/core/configmaps/"


class Kept:
    """What a view has told, and how often."""

    def __init__(self, objects: memory.MemoryStore, prefix: str = PREFIX):
        self.objects: dict[str, Object] = {}
        self.told = 0
        self.view = LiveView(objects, prefix, self._told)

    def _told(self, key: str, obj: Object | None) -> None:
        self.told += 1
        self.objects.pop(key, None)
        if obj is not None:
            self.objects[key] = obj

    def names(self) -> list[str]:
        return sorted(obj["metadata"]["name"] for obj in self.objects.values())


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, STEP_SECONDS_MAX))


async def put(objects: memory.MemoryStore, name: str, **data: str) -> None:
    await objects.put(f"{PREFIX}default/{name}", configmap(name, **data), None)


def test_a_view_that_fell_behind_is_read_anew_and_tells_what_differs():
    """Access decisions must not go stale because nobody looked for a while."""

    async def main() -> None:
        objects = memory.MemoryStore(watch_buffer_events_max=3)
        await put(objects, "stays")
        await put(objects, "goes")
        kept = Kept(objects)
        kept.view.refresh()
        assert kept.names() == ["goes", "stays"]
        await objects.delete(f"{PREFIX}default/goes", None)
        for index in range(10):
            await put(objects, f"c{index % 5}", at=str(index))
        kept.view.refresh()
        assert kept.names() == ["c0", "c1", "c2", "c3", "c4", "stays"]
        assert kept.told == 2 + 1 + 5  # Not "stays" again.
        kept.view.refresh()
        await put(objects, "stays", more="x")
        await objects.delete(f"{PREFIX}default/c0", None)
        kept.view.refresh()
        assert kept.told == 8 + 2 and "c0" not in kept.names()
        kept.view.close()

    run(main())


@pytest.mark.parametrize("size", [10, live.SLICE_BYTES_MAX])
def test_much_is_read_in_slices_between_which_the_loop_goes_on(monkeypatch, size):
    """However many ask at once: a slice in a turn of the loop, and the last one is there at each decision."""
    monkeypatch.setattr(live, "SLICE_OBJECTS_MAX", 4)

    async def main() -> None:
        objects = memory.MemoryStore()
        text = "x" * size
        for index in range(20):
            await put(objects, f"c{index}", text=text)
        kept, most = Kept(objects), 4 if size < live.SLICE_BYTES_MAX else 1
        asking = [asyncio.create_task(kept.view.catch_up()) for _ in range(5)]
        asking.append(asyncio.create_task(put(objects, "late", text=text)))  # The store goes on, too.
        seen = [0]
        while not all(task.done() for task in asking):
            await asyncio.sleep(0)
            seen.append(kept.told)
        assert max(after - before for before, after in itertools.pairwise(seen)) <= most
        kept.view.refresh()
        assert sorted(kept.objects) == sorted(entry.key for entry in objects.list(PREFIX)[1])
        assert kept.told - seen[-1] <= 4
        kept.view.close()

    run(main())


def restored(*objects: tuple[str, Any]) -> memory.MemoryStore:
    """As after a start: nothing is decoded yet."""
    found = memory.MemoryStore()
    entries = [store.Entry(key, at + 1, at + 1, encoding.dumps(obj)) for at, (key, obj) in enumerate(objects)]
    found._restore(entries, len(entries))
    return found


def binding(space: str, **fields: Any) -> tuple[str, Any]:
    obj = {
        "metadata": {"name": "b", "namespace": space},
        "roleRef": {"kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": JANE.name}, {"kind": "ServiceAccount", "name": "default"}],
        **fields,
    }
    return f"/{rbac.GROUP}/rolebindings/{space}/b", obj


def role(space: str) -> tuple[str, Any]:
    rules = [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]
    key = f"/{rbac.GROUP}/roles/{space}/reader"
    return key, {"metadata": {"name": "reader", "namespace": space}, "rules": rules}


def on_node(name: str) -> tuple[str, Any]:
    volumes = [{"name": "v", "secret": {"secretName": f"of-{name}"}}]
    made = pod(name, nodeName="n1", volumes=volumes)
    return f"/core/pods/default/{name}", {**made, "metadata": {"name": name, "namespace": "default"}}


MANY = 1000
OF_RBAC = [pair for at in range(MANY // 2) for pair in (role(f"ns{at}"), binding(f"ns{at}"))]
ASKED = [
    (OF_RBAC, JANE, "/api/v1/namespaces/ns7/pods", 200),
    ([on_node(f"p{at}") for at in range(MANY)], NODE, "/api/v1/namespaces/default/secrets/of-p7", 404),
]


@pytest.mark.parametrize(("objects", "user", "target", "code"), ASKED, ids=["rules", "pods"])
def test_the_first_requests_after_a_start_let_the_loop_go_on(monkeypatch, objects, user, target, code):
    """Many at once, in whose every turn of the loop at most a slice is decoded."""
    decoded = 0
    real = encoding.loads_answer

    def counting(data: bytes) -> Any:
        nonlocal decoded
        decoded += 1
        return real(data)

    monkeypatch.setattr(encoding, "loads_answer", counting)

    async def main() -> None:
        served = cluster.ControlPlane(restored(*objects))
        request = http.Request("GET", target, user=user)
        asking = [asyncio.create_task(served.handle(request)) for _ in range(8)]
        seen = [0]
        while not all(task.done() for task in asking):
            await asyncio.sleep(0)
            seen.append(decoded)
        assert [task.result().code for task in asking] == [code] * 8
        assert decoded == MANY
        assert max(after - before for before, after in itertools.pairwise(seen)) <= live.SLICE_OBJECTS_MAX * 2

    run(main())


@pytest.fixture
def compiled(monkeypatch) -> list[str]:
    """The bindings and rules that are made sense of."""
    noted: list[str] = []

    def noting(name: str) -> None:
        real = getattr(rbac, name)
        monkeypatch.setattr(rbac, name, lambda obj: noted.append(name) or real(obj))

    noting("binding_of")
    noting("rule_of")
    return noted


@pytest.mark.parametrize("count", [10, 100])
def test_a_change_costs_the_binding_or_the_role_that_changed_whoever_asks(compiled, count):
    async def main() -> None:
        objects = restored(*[pair for at in range(count) for pair in (role(f"ns{at}"), binding(f"ns{at}"))])
        known = rbac.Rbac(objects)
        everybody = [JANE, *(http.User(f"system:serviceaccount:ns{at}:default") for at in range(count))]

        def may(space: str) -> list[str]:
            asked = rbac.Attributes("list", "", "pods", namespace=space)
            return [user.name for user in everybody if known.allows(user, asked)]

        owner = "system:serviceaccount:ns3:default"
        assert may("ns3") == [JANE.name, owner]
        assert sorted(compiled) == ["binding_of"] * count + ["rule_of"]  # Of the role that was asked about.
        compiled.clear()
        await objects.put(*binding("ns3", subjects=[{"kind": "User", "name": JANE.name}]), None)
        assert may("ns3") == [JANE.name] and compiled == ["binding_of"]
        compiled.clear()
        await objects.put(*role("ns3"), None)
        assert may("ns3") == [JANE.name] and compiled == ["rule_of"]
        compiled.clear()
        await objects.delete(role("ns3")[0], None)
        assert may("ns3") == [] and compiled == []
        await objects.delete(binding("ns4")[0], None)
        assert may("ns4") == [] and may("ns5") == [JANE.name, "system:serviceaccount:ns5:default"]

    run(main())


def test_two_bindings_of_one_role_are_one_until_both_are_gone():
    async def main() -> None:
        (first, obj) = binding("ns1")
        second = first.replace("/b", "/c")
        objects = restored(role("ns1"), (first, obj), (second, obj))
        known = rbac.Rbac(objects)
        for key, rules in ((first, 1), (second, 0)):
            assert len(known.rules(JANE, "ns1")) == 1
            await objects.delete(key, None)
            assert len(known.rules(JANE, "ns1")) == rules
        assert not known._bound

    run(main())


def test_a_node_may_read_what_any_of_its_pods_refers_to_until_none_does():
    async def main() -> None:
        shared = [{"name": "v", "secret": {"secretName": "shared"}}]
        objects = restored(on_node("p0"), on_node("p1"))
        served = cluster.ControlPlane(objects)

        async def codes() -> list[int]:
            paths = [f"/api/v1/namespaces/default/secrets/{name}" for name in ("of-p0", "of-p1", "shared")]
            return [(await served.handle(http.Request("GET", path, user=NODE))).code for path in paths]

        assert await codes() == [404, 404, 403]
        for name in ("p0", "p1"):
            key, obj = on_node(name)
            await objects.put(key, {**obj, "spec": {**obj["spec"], "volumes": shared}}, None)
        assert await codes() == [403, 403, 404]
        await objects.delete(on_node("p0")[0], None)
        assert await codes() == [403, 403, 404]
        await objects.delete(on_node("p1")[0], None)
        assert await codes() == [403, 403, 403]

    run(main())
