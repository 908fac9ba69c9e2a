"""What Deployments promise while they roll, and what is true of them and their ReplicaSets in the end.

At every moment: a pod comes only while its set's active pods are fewer than the set's size, and its Deployment's fewer
than its size and surge; a ready pod is taken away only when enough ready ones stay, or when pods were lost otherwise a
moment ago, which nobody can have known. Sizes are believed as long as a picture may be old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from petset.kinds import pod_phase
from petset.kinds.apps import workloads
from petset.objects import meta
from petset.objects.meta import Object

PODS, SETS, DEPLOYMENTS = "/core/pods/", "/apps/replicasets/", "/apps/deployments/"
DAEMONS, NODES = "/apps/daemonsets/", "/core/nodes/"
Objects = Mapping[str, Object]


class Rollouts:
    def __init__(self) -> None:
        self._bounds: dict[str, deque[tuple[float, int, int]]] = {}  # By key: (until when, at least, at most) before.
        self._lost_at: dict[str, float] = {}  # By a Deployment's uid: when a ready pod was lost that nobody took away.

    def saw(self, objects: Objects, key: str, old: Object | None, new: Object, gone: bool, now: float) -> None:
        """Remember what is believed for a while, and what was lost."""
        if old is None:
            return
        if key.startswith((SETS, DEPLOYMENTS)):
            if bounds(old) != bounds(new):
                self._bounds.setdefault(key, deque(maxlen=50)).append((now, *bounds(old)))
        elif key.startswith(PODS) and is_ready(old) and not meta.is_deleting(new) and (gone or not is_ready(new)):
            deployment = above(objects, set_of(objects, new))
            if deployment is not None:
                self._lost_at[meta.uid(deployment)] = now

    def broken_by(
        self, objects: Objects, old: Object | None, pod: Object, now: float, stale_seconds: float
    ) -> Iterator[str]:
        """What a change of a pod breaks."""
        set_ = set_of(objects, pod)
        if old is None and (owner := _controlling(objects, pod, "DaemonSet", DAEMONS)) is not None:
            yield from _crowded(objects, owner, pod)
        deployment = above(objects, set_)
        groups = [(SETS, set_, [set_])] if set_ is not None else []
        if deployment is not None:
            groups.append((DEPLOYMENTS, deployment, sets_of(objects, deployment)))
        for prefix, owner, sets in groups:
            key = f"{prefix}{meta.key(owner)}"
            believed = [bounds(owner), *(b for until, *b in self._bounds.get(key, ()) if now - until <= stale_seconds)]
            if old is None:
                there, most = sum(map(is_active, pods_of(objects, sets))), max(most for _, most in believed)
                if there > most:
                    yield f"{key} has {there} active pods, and {most} may be"
            elif prefix == DEPLOYMENTS and is_ready(old) and meta.is_deleting(pod) and not meta.is_deleting(old):
                there, least = sum(map(is_ready, pods_of(objects, sets))), min(least for least, _ in believed)
                was_lost = now - self._lost_at.get(meta.uid(owner), -1e9) <= stale_seconds
                if there < least and not was_lost and not meta.is_deleting(owner):
                    yield f"{meta.key(pod)} was taken away: {there} ready pods are left, and {least} must be"


def _crowded(objects: Objects, owner: Object, pod: Object) -> Iterator[str]:
    """A DaemonSet's pod comes where another is that runs, or is going, and nothing is updated there."""
    rolling = meta.part(owner, "spec", "updateStrategy", "rollingUpdate")
    most = 2 if workloads.amount(rolling.get("maxSurge")) else 1
    node = node_of(pod)
    there = [one for one in pods_of(objects, [owner]) if node_of(one) == node and not pod_phase.has_ended(one)]
    if len(there) > most:
        yield f"{DAEMONS}{meta.key(owner)} has {len(there)} pods on {node}"


