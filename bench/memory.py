"""(e) Memory after churn and a minute of rest, against a fresh start with the same objects: what is kept for nothing.

Churn: objects are changed over and over and others come and go, while watchers follow, some of which do not read, and
lists are cut by limits and shown as tables. The API and its controllers do the work; no pod runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench import instance
from petset.cli.asking import connection
from petset.client.client import Client
from petset.kinds import builtin
from petset.kinds.config_map import CONFIGMAPS
from petset.objects.registry import Kind

OBJECTS = 5_000
WRITES = 30_000
AT_ONCE = 16
WATCHERS = 4
REST_SECONDS = 60.0


def main() -> None:
    instance.heading()
    with tempfile.TemporaryDirectory(prefix="petset-bench-", dir="/tmp") as directory:
        with instance.running(Path(directory), "--simulate") as one:
            started = instance.memory_bytes(one.process.pid)
            asyncio.run(_churn(one))
            busy = instance.memory_bytes(one.process.pid)
            time.sleep(REST_SECONDS)
            rested = instance.memory_bytes(one.process.pid)
        with instance.running(Path(directory), "--simulate") as one:
            asyncio.run(_look(one))
            time.sleep(REST_SECONDS)
            fresh = instance.memory_bytes(one.process.pid)
    _row("resident memory, empty", started)
    _row(f"{OBJECTS} objects, at the end of {WRITES} writes", busy, fresh)
    _row("the same after a minute of rest", rested, fresh)


def _row(what: str, ours: int, fresh: int = 0) -> None:
    by_hand = f"{fresh / 2**20:.0f} MiB loaded" if fresh else ""
    instance.row(what, f"{ours / 2**20:.0f} MiB", by_hand, ours / fresh if fresh else None)


def _objects(count: int, prefix: str) -> list[dict[str, Any]]:
    """Of every five: three ConfigMaps, a Secret, and a Pod that waits for a scheduler of its own."""
    return [_object(f"{prefix}-{number}", number) for number in range(count)]


def _object(name: str, number: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "labels": {"bench": "memory", "part": str(number % 7)}}
    if number % 5 == 3:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": "dmFs" * 200}}
    if number % 5 == 4:
        container = {"image": "i", "env": [{"name": f"E{each}", "value": "v" * 20} for each in range(30)]}
        spec = {"schedulerName": "nobody", "containers": [{"name": f"c{each}", **container} for each in range(2)]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v" * 900}}


async def _churn(one: instance.Instance) -> None:
    async with contextlib.AsyncExitStack() as opened:
        clients = [(await opened.enter_async_context(connection.connect(one.state))).client for _ in range(AT_ONCE)]
        kept = _objects(OBJECTS, "kept")
        await _each(clients, [(_create, obj) for obj in kept])
        watching = [asyncio.create_task(_follow(client, at)) for at, client in enumerate(clients[:WATCHERS])]
        changing = itertools.cycle(kept)
        writes: list[Step] = []
        for number, passing in enumerate(_objects(WRITES // 4, "passing")):
            writes += [(_annotate, {**next(changing), "number": number}) for _ in range(2)]
            writes.append((_pass, passing))
        await _each(clients, writes)
        await _list(clients[0])
        for watcher in watching:
            watcher.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


Step = tuple[Callable[[Client, Any], Awaitable[None]], Any]


async def _each(clients: list[Client], steps: list[Step]) -> None:
    """All steps, in order as far as they are begun, one at a time a connection."""
    left = iter(steps)

    async def work(client: Client) -> None:
        for step, obj in left:
            await step(client, obj)

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(work(client))


def _resource(obj: Any) -> Kind:
    found = builtin.KINDS.named(obj["apiVersion"], obj["kind"])
    assert found is not None
    return found


async def _create(client: Client, obj: Any) -> None:
    await client.create(obj)


async def _pass(client: Client, obj: Any) -> None:
    """Two writes: it comes and goes."""
    await client.create(obj)
    await client.delete(_resource(obj), obj["metadata"]["name"], "default", grace_seconds=0)


async def _annotate(client: Client, obj: Any) -> None:
    patch = {"metadata": {"annotations": {"number": str(obj["number"])}}}
    await client.patch(_resource(obj), obj["metadata"]["name"], "default", patch)


async def _follow(client: Client, number: int) -> None:
    """Every second one reads one event and then no more."""
    async for _ in client.watch(CONFIGMAPS, since="0"):
        if number % 2:
            await asyncio.sleep(3600)


KINDS = ("configmaps", "secrets", "pods")


async def _list(client: Client) -> None:
    for kind in KINDS:
        await client.raw(f"/api/v1/{kind}?limit=100")
        await client.raw(f"/api/v1/{kind}")


async def _look(one: instance.Instance) -> None:
    async with connection.connect(one.state) as connected:
        await _list(connected.client)
