"""A control plane in one process for tests: the real server over the store's model, controllers, scheduler, and a node
that answers for every pod bound to it at once.

    async with cluster.running() as it: await it.create(...); await it.until(lambda: it.get(PODS, "web-0"))
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from petset import cluster as composed
from petset.base import tasks
from petset.client import client as api
from petset.client.views import Informers
from petset.kinds.event import EVENTS
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import encoding, errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.store import memory
from petset.wire import http
from petset.world import copies

ADMIN = composed.ADMINISTRATOR
NODE = "node-1"


class Directories(copies.Copies):
    """Volumes' directories: only their names."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self.failing = ""
        self.free = self.total = 1 << 60

    async def make(self, path: str, wanted_bytes: int) -> None:
        if self.failing:
            raise OSError(self.failing)
        self.made.append(path)

    async def remove(self, path: str) -> None:
        if path in self.made:  # A kill between this and the next step brings it back here.
            self.made.remove(path)

    async def resize(self, path: str, wanted_bytes: int) -> None:
        if wanted_bytes > self.total:
            raise OSError(f"the disk has {self.total} bytes in all")

    async def begin(self) -> None: ...

    async def free_bytes(self) -> int:
        return self.free


class Cluster:
    def __init__(
        self, client: api.Client, store: memory.MemoryStore, directories: Directories | None, handle: http.Handler
    ):
        self.handle, self.client, self.store, self.directories = handle, client, store, directories
        self.ready: Callable[[Object], bool] = lambda pod: True
        self.node_view = Informers(client)
        self.pods = self.node_view.of(PODS)
        self._numbers: dict[str, int] = {}

    def get(self, resource: Kind, name: str, namespace: str = "default") -> Object | None:
        entry = self.store.get(resource.key(namespace if resource.namespaced else "", name))
        return entry.object if entry else None

    def all(self, resource: Kind, namespace: str = "") -> list[Object]:
        return [entry.object for entry in self.store.list(resource.key(namespace))[1]]

    def names(self, resource: Kind, namespace: str = "") -> list[str]:
        return [meta.name(obj) for obj in self.all(resource, namespace)]

    def events(self, reason: str) -> list[Object]:
        return [event for event in self.all(EVENTS) if event["reason"] == reason]

    async def create(self, *objects: Object) -> None:
        """Create them, in the namespace default if they name none."""
        for obj in objects:
            row = self.client.kinds.now.of(obj)
            assert row is not None
            if row.namespaced and "namespace" not in obj["metadata"]:
                obj = meta.changed(obj, ("metadata", "namespace"), "default")
            await self.client.create(obj)

    async def until(self, condition: Callable[[], Any], seconds: float = 10) -> None:
        """Wait until it holds; it is looked at after every write."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110  # What is waited for has no event to await.
                    await asyncio.sleep(0.002)
        except TimeoutError:
            shown = {kind.plural: self.names(kind) for kind in (PODS, PERSISTENTVOLUMECLAIMS)}
            said = [(event["reason"], event["message"], event.get("count")) for event in self.all(EVENTS)]
            raise AssertionError(f"it did not become true; there are {shown} and {said}") from None

    async def rests(self, seconds: float = 0.3) -> None:
        """Nothing is written for a while."""
        revision = -1
        async with asyncio.timeout(10):
            while revision != self.store.revision:
                revision = self.store.revision
                await asyncio.sleep(seconds)

    async def run_node(self) -> None:
        """Start every pod bound to the node, stop every one that is to stop."""
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}},
        }
        made = await self.client.create(node)
        status = {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": tasks.rfc3339(tasks.now())}],
        }
        await self.client.update({**made, "status": status}, "status")
        changed = asyncio.Event()
        self.pods.on_change(lambda old, new: changed.set())
        while True:
            await changed.wait()
            changed.clear()
            for pod in list(self.pods.list()):
                if pod["spec"].get("nodeName") == NODE:
                    with contextlib.suppress(errors.ApiError):
                        await self._serve(pod)

    async def _serve(self, pod: Object) -> None:
        if meta.is_deleting(pod):
            name, space, uid = meta.name(pod), meta.namespace(pod), meta.uid(pod)
            await self.client.delete(PODS, name, space, uid=uid, grace_seconds=0)
            return
        if meta.get(pod, "status", "phase") in ("Failed", "Succeeded"):
            return
        number = self._numbers.setdefault(meta.uid(pod), len(self._numbers) + 10)
        ready = {"type": "Ready", "status": "True" if self.ready(pod) else "False"}
        before = meta.condition(pod, "Ready") or {}
        if before.get("status") == ready["status"]:
            return
        ready["lastTransitionTime"] = tasks.rfc3339(tasks.now())
        conditions = meta.with_condition(meta.get(pod, "status", "conditions", default=()), ready)
        status = {**pod["status"], "phase": "Running", "podIP": f"10.0.0.{number}", "conditions": conditions}
        await self.client.update({**pod, "status": status}, "status")

    async def touch(self, name: str, namespace: str = "default") -> None:
        """Make the node look at a pod again."""
        mark = {"metadata": {"annotations": {"touched": tasks.new_uid()}}}
        await self.client.patch(PODS, name, namespace, mark)


@contextlib.asynccontextmanager
async def running(
    provisioner: bool = True, store: memory.MemoryStore | None = None, snapshots: bool = False
) -> AsyncIterator[Cluster]:
    """A cluster that runs until the block is left; with `store` over what another one left."""
    kept = store or memory.MemoryStore()
    disk = Directories() if provisioner else None
    config = composed.Config(hostpath=disk, volumes_directory="/volumes", ca_pem="a certificate", snapshots=snapshots)
    plane = composed.ControlPlane(kept, config)
    await plane.begin()
    it = Cluster(plane.client(ADMIN), kept, disk, plane.handle)
    try:
        async with plane.running(), composed.together(("the node's informers", it.node_view.run())):
            await it.node_view.synced()
            async with composed.together(*([("the node", it.run_node())] if store is None else [])):
                yield it
    finally:
        for entry in kept.list("")[1]:  # Caches share the store's trees: whoever changed one would change it for all.
            assert encoding.loads(entry.encoded) == entry.object
