"""CPU and memory of containers that run, changed in place: what a pod has been given here, and what it waits for.

A pod's spec says what is wanted; `Allocation` is what the node has agreed to. `take` asks the node's ledger for what is
wanted and not yet given: it is given at once, or later (Deferred: when somebody gives something back), or never
(Infeasible). What is given is then brought to the containers one by one: in place, or by a new start where the
container's resizePolicy says so (`restarts`). How far that is can be seen in the containers themselves (`lacking`).

Invariants: all decisions are pure but for `Allocation`, which only remembers; after a restart of petset the containers
say what they have, and the rest is asked for again. Follows: "Resize CPU and Memory Resources assigned to Containers"
of the Kubernetes documentation (KEP-1287).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from petset.kinds import requests
from petset.kinds.pod_spec import lifecycle, pod_containers
from petset.kinds.pod_spec.resize import resizable
from petset.node.pods.sysctls import Refusal
from petset.node.runtime import Container
from petset.objects import encoding, meta
from petset.objects.meta import Object

INFEASIBLE, DEFERRED = "Infeasible", "Deferred"

Tell = Callable[[str, str, str], None]  # type, reason, message


class Ledger(Protocol):
    def resize(self, pod: Object, again: Callable[[], None]) -> Refusal | None: ...

    def give_up_resize(self, uid: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Resize:
    """What a pod's look at itself needs of its allocation."""

    allocated: Mapping[str, Object] = field(default_factory=dict[str, Object])  # Resources by container.
    pending: Refusal | None = None
    generation: int = 0  # Of the pod whose resources are being brought to the containers; 0: none are.
    error: str = ""  # Why they could not be.
    retry_at: float = 0.0


def desired(pod: Object) -> dict[str, Object]:
    """What each container is to have by the pod's spec."""
    return {
        container["name"]: resizable(meta.part(container, "resources"))
        for name in pod_containers.OWN
        for container in meta.parts(pod, "spec", name)
    }


def differing(one: Object, other: Object) -> list[str]:
    """The resources that are another amount in either."""
    found: list[str] = []
    for kind in ("requests", "limits"):
        mine, theirs = meta.part(one, kind), meta.part(other, kind)
        if mine != theirs:
            amounts, others = requests.amounts(mine), requests.amounts(theirs)
            found += [name for name in {**amounts, **others} if amounts.get(name) != others.get(name)]
    return list(dict.fromkeys(found))


def restarts(container: Object, changed: Sequence[str]) -> bool:
    """Whether the container wants a new start when these resources of it change."""
    policies = {one.get("resourceName"): one.get("restartPolicy") for one in meta.parts(container, "resizePolicy")}
    return any(policies.get(name) == "RestartContainer" for name in changed)


def with_allocation(pod: Object, allocated: Mapping[str, Object]) -> Object:
    """The pod as the node has agreed to it."""
    spec: Object = pod["spec"]
    for name in pod_containers.OWN:
        given = meta.parts(pod, "spec", name)
        made = [_given(container, allocated.get(container["name"])) for container in given]
        if any(one is not before for one, before in zip(made, given, strict=True)):
            spec = {**spec, name: made}
    return pod if spec is pod["spec"] else {**pod, "spec": spec}


def _given(container: Object, allocated: Object | None) -> Object:
    resources = meta.part(container, "resources")
    if allocated is None or not differing(resizable(resources), allocated):
        return container
    return {**container, "resources": with_amounts(resources, allocated)}


def with_amounts(resources: Object, given: Object) -> Object:
    """A container's resources with what was given of CPU and memory in the place of what they say."""
    changed = {**resources}
    for kind in ("requests", "limits"):
        kept = {name: amount for name, amount in meta.part(resources, kind).items() if name not in lifecycle.RESIZABLE}
        if merged := {**kept, **meta.part(given, kind)}:
            changed[kind] = merged
        else:
            changed.pop(kind, None)
    return changed


def lacking(resize: Resize, container: Container) -> list[str]:
    """The resources that a container has otherwise than it was given."""
    given = resize.allocated.get(container.name)
    if given is None or container.resources is None:
        return []
    return differing(given, container.resources)


class Allocation:
    def __init__(self, pod: Object, containers: Sequence[Container]):
        """`containers` are those that are there already, oldest attempt first."""
        known = {one.name: one.resources for one in containers if one.resources is not None}
        self.state = Resize({**desired(pod), **known})
        self._spec: Object | None = None  # For which everything was asked already.

    def of(self, pod: Object) -> Object:
        """The pod as the node has agreed to it."""
        return with_allocation(pod, self.state.allocated)

    def begin(self, pod: Object) -> None:
        """The pod is taken now, as it is."""
        self.state = Resize(desired(pod))

    def ask_again(self) -> None:
        self._spec = None

    def take(self, pod: Object, ledger: Ledger, tell: Tell, again: Callable[[], None]) -> list[Object]:
        """Have what the spec wants, where the node has it; the containers that are to be started anew for that.

        `again` is called when it is worth to ask once more.
        """
        if pod["spec"] is self._spec:
            return []
        self._spec = pod["spec"]
        wanted, before = desired(pod), self.state.allocated
        changed = {name: differing(one, before.get(name, {})) for name, one in wanted.items()}
        if not any(changed.values()):
            if self.state.pending is not None:
                ledger.give_up_resize(meta.uid(pod))
                self.state = replace(self.state, pending=None)
            return []
        refusal = ledger.resize(pod, again)
        if refusal is not None:
            if refusal != self.state.pending:
                said = summary(pod, f"Pod resize {refusal.reason}", refusal.message)
                tell("Warning", f"Resize{refusal.reason}", said)
            self.state = replace(self.state, pending=refusal)
            return []
        self.state = Resize(wanted, generation=_generation(pod))
        tell("Normal", "ResizeStarted", summary(pod, "Pod resize started"))
        specs = [container for name in pod_containers.OWN for container in meta.parts(pod, "spec", name)]
        return [spec for spec in specs if restarts(spec, changed[spec["name"]])]

    def failed(self, pod: Object, why: str, retry_at: float, tell: Tell) -> None:
        if why != self.state.error:
            tell("Warning", "ResizeError", summary(pod, "Pod resize error", why))
        self.state = replace(self.state, error=why, retry_at=retry_at, generation=_generation(pod))

    def done(self, pod: Object, tell: Tell) -> None:
        """Everything that was given has come to the containers."""
        if self.state.generation:
            self.state = replace(self.state, generation=0, error="", retry_at=0.0)
            tell("Normal", "ResizeCompleted", summary(self.of(pod), "Pod resize completed"))


def _generation(pod: Object) -> int:
    return int(meta.get(pod, "metadata", "generation", default=0)) or 1


def summary(pod: Object, said: str, error: str = "") -> str:
    """An event's message: which resources of which generation it is about."""
    told: dict[str, object] = {
        name: [{"name": one["name"], "resources": meta.part(one, "resources")} for one in meta.parts(pod, "spec", name)]
        for name in pod_containers.OWN
        if meta.parts(pod, "spec", name)
    }
    told["generation"] = _generation(pod)
    if error:
        told["error"] = error
    return f"{said}: {encoding.dumps(told).decode()}"
