"""What a reconciler or policy sees: the cached objects of all kinds, read through one interface.

`Informers` is the live one, shared by all that run over it: one informer a kind, made when first asked for. `Snapshot`
is the same over objects in hand, for tests. The indices both offer are one table here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from petset.base import tasks
from petset.client.client import Client
from petset.client.informer import NAMESPACE_INDEX, Cache, Fact, Facts, Index, Informer
from petset.kinds import aggregation, builtin, persistent_volume_claim, pet_names, service, storage_class
from petset.kinds import endpoint_slice as endpoint_slice_kind
from petset.kinds.apps.daemon_set import DAEMONSETS
from petset.kinds.apps.deployment import DEPLOYMENTS
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.batch.job import JOBS
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.flowcontrol import flow_schema
from petset.kinds.flowcontrol.flow_schema import FLOWSCHEMAS
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.kinds.pod_spec import claims
from petset.kinds.rbac import CLUSTERROLES
from petset.kinds.replication_controller import REPLICATIONCONTROLLERS
from petset.kinds.service import SERVICES
from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds


def _controller_uid(obj: Object) -> Iterable[str]:
    uid = meta.controller_uid(obj)
    return (uid,) if uid else ()


def _masterless(pod: Object) -> Iterable[str]:
    """ "namespace/set" whose pet a pod would be by its name, when nobody controls it."""
    set_name = pet_names.parent(pod)
    return (f"{meta.namespace(pod)}/{set_name}",) if set_name and meta.controller_of(pod) is None else ()


def label_mark(namespace: str, label: str, value: str) -> str:
    """What the index "label" knows objects of a namespace with this label by."""
    return f"{namespace}/{label}={value}"


def _labels(obj: Object) -> Iterable[str]:
    namespace = meta.namespace(obj)
    return [label_mark(namespace, label, value) for label, value in meta.labels(obj).items()]


def orphan_marks(obj: Object) -> Iterable[str]:
    """The labels of what nobody controls, as the index "selects" of those that may adopt it knows them."""
    return chosen_by(obj) if meta.controller_of(obj) is None else ()


def selector_of(owner: Object) -> selectors.Selector:
    """The selector of anything that adopts what it selects: a ReplicationController's is a plain map."""
    given = meta.part(owner, "spec").get("selector")
    if owner["kind"] == REPLICATIONCONTROLLERS.kind:
        return selectors.from_map(given) if given else selectors.NOTHING
    return selectors.from_object(given)


def chosen_by(obj: Object) -> Iterable[str]:
    """The labels of anything, as the index "selects" of those that select it knows them."""
    space = meta.namespace(obj)
    return [f"{space}/", *(f"{space}/{mark}" for mark in selectors.label_marks(obj))]


def selecting_marks(owner: Object) -> Iterable[str]:
    """Marks of which everything that it selects has one."""
    space = meta.namespace(owner)
    return [f"{space}/{mark}" for mark in selector_of(owner).narrowest()] or [f"{space}/"]


def places(namespace: str, selector: selectors.Selector) -> list[tuple[str, str]]:
    """(index, value) of the least of a namespace's pods among which all are that the selector matches."""
    if selector.nothing:
        return []
    marks = selector.narrowest()
    if marks and all("=" in mark for mark in marks):
        return [("label", f"{namespace}/{mark}") for mark in dict.fromkeys(marks)]
    return [(NAMESPACE_INDEX, namespace)]


def _owners(obj: Object) -> Iterable[str]:
    return [owner.get("uid", "") for owner in obj["metadata"].get("ownerReferences") or ()]


def _node(pod: Object) -> Iterable[str]:
    return (meta.get(pod, "spec", "nodeName", default=""),)  # "" are those that wait for one.


def _says_of_others(pod: Object) -> Iterable[str]:
    """Pods that want others near, or not."""
    affinity = meta.part(pod, "spec", "affinity")
    return ("yes",) if affinity.get("podAffinity") or affinity.get("podAntiAffinity") else ()


