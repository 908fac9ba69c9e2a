"""The loop: keys, order of actions, failures and back-off, and never acting twice on one old picture."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from petset import cluster
from petset.base import telemetry
from petset.client import client as api
from petset.client.views import Informers, View
from petset.controllers import actions, runner
from petset.controllers.queue import Queue
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.event import EVENTS
from petset.kinds.secret import SECRETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.store import memory
from petset.wire import http
from tests import waiting

MAPS = CONFIGMAPS


def config_map(name: str, **data: str) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Bench:
    """One controller over the real server; the watch of config maps can be held back."""

    def __init__(self) -> None:
        self.store = memory.MemoryStore()
        self.requests: list[str] = []
        self.looks: list[str] = []
        self.lost_answers = 0  # That are still to be lost, of those to POST.
        self.gate = asyncio.Event()
        self.gate.set()
        self.plane = cluster.ControlPlane(self.store)
        self._handle = self.plane.handle
        self.client = api.Client(api.InProcess(self.handle, http.User("admin", ("system:masters",))))

    async def handle(self, request: http.Request) -> http.Response:
        response = await self._handle(request)
        if "watch=true" in request.target and request.path == MAPS.path():
            return http.Response(response.code, response.headers, objects=self._held(response.objects))
        if request.method != "GET":
            self.requests.append(f"{request.method} {request.path.rpartition('/')[2]} {response.code}")
        if request.method == "POST" and request.path == MAPS.path("default") and self.lost_answers:
            self.lost_answers -= 1
            raise ConnectionResetError("the answer was lost")
        return response

    async def _held(self, pieces: Any) -> Any:
        async for piece in pieces:
            await self.gate.wait()
            yield piece

    def names(self) -> list[str]:
        return [meta.name(entry.object) for entry in self.store.list(MAPS.key("default"))[1]]


def run(
    reconcile: Callable[[str, View, float], Sequence[actions.Action]],
    scene: Callable[[Bench], Awaitable[None]],
    perform: Any = None,
) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.plane.begin()
        informers = Informers(bench.client)

        def look(key: str, view: View, now: float) -> Sequence[actions.Action]:
            bench.looks.append(key)
            return reconcile(key, view, now)

        row = runner.Controller("test", "test", ((MAPS, runner.own_key), (SECRETS, runner.own_key)), look, workers=2)
        one = runner.Runner(bench.client, informers, row, perform)
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(informers.run()), group.create_task(one.run())]
            await scene(bench)
            for part in parts:
                part.cancel()

    asyncio.run(main())


def test_a_change_brings_its_key() -> None:
    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("one"))
        await waiting.until(lambda: bench.looks == ["default/one"])

    run(lambda key, view, now: [], scene)


def test_it_does_not_look_again_before_the_cache_shows_what_it_did() -> None:
    seen: list[bool] = []

    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        if key != "default/cause":
            return []
        seen.append(view.get(MAPS, "default", "effect") is not None)
        return [] if seen[-1] else [actions.Create(config_map("effect"))]

    async def scene(bench: Bench) -> None:
        bench.gate.clear()  # The effect's kind is not told of for a while; the cause's is.
        cause = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cause", "namespace": "default"}}
        await bench.client.create(cause)
        await waiting.until(lambda: "effect" in bench.names())
        await bench.client.patch(SECRETS, "cause", "default", {"stringData": {"a": "b"}})
        await asyncio.sleep(0.1)
        assert seen == [False]
        bench.gate.set()
        await waiting.until(lambda: len(seen) == 2)
        assert seen == [False, True]

    run(reconcile, scene)


def test_it_looks_again_when_what_it_created_was_gone_before_the_cache_heard_of_it() -> None:
    informers: list[Informers] = []

    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        assert isinstance(view, Informers)
        informers.append(view)
        gone = view.get(MAPS, "default", "effect") is None
        return [actions.Create(config_map("effect"))] if key == "default/cause" and gone else []

    async def scene(bench: Bench) -> None:
        bench.gate.clear()
        cause = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cause", "namespace": "default"}}
        await bench.client.create(cause)
        await waiting.until(lambda: "effect" in bench.names())
        await bench.client.delete(MAPS, "effect", "default")
        cache = informers[0].of(MAPS)
        await cache._list()  # A new list instead of the watch: it shows neither the creation nor the deletion.
        await waiting.until(lambda: "effect" in bench.names())

    run(reconcile, scene)


def test_what_became_of_a_lost_answer_is_known_before_it_looks_again() -> None:
    """What gets a new name each time would be made twice: the cache does not show yet that it was made."""
    looked: list[int] = []

    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        if key != "default/cause":
            return []
        looked.append(len(view.list(MAPS)))
        unnamed = {**config_map(""), "metadata": {"generateName": "effect-", "namespace": "default"}}
        return [] if view.list(MAPS) else [actions.Create(unnamed)]

    async def scene(bench: Bench) -> None:
        bench.gate.clear()
        bench.lost_answers = 1
        cause = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cause", "namespace": "default"}}
        await bench.client.create(cause)
        await waiting.until(lambda: len(bench.names()) == 1)
        await bench.client.patch(SECRETS, "cause", "default", {"stringData": {"a": "b"}})
        await asyncio.sleep(0.2)
        assert looked == [0]
        bench.gate.set()
        await waiting.until(lambda: looked[1:])
        assert looked[1] == 1 and len(bench.names()) == 1

    run(reconcile, scene)


def test_what_was_refused_is_told_in_the_status_and_what_met_an_old_picture_is_not() -> None:
    told = {"conditions": [{"type": "Failure", "status": "True", "message": "no: {error}"}]}

    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        if not key.startswith("default/cause"):
            return []
        cause = view.get(SECRETS, *meta.split_key(key))
        assert cause is not None
        name = "taken" if key.endswith("1") else "No Name"
        report = actions.UpdateStatus({**cause, "status": told}, subresource="")
        return [actions.Attempt((actions.Create(config_map(name)),), report)]

    sent: list[Object] = []

    async def scene(bench: Bench) -> None:
        update = bench.client.update

        async def recording(obj: Object, subresource: str = "") -> Object:
            sent.append(obj)
            return await update(obj, subresource)

        bench.client.update = recording  # type: ignore[method-assign]
        await bench.client.create(config_map("taken"))
        for number in (1, 2):
            name = {"name": f"cause-{number}", "namespace": "default"}
            await bench.client.create({"apiVersion": "v1", "kind": "Secret", "metadata": name})
        await waiting.until(lambda: sent and bench.looks.count("default/cause-1") > 1)
        (message,) = {obj["status"]["conditions"][0]["message"] for obj in sent}
        assert {meta.name(obj) for obj in sent} == {"cause-2"}
        assert message.startswith('no: ConfigMap "No Name" is invalid')

    run(reconcile, scene)


def test_actions_stop_at_the_first_that_fails_and_the_key_comes_back_later_and_later() -> None:
    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        if key != "default/cause":
            return []
        failed = actions.EmitEvent(view.get(MAPS, "default", "cause") or {}, "Warning", "Failed", "no: {error}")
        bad = meta.changed(config_map("bad"), ("metadata", "name"), "Not A Name")
        return [actions.Create(bad, on_failure=failed), actions.Create(config_map("never"))]

    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("cause"))
        await waiting.until(lambda: bench.looks.count("default/cause") >= 4)
        assert bench.names() == ["cause"]
        (event,) = [entry.object for entry in bench.store.list(EVENTS.key())[1]]
        assert event["reason"] == "Failed" and event["message"].startswith("no: ")
        assert event["count"] >= 3

    run(reconcile, scene)


def test_branches_go_side_by_side_each_in_its_order_and_none_begins_after_a_failure(monkeypatch) -> None:
    monkeypatch.setattr(runner, "SIDE_BY_SIDE_MAX", 2)
    under_way: list[str] = []
    most: list[int] = []

    async def perform(action: Any) -> None:
        under_way.append(action.path)
        most.append(len(under_way))
        await asyncio.sleep(0.01)
        under_way.remove(action.path)
        if action.path == "b2":
            raise OSError("full")
        done.append(action.path)

    done: list[str] = []

    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        branches = [[actions.MakeDirectory(f"{name}{i}") for i in (1, 2)] for name in "abcdef"]
        return actions.together(branches) if not done else []

    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("a"))
        await waiting.until(lambda: "a2" in done and not under_way)
        assert max(most) == 2
        assert done.index("a1") < done.index("a2") and "b2" not in done
        assert not any(path.startswith(("d", "e", "f")) for path in done)

    run(reconcile, scene, {actions.MakeDirectory: perform})


def test_a_conflict_waits_for_the_cache_and_then_succeeds_without_an_event() -> None:
    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        one = view.get(MAPS, "default", "one")
        if one is None or "done" in one["data"]:
            return []
        about = actions.EmitEvent(one, "Warning", "Failed", "{error}")
        return [actions.Update(meta.changed(one, ("data", "done"), "yes"), on_failure=about)]

    async def scene(bench: Bench) -> None:
        bench.gate.clear()
        made = await bench.client.create(config_map("one", a="1"))
        await bench.client.update(meta.changed(made, ("data", "a"), "2"))
        bench.gate.set()
        await waiting.until(lambda: "done" in bench.store.get(MAPS.key("default", "one")).object["data"])  # type: ignore[union-attr]
        assert bench.store.get(MAPS.key("default", "one")).object["data"] == {"a": "2", "done": "yes"}  # type: ignore[union-attr]
        assert not bench.store.list(EVENTS.key())[1]

    run(reconcile, scene)


def test_a_deletion_means_the_uid_it_saw() -> None:
    stale = {**config_map("one"), "metadata": {"name": "one", "namespace": "default", "uid": "an earlier one"}}

    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        return [actions.Delete(stale)] if view.get(MAPS, "default", "one") else []

    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("one"))
        await waiting.until(lambda: len(bench.looks) >= 2)
        assert bench.names() == ["one"]

    run(reconcile, scene)


def test_checks_ask_the_server() -> None:
    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        one = view.get(MAPS, "default", "one")
        if one is None or key != "default/one":
            return []
        other = meta.changed(one, ("metadata", "uid"), "another")
        if view.get(MAPS, "default", "first") is None:
            return [
                actions.StillThere(one),
                actions.Gone(MAPS, "default", "absent"),
                actions.Empty(SECRETS, "default"),
                actions.Create(config_map("first")),
            ]
        if view.get(MAPS, "default", "second") is None:
            return [actions.Gone(MAPS, "default", "one", meta.uid(other)), actions.Create(config_map("second"))]
        return [actions.StillThere(other), actions.Create(config_map("never"))]

    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("one"))
        await waiting.until(lambda: bench.names() == ["first", "one", "second"] or "first" in bench.names())
        await bench.client.patch(MAPS, "one", "default", {"data": {"again": "1"}})
        await waiting.until(lambda: "second" in bench.names())
        looks = len(bench.looks)
        await bench.client.patch(MAPS, "one", "default", {"data": {"again": "2"}})
        await waiting.until(lambda: len(bench.looks) > looks + 1)
        assert bench.names() == ["first", "one", "second"]

    run(reconcile, scene)


def test_a_reconciler_that_raises_stops_only_its_key() -> None:
    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        if key == "default/bad":
            raise KeyError("spec")
        return []

    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("bad"))
        await waiting.until(lambda: bench.looks.count("default/bad") >= 2)
        await bench.client.create(config_map("good"))
        await waiting.until(lambda: "default/good" in bench.looks)

    run(reconcile, scene)


def test_a_key_that_fails_the_same_way_is_told_at_growing_gaps(caplog, monkeypatch) -> None:
    """And a new reason at once, however often there was another."""
    monkeypatch.setattr(runner, "BACKOFF_SECONDS_MAX", 0.01)
    reasons = ["it is so"] * 9 + ["it is another"] * 3

    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        return [actions.Fail(reasons.pop(0))] if reasons else []

    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("a"))
        await waiting.until(lambda: not reasons)

    with caplog.at_level("INFO", "petset.controllers"):
        run(reconcile, scene)
    told = [
        record.getMessage().rpartition("default/a: ")[2]
        for record in caplog.records
        if "default/a" in record.getMessage()
    ]
    assert told == ["it is so", "it is so", "it is another", "it is another"]


def test_a_key_is_looked_at_again_in_time() -> None:
    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        return [actions.RequeueAfter(0.02)]

    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("one"))
        await waiting.until(lambda: bench.looks.count("default/one") >= 3)

    run(reconcile, scene)


def test_what_is_not_the_apis_is_performed_by_whom_it_was_given_to() -> None:
    made: list[str] = []

    async def make(action: actions.MakeDirectory) -> actions.EmitEvent | None:
        if not made:
            made.append("failed")
            raise OSError("disk full")
        made.append(action.path)
        return None

    def reconcile(key: str, view: View, now: float) -> Sequence[actions.Action]:
        one = view.get(MAPS, "default", "one")
        if one is None or "default/done" in made or view.get(MAPS, "default", "done"):
            return []
        event = actions.EmitEvent(one, "Warning", "Failed", "{error}")
        return [actions.MakeDirectory("/volumes/one", event), actions.Create(config_map("done"))]

    async def scene(bench: Bench) -> None:
        await bench.client.create(config_map("one"))
        await waiting.until(lambda: "done" in bench.names())
        assert made == ["failed", "/volumes/one"]
        (event,) = [entry.object for entry in bench.store.list(EVENTS.key())[1]]
        assert event["message"] == "disk full"

    run(reconcile, scene, {actions.MakeDirectory: make})


def test_keys_of_one_queue() -> None:
    async def main() -> None:
        queue = Queue()
        queue.add("a")
        queue.add("b")
        queue.add("a")
        assert [await queue.take(), await queue.take()] == ["a", "b"]
        queue.add("a")
        queue.add_after("b", 10)
        queue.add_after("b", 0.001)
        async with asyncio.timeout(5):
            queue.done("a")
            assert await queue.take() == "a", "a change while it was busy brings it back"
            queue.done("a")
            queue.done("b")
            assert await queue.take() == "b"
        queue.close()

    asyncio.run(main())


def test_a_queue_tells_of_itself_as_kubernetes_do() -> None:
    async def main() -> dict[str, object]:
        queue = Queue()
        for key in ("a", "b", "a", "c"):
            queue.add(key)
        await queue.take()
        await queue.take()
        queue.worked("a")
        queue.done("a")
        queue.retry("a", 60)
        queue.close()
        samples = {name: value for name, labels, value in queue.samples("sets") if labels == ("sets",)}
        assert samples["workqueue_unfinished_work_seconds"] == samples["workqueue_longest_running_processor_seconds"]
        return samples

    samples = asyncio.run(main())
    assert (samples["workqueue_adds_total"], samples["workqueue_depth"]) == (3, 1)
    assert samples["workqueue_retries_total"] == 1
    waited, worked = samples["workqueue_queue_duration_seconds"], samples["workqueue_work_duration_seconds"]
    assert isinstance(waited, telemetry.Histogram) and isinstance(worked, telemetry.Histogram)
    assert (sum(waited.counts), sum(worked.counts)) == (2, 1)
