"""Clients in the server's process see what others see, and share the store's trees instead of keeping copies."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from petset import cluster
from petset.base import memory as base
from petset.client import client as api
from petset.client.informer import Informer
from petset.kinds.config_map import CONFIGMAPS
from petset.objects import encoding, errors
from petset.store import memory
from petset.store import store as stores
from petset.wire import http
from tests.server.conftest import ADMIN, configmap
from tests.waiting import until

MAPS = CONFIGMAPS


class OverBytes(api.InProcess):
    """As a client over the network."""

    async def send(self, request: http.Request) -> http.Response:
        return await super().send(dataclasses.replace(request, takes_objects=False))


def run(scene: Callable[[memory.MemoryStore, api.Client, api.Client], Awaitable[None]]) -> None:
    async def main() -> None:
        store = memory.MemoryStore()
        handle = cluster.ControlPlane(store).handle
        await scene(store, api.Client(api.InProcess(handle, ADMIN)), api.Client(OverBytes(handle, ADMIN)))

    asyncio.run(main())


async def change(store: memory.MemoryStore, name: str, labels: dict[str, str] | None = None, **data: str) -> None:
    obj = {**configmap(name, labels, **data), "metadata": {"name": name, "namespace": "default"}}
    if labels:
        obj["metadata"]["labels"] = labels
    await store.put(f"/core/configmaps/default/{name}", obj, None)


@pytest.mark.parametrize("selector", ["", "on"])
def test_they_see_the_same_whichever_way(selector: str) -> None:
    async def scene(store: memory.MemoryStore, neighbour: api.Client, stranger: api.Client) -> None:
        for name in "abc":
            await change(store, name, {"on": "yes"})
        lists = [await client.list(MAPS, label_selector=selector) for client in (neighbour, stranger)]
        assert lists[0] == lists[1]
        seen: tuple[list[Any], list[Any]] = ([], [])

        async def follow(client: api.Client, events: list[Any]) -> None:
            async for event in client.watch(MAPS, since=lists[0][1], label_selector=selector):
                events.append(event)

        async with asyncio.TaskGroup() as group:
            following = [group.create_task(follow(*each)) for each in zip((neighbour, stranger), seen, strict=True)]
            await until(lambda: store.stats().watchers >= 2)
            await change(store, "a", x="1")
            await change(store, "b", {"on": "yes"}, x="1")
            await store.delete("/core/configmaps/default/c", None)
            await until(lambda: all(len(events) == 3 for events in seen))
            for task in following:
                task.cancel()
        assert seen[0] == seen[1]
        assert store.stats().watchers == 0

    run(scene)


def test_they_are_refused_alike() -> None:
    async def scene(store: memory.MemoryStore, neighbour: api.Client, stranger: api.Client) -> None:
        store._history._changes_max = 1
        for _ in range(3):
            await change(store, "a")
        said = []
        for client in (neighbour, stranger):
            with pytest.raises(errors.ApiError) as caught:
                await anext(client.watch(MAPS, since="1"))
            said.append((caught.value.code, caught.value.reason, caught.value.message))
        assert said[0] == said[1] and said[0][0] == 410

    run(scene)


def test_their_caches_hold_the_stores_own_trees() -> None:
    async def scene(store: memory.MemoryStore, neighbour: api.Client, stranger: api.Client) -> None:
        await change(store, "listed")
        informers = [Informer(neighbour, MAPS) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(informer.run()) for informer in informers]
            for informer in informers:
                await informer.synced.wait()
            await change(store, "watched")
            await until(lambda: all(len(informer) == 2 for informer in informers))
            for task in running:
                task.cancel()
        for name in ("listed", "watched"):
            entry = store.get(f"/core/configmaps/default/{name}")
            assert entry is not None
            assert all(informer.get("default", name) is entry.object for informer in informers)
            assert encoding.loads(entry.encoded) == entry.object

    run(scene)


def test_what_they_get_and_write_is_the_stores_own_tree() -> None:
    async def scene(store: memory.MemoryStore, neighbour: api.Client, stranger: api.Client) -> None:
        def stored() -> Any:
            entry = store.get("/core/configmaps/default/a")
            assert entry is not None
            return entry.object

        await store.put("/core/namespaces/default", {"metadata": {"name": "default"}}, 0)
        made = await neighbour.create({**configmap("a"), "metadata": {"name": "a", "namespace": "default"}})
        assert made is stored()
        assert await neighbour.update({**made, "data": {"k": "v"}}) is stored()
        assert await neighbour.patch(MAPS, "a", "default", {"data": {"k": "w"}}) is stored()
        assert await neighbour.get(MAPS, "a", "default") is stored()
        assert await stranger.get(MAPS, "a", "default") == stored()

    run(scene)


def test_raw_bodies_are_bytes_for_everybody() -> None:
    async def scene(store: memory.MemoryStore, neighbour: api.Client, stranger: api.Client) -> None:
        await change(store, "a")
        assert await neighbour.raw("/api/v1/configmaps") == await stranger.raw("/api/v1/configmaps")

    run(scene)


def changes() -> list[stores.Change | stores.Entry]:
    """Those in memory now, of other tests' stores too."""
    gc.collect()
    return [obj for obj in gc.get_objects() if isinstance(obj, stores.Change | stores.Entry)]


def test_who_waits_keeps_nothing_of_the_last_change_and_goes_on_after_a_rest() -> None:
    others = changes()

    async def scene(store: memory.MemoryStore, neighbour: api.Client, stranger: api.Client) -> None:
        informer = Informer(neighbour, MAPS)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(informer.run())
            await informer.synced.wait()
            await change(store, "a")
            await until(lambda: len(informer) == 1)
            await store.delete("/core/configmaps/default/a", None)
            await until(lambda: len(informer) == 0)
            await asyncio.sleep(0)  # Until this task has forgotten what it waited for.
            store._rest()
            assert [obj for obj in changes() if not any(obj is other for other in others)] == []
            target = "/api/v1/configmaps?watch=true&resourceVersion=2"  # Without bookmarks.
            answer = await neighbour._transport.send(http.Request("GET", target, takes_objects=True))
            assert answer.objects is not None
            plain = group.create_task(anext(answer.objects))
            await until(lambda: store.stats().watchers == 2)
            for _ in range(3):
                base.after_rest.tell()
                await until(lambda: informer.revision == str(store.revision))
            assert not plain.done(), "nobody but its time ends it"
            await change(store, "b")
            assert [(type_, obj["metadata"]["name"]) for type_, obj in await plain] == [("ADDED", "b")]
            await until(lambda: len(informer) == 1)
            running.cancel()
            await answer.objects.aclose()

    run(scene)
