"""(g) A Deployment of simulated pods: until all are available, until all are of another template, until all are gone.

By hand: the pods of a Parallel StatefulSet, as many, made and gone in the same run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bench import instance
from petset.cli.asking import connection
from petset.client.client import Client
from petset.kinds.apps.deployment import DEPLOYMENTS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

PODS_COUNT = 100
SECONDS_MAX = 600.0
LABELS = {"app": "many"}


def main() -> None:
    instance.heading()
    with instance.running(None, "--simulate") as one:
        ours, rolled, gone, theirs, theirs_gone = asyncio.run(_measured(one))
    instance.row(f"Deployment of {PODS_COUNT} pods, to available", f"{ours:.2f} s", f"{theirs:.2f} s", ours / theirs)
    instance.row("the same, rolled to another template", f"{rolled:.2f} s", f"{theirs:.2f} s", rolled / theirs)
    instance.row("the same, until all are gone", f"{gone:.2f} s", f"{theirs_gone:.2f} s", gone / theirs_gone)


async def _measured(one: instance.Instance) -> tuple[float, float, float, float, float]:
    async with connection.connect(one.state) as connected, asyncio.timeout(SECONDS_MAX):
        client = connected.client
        ours = await _timed(_made(client, DEPLOYMENTS, {}))
        rolled = await _timed(_rolled(client))
        gone = await _timed(_gone(client, DEPLOYMENTS))
        theirs = await _timed(_made(client, STATEFULSETS, {"serviceName": "many", "podManagementPolicy": "Parallel"}))
        return ours, rolled, gone, theirs, await _timed(_gone(client, STATEFULSETS))


async def _timed(work: Any) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began


def _template(image: str) -> dict[str, Any]:
    container = {"name": "c", "image": image}
    return {"metadata": {"labels": LABELS}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}


async def _made(client: Client, kind: Kind, more: Object) -> None:
    spec = {"replicas": PODS_COUNT, "selector": {"matchLabels": LABELS}, "template": _template("one"), **more}
    metadata = {"name": "many", "namespace": "default"}
    made = await client.create({"apiVersion": "apps/v1", "kind": kind.kind, "metadata": metadata, "spec": spec})
    await _until(client, kind, made, lambda status: status.get("availableReplicas", 0) == PODS_COUNT)


async def _rolled(client: Client) -> None:
    patched = await client.patch(DEPLOYMENTS, "many", "default", {"spec": {"template": _template("two")}})
    counts = ("replicas", "updatedReplicas", "availableReplicas")
    await _until(client, DEPLOYMENTS, patched, lambda status: all(status.get(key) == PODS_COUNT for key in counts))


async def _until(client: Client, kind: Kind, since: Object, true: Callable[[Object], bool]) -> None:
    """Until the status of the present spec says so."""
    generation = since["metadata"]["generation"]
    revision = since["metadata"]["resourceVersion"]
    async for _, obj in client.watch(kind, "default", revision, field_selector="metadata.name=many"):
        status = meta.part(obj, "status")
        if status.get("observedGeneration", 0) >= generation and true(status):
            return


async def _gone(client: Client, kind: Kind) -> None:
    pods, revision = await client.list(PODS, "default")
    await client.delete(kind, "many", "default")
    left = {meta.name(pod) for pod in pods}
    async for type_, pod in client.watch(PODS, "default", revision):
        if type_ == "DELETED":
            left.discard(meta.name(pod))
        if not left:
            return
