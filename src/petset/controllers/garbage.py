"""What goes when its owner goes: dependents, in the background, the foreground, or left as orphans.

Every object is looked at on its own. One whose owners are all gone is deleted; one with some owners left forgets the
others. One that is being deleted with the `orphan` finalizer first has its dependents forget it; with
`foregroundDeletion` it waits until those that block it are gone, which are deleted because it waits. Pods also go
when their node has not existed for NODE_GONE_SECONDS, or is said to be out of service for good.

Kinds are those there are at the moment. Versions of one kind are one: an owner is found whichever its reference names.
Other servers' kinds are among them, as long as those servers answer.
Invariants: an owner counts as gone only when the server says so, not the cache; owners of kinds we do not know, or
whose server is away, count as there, until they are known; a deletion names the uid it means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import Any

from petset.base import well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.event import EVENTS
from petset.kinds.node import NODES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds

NODE_GONE_SECONDS = 40.0  # A node that was deleted and lives registers again; until then nothing of it is given up.
ADOPTED = (PODS, REPLICASETS, CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS)  # By controllers, later.
SNAPSHOTS_KEPT_MAX = 4
Strangers = dict[str, tuple[Object, ...]]  # By queue key: the references to owners of kinds that are not known.


def is_collected(kind: Kind) -> bool:
    """Other servers' kinds, too, where they can be watched and deleted."""
    return "watch" in kind.verbs and kind.key() != EVENTS.key()


@lru_cache(SNAPSHOTS_KEPT_MAX)
def collected(kinds: Kinds) -> tuple[Kind, ...]:
    return tuple(kind for kind in kinds.each_once() if is_collected(kind))


@lru_cache(SNAPSHOTS_KEPT_MAX)
def _owners(kinds: Kinds) -> dict[tuple[str, str], Kind]:
    """What may be owners, by apiVersion and kind."""
    return {(kind.api_version, kind.kind): kind for kind in kinds if is_collected(kind)}


def key_of(obj: Object, kind: Kind) -> str:
    """The queue key: the kind's key and the object's."""
    return f"{kind.key()}|{meta.key(obj)}"


