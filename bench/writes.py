"""CPU of writes in this process, from request to answer, without network: ConfigMaps of 1 kB and Pods, 16 at once.

Over a store in memory, and over one on disk (with the writer's thread, without the wait for fsync). By hand: the body
read and written as JSON. Only figures of one run on one machine compare; the steps of a write are counted by
tests/server/test_write_cost.py.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import instance
from petset import cluster
from petset.objects import encoding
from petset.store import memory, sqlite
from petset.store import store as stores
from petset.wire import http

OBJECTS, ROUNDS, AT_ONCE = 200, 8, 16
SPACE = "/api/v1/namespaces/default"
ADMIN = http.User("petset-admin", ("system:masters",))
MERGE = "application/strategic-merge-patch+json"

Written = tuple[str, str, str, bytes]  # Method, path, content type, body.


def main() -> None:
    instance.heading()
    asyncio.run(_in_memory())
    asyncio.run(_on_disk())


async def _in_memory() -> None:
    await _measure("in memory", memory.MemoryStore())


async def _on_disk() -> None:
    with tempfile.TemporaryDirectory(prefix="petset-bench-", dir="/tmp") as directory:
        store = await sqlite.SqliteStore.open(Path(directory, "petset.db"))
        try:
            await _measure("on disk", store)
        finally:
            await store.close()


async def _measure(where: str, store: stores.Store) -> None:
    plane = cluster.ControlPlane(store)
    await plane.begin()
    ours, by_hand = dict[str, float](), dict[str, float]()
    for number in range(ROUNDS):
        for what, writes in _series(number):
            ours[what] = min(ours.get(what, 1.0), await _spent(plane, writes))
            by_hand[what] = min(by_hand.get(what, 1.0), _by_hand(writes))
    for what, seconds in ours.items():
        hand = by_hand[what]
        instance.row(f"{what}, {where}", f"{seconds * 1e6:.0f} us", f"{hand * 1e6:.0f} us", seconds / hand)


async def _spent(plane: cluster.ControlPlane, writes: list[Written]) -> float:
    """CPU seconds of one."""
    left = iter(writes)

    async def client() -> None:
        for method, path, kind, body in left:
            headers = (("host", "localhost"), ("user-agent", "bench/1"), ("content-type", kind))
            answer = await plane.handle(http.Request(method, path, headers, body, user=ADMIN))
            if answer.code >= 300:
                raise RuntimeError(f"{method} {path}: {answer.code} {answer.body!r}")

    began = time.process_time()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return (time.process_time() - began) / len(writes)


def _by_hand(writes: list[Written]) -> float:
    began = time.process_time()
    for _, _, _, body in writes:
        encoding.dumps(encoding.loads(body))
    return (time.process_time() - began) / len(writes)


def _series(number: int) -> Iterator[tuple[str, list[Written]]]:
    names = [f"o{number}-{each}" for each in range(OBJECTS)]
    maps, pods = f"{SPACE}/configmaps", f"{SPACE}/pods"
    yield "create a ConfigMap", [_written("POST", maps, _config_map(name, "v")) for name in names]
    yield "update a ConfigMap", [_written("PUT", f"{maps}/{name}", _config_map(name, "w")) for name in names]
    yield "create a Pod", [_written("POST", pods, _pod(name)) for name in names]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [ready]}}
    yield "patch a Pod's status", [_written("PATCH", f"{pods}/{name}/status", status, MERGE) for name in names]


def _written(method: str, path: str, body: Any, kind: str = "application/json") -> Written:
    return method, path, kind, json.dumps(body).encode()


def _config_map(name: str, text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": text * 900}}


def _pod(name: str) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "redis:3.2",
        "ports": [{"containerPort": 6379}],
        "env": [{"name": "A", "value": "b"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    labels = {"app": "web"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container]},
    }