def claims_of(pod: Object) -> Iterator[str]:
    """ "namespace/name" of the claims a pod mounts, ephemeral volumes' own ones included."""
    for name in claims.names(pod):
        yield f"{meta.namespace(pod)}/{name}"


def _volume(claim: Object) -> Iterable[str]:
    name = meta.get(claim, "spec", "volumeName", default="")
    return (name,) if name else ()


def source_mark(namespace: str, kind: str, name: str) -> str:
    """What the index "source" knows claims by that are made of something."""
    return f"{namespace}/{kind}/{name}"


def _source(claim: Object) -> Iterable[str]:
    source = persistent_volume_claim.data_source(claim)
    return (source_mark(meta.namespace(claim), source.get("kind", ""), source.get("name", "")),) if source else ()


def _pet(claim: Object) -> Iterable[str]:
    """ "namespace/template-set" of a claim whose name is that of a pet's."""
    parent = pet_names.parent(claim)
    return (f"{meta.namespace(claim)}/{parent}",) if parent else ()


def _claimed_for(volume: Object) -> Iterable[str]:
    reference = meta.get(volume, "spec", "claimRef", default={})
    return (f"{reference.get('namespace', '')}/{reference.get('name', '')}",) if reference else ()


def _free_of_class(volume: Object) -> Iterable[str]:
    """The class of a volume that is nobody's, "" for none."""
    return (storage_class.of(volume) or "",) if not meta.get(volume, "spec", "claimRef") else ()


def _service(endpoint_slice: Object) -> Iterable[str]:
    found = endpoint_slice_kind.service_of(endpoint_slice)
    return (found,) if found else ()


def _selected(of_service: Object) -> Iterable[str]:
    """One label of those that a service selects by: pods without it are not selected."""
    selector = meta.part(of_service, "spec", "selector")
    return [label_mark(meta.namespace(of_service), label, selector[label]) for label in sorted(selector)[:1]]


def _addresses(of_service: Object) -> Iterable[str]:
    """Its own addresses."""
    return service.cluster_ips(of_service)


def _aggregated(role: Object) -> Iterable[str]:
    return ("yes",) if aggregation.is_aggregated(role) else ()


INDICES: tuple[tuple[Kind, Mapping[str, Index]], ...] = (
    (
        PODS,
        {
            "controller": _controller_uid,
            "masterless": _masterless,
            "orphan": orphan_marks,
            "node": _node,
            "claim": claims_of,
            "label": _labels,
            "affinity": _says_of_others,
        },
    ),
    (PERSISTENTVOLUMES, {"claim": _claimed_for, "free": _free_of_class}),
    (PERSISTENTVOLUMECLAIMS, {"volume": _volume, "pet": _pet, "source": _source}),
    (CONTROLLERREVISIONS, {"controller": _controller_uid}),
    (ENDPOINTSLICES, {"service": _service}),
    (SERVICES, {"selector": _selected, "address": _addresses}),
    (CLUSTERROLES, {"aggregated": _aggregated}),
    (FLOWSCHEMAS, {"level": lambda schema: (flow_schema.level_of(schema),)}),
    (REPLICASETS, {"controller": _controller_uid, "orphan": orphan_marks, "selects": selecting_marks}),
    (REPLICATIONCONTROLLERS, {"selects": selecting_marks}),
    (DEPLOYMENTS, {"selects": selecting_marks}),
    (DAEMONSETS, {"selects": selecting_marks}),
    (JOBS, {"selects": selecting_marks}),
    (PODDISRUPTIONBUDGETS, {"selects": selecting_marks}),
)


def indices_of(resource: Kind) -> Mapping[str, Index]:
    """The indices of a kind; every kind has "owner", by the uids of the objects' owners."""
    for indexed, indices in INDICES:
        if indexed.key() == resource.key():
            return {"owner": _owners, **indices}
    return {"owner": _owners}


class Kept(Protocol):
    """Something made out of cached objects that follows their changes (`View.follow`): nobody makes it again."""

    def close(self) -> None:
        """Follow no longer."""


KeptThing = TypeVar("KeptThing", bound=Kept)