def reconcile(strangers: Strangers, key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps of one object that is owned, or is being deleted with dependents in mind.

    `strangers` remembers whom a kind that comes may concern: it can only delay.
    """
    strangers.pop(key, None)
    prefix, _, rest = key.partition("|")
    kind = view.kinds.keeping(prefix)
    obj = view.get(kind, *meta.split_key(rest)) if kind is not None else None
    if obj is None:
        return []
    if meta.is_deleting(obj):
        finalizers = obj["metadata"].get("finalizers") or ()
        if well_known.ORPHAN_FINALIZER in finalizers:
            return orphan_dependents(obj, view)
        if well_known.FOREGROUND_FINALIZER in finalizers:
            return wait_for_dependents(obj, view)
        return []
    references = obj["metadata"].get("ownerReferences") or ()
    if unknown := tuple(reference for reference in references if _kind_of(reference, view) is None):
        strangers[key] = unknown
    return collect(obj, view)


def no_longer_strange(strangers: Strangers, view: View) -> list[str]:
    """The keys of what is owned by a kind that has come."""
    return [
        key
        for key, references in strangers.items()
        if any(_kind_of(reference, view) is not None for reference in references)
    ]


def dependents_of(obj: Object, view: View) -> list[Object]:
    """Everything cached that names it as an owner."""
    uid = meta.uid(obj)
    return [dependent for kind in collected(view.kinds) for dependent in view.by_index(kind, "owner", uid)]


def orphan_dependents(obj: Object, view: View) -> list[actions.Action]:
    uids = [meta.uid(obj)]
    forgetting: list[actions.Action] = [
        _changed(dependent, without_owners(dependent, uids), view) for dependent in dependents_of(obj, view)
    ]
    # One that was adopted a moment ago may not be in the caches yet, and would be collected when the owner has gone.
    space = meta.namespace(obj)
    checks = [actions.NoneOwned(kind, space, uids[0]) for kind in ADOPTED] if space else []
    return [*forgetting, *checks, _changed(obj, meta.without_finalizers(obj, well_known.ORPHAN_FINALIZER), view)]


def wait_for_dependents(obj: Object, view: View) -> list[actions.Action]:
    """Delete what blocks it; go when nothing does but what waits for it in its turn."""
    if all(_waits_for(dependent, obj, view) for dependent in _blocking(obj, view)):
        return [_changed(obj, meta.without_finalizers(obj, well_known.FOREGROUND_FINALIZER), view)]
    # Each is deleted under its own key, which our being in this state brings up.
    return []


def _blocking(obj: Object, view: View) -> Iterator[Object]:
    """Found one by one: mostly the first decides."""
    return (dependent for dependent in dependents_of(obj, view) if _blocks(dependent, obj))


def _waits_for(obj: Object, other: Object, view: View) -> bool:
    """Whether an object waits in the foreground for another to go, itself or through those it waits for.

    Owners in a circle would wait for each other for ever: each may go, since those it waits for wait for it.
    """
    seen: dict[str, None] = {}
    looking = [obj]
    while looking:
        one = looking.pop()
        if meta.uid(one) == meta.uid(other):
            return True
        if meta.uid(one) not in seen and is_in_the_foreground(one):
            seen[meta.uid(one)] = None
            looking += _blocking(one, view)
    return False


def is_in_the_foreground(obj: Object) -> bool:
    """Whether it is being deleted and waits for its dependents."""
    return meta.is_deleting(obj) and well_known.FOREGROUND_FINALIZER in (obj["metadata"].get("finalizers") or ())


def _blocks(dependent: Object, owner: Object) -> bool:
    return any(
        reference.get("uid") == meta.uid(owner) and reference.get("blockOwnerDeletion")
        for reference in dependent["metadata"].get("ownerReferences") or ()
    )


def collect(obj: Object, view: View) -> list[actions.Action]:
    """Delete an object whose owners are gone or wait for it to go; forget those gone while others stay."""
    references = obj["metadata"].get("ownerReferences") or ()
    if not references:
        return []
    there: list[Object] = []
    waiting: list[Object] = []
    gone: list[Object] = []
    for reference in references:
        owner = _owner(reference, obj, view)
        if _kind_of(reference, view) is None:
            there.append(reference)
        elif owner is None:
            gone.append(reference)
        elif is_in_the_foreground(owner):
            waiting.append(reference)
        else:
            there.append(reference)
    if not gone and not waiting:
        return []
    checks = [_gone(reference, obj, view) for reference in gone]
    if there:
        uids = [reference["uid"] for reference in (*gone, *waiting)]
        return [*checks, _changed(obj, without_owners(obj, uids), view)]
    in_turn = bool(waiting) and any(True for _ in _blocking(obj, view))
    # At its revision: it may have been left as an orphan, or adopted, since the cache saw it.
    return [*checks, actions.Delete(obj, propagation="Foreground" if in_turn else "Background", at_revision=True)]


def _kind_of(reference: Object, view: View) -> Kind | None:
    """That of an owner, when it is one of those that are collected."""
    return _owners(view.kinds).get((reference.get("apiVersion", ""), reference.get("kind", "")))


def _owner(reference: Object, obj: Object, view: View) -> Object | None:
    kind = _kind_of(reference, view)
    if kind is None:
        return None
    owner = view.get(kind, meta.namespace(obj) if kind.namespaced else "", reference.get("name", ""))
    return owner if owner is not None and meta.uid(owner) == reference.get("uid") else None


def _gone(reference: Object, obj: Object, view: View) -> actions.Gone:
    kind = _kind_of(reference, view)
    assert kind is not None
    return actions.Gone(kind, meta.namespace(obj) if kind.namespaced else "", reference["name"], reference["uid"])


def _changed(obj: Object, new: Object, view: View) -> actions.Action:
    """Write it. Of what another server keeps the metadata alone is known: that is patched, at its revision."""
    kind = view.kinds.of(obj)
    if kind is None or not kind.elsewhere:
        return actions.Update(new)
    metadata = new["metadata"]
    part = {key: metadata.get(key) for key in ("ownerReferences", "finalizers")}
    at = {key: metadata[key] for key in ("uid", "resourceVersion") if metadata.get(key)}
    return actions.Patch(obj, {"metadata": {**part, **at}})


def without_owners(obj: Object, uids: Iterable[str]) -> Object:
    gone = list(uids)
    references = [r for r in obj["metadata"].get("ownerReferences") or () if r.get("uid") not in gone]
    if not references:
        return meta.without(obj, ("metadata", "ownerReferences"))
    return meta.changed(obj, ("metadata", "ownerReferences"), references)


def ties(obj: Object) -> tuple[Any, ...]:
    """What of an object is looked at here: most changes are of something else."""
    metadata = obj["metadata"]
    going = metadata.get("deletionTimestamp")
    return metadata.get("uid"), going, metadata.get("finalizers") or [], metadata.get("ownerReferences") or []


def keys(obj: Object, view: View) -> Iterable[str]:
    """Itself when it has owners or is being deleted; its dependents when it goes; its owners that wait for it to go.

    An owner that waits looks again, too, when it is an owner no longer, or does not have to wait.
    """
    metadata = obj["metadata"]
    kind = view.kinds.of(obj)
    current = None
    if kind is not None:
        if metadata.get("ownerReferences") or metadata.get("finalizers"):
            yield key_of(obj, kind)
        current = view.get(kind, meta.namespace(obj), meta.name(obj))
    goes = current is None or meta.uid(current) != meta.uid(obj) or meta.is_deleting(obj)
    if goes:
        yield from _keys_of(dependents_of(obj, view), view)
    owned_now = meta.parts(current or {}, "metadata", "ownerReferences")
    for reference in metadata.get("ownerReferences") or ():
        if goes or reference not in owned_now:
            owner = _owner(reference, obj, view)
            if owner is not None and meta.is_deleting(owner):
                yield from _keys_of([owner], view)


def _keys_of(objects: Iterable[Object], view: View) -> Iterable[str]:
    for obj in objects:
        if (kind := view.kinds.of(obj)) is not None:
            yield key_of(obj, kind)


# Pods whose node is gone


def reconcile_pod(missing: dict[str, float], key: str, view: View, now: float) -> list[actions.Action]:
    """Remove a pod that no node will ever stop. `missing` remembers since when each node is: it can only delay."""
    pod = view.get(PODS, *meta.split_key(key))
    if pod is None:
        return []
    node_name = pod["spec"].get("nodeName", "")
    if not node_name:
        return [actions.Delete(pod, grace_seconds=0)] if meta.is_deleting(pod) else []
    node = view.get(NODES, "", node_name)
    if node is None:
        left = missing.setdefault(node_name, now) + NODE_GONE_SECONDS - now
        if left > 0:
            return [actions.RequeueAfter(left)]
        return [actions.Gone(NODES, "", node_name), actions.Delete(pod, grace_seconds=0)]
    missing.pop(node_name, None)
    if meta.is_deleting(pod) and is_let_go_of(node):
        return [actions.Delete(pod, grace_seconds=0)]
    return []


def is_let_go_of(node: Object) -> bool:
    """Whether somebody has said that what ran on a silent node runs no more."""
    taints = [taint.get("key") for taint in meta.parts(node, "spec", "taints")]
    return well_known.OUT_OF_SERVICE_TAINT in taints and not meta.is_condition_true(node, "Ready")


def place(obj: Object) -> tuple[Any, ...]:
    """What of a pod or node decides whether the pod's node is gone."""
    spec = meta.part(obj, "spec")  # A node need not have one.
    ready = obj["kind"] == "Node" and meta.is_condition_true(obj, "Ready")
    return meta.uid(obj), meta.is_deleting(obj), spec.get("nodeName"), spec.get("taints"), ready


def pods_to_look_at(pod: Object, view: View) -> Iterable[str]:
    yield meta.key(pod)


def pods_of_node(node: Object, view: View) -> Iterable[str]:
    for pod in view.by_index(PODS, "node", meta.name(node)):
        yield meta.key(pod)


def controllers() -> tuple[Controller, ...]:
    strangers: Strangers = {}
    return (
        Controller(
            name="garbage",
            component="garbage-collector-controller",
            watches=(),
            every=(is_collected, keys),
            when_kinds_change=partial(no_longer_strange, strangers),
            sees=ties,
            reconcile=partial(reconcile, strangers),
        ),
        Controller(
            name="pods",
            component="pod-garbage-collector",
            watches=((PODS, pods_to_look_at), (NODES, pods_of_node)),
            reconcile=partial(reconcile_pod, {}),
            sees=place,
        ),
    )
