"""What a move is going to do, told before it does any of it: each step played on what was seen of both clusters.

The clusters are played as simply as can be: whom a set wants is there and ready at once, and whom it does not is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from petset.cli.moving import deciding, making, record
from petset.cli.moving.deciding import Side, Step
from petset.cli.moving.record import Move
from petset.kinds import pet_names
from petset.objects import meta
from petset.objects.meta import Object

_FIELDS = {"PersistentVolumeClaim": "claims", "Pod": "pods", "Service": "services"}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def foreseen(move: Move, wishes: making.Wishes, here: Side, there: Side) -> Iterator[Step]:
    """Every step that is left, the last of them Done. Raises ValueError as deciding does."""
    while True:
        step = deciding.next_step(move, wishes, here, there)
        yield step
        if isinstance(step, deciding.Done):
            return
        here, there = after(step, here, there)


def after(step: Step, here: Side, there: Side) -> tuple[Side, Side]:
    """Both sides once a step is done."""
    match step:
        case deciding.Write(obj=obj):
            side, change = there if step.there else here, _without if isinstance(step, deciding.Remove) else _with
            changed = _settled(change(side, obj))
            return (here, changed) if step.there else (changed, there)
        case deciding.Copy(claims=claims, move=move):
            held = {name: making.copied(there.claims[name], move, "sha256") for name in claims}
            return here, replace(there, claims={**there.claims, **held})
        case deciding.Done(set_=set_) if set_ is not None:
            return _with(here, set_), there
        case _:
            return here, there


def _with(side: Side, obj: Object) -> Side:
    if (kept := _FIELDS.get(obj["kind"])) is None:
        return replace(side, set_=obj)
    return replace(side, **{kept: {**getattr(side, kept), meta.name(obj): obj}})


def _without(side: Side, obj: Object) -> Side:
    kept = _FIELDS[obj["kind"]]
    return replace(side, **{kept: {name: one for name, one in getattr(side, kept).items() if name != meta.name(obj)}})


def _settled(side: Side) -> Side:
    """The pets that its set wants, where nobody has their places, and nobody else's."""
    if side.set_ is None:
        return side
    wanted = pet_names.names(side.set_)
    others = {name: pod for name, pod in side.pods.items() if name in wanted or not is_pet(side.set_, pod)}
    pets: Mapping[str, Object] = {name: pet(side.set_, name) for name in wanted}
    return replace(side, pods={**pets, **others})


def is_pet(set_: Object, pod: Object) -> bool:
    return not record.is_gate(pod) and pet_names.parent(pod) == meta.name(set_)


def pet(set_: Object, name: str) -> Object:
    """A pet that is ready."""
    metadata = {"name": name, "namespace": meta.namespace(set_)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}, "status": READY}