class View:
    """The cached objects of every kind a controller asked for."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Callable[..., Kept], str], tuple[tuple[Any, ...], Kept]] = {}

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

    def selected_pods(self, namespace: str, selector: selectors.Selector) -> list[Object]:
        found = {
            meta.name(pod): pod
            for index, value in places(namespace, selector)
            for pod in self.by_index(PODS, index, value)
            if selector.matches(meta.labels(pod))
        }
        return [found[name] for name in sorted(found)]

    def facts(self, resource: Kind, function: Callable[[Object], Fact]) -> Facts[Fact]:
        """What a pure function says of the kind's cached objects, once a version of each."""
        return self.of(resource).facts(function)

    def follow(
        self, resource: Kind, index: str, value: str, change: Callable[[Object | None, Object | None], None]
    ) -> Callable[[], None]:
        """Tell of every change of those that `by_index` lists (Cache.follow)."""
        return self.of(resource).follow(index, value, change)

    def kept(self, make: Callable[..., KeptThing], key: str, *about: Any) -> KeptThing:
        """`make(view, *about)`, made once for a key, and anew when it is about something else.

        It is always what it would be made now: what was decided by looking at everything is decided by it.
        """
        known = self._kept.get((make, key))
        if known is not None:
            if known[0] == about:
                return known[1]  # type: ignore[return-value]  # What `make` made.
            known[1].close()
        made = make(self, *about)
        self._kept[make, key] = about, made
        return made

    def forget(self, make: Callable[..., Kept], key: str) -> None:
        """Nobody will ask for it."""
        known = self._kept.pop((make, key), None)
        if known is not None:
            known[1].close()


class Snapshot(View):
    """A view of the objects given."""

    def __init__(self, objects: Iterable[Object] = (), kinds: Kinds = builtin.KINDS):
        super().__init__()
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

    def __init__(self, client: Client, keep: Callable[[Object], Object] | None = None, piece: int = 0):
        """`keep` and `piece` as informers have them."""
        super().__init__()
        self._client, self._keep, self._piece = client, keep, piece
        self._informers: dict[str, Informer] = {}
        self._followed = client.kinds.now
        self._group: asyncio.TaskGroup | None = None  # While it runs.
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def kinds(self) -> Kinds:
        return self._client.kinds.now

    def of(self, resource: Kind) -> Informer:
        """The kind's informer; one that is asked for while they run begins at once, and is not filled yet."""
        informer = self._informers.get(resource.prefix)
        return informer if informer is not None else self._made(resource.prefix, resource)

    def _made(self, key: str, resource: Kind) -> Informer:
        kind = self.kinds.keeping(key) or resource
        informer = Informer(self._client, kind, indices=indices_of(kind), keep=self._keep, piece=self._piece)
        self._informers[key] = informer
        if self._group is not None:
            self._start(self._group, key, informer)
        return informer

    def _start(self, group: asyncio.TaskGroup, key: str, informer: Informer) -> None:
        self._running[key] = tasks.spawn(group, informer.run(), f"informer of {informer.resource.plural}")

    def known(self, resource: Kind) -> Informer | None:
        """The kind's informer when somebody asked for it before."""
        return self._informers.get(resource.key())

    async def synced(self) -> None:
        """Every informer has listed its kind."""
        for informer in list(self._informers.values()):
            await informer.synced.wait()

    async def run(self) -> None:
        """Keep them until cancelled. A kind that goes takes its informer along, one that is replaced gets a new one."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for key, informer in self._informers.items():
                    self._start(group, key, informer)
                self._follow(self.kinds)
                with self._client.kinds.following(self._follow):
                    await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    def _follow(self, kinds: Kinds) -> None:
        before, self._followed = self._followed, kinds
        for key, informer in list(self._informers.items()):
            kind = kinds.keeping(key)
            if kind is informer.resource or kind is before.keeping(key):
                continue
            del self._informers[key]
            self._running.pop(key).cancel()
            if self._group is not None:
                tasks.spawn(self._group, informer.end(told=kind is None), f"end of {informer.resource.plural}")
