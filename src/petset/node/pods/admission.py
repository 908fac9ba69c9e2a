"""Whether this node takes a pod that is bound to it: the scheduler's word is asked for again, since anybody may bind.

A `Ledger` knows what the admitted pods hold: resources and ports of the node. A pod is entered when it fits; if it does
not, the answer is the reason and the message its status ends with, and a controller makes another pod. A pod that
has begun here before is entered without being asked.

Invariants: asking costs by what the pod itself wants, not by how many pods there are; one entry a pod, released
once. Follows: a kubelet's admission (reasons NodePorts, OutOfcpu, OutOfmemory, OutOfpods, ..., Evicted,
SysctlForbidden, AppArmor).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from petset.base import well_known
from petset.kinds import quality_of_service, requests, tolerations
from petset.kinds.pod_spec import lifecycle
from petset.kinds.requests import Amounts, HostPort
from petset.node.pods import decide as pods
from petset.node.pods import resizing, sysctls
from petset.node.pods.sysctls import Refusal
from petset.objects import meta
from petset.objects.meta import Object


@dataclass(slots=True)
class _Entry:
    amounts: Amounts
    ports: list[HostPort]


class Ledger:
    def __init__(self, allocatable: Mapping[str, str], unsafe_sysctls: Sequence[str] = ()):
        """`unsafe_sysctls` are names, or beginnings of names with a `*`, that pods may set beside the safe ones."""
        self._unsafe_sysctls = tuple(unsafe_sysctls)
        self._allocatable = {"pods": requests.PODS_PER_NODE_DEFAULT, **requests.amounts(allocatable)}
        self._extended: Amounts = {}  # What others have written that the node has: `example.com/device`.
        self.disk_pressure = self.memory_pressure = False
        self._entries: dict[str, _Entry] = {}
        self._waiting: dict[str, Callable[[], None]] = {}  # Of pods whose resize does not fit yet.
        self._used: Amounts = {}
        self._ports: dict[tuple[str, int], dict[str, list[HostPort]]] = {}  # By protocol and number, then by pod.

    def has(self, allocatable: Mapping[str, str]) -> None:
        """What the node's status says: it counts for resources with a domain in their names, and those alone."""
        self._extended = {name: requests.amount(name, str(text)) for name, text in allocatable.items() if "/" in name}

    def enter(self, pod: Object) -> None:
        """Count a pod that is here already."""
        uid = meta.uid(pod)
        if uid not in self._entries:
            self._enter(uid, _wanted(pod))

    def admit(self, pod: Object) -> Refusal | None:
        """Enter the pod, or say why it cannot be taken."""
        uid = meta.uid(pod)
        if uid in self._entries:
            return None
        wanted = _wanted(pod)
        refusal = sysctls.refused(pod, self._unsafe_sysctls) or _apparmor(pod) or self._under_pressure(pod)
        refusal = refusal or self._ports_taken(wanted) or self._too_little(wanted.amounts)
        if refusal is None:
            self._enter(uid, wanted)
        return refusal

    def resize(self, pod: Object, again: Callable[[], None]) -> Refusal | None:
        """Let a pod that is here hold what it wants now; `again` is called when one that waits may ask once more."""
        uid, wanted = meta.uid(pod), _wanted(pod)
        for name in lifecycle.RESIZABLE:
            amount, most = wanted.amounts.get(name, 0), self._allocatable.get(name, 0)
            if amount > most:
                message = f"Node didn't have enough capacity: {name}, requested: {amount}, capacity: {most}"
                self._waiting.pop(uid, None)
                return Refusal(resizing.INFEASIBLE, message)
        before = self._entries.get(uid)
        held = before.amounts if before is not None else {}
        grown = {name: amount for name, amount in wanted.amounts.items() if amount > held.get(name, 0)}
        if (refusal := self._too_little(grown, held)) is not None:
            self._waiting[uid] = again
            return Refusal(resizing.DEFERRED, refusal.message)
        self._waiting.pop(uid, None)
        self._leave(uid)
        self._enter(uid, wanted)
        self._tell_waiting()  # It may hold less of something now.
        return None

    def give_up_resize(self, uid: str) -> None:
        self._waiting.pop(uid, None)

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for again in waiting.values():
            again()

    def release(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        if self._leave(uid):
            self._tell_waiting()

    def _leave(self, uid: str) -> bool:
        entry = self._entries.pop(uid, None)
        if entry is None:
            return False
        for name, amount in entry.amounts.items():
            self._used[name] -= amount
        for port in entry.ports:
            there = self._ports[(port.protocol, port.number)]
            there.pop(uid, None)
            if not there:
                del self._ports[(port.protocol, port.number)]
        return True

    def _enter(self, uid: str, entry: _Entry) -> None:
        self._entries[uid] = entry
        for name, amount in entry.amounts.items():
            self._used[name] = self._used.get(name, 0) + amount
        for port in entry.ports:
            self._ports.setdefault((port.protocol, port.number), {}).setdefault(uid, []).append(port)

    def _under_pressure(self, pod: Object) -> Refusal | None:
        if self.disk_pressure and meta.get(pod, "spec", "priority", default=0) < requests.CRITICAL_PRIORITY:
            return Refusal("Evicted", "The node had condition: [DiskPressure]. ")
        if self.memory_pressure and quality_of_service.of(pod) == "BestEffort" and not _tolerates_pressure(pod):
            return Refusal("Evicted", "The node had condition: [MemoryPressure]. ")
        return None

    def _ports_taken(self, wanted: _Entry) -> Refusal | None:
        for mine in wanted.ports:
            for theirs in self._ports.get((mine.protocol, mine.number), {}).values():
                if any(mine.collides(its) for its in theirs):
                    return Refusal("NodePorts", f"Predicate NodePorts failed: {requests.PORTS_TAKEN}")
        return None

    def _too_little(self, wanted: Mapping[str, int], own: Mapping[str, int] | None = None) -> Refusal | None:
        """`own` is what it holds already of what is used."""
        for name, amount in sorted(wanted.items()):
            if (most := self._most(name)) is None:
                continue
            used = self._used.get(name, 0) - (own or {}).get(name, 0)
            if amount and used + amount > most:
                numbers = f"requested: {amount}, used: {used}, capacity: {most}"
                return Refusal(f"OutOf{name}", f"Node didn't have enough resource: {name}, {numbers}")
        return None

    def _most(self, name: str) -> int | None:
        return self._extended.get(name) if "/" in name else self._allocatable.get(name, 0)


def _tolerates_pressure(pod: Object) -> bool:
    taint = {"key": well_known.MEMORY_PRESSURE_TAINT, "effect": "NoSchedule"}
    return tolerations.tolerates(pod, taint)


def _apparmor(pod: Object) -> Refusal | None:
    """Nothing here confines a process by AppArmor, and a pod that counts on it must not run without."""
    for context in (pod["spec"], *pods.all_containers(pod)):
        if meta.get(context, "securityContext", "appArmorProfile", "type", default=_UNCONFINED) != _UNCONFINED:
            return Refusal("AppArmor", "Cannot enforce AppArmor: petset applies no AppArmor profiles to containers")
    return None


_UNCONFINED = "Unconfined"


def _wanted(pod: Object) -> _Entry:
    return _Entry({**requests.of(pod), "pods": 1}, requests.host_ports(pod))
