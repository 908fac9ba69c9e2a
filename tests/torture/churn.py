"""The churn loop: objects come and go in waves, a set with its pods among them; what stays of them in memory?"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.net.dialer import Dialer
from petset.wire import http
from tests.torture.instance import Instance

LINES = 8
WAVE_OBJECTS = 200
PETS = 2
READY_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.02
GROWTH_RATIO_MAX, GROWTH_BYTES_MIN = 1.3, 32 << 20  # Of the last wave to the first: less than either is no growth.
HEADERS = (("accept", "application/json"), ("content-type", "application/json"))


@dataclass
class Figures:
    objects: int = 0
    bytes_first: int = 0
    bytes_last: int = 0
    wrong: list[str] = field(default_factory=list)


async def run(instance: Instance, objects: int) -> Figures:
    figures = Figures()
    if not instance.is_running and not await instance.start():
        raise RuntimeError(instance.said[-1])
    async with contextlib.AsyncExitStack() as opened:
        lines = [await opened.enter_async_context(instance.dialer()) for _ in range(LINES)]
        while figures.objects < objects:
            await wave(lines, figures)
            figures.bytes_last = instance.memory_bytes()
            figures.bytes_first = figures.bytes_first or figures.bytes_last
    grown = figures.bytes_last - figures.bytes_first
    if grown > GROWTH_BYTES_MIN and figures.bytes_last > GROWTH_RATIO_MAX * figures.bytes_first:
        figures.wrong.append(f"memory grew from {figures.bytes_first >> 20} to {figures.bytes_last >> 20} MiB")
    if code := await instance.stop():
        figures.wrong.append(f"SIGTERM ended with exit code {code}")
    figures.wrong += instance.tracebacks()
    return figures


async def wave(lines: list[Dialer], figures: Figures) -> None:
    """One set with its pets, and many small objects, made and removed."""
    name = f"churn-{figures.objects}"
    await ask(lines[0], "POST", STATEFULSETS.path("default"), a_set(name))
    numbers = iter(range(WAVE_OBJECTS))

    async def pass_by(line: Dialer) -> None:
        for number in numbers:
            metadata = {"name": f"{name}-{number}"}
            obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "x" * 2000}}
            await ask(line, "POST", CONFIGMAPS.path("default"), obj)
            await ask(line, "DELETE", CONFIGMAPS.path("default", metadata["name"]))

    async with asyncio.TaskGroup() as passing:
        for line in lines:
            passing.create_task(pass_by(line))
    async with asyncio.timeout(READY_SECONDS_MAX):
        await until(lines[0], STATEFULSETS.path("default", name), is_ready)
        await ask(lines[0], "DELETE", STATEFULSETS.path("default", name))
        await until(lines[0], PODS.path("default") + f"?labelSelector=app%3D{name}", is_empty)
    figures.objects += WAVE_OBJECTS + PETS + 1


def a_set(name: str) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "example/server:1"}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "replicas": PETS,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
        },
    }


def is_ready(set_: dict[str, Any]) -> bool:
    return set_.get("status", {}).get("readyReplicas", 0) == PETS


def is_empty(listed: dict[str, Any]) -> bool:
    return not listed["items"]


async def until(line: Dialer, target: str, condition: Callable[[dict[str, Any]], bool]) -> None:
    while not condition(await ask(line, "GET", target)):  # noqa: ASYNC110  # Watching is what others do here.
        await asyncio.sleep(LOOK_SECONDS)


async def ask(line: Dialer, method: str, target: str, body: Any = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body is not None else b""
    response = await line.send(http.Request(method, target, HEADERS, data))
    text = response.body if isinstance(response.body, bytes) else b"".join([part async for part in response.body])
    if response.code >= 300:
        raise RuntimeError(f"{method} {target}: {response.code} {text[:300]!r}")
    return json.loads(text)
