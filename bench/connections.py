"""(l) A connection to a pod by its Service's cluster IP, from this machine, beside one to the pod's own address.

Both are made and closed in turns, and what is told is the median. What is more is the kernel's way through the rules.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from typing import Any

from bench import instance
from petset.cli.asking import connection
from petset.client.client import Client
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.node.images.images import OWN_REGISTRY, Images
from petset.objects import meta

PORT = 6379
CONNECTIONS = 3000
SECONDS_MAX = 60.0
IMAGE = f"{OWN_REGISTRY}/redis"
LABELS = {"app": "asked"}


def main() -> None:
    instance.heading()
    asyncio.run(Images(str(instance.IMAGES)).ensure(IMAGE, "IfNotPresent"))
    with instance.running() as one:
        pod, service = asyncio.run(_addresses(one))
        _seconds(service)  # The first one waits until the rules are in force.
        direct, through = list[float](), list[float]()
        for _ in range(CONNECTIONS):
            direct.append(_seconds(pod))
            through.append(_seconds(service))
    ours, theirs = statistics.median(through) * 1e6, statistics.median(direct) * 1e6
    instance.row("a connection through a cluster IP, us", f"{ours:.0f}", f"{theirs:.0f}", ours / theirs)


async def _addresses(one: instance.Instance) -> tuple[str, str]:
    """Of the pod, once it answers, and of its Service, once it leads there."""
    async with connection.connect(one.state) as connected, asyncio.timeout(SECONDS_MAX):
        client = connected.client
        service = await client.create(_object("Service", selector=LABELS, ports=[{"port": PORT}]))
        probe = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
        await client.create(_object("Pod", containers=[{"name": "c", "image": IMAGE, "readinessProbe": probe}]))
        pod = await _ready(client)
        address = service["spec"]["clusterIP"]
        while not _answers(address):  # noqa: ASYNC110  # The kernel tells nobody.
            await asyncio.sleep(0.01)
        return pod, address


async def _ready(client: Client) -> str:
    async for _, pod in client.watch(PODS, "default"):
        if meta.is_pod_ready(pod):
            return pod["status"]["podIP"]
    raise RuntimeError("the watch ended before the pod was ready")


def _object(kind: str, **spec: Any) -> dict[str, Any]:
    resource = {"Service": SERVICES, "Pod": PODS}[kind]
    metadata = {"name": "asked", "namespace": "default", "labels": LABELS}
    return {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _answers(address: str) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex((address, PORT)) == 0


def _seconds(address: str) -> float:
    with socket.socket() as one:
        began = time.perf_counter()
        one.connect((address, PORT))
        return time.perf_counter() - began
