"""What pods' volumes show of other objects: read once, then watched, so that volumes follow their changes.

A pod `hold`s the ConfigMaps and Secrets that its volumes refer to; each object held by anybody has one watch, as a node
may watch exactly the objects its pods refer to. ClusterTrustBundles are chosen by labels: while any pod shows some
there is one watch of all. `get` answers from the watch's cache, and asks the API itself where the cache has nothing.

Invariants: an object nobody holds is not watched; a change only says "look again" (the holders' names).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from petset.base import tasks
from petset.client.client import Client
from petset.client.informer import Informer
from petset.kinds.cluster_trust_bundle import CLUSTERTRUSTBUNDLES
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.pod_certificate_request import PODCERTIFICATEREQUESTS
from petset.kinds.pod_spec.sources import Reference, SourceKind
from petset.kinds.secret import SECRETS
from petset.node import environment
from petset.node.environment import Source
from petset.objects import errors
from petset.objects.meta import Object
from petset.objects.registry import Kind

_SOURCES: Mapping[SourceKind, Kind] = {"ConfigMap": CONFIGMAPS, "Secret": SECRETS}
Key = tuple[Kind, str, str]  # kind, namespace, name; without a name all of the kind
_BUNDLES: Key = (CLUSTERTRUSTBUNDLES, "", "")


class _Watched:
    def __init__(self, informer: Informer, task: asyncio.Task[None]):
        self.informer, self.task = informer, task
        self.holders: dict[str, None] = {}


class References:
    def __init__(self, client: Client, group: asyncio.TaskGroup, on_change: Callable[[str], None]):
        self._client, self._group, self._on_change = client, group, on_change
        self._watched: dict[Key, _Watched] = {}

    def hold(self, holder: str, namespace: str, wanted: Iterable[Reference]) -> None:
        """Watch these for the holder (a pod uid) from now on."""
        for reference in wanted:
            self._hold(holder, (_SOURCES[reference.kind], namespace, reference.name))

    def _hold(self, holder: str, key: Key) -> _Watched:
        if key not in self._watched:
            self._watched[key] = self._start(key)
        self._watched[key].holders[holder] = None
        return self._watched[key]

    def release(self, holder: str) -> None:
        for key in list(self._watched):
            self._leave(holder, key)

    def _leave(self, holder: str, key: Key) -> None:
        watched = self._watched.get(key)
        if watched is None:
            return
        watched.holders.pop(holder, None)
        if not watched.holders:
            watched.task.cancel()
            del self._watched[key]

    async def request(self, holder: str, namespace: str, name: str) -> Object | None:
        """A PodCertificateRequest, watched for the holder from now on until it leaves it; None where it is gone."""
        watched = self._hold(holder, (PODCERTIFICATEREQUESTS, namespace, name))
        await watched.informer.synced.wait()
        return watched.informer.get(namespace, name)

    def leave_request(self, holder: str, namespace: str, name: str) -> None:
        self._leave(holder, (PODCERTIFICATEREQUESTS, namespace, name))

    async def bundles(self, holder: str) -> list[Object]:
        """All ClusterTrustBundles, watched for the holder from now on."""
        watched = self._hold(holder, _BUNDLES)
        await watched.informer.synced.wait()
        return list(watched.informer.list())

    async def get(self, namespace: str, reference: Reference) -> Source | None:
        """What it holds, or None where there is none. Raises ApiError, OSError."""
        found = await self._object(namespace, reference)
        return environment.source(reference.kind, found) if found is not None else None

    async def _object(self, namespace: str, reference: Reference) -> Object | None:
        kind = _SOURCES[reference.kind]
        watched = self._watched.get((kind, namespace, reference.name))
        found = watched.informer.get(namespace, reference.name) if watched else None
        if found is not None:
            return found
        try:
            return await self._client.get(kind, reference.name, namespace)
        except errors.ApiError as error:
            if error.code == 404:
                return None
            raise

    def _start(self, key: Key) -> _Watched:
        kind, namespace, name = key
        selector = f"metadata.name={name}" if name else ""
        informer = Informer(self._client, kind, namespace=namespace, field_selector=selector)
        what = f"{kind.kind} {namespace}/{name}" if name else kind.plural
        task = tasks.spawn(self._group, informer.run(), f"watch {what}")
        watched = _Watched(informer, task)
        informer.on_change(lambda old, new: self._tell(watched))
        return watched

    def _tell(self, watched: _Watched) -> None:
        for holder in list(watched.holders):
            self._on_change(holder)
