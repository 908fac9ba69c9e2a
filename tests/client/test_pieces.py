"""A list that is read by the piece, and an informer that keeps a part of each object, over the real API."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from petset import cluster
from petset.base import tasks
from petset.client.client import Client, InProcess
from petset.client.informer import Informer
from petset.kinds.config_map import CONFIGMAPS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.store import memory
from petset.wire import http
from tests.client.scripted import config_map, status
from tests.waiting import until

NAMES = [f"c-{number}" for number in range(5)]


class Counted:
    """A transport that remembers the targets, and may be told to answer something else."""

    def __init__(self, transport: http.Transport):
        self._transport = transport
        self.targets: list[str] = []
        self.instead: Callable[[str], http.Response | None] | None = None

    async def send(self, request: http.Request) -> http.Response:
        self.targets.append(request.target)
        if self.instead is not None and (answer := self.instead(request.target)) is not None:
            return answer
        return await self._transport.send(request)


def run(test: Callable[[Client, Counted, memory.MemoryStore], Awaitable[None]]) -> None:
    async def main() -> None:
        store = memory.MemoryStore()
        plane = cluster.ControlPlane(store)
        await plane.begin()
        counted = Counted(InProcess(plane.handle, cluster.ADMINISTRATOR))
        client = Client(counted)
        for name in NAMES:
            await client.create(made(name))
        counted.targets.clear()
        async with asyncio.timeout(20):
            await test(client, counted, store)

    asyncio.run(main())


def made(name: str) -> Object:
    whole = config_map(name, 0, key="a long value")
    return {**whole, "metadata": {"name": name, "namespace": "default"}}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_pieces_are_the_list_at_one_revision(elsewhere: bool) -> None:
    kind = dataclasses.replace(CONFIGMAPS, elsewhere=elsewhere)

    async def check(client: Client, counted: Counted, store: memory.MemoryStore) -> None:
        whole, revision = await client.list(kind, "default")
        counted.targets.clear()
        found: list[str] = []
        async for items, of_all in client.pieces(kind, "default", most=2):
            assert of_all == revision, "what is written meanwhile is not in it"
            found += map(meta.name, items)
            await client.create(made(f"later-{len(found)}"))
        assert found == [meta.name(item) for item in whole]
        lists = [target for target in counted.targets if "limit=2" in target]
        assert len(lists) == (len(whole) + 1) // 2 and sum("continue=" in target for target in lists) == len(lists) - 1

    run(check)


def test_an_informer_reads_by_the_piece_and_keeps_a_part() -> None:
    async def check(client: Client, counted: Counted, store: memory.MemoryStore) -> None:
        def named(obj: Object) -> Object:
            return {key: obj[key] for key in ("apiVersion", "kind", "metadata")}

        informer = Informer(client, CONFIGMAPS, namespace="default", keep=named, piece=2)
        told: list[str] = []
        informer.on_change(lambda old, new: told.append(meta.name(new or old or {})))
        async with asyncio.TaskGroup() as group:
            running = tasks.spawn(group, informer.run(), "informer")
            await informer.synced.wait()
            assert set(NAMES) <= {meta.name(obj) for obj in informer.list()} == set(told)
            await client.create(made("later"))
            await until(lambda: informer.get("default", "later"))
            assert not any("data" in obj for obj in informer.list())
            assert all("managedFields" not in obj["metadata"] or obj["metadata"]["uid"] for obj in informer.list())
            running.cancel()

    run(check)


def test_a_list_that_is_too_old_to_go_on_with_begins_anew() -> None:
    async def check(client: Client, counted: Counted, store: memory.MemoryStore) -> None:
        def too_old(target: str) -> http.Response | None:
            return status(410, "Expired") if "continue=" in target else None

        counted.instead = too_old
        with pytest.raises(errors.ApiError) as old:
            async for _ in client.pieces(CONFIGMAPS, "default", most=2):
                pass
        assert old.value.code == 410
        informer = Informer(client, CONFIGMAPS, namespace="default", piece=2)
        async with asyncio.TaskGroup() as group:
            running = tasks.spawn(group, informer.run(), "informer")
            await until(lambda: sum("continue=" in target for target in counted.targets) > 2)
            assert len(informer) == 0 and not informer.synced.is_set(), "half a list is none"
            counted.instead = None
            await informer.synced.wait()
            assert {meta.name(obj) for obj in informer.list()} >= set(NAMES)
            running.cancel()

    run(check)
