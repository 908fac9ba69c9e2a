"""What it costs to keep who owns which fields: the status of a pod written over and over by a known client.

CPU microseconds of a write in this process, from request to answer, over a store in memory. By hand: the same writes
of a pod whose owners are not followed (it was reset by `managedFields: [{}]`).
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from bench import instance
from petset import cluster
from petset.store import memory
from petset.wire import http

WRITES, REPEATS = 300, 9
PODS = "/api/v1/namespaces/default/pods"
ADMIN = http.User("petset-admin", ("system:masters",))
MERGE = "application/merge-patch+json"


def main() -> None:
    instance.heading()
    for what, method, kind in (
        ("a patch", "PATCH", "application/strategic-merge-patch+json"),
        ("an update", "PUT", "application/json"),
    ):
        followed, free = asyncio.run(_measured(method, kind))
        instance.row(f"{what} of a pod's status", f"{followed * 1e6:.0f} us", f"{free * 1e6:.0f} us", followed / free)


async def _measured(method: str, kind: str) -> tuple[float, float]:
    """CPU seconds of a write where owners are followed, and where they are not."""
    plane = cluster.ControlPlane(memory.MemoryStore())
    await plane.begin()
    for name in ("followed", "free"):
        await _send(plane, "POST", PODS, _pod(name))
    await _send(plane, "PATCH", f"{PODS}/free", {"metadata": {"managedFields": [{}]}}, MERGE)
    spent: dict[str, list[float]] = {"followed": [], "free": []}
    for _ in range(REPEATS):
        for name, found in spent.items():
            found.append(await _series(plane, name, method, kind))
    return min(spent["followed"]), min(spent["free"])


async def _series(plane: cluster.ControlPlane, name: str, method: str, kind: str) -> float:
    bodies = [{"metadata": {"name": name}, "status": _status(number)} for number in range(WRITES)]
    if method == "PUT":
        bodies = [{**_pod(name), **body} for body in bodies]
    began = time.process_time()
    for body in bodies:
        await _send(plane, method, f"{PODS}/{name}/status", body, kind)
    return (time.process_time() - began) / WRITES


async def _send(plane: cluster.ControlPlane, method: str, path: str, body: Any, kind: str = "application/json") -> None:
    headers = (("user-agent", "kubelet/1"), ("content-type", kind))
    answer = await plane.handle(http.Request(method, path, headers, json.dumps(body).encode(), user=ADMIN))
    if answer.code >= 300:
        raise RuntimeError(f"{method} {path}: {answer.code} {answer.body!r}")


def _pod(name: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "c",
        "image": "i",
        "env": [{"name": f"E{each}", "value": "v"} for each in range(10)],
        "ports": [{"containerPort": 80}],
        "volumeMounts": [{"name": "d", "mountPath": "/d"}],
    }
    spec: dict[str, Any] = {"containers": [container], "volumes": [{"name": "d", "emptyDir": {}}]}
    labels = {"app": "web", "apps.kubernetes.io/pod-index": "0", "controller-revision-hash": "x"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _status(number: int) -> dict[str, Any]:
    at = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
    types = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    container: dict[str, Any] = {
        "name": "c",
        "image": "i",
        "imageID": "i@1",
        "ready": number % 2 == 0,
        "restartCount": number,
        "started": True,
        "state": {"running": {"startedAt": at}},
    }
    return {
        "phase": "Running",
        "conditions": [{"type": type_, "status": "True", "lastTransitionTime": at} for type_ in types],
        "containerStatuses": [container],
        "hostIP": "10.0.0.1",
        "podIP": "10.1.0.1",
        "podIPs": [{"ip": "10.1.0.1"}],
        "startTime": "2026-01-01T00:00:00Z",
    }
