"""What a move does next, from what both clusters say now: pure, so that whoever was killed goes on where he was.

A set is handed over ordinal by ordinal, the highest first: the set here shrinks by one pet, that pet is gone, its place
is taken by a gate, what its claims held is copied, and only then does the set there grow by it, from above
(`spec.ordinals.start`). The next one is not begun before it is ready there, or runs, where a set's pets start side by
side. At once: all stop before any is copied, and all are copied before any starts.

Invariants: no pet may start there whose place here is not taken by a gate; a copy begins after that; what was copied
in another move counts for nothing; claims here are never deleted, nor is a set. Who goes on with a move takes the set
there from whoever was at it, whose pods on its volumes go first: of two, one stops, and nothing is copied over a pet.
Follows: KEP-3335 (start ordinals, made for this), KEP-3521 (scheduling gates).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from petset.cli.moving import making, record
from petset.cli.moving.record import Move
from petset.kinds import pet_names
from petset.kinds.pod_spec import init_annotations
from petset.objects import meta
from petset.objects.meta import Object


@dataclass(frozen=True, slots=True)
class Side:
    """What one cluster has of a set: itself, pods of its pets' names, its pets' claims and other Services, by name."""

    set_: Object | None
    pods: Mapping[str, Object] = field(default_factory=dict[str, Object])
    claims: Mapping[str, Object] = field(default_factory=dict[str, Object])
    services: Mapping[str, Object] = field(default_factory=dict[str, Object])


# The steps.


@dataclass(frozen=True, slots=True)
class Write:
    """Of an object, `there`: in the other cluster. What was seen says which one is meant: nobody's write is lost."""

    why: str
    obj: Object
    there: bool = False


class Change(Write):
    """It is to be as this is now."""


class Make(Write):
    """There is to be one."""


class Take(Change):
    """The set there is to be this mover's, who goes on where another was."""


class Remove(Write):
    """It is to go."""


@dataclass(frozen=True, slots=True)
class Await:
    """Nothing can be done before a pod is as it is wanted."""

    why: str
    pod: str
    holds: Callable[[Object | None], bool]
    there: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """What a pet's claims hold is to stand in the claims there, for this move."""

    why: str
    pet: str
    claims: tuple[str, ...]
    move: Move


@dataclass(frozen=True, slots=True)
class Done:
    """Every pet is there; the set here, as it then forgets the move, or None where it has forgotten it."""

    set_: Object | None = None
    why: str = "the move is over"


Step = Change | Make | Remove | Await | Copy | Done


CANNOT = (ValueError, init_annotations.Unreadable)


def next_step(move: Move, wishes: making.Wishes, here: Side, there: Side) -> Step:
    """The one next thing to do. Raises one of CANNOT where a person has to decide."""
    set_ = here.set_
    if set_ is None:
        raise ValueError("the set is gone here")
    if making.is_buried(set_, move):
        return _ended(move, set_, there)
    if record.of(set_) is None and record.is_tombstone(set_):
        return Done()
    if record.of(set_) != move:
        return Change("remember what is moved, and where to", making.begun(set_, move))
    if (first := _set_there(move, wishes, here, there)) is not None:
        return first
    if (step := _all_handed_over(move, wishes, here, there)) is not None:
        return step
    return Change("a tombstone here says where it is", making.buried(set_, move))


def _set_there(move: Move, wishes: making.Wishes, here: Side, there: Side) -> Step | None:
    """What is to be there before any pet can be."""
    set_ = here.set_
    assert set_ is not None
    service = meta.get(set_, "spec", "serviceName", default="")
    if service and service not in there.services and service in here.services:
        return Make(f"make the Service {service} there", making.service(wishes, here.services[service]), True)
    if there.set_ is None:
        return Make(f"make the {move.kind} there, without pets yet", making.set_there(move, wishes, set_), True)
    if making.is_held(there.set_, move, wishes.mover):
        return None
    if making.is_of(there.set_, move):
        return Take("go on where it was left", making.held(there.set_, move, wishes.mover), True)
    if not record.is_tombstone(there.set_):
        name = meta.name(set_)
        raise ValueError(
            f"there is a {move.kind} {name} already, which no move has made; delete it first, if nobody needs it"
        )
    return Change(
        "take the set that was handed over from there once", making.revived(move, wishes, set_, there.set_), True
    )


