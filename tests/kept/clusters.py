"""A cluster in this process, as it is asked by an API server that keeps its objects there, and small PetSets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from petset import cluster
from petset.base import tasks
from petset.client.client import Client
from petset.kept.store import KeptStore
from petset.kinds import stored_pet_set
from petset.kinds.pet_set import PETSETS
from petset.objects import errors
from petset.store import memory
from petset.wire import http
from tests.waiting import until

HOME = "petset-system"


def key(name: str, namespace: str = "default") -> str:
    return PETSETS.key(namespace, name)


def pet_set(name: str, namespace: str = "default", value: str = "", uid: str = "u") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": uid, "annotations": {"value": value}}
    return {"apiVersion": "apps/v1alpha1", "kind": "PetSet", "metadata": metadata, "spec": {"replicas": 0}}


def value(obj: Any) -> str:
    return obj["metadata"]["annotations"]["value"]


@dataclass
class Way:
    """A replica's way to the cluster, on which things go wrong when a test says so."""

    handle: http.Handler
    lost: Callable[[http.Request], bool] = lambda request: False  # It never comes there.
    answer_lost: Callable[[http.Request], bool] = lambda request: False
    refused: Callable[[http.Request], errors.ApiError | None] = lambda request: None
    silent: bool = False  # Watches say nothing, and are not cut.
    held: asyncio.Event | None = None  # Every request waits for it.
    after: Callable[[http.Request], Any] | None = None  # Awaited when it is carried out, before the answer.
    sent: list[str] = field(default_factory=list)
    streams: dict[Any, None] = field(default_factory=dict)

    async def send(self, request: http.Request) -> http.Response:
        is_watch = "watch=true" in request.target
        self.sent.append("WATCH" if is_watch else request.method)
        if self.held is not None:
            await self.held.wait()
        if self.lost(request):
            raise ConnectionResetError("lost on its way")
        if (error := self.refused(request)) is not None:
            raise error
        request = dataclasses.replace(request, user=cluster.ADMINISTRATOR, takes_objects=False)
        response = await self.handle(request)
        if self.after is not None:
            await self.after(request)
        if self.answer_lost(request):
            raise ConnectionResetError("the answer was lost")
        return response if not is_watch else dataclasses.replace(response, body=self._passing(response.body))

    async def _passing(self, pieces: Any) -> AsyncGenerator[bytes, None]:
        coming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.streams[coming] = None

        async def pump() -> None:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    if not self.silent:
                        coming.put_nowait(piece)
            coming.put_nowait(b"")

        pumping = asyncio.get_running_loop().create_task(pump())
        try:
            while piece := await coming.get():
                yield piece
            if piece is None:
                raise ConnectionResetError("the watch broke")
        finally:
            pumping.cancel()
            await asyncio.wait([pumping])
            self.streams.pop(coming, None)

    def cut_watches(self) -> None:
        for coming in self.streams:
            coming.put_nowait(None)


class Cluster:
    def __init__(self, **limits: int) -> None:
        self.kept = memory.MemoryStore(**limits)
        self.plane = cluster.ControlPlane(self.kept, cluster.Config())
        self.admin = self.plane.client(cluster.ADMINISTRATOR)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[Cluster, None]:
        await self.plane.begin()
        async with cluster.together(("definitions", self.plane.definitions.keep())):
            await self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
            await self.admin.create(dict(stored_pet_set.definition()))
            kind = stored_pet_set.STORED_PETSETS
            await until(lambda: self.plane.kinds.now.at(kind.group, kind.version, kind.plural))
            yield self

    def way(self) -> Way:
        return Way(self.plane.handle)

    @contextlib.asynccontextmanager
    async def replica(self, way: Way | None = None, **limits: int) -> AsyncGenerator[KeptStore, None]:
        store = KeptStore(Client(way or self.way(), "petset"), HOME, **limits)
        async with asyncio.TaskGroup() as group:
            keeping = tasks.spawn(group, store.keep(), "keep")
            await store.ready()
            try:
                yield store
            finally:
                await store.close()
                keeping.cancel()

    async def other_kind(self) -> None:
        """Something else of the cluster takes a revision."""
        await self.admin.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-", "namespace": "default"}}
        )
