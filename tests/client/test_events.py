"""Events: one object for what keeps happening, its count growing, within bounds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from petset import cluster
from petset.base import memory as base
from petset.base import tasks
from petset.client import client as api
from petset.client import events
from petset.kinds.event import EVENTS
from petset.objects.meta import Object
from petset.store import memory
from petset.wire import http

CLAIM: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "www-web-0", "namespace": "default", "uid": "u", "resourceVersion": "1"},
}


class Clock:
    def __init__(self) -> None:
        self.now = 1_470_000_000.0


ADMIN = http.User("admin", ("system:masters",))
NODE = http.User("system:node:n1", ("system:nodes",))


def run(scene: Callable[[api.Client, memory.MemoryStore, Clock], Awaitable[None]], user: http.User = ADMIN) -> None:
    clock = Clock()

    async def main() -> None:
        store = memory.MemoryStore()
        plane = cluster.ControlPlane(store)
        await plane.begin()
        await scene(plane.client(user), store, clock)

    with tasks.environment(tasks.Environment(wall_clock=lambda: clock.now, rng=random.Random(1))):
        asyncio.run(main())


def written(store: memory.MemoryStore) -> list[Object]:
    return [entry.object for entry in store.list(EVENTS.key())[1]]


def test_the_same_happening_is_one_event_with_a_growing_count() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        recorder = events.Recorder(client, "persistentvolume-controller")
        for _ in range(3):
            clock.now += 10
            await recorder.record(CLAIM, "Warning", "ProvisioningFailed", "No provisioner plugin found for the claim!")
        (event,) = written(store)
        assert event["count"] == 3
        assert event["firstTimestamp"] < event["lastTimestamp"]
        assert event["metadata"]["name"].startswith("www-web-0.")
        assert event["involvedObject"]["uid"] == "u"
        assert event["source"] == {"component": "persistentvolume-controller"}

    run(scene)


def test_a_restarted_recorder_finds_its_event_again() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        for _ in range(2):
            await events.Recorder(client, "somebody").record(CLAIM, "Normal", "Said", "hello")
        (event,) = written(store)
        assert event["count"] == 2

    run(scene)


def test_a_restarted_node_counts_on_although_it_may_read_no_events() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        for _ in range(2):
            clock.now += 10
            await events.Recorder(client, "kubelet", "n1").record(CLAIM, "Warning", "Failed", "again")
        (event,) = written(store)
        assert event["count"] == 2

    run(scene, NODE)


def test_an_event_that_expired_is_made_anew() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        recorder = events.Recorder(client, "somebody")
        await recorder.record(CLAIM, "Normal", "Said", "hello")
        (event,) = written(store)
        await client.delete(EVENTS, event["metadata"]["name"], "default")
        clock.now += 60
        await recorder.record(CLAIM, "Normal", "Said", "hello")
        clock.now += 60
        await recorder.record(CLAIM, "Normal", "Said", "hello")
        (again,) = written(store)
        assert again["count"] >= 1

    run(scene)


def test_one_object_cannot_flood_the_store_and_others_are_not_held_back() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        recorder = events.Recorder(client, "somebody")
        for number in range(100):
            await recorder.record(CLAIM, "Normal", "Said", f"number {number}")
        assert len(written(store)) == events.EVENTS_BURST_MAX
        other = {**CLAIM, "metadata": {**CLAIM["metadata"], "name": "other", "uid": "o"}}
        await recorder.record(other, "Normal", "Said", "hello")
        assert len(written(store)) == events.EVENTS_BURST_MAX + 1
        clock.now += 10 * events.EVENTS_REFILL_SECONDS
        await recorder.record(CLAIM, "Normal", "Said", "at last")
        assert len(written(store)) == events.EVENTS_BURST_MAX + 2

    run(scene)


def test_repeats_beyond_the_allowance_are_counted_and_written_later() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        recorder = events.Recorder(client, "somebody")
        for _ in range(100):
            await recorder.record(CLAIM, "Normal", "Said", "hello")
        before = store.revision
        await recorder.record(CLAIM, "Normal", "Said", "hello")
        assert store.revision == before
        clock.now += 60
        await recorder.record(CLAIM, "Normal", "Said", "hello")
        (event,) = written(store)
        assert event["count"] == 102

    run(scene)


def test_what_cannot_be_recorded_is_nobodys_failure() -> None:
    async def refuse(request: http.Request) -> http.Response:
        raise ConnectionError("refused")

    async def main() -> None:
        client = api.Client(api.InProcess(refuse, http.User("somebody")))
        await events.Recorder(client, "somebody").record(CLAIM, "Normal", "Said", "hello")

    asyncio.run(main())


def test_what_is_remembered_is_one_text_at_rest_and_holds_afterwards() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        recorder = events.Recorder(client, "persistentvolume-controller")
        for number in range(events.EVENTS_BURST_MAX - 1):
            await recorder.record(CLAIM, "Normal", "Same", f"message {number}")
        for _ in range(2):
            base.let_go()
            assert not recorder._known and not recorder._objects
        await recorder.record(CLAIM, "Normal", "Same", "message 3")
        for number in range(3):
            await recorder.record(CLAIM, "Normal", "Other", f"message {number}")
        assert len(written(store)) == events.EVENTS_BURST_MAX, "its allowance was used up before"
        assert [event["count"] for event in written(store) if event["message"] == "message 3"] == [2]

    run(scene)


def other(number: int) -> Object:
    metadata = {**CLAIM["metadata"], "name": f"www-web-{number}", "uid": f"u{number}", "annotations": {"much": "text"}}
    return {**CLAIM, "metadata": metadata}


async def told(telling: events.Telling, store: memory.MemoryStore, count: int) -> list[Object]:
    """The events that were written of what it was told, in their order."""
    with store.watch(EVENTS.key(), store.revision) as watch:
        async with asyncio.TaskGroup() as group:
            writing = tasks.spawn(group, telling.run(), "events")
            found = [(await anext(watch)).entry.object for _ in range(count)]
            writing.cancel()
    return found


def test_what_is_told_of_many_shares_commits_and_what_is_told_of_one_keeps_its_order() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        telling = events.Telling(events.Recorder(client, "kubelet"))
        for number in range(events.SIDE_BY_SIDE_MAX):
            telling.tell(other(number), "Normal", "Said", "hello")
        before = store.stats().commits
        found = await told(telling, store, events.SIDE_BY_SIDE_MAX)
        assert store.stats().commits - before == 1
        assert {event["involvedObject"]["resourceVersion"] for event in found} == {"1"}
        for message in ("one", "two", "three"):
            telling.tell(CLAIM, "Normal", "Said", message)
        assert [event["message"] for event in await told(telling, store, 3)] == ["one", "two", "three"]

    run(scene)


def test_of_too_many_that_wait_the_oldest_are_not_written() -> None:
    async def scene(client: api.Client, store: memory.MemoryStore, clock: Clock) -> None:
        telling = events.Telling(events.Recorder(client, "kubelet"))
        for number in range(events.WAITING_EVENTS_MAX + 1):
            telling.tell(other(number), "Normal", "Said", "hello")
        telling.tell(CLAIM, "Normal", "Said", "the last")
        kept = [told.about for told in telling._waiting]
        assert len(kept) == events.WAITING_EVENTS_MAX and kept[0]["metadata"]["name"] == "www-web-2"
        assert all("annotations" not in about["metadata"] for about in kept), "no more than events say of it"

    run(scene)
