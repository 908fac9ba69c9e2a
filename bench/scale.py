"""(f) Pods of one Parallel set on a simulated node, at growing sizes: what one pod costs must not depend on the others.

Seconds and CPU seconds of petset from apply until all are Ready, for one more pet among them, and until all are gone;
its memory with all of them and half a minute after. By hand: the same per pod at the smallest size of this very run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench import instance
from petset.cli.asking import connection
from petset.client.client import Client
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.kinds.stateful_set import STATEFULSETS
from petset.net.dialer import Dialer
from petset.objects import meta
from petset.wire import http

SIZES = tuple(int(size) for size in os.environ.get("PETSET_BENCH_SCALE", "100 1000 10000").split())
REST_SECONDS = float(os.environ.get("PETSET_BENCH_REST", "30"))
SECONDS_MAX = 1800.0
LABELS = {"app": "many"}


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one size: seconds, CPU seconds, bytes."""

    ready: float
    ready_cpu: float
    one_more: float
    gone: float
    full: int
    after: int
    lag: float  # 99 of 100 callbacks wait no longer for their turn, as petset measures it itself.


def main() -> None:
    instance.heading()
    least: Figures | None = None
    for size in SIZES:
        with instance.running(None, "--simulate") as one:
            found = asyncio.run(measured(one, size))
        least = least or found
        _rows(size, found, least)


def _rows(size: int, found: Figures, least: Figures) -> None:
    def row(what: str, text: str, value: float, of_least: float) -> None:
        instance.row(f"{size} pods: {what}", text, f"{of_least:.2f}", value / of_least)

    row("ms a pod until all are Ready", f"{found.ready:.2f} s", found.ready / size * 1e3, least.ready / SIZES[0] * 1e3)
    row("CPU ms a pod", f"{found.ready_cpu:.2f} s", found.ready_cpu / size * 1e3, least.ready_cpu / SIZES[0] * 1e3)
    row("ms for one more", f"{found.one_more * 1e3:.0f} ms", found.one_more * 1e3, least.one_more * 1e3)
    row("ms a pod until all are gone", f"{found.gone:.2f} s", found.gone / size * 1e3, least.gone / SIZES[0] * 1e3)
    instance.row(f"{size} pods: loop lag, p99 below", f"{found.lag * 1e3:.0f} ms")
    instance.row(f"{size} pods: memory, all there", f"{found.full / 2**20:.0f} MiB")
    instance.row(f"{size} pods: memory, all gone", f"{found.after / 2**20:.0f} MiB")


async def measured(one: instance.Instance, size: int, rest_seconds: float = REST_SECONDS) -> Figures:
    async with contextlib.AsyncExitStack() as opened:
        connected = await opened.enter_async_context(connection.connect(one.state))
        client = connected.client
        before = instance.cpu_seconds(one.process.pid)
        ready, revision = await _timed(_become_ready(client, size))
        ready_cpu = instance.cpu_seconds(one.process.pid) - before
        one_more, _ = await _timed(_grow(client, size + 1, revision))
        full = instance.memory_bytes(one.process.pid)
        gone, _ = await _timed(_go(client))
        await asyncio.sleep(rest_seconds)
        after = instance.memory_bytes(one.process.pid)  # First: to ask for the lag imports what renders metrics.
        lag = await _lag(connected.dialer)
        return Figures(ready, ready_cpu, one_more, gone, full, after, lag)


async def _lag(dialer: Dialer) -> float:
    """The upper bound of the bucket in which the 99th percentile lies."""
    answer = await dialer.send(http.Request("GET", "/metrics"))
    assert isinstance(answer.body, bytes)
    counts = {
        float(bound): int(float(count))
        for bound, count in re.findall(r'petset_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', answer.body.decode())
    }
    return next((bound for bound, count in sorted(counts.items()) if count >= 0.99 * max(counts.values())), 0.0)


async def _timed(work: Any) -> tuple[float, Any]:
    began = time.monotonic()
    async with asyncio.timeout(SECONDS_MAX):
        result = await work
    return time.monotonic() - began, result


async def _become_ready(client: Client, size: int) -> str:
    metadata = {"name": "many", "namespace": "default"}
    await client.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"clusterIP": "None", "selector": LABELS, "ports": [{"port": 80}]},
        }
    )
    container = {"name": "c", "image": "nothing", "readinessProbe": {"tcpSocket": {"port": 80}}}
    template = {"metadata": {"labels": LABELS}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    made = await client.create(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": metadata,
            "spec": {
                "serviceName": "many",
                "replicas": size,
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": LABELS},
                "template": template,
            },
        }
    )
    return await _until(client, made, lambda status: status.get("readyReplicas", 0) >= size)


async def _grow(client: Client, size: int, since: str) -> None:
    made = await client.patch(STATEFULSETS, "many", "default", {"spec": {"replicas": size}})
    await _until(client, made, lambda status: status.get("readyReplicas", 0) >= size)


async def _until(client: Client, set_: Any, true: Callable[[Any], bool]) -> str:
    """The revision at which the set's status says so."""
    since = set_["metadata"]["resourceVersion"]
    while True:
        watch = client.watch(STATEFULSETS, "default", since, field_selector="metadata.name=many")
        async with contextlib.aclosing(watch) as events:
            async for _, obj in events:
                since = obj["metadata"]["resourceVersion"]
                if true(obj.get("status") or {}):
                    return since


async def _go(client: Client) -> None:
    """The set and its pods gone, as `kubectl delete` in the foreground waits for it."""
    await client.delete(STATEFULSETS, "many", "default", propagation="Foreground")
    while True:
        items, since = await client.list(STATEFULSETS, "default")
        if not items:
            break
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                async with contextlib.aclosing(client.watch(STATEFULSETS, "default", since)) as events:
                    async for type_, _ in events:
                        if type_ == "DELETED":
                            break
    left, _ = await client.list(PODS, "default")
    assert not left, f"{len(left)} pods are left, such as {meta.name(left[0])}"
    await client.delete(SERVICES, "many", "default")
