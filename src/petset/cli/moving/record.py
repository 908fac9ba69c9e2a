"""What a move is, as it stands on the set that is handed over: whoever goes on with it reads it there.

A set that was handed over keeps a tombstone, which says where it is now, and its pets' places are taken by gates: pods
of the pets' names that no node may run. A gate is nobody's pet (no selector chooses it), goes with the set that it
stands for, and keeps a controller, whatever anybody scales its set to, from making a second pet of one identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petset.base import well_known
from petset.kinds.pet_set import PETSETS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import encoding, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

KINDS = {kind.kind: kind for kind in (PETSETS, STATEFULSETS)}
GATE = "petset.local/moved"  # The scheduling gate that nobody lifts.
# Nothing of it ever runs: a name that no registry has says so to who reads it.
GATE_IMAGE = "moved.petset.local/elsewhere"
_NO_RIGHTS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@dataclass(frozen=True, slots=True)
class Move:
    """Of a set with these ordinals to a set of a kind in another cluster."""

    id: str
    to: str  # The cluster, as people know it.
    kind: str
    replicas: int
    start: int
    when_scaled: str = "Retain"  # What became of the claims of surplus pets before the move.
    at_once: bool = False  # All stop before any starts there.

    @property
    def top(self) -> int:
        """One above the highest ordinal."""
        return self.start + self.replicas

    @property
    def resource(self) -> Kind:
        return KINDS[self.kind]

    def text(self) -> str:
        said = {
            "id": self.id, "to": self.to, "kind": self.kind, "replicas": self.replicas, "start": self.start,
            "whenScaled": self.when_scaled, "atOnce": self.at_once,
        }  # fmt: skip
        return encoding.dumps(said).decode()


def of(set_: Object) -> Move | None:
    """The move that a set is in. Raises ValueError for words that are none."""
    text = meta.annotations(set_).get(well_known.MOVE_ANNOTATION)
    if text is None:
        return None
    said: Any = encoding.loads_answer(text.encode())
    try:
        move = Move(
            str(said["id"]), str(said["to"]), str(said["kind"]), int(said["replicas"]), int(said["start"]),
            str(said["whenScaled"]), bool(said["atOnce"]),
        )  # fmt: skip
    except (KeyError, TypeError):
        raise ValueError(f"its annotation {well_known.MOVE_ANNOTATION} is no move") from None
    if move.kind not in KINDS:
        raise ValueError(f"its annotation {well_known.MOVE_ANNOTATION} names the kind {move.kind}")
    return move


def is_tombstone(set_: Object) -> bool:
    """Whether it was handed over, and nobody has given it pets since."""
    return well_known.MOVED_TO_ANNOTATION in meta.annotations(set_) and not meta.get(set_, "spec", "replicas")


def gate(set_: Object, name: str, to: str) -> dict[str, Any]:
    """The pod that takes a pet's place."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": meta.namespace(set_),
            "annotations": {well_known.MOVED_TO_ANNOTATION: to},
            "ownerReferences": [meta.owner_reference(set_, controller=False, block=False)],
        },
        "spec": {
            "schedulingGates": [{"name": GATE}],
            "automountServiceAccountToken": False,
            "containers": [{"name": "elsewhere", "image": GATE_IMAGE, "securityContext": _NO_RIGHTS}],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        },
    }


def is_gate(pod: Object) -> bool:
    return any(one.get("name") == GATE for one in meta.parts(pod, "spec", "schedulingGates"))
