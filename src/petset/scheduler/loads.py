"""Nodes with what is on them: what the caches show, kept as pods change, and what was decided since.

A `NodeLoad` follows the pods of one node. A `Place` is the node, read once a version (`Facts`), with its load and an
overlay: pods that were placed a moment ago, and those that are thought away when somebody looks for room.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from petset.base import well_known
from petset.client.views import View
from petset.kinds import pod_phase, requests
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.requests import Amounts
from petset.objects import meta
from petset.objects.meta import Object

# What a container that asks for nothing counts for when nodes are compared.
CPU_LEAST, MEMORY_LEAST = 100, 200 << 20
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pod means for the node it is on, read once a version of the pod."""

    amounts: Amounts
    compared: Amounts  # CPU and memory, as nodes are compared by them.
    host_ports: tuple[requests.HostPort, ...]
    controller_uid: str
    priority: int
    has_ended: bool


def priority_of(pod: Object) -> int:
    return meta.get(pod, "spec", "priority", default=0)


def demand(pod: Object) -> Demand:
    amounts = requests.held(pod)
    return Demand(
        amounts=amounts,
        compared={
            "cpu": amounts.get("cpu", 0) + CPU_LEAST * _silent(pod, "cpu"),
            "memory": amounts.get("memory", 0) + MEMORY_LEAST * _silent(pod, "memory"),
        },
        host_ports=tuple(requests.host_ports(pod)),
        controller_uid=meta.controller_uid(pod),
        priority=priority_of(pod),
        has_ended=pod_phase.has_ended(pod),
    )


def _silent(pod: Object, resource: str) -> int:
    """How many containers do not say how much of a resource they want."""
    containers = meta.parts(pod, "spec", "containers")
    asked = (meta.part(one, "resources") for one in containers)
    return sum(not any(resource in meta.part(one, field) for field in ("requests", "limits")) for one in asked)


class Load:
    """Pods, and what they come to together."""

    def __init__(self) -> None:
        self.pods: dict[str, Object] = {}  # By key.
        self.used: Amounts = {}
        self.compared: Amounts = {}
        self.host_ports: dict[requests.HostPort, int] = {}
        self.of_controller: dict[str, int] = {}  # How many pods, by the controller's uid.
        self.priorities: dict[int, int] = {}  # How many pods have each.

    def add(self, pod: Object, what: Demand) -> None:
        self.pods[meta.key(pod)] = pod
        self.count(what, 1)

    def remove(self, pod: Object, what: Demand) -> None:
        del self.pods[meta.key(pod)]
        self.count(what, -1)

    def count(self, what: Demand, sign: int) -> None:
        for name, amount in what.amounts.items():
            self.used[name] = self.used.get(name, 0) + sign * amount
        for name, amount in what.compared.items():
            self.compared[name] = self.compared.get(name, 0) + sign * amount
        for port in what.host_ports:
            counted(self.host_ports, port, sign)
        counted(self.of_controller, what.controller_uid, sign)
        counted(self.priorities, what.priority, sign)


def counted(counts: dict[Key, int], what: Key, more: int) -> None:
    """Add to a count, of which there is none when it is 0."""
    count = counts.get(what, 0) + more
    if count:
        counts[what] = count
    else:
        counts.pop(what, None)


class NodeLoad(Load):
    """What is on one node, kept as its pods change (View.kept)."""

    def __init__(self, view: View, node: str):
        super().__init__()
        self.close = view.follow(PODS, "node", node, self._change)

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (before := self.pods.get(meta.key(old))) is not None:
            self.remove(before, demand(before))
        if new is not None and not (what := demand(new)).has_ended:
            self.add(new, what)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node offers, read once a version of the node."""

    labels: Mapping[str, str]
    allocatable: Amounts
    pods_max: int
    taints: Sequence[Object]  # With those that follow from what it says of itself.
    images: Mapping[str, int]  # Bytes by name.


def facts_of(node: Object) -> Facts:
    allocatable = requests.amounts(meta.part(node, "status", "allocatable") or meta.part(node, "status", "capacity"))
    taints = list(meta.parts(node, "spec", "taints"))
    if not meta.is_condition_true(node, "Ready"):
        # A node that is not ready takes nothing, also before its taint is there.
        taints.append({"key": well_known.NOT_READY_TAINT, "effect": "NoSchedule"})
    return Facts(
        labels=meta.labels(node),
        allocatable=allocatable,
        pods_max=allocatable.get("pods", requests.PODS_PER_NODE_DEFAULT),
        taints=taints,
        images={
            name: image.get("sizeBytes", 0)
            for image in meta.parts(node, "status", "images")
            for name in meta.texts(image, "names")
        },
    )


class Place:
    """A node with what is on it: what the cache shows, and what is thought of it since."""

    def __init__(self, node: Object, facts: Facts, load: Load):
        self.node, self.facts, self.name = node, facts, meta.name(node)
        self._load = load
        self._since = Load()  # Placed since; counts of those that are thought away are below 0.
        self._without: dict[str, None] = {}

    def add(self, pod: Object, what: Demand) -> None:
        self._since.add(pod, what)

    def copy(self) -> Place:
        """The same node, for thinking."""
        other = Place(self.node, self.facts, self._load)
        for key, pod in self._since.pods.items():
            if key not in self._without:
                other.add(pod, demand(pod))
        for key in self._without:
            if (pod := self._load.pods.get(key)) is not None:
                other.remove(pod, demand(pod))
        return other

    def remove(self, pod: Object, what: Demand) -> None:
        """Think it away."""
        self._without[meta.key(pod)] = None
        self._since.count(what, -1)

    def put_back(self, pod: Object, what: Demand) -> None:
        del self._without[meta.key(pod)]
        self._since.count(what, 1)

    def __len__(self) -> int:
        return len(self._load.pods) + len(self._since.pods) - len(self._without)

    @property
    def pods(self) -> Iterator[Object]:
        everybody = itertools.chain(self._load.pods.items(), self._since.pods.items())
        return (pod for key, pod in everybody if key not in self._without)

    def has_less_important(self, priority: int) -> bool:
        """Whether a pod that was there before has a lower priority."""
        return any(one < priority for one in self._load.priorities)

    @property
    def host_ports(self) -> Iterator[requests.HostPort]:
        here, since = self._load.host_ports, self._since.host_ports
        return (port for port in (*here, *since) if here.get(port, 0) + since.get(port, 0) > 0)

    def used(self, name: str) -> int:
        return self._load.used.get(name, 0) + self._since.used.get(name, 0)

    def compared(self, name: str) -> int:
        return self._load.compared.get(name, 0) + self._since.compared.get(name, 0)

    def of_controller(self, uid: str) -> int:
        return self._load.of_controller.get(uid, 0) + self._since.of_controller.get(uid, 0)


def places_of(view: View) -> list[Place]:
    facts = view.facts(NODES, facts_of)
    return [
        Place(node, facts.of(node), view.kept(NodeLoad, meta.name(node), meta.name(node))) for node in view.list(NODES)
    ]