def node_of(pod: Object) -> str:
    """The node a pod is on, or bound to by its affinity."""
    terms = meta.parts(pod, "spec", "affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms")
    return pod["spec"].get("nodeName") or terms[0]["matchFields"][0]["values"][0]


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def bounds(owner: Object) -> tuple[int, int]:
    """(how many pods must be available, how many there may be) of a ReplicaSet or a Deployment."""
    count: int = owner["spec"].get("replicas", 1)
    if owner["kind"] != "Deployment":
        return 0, count
    rolling = meta.get(owner, "spec", "strategy", "rollingUpdate")
    if rolling is None:
        return 0, count
    more = workloads.resolved(rolling.get("maxSurge"), count, up=True)
    missing = workloads.resolved(rolling.get("maxUnavailable"), count, up=False)
    return max(0, count - (missing if missing or more else 1)), count + more


def is_active(pod: Object) -> bool:
    return pod_phase.is_active(pod)


def is_ready(pod: Object) -> bool:
    return is_active(pod) and meta.is_pod_ready(pod)


def set_of(objects: Objects, pod: Object) -> Object | None:
    return _controlling(objects, pod, "ReplicaSet", SETS)


def above(objects: Objects, set_: Object | None) -> Object | None:
    """The Deployment that a set is of."""
    return _controlling(objects, set_, "Deployment", DEPLOYMENTS) if set_ is not None else None


def _controlling(objects: Objects, obj: Object, kind: str, prefix: str) -> Object | None:
    controller = meta.controller_of(obj)
    if controller is None or controller["kind"] != kind:
        return None
    found = objects.get(f"{prefix}{meta.namespace(obj)}/{controller['name']}")
    return found if found is not None and meta.uid(found) == controller["uid"] else None


def sets_of(objects: Objects, deployment: Object) -> list[Object]:
    return [one for key, one in objects.items() if key.startswith(SETS) and meta.is_controlled_by(one, deployment)]


def pods_of(objects: Objects, sets: Iterable[Object]) -> list[Object]:
    uids = [meta.uid(one) for one in sets]
    return [pod for key, pod in objects.items() if key.startswith(PODS) and meta.controller_uid(pod) in uids]


def what_is_wrong(objects: Objects, expected: dict[str, str]) -> Iterator[str]:
    """Of ReplicaSets and Deployments that have settled; `expected` learns which pods must be there, by key."""
    for key, owner in objects.items():
        if key.startswith(DAEMONS):
            yield from _of_daemons(key, owner, objects, expected)
        if not key.startswith((SETS, DEPLOYMENTS)):
            continue
        name, wanted, is_set = key, owner["spec"].get("replicas", 1), key.startswith(SETS)
        if meta.is_deleting(owner):
            yield f"{name} is still being deleted"
        pods = pods_of(objects, [owner] if is_set else sets_of(objects, owner))
        expected |= {f"{PODS}{meta.key(pod)}": meta.uid(pod) for pod in pods}
        if len(pods) != wanted or not all(map(is_ready, pods)):
            yield f"{name} has {len(pods)} pods, {sum(map(is_ready, pods))} of them ready, not {wanted}"
        counts = {"replicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted}
        if not is_set:
            counts |= {"updatedReplicas": wanted, "unavailableReplicas": 0}
            yield from _of_template(name, owner, pods)
        for field, count in {**counts, "observedGeneration": owner["metadata"].get("generation")}.items():
            if (said := meta.part(owner, "status").get(field, 0)) != count:
                yield f"{name}'s status says {field} {said}, not {count}"


def _of_daemons(key: str, owner: Object, objects: Objects, expected: dict[str, str]) -> Iterator[str]:
    pods = pods_of(objects, [owner])
    expected |= {f"{PODS}{meta.key(pod)}": meta.uid(pod) for pod in pods}
    nodes = sorted(meta.name(node) for where, node in objects.items() if where.startswith(NODES))
    if sorted(node_of(pod) for pod in pods) != nodes or not all(map(is_ready, pods)):
        yield f"{key} has not one ready pod on each of {nodes}"
    yield from _of_template(key, owner, pods)
    for field in ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable"):
        if (said := meta.part(owner, "status").get(field, 0)) != len(nodes):
            yield f"{key}'s status says {field} {said}, not {len(nodes)}"


def _of_template(name: str, deployment: Object, pods: Iterable[Object]) -> Iterator[str]:
    images = [one["image"] for one in deployment["spec"]["template"]["spec"]["containers"]]
    for pod in pods:
        if [one["image"] for one in pod["spec"]["containers"]] != images:
            yield f"{meta.key(pod)} is not of the template of {name}"
