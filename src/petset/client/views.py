"""What a reconciler or policy sees: the cached objects of all kinds, read through one interface.

`Informers` is the live one, shared by all that run over it: one informer a kind, made when first asked for. `Snapshot`
is the same over objects in hand, for tests. The indices both offer are one table here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

from petset.base import tasks, well_known
from petset.client.client import Client
from petset.client.informer import Cache, Fact, Facts, Index, Informer
from petset.kinds import aggregation, builtin, stateful_set
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.event import EVENTS
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.rbac import CLUSTERROLES
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds


def _controller_uid(obj: Object) -> Iterable[str]:
    owner = meta.controller_of(obj)
    return (owner["uid"],) if owner else ()


def _masterless(pod: Object) -> Iterable[str]:
    """ "namespace/set" whose pet a pod would be by its name, when nobody controls it."""
    set_name = stateful_set.parse_pet_name(meta.name(pod))[0]
    return (f"{meta.namespace(pod)}/{set_name}",) if set_name and meta.controller_of(pod) is None else ()


def label_mark(namespace: str, label: str, value: str) -> str:
    """What the index "label" knows objects of a namespace with this label by."""
    return f"{namespace}/{label}={value}"


def _labels(obj: Object) -> Iterable[str]:
    namespace = meta.namespace(obj)
    return [label_mark(namespace, label, value) for label, value in meta.labels(obj).items()]


def _owners(obj: Object) -> Iterable[str]:
    return [owner.get("uid", "") for owner in obj["metadata"].get("ownerReferences") or ()]


def _node(pod: Object) -> Iterable[str]:
    return (meta.get(pod, "spec", "nodeName", default=""),)  # "" are those that wait for one.


def claims_of(pod: Object) -> Iterator[str]:
    """ "namespace/name" of the claims a pod mounts, ephemeral volumes' own ones included."""
    for volume in meta.get(pod, "spec", "volumes", default=()):
        if volume.get("persistentVolumeClaim"):
            yield f"{meta.namespace(pod)}/{volume['persistentVolumeClaim'].get('claimName', '')}"
        elif volume.get("ephemeral"):
            yield f"{meta.namespace(pod)}/{meta.name(pod)}-{volume['name']}"


def _volume(claim: Object) -> Iterable[str]:
    name = meta.get(claim, "spec", "volumeName", default="")
    return (name,) if name else ()


def _claimed_for(volume: Object) -> Iterable[str]:
    reference = meta.get(volume, "spec", "claimRef", default={})
    return (f"{reference.get('namespace', '')}/{reference.get('name', '')}",) if reference else ()


def _service(endpoint_slice: Object) -> Iterable[str]:
    name = meta.labels(endpoint_slice).get(well_known.SERVICE_NAME_LABEL, "")
    return (f"{meta.namespace(endpoint_slice)}/{name}",) if name else ()


def _aggregated(role: Object) -> Iterable[str]:
    return ("yes",) if aggregation.is_aggregated(role) else ()


INDICES: tuple[tuple[Kind, Mapping[str, Index]], ...] = (
    (
        PODS,
        {
            "controller": _controller_uid,
            "masterless": _masterless,
            "node": _node,
            "claim": claims_of,
            "label": _labels,
        },
    ),
    (PERSISTENTVOLUMES, {"claim": _claimed_for}),
    (PERSISTENTVOLUMECLAIMS, {"volume": _volume}),
    (CONTROLLERREVISIONS, {"controller": _controller_uid}),
    (ENDPOINTSLICES, {"service": _service}),
    (CLUSTERROLES, {"aggregated": _aggregated}),
)


def indices_of(resource: Kind) -> Mapping[str, Index]:
    """The indices of a kind; every kind has "owner", by the uids of the objects' owners."""
    for indexed, indices in INDICES:
        if indexed.key() == resource.key():
            return {"owner": _owners, **indices}
    return {"owner": _owners}


def _times_of_event(event: Object) -> Object:
    """An Event by its times: there are many, and only their expiry is watched."""
    metadata = {name: value for name, value in event["metadata"].items() if name != "managedFields"}
    times = {name: event[name] for name in ("eventTime", "lastTimestamp", "series") if event.get(name)}
    return {"apiVersion": event["apiVersion"], "kind": event["kind"], "metadata": metadata, **times}


# Of which kinds less than the whole object is kept.
KEPT: Mapping[str, Callable[[Object], Object]] = {EVENTS.key(): _times_of_event}


class View:
    """The cached objects of every kind a controller asked for."""

    @property
    def kinds(self) -> Kinds:
        """Which kinds there are."""
        raise NotImplementedError

    def of(self, resource: Kind) -> Cache:
        raise NotImplementedError

    def get(self, resource: Kind, namespace: str, name: str) -> Object | None:
        return self.of(resource).get(namespace, name)

    def list(self, resource: Kind, namespace: str = "") -> list[Object]:
        """In key order."""
        return self.of(resource).list(namespace)

    def by_index(self, resource: Kind, index: str, value: str) -> list[Object]:
        return self.of(resource).by_index(index, value)

    def labelled(self, resource: Kind, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Those of a namespace with all of these labels, in key order; the kind must have the index "label"."""
        cache = self.of(resource)
        marks = [label_mark(namespace, label, value) for label, value in labels.items()]
        fewest = min(marks, key=lambda mark: cache.count("label", mark))
        return [obj for obj in cache.by_index("label", fewest) if labels.items() <= meta.labels(obj).items()]

    def facts(self, resource: Kind, function: Callable[[Object], Fact]) -> Facts[Fact]:
        """What a pure function says of the kind's cached objects, once a version of each."""
        return self.of(resource).facts(function)


class Snapshot(View):
    """A view of the objects given."""

    def __init__(self, objects: Iterable[Object] = (), kinds: Kinds = builtin.KINDS):
        self._caches: dict[str, Cache] = {}
        self._kinds = kinds
        for obj in objects:
            kind = kinds.of(obj)
            assert kind is not None, f"{obj['kind']} is none of the kinds there are"
            self.of(kind).put(obj)

    @property
    def kinds(self) -> Kinds:
        return self._kinds

    def of(self, resource: Kind) -> Cache:
        cache = self._caches.get(resource.key())
        if cache is None:
            cache = self._caches[resource.key()] = Cache(resource, indices_of(resource))
        return cache


class Informers(View):
    """The live view: one informer a kind, shared."""

    def __init__(self, client: Client):
        self._client = client
        self._informers: dict[str, Informer] = {}

    @property
    def kinds(self) -> Kinds:
        return self._client.kinds.now

    def of(self, resource: Kind) -> Informer:
        """The kind's informer; ask for all kinds before `run`."""
        informer = self._informers.get(resource.key())
        if informer is None:
            informer = Informer(self._client, resource, indices=indices_of(resource), keeps=KEPT.get(resource.key()))
            self._informers[resource.key()] = informer
        return informer

    def known(self, resource: Kind) -> Informer | None:
        """The kind's informer when somebody asked for it before."""
        return self._informers.get(resource.key())

    async def synced(self) -> None:
        """Every informer has listed its kind."""
        for informer in self._informers.values():
            await informer.synced.wait()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                tasks.spawn(group, informer.run(), f"informer of {informer.resource.plural}")