def _all_handed_over(move: Move, wishes: making.Wishes, here: Side, there: Side) -> Step | None:
    """What is to be done still for the pets; None: all live there."""
    assert there.set_ is not None
    name, ordinals = meta.name(there.set_), range(move.top - 1, move.start - 1, -1)
    start, _ = making.ordinals(there.set_)
    for ordinal in ordinals:
        if start > ordinal:
            if (step := _out(move, wishes, ordinal, here, there)) is not None:
                return step
            if move.at_once:
                continue
            return Change(
                f"{name}-{ordinal} starts there", making.scaled(there.set_, ordinal, move.top - ordinal), True
            )
        if not move.at_once and (step := _in(move, ordinal, there)) is not None:
            return step
    if start > move.start and ordinals:
        return Change("all of them start there", making.scaled(there.set_, move.start, move.replicas), True)
    return next((step for ordinal in ordinals[::-1] if (step := _in(move, ordinal, there)) is not None), None)


def _in(move: Move, ordinal: int, there: Side) -> Await | None:
    """Who starts there is waited for: until it is ready, or runs, where the others do not wait for that either."""
    assert there.set_ is not None
    name = pet_names.name(there.set_, ordinal)
    side_by_side = meta.get(there.set_, "spec", "podManagementPolicy") == "Parallel" and ordinal > move.start
    what, holds = ("runs", _runs) if side_by_side else ("gets ready", _is_ready)
    return None if holds(there.pods.get(name)) else Await(f"{name} {what} there", name, holds, True)


def _out(move: Move, wishes: making.Wishes, ordinal: int, here: Side, there: Side) -> Step | None:
    """What is to be done before a pet may start there; None: it may."""
    assert here.set_ is not None
    name = pet_names.name(here.set_, ordinal)
    first, replicas = making.ordinals(here.set_)
    if replicas > ordinal - first:
        left = 0 if move.at_once else max(0, ordinal - first)
        return Change(
            "all of them stop here" if move.at_once else f"{name} stops here", making.scaled(here.set_, first, left)
        )
    gate = here.pods.get(name)
    if gate is None:
        return Make(f"its place here is taken: {name}", record.gate(here.set_, name, move.to))
    if not record.is_gate(gate):
        return Await(f"{name} is gone here", name, _is_gone)
    names = [claim for claim in pet_names.claim_names(here.set_, name) if claim in here.claims]
    for claim in names:
        if claim not in there.claims:
            return Make(f"make the claim {claim} there", making.claim(move, wishes, here.claims[claim]), True)
    for side, is_there in ((here, False), (there, True)):
        if (left := next((pod for pod in side.pods.values() if making.moved_by(pod) == name), None)) is not None:
            return Remove(f"nobody else holds the volumes of {name}", left, is_there)
    if lacking := tuple(one for one in names if not making.has_copy(there.claims[one], move)):
        return Copy(f"what {name} had of volumes is copied", name, lacking, move)
    taken = there.pods.get(name)
    if taken is not None and record.is_gate(taken):
        return Remove(f"its place there is free again: {name}", taken, True)
    return None


def _ended(move: Move, set_: Object, there: Side) -> Change | Done:
    """Once every pet lives there, and the tombstone stands: nothing there tells of the move, and then nothing here."""
    for name, claim in sorted(there.claims.items()):
        if making.has_copy(claim, move):
            return Change(f"the claim {name} there is like any other", making.unmarked(claim), True)
    if there.set_ is not None and making.is_of(there.set_, move):
        return Change(f"the {move.kind} there is like any other", making.settled(there.set_, move), True)
    return Done(making.forgotten(set_))


def _is_gone(pod: Object | None) -> bool:
    return pod is None or record.is_gate(pod)


def _is_ready(pod: Object | None) -> bool:
    return pod is not None and not meta.is_deleting(pod) and not record.is_gate(pod) and meta.is_pod_ready(pod)


def _runs(pod: Object | None) -> bool:
    is_one = pod is not None and not meta.is_deleting(pod) and not record.is_gate(pod)
    return is_one and meta.get(pod, "status", "phase") == "Running"
