"""One set and its pets as a decision sees them: who is in the range of ordinals, who is too many, who is well.

`Family` is made anew for each look at a set; its pets are those that pets.py keeps, in groups of one state. The kinds
of sets are rows of `KINDS`: what a PetSet and a StatefulSet say and do in their own ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from petset.client.views import View
from petset.controllers import actions
from petset.controllers.pets import identity
from petset.controllers.pets.pets import Group, Pet, Pets
from petset.controllers.pets.translation import Translation
from petset.controllers.workloads import revisions
from petset.kinds import pet_names
from petset.kinds.apps import workloads
from petset.kinds.pet_set import PETSETS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind


@dataclass(frozen=True, slots=True)
class Variant:
    """What a kind of set says and does in its own way."""

    resource: Kind
    component: str
    can_pause: bool  # By the initialized annotation of a pet.
    pod_text: str
    pod_failed_text: str
    claim_text: str
    claim_failed_text: str
    translation: Translation | None = None  # For a cluster that does not know the words of 2016.


PETSET = Variant(
    PETSETS,
    "petset",
    can_pause=True,
    pod_text="pet: {pod}",
    pod_failed_text="pet: {pod}, error: {error}",
    claim_text="pvc: {claim}",
    claim_failed_text="pvc: {claim}, error: {error}",
)
STATEFULSET = Variant(
    STATEFULSETS,
    "statefulset-controller",
    can_pause=False,
    pod_text="{verb} Pod {pod} in StatefulSet {set} successful",
    pod_failed_text="{verb} Pod {pod} in StatefulSet {set} failed error: {error}",
    claim_text="{verb} Claim {claim} Pod {pod} in StatefulSet {set} success",
    claim_failed_text="{verb} Claim {claim} for Pod {pod} in StatefulSet {set} failed error: {error}",
)
KINDS = (PETSET, STATEFULSET)


def one_of(group: Group) -> Pet:
    """Any: they are all in the same state."""
    return next(iter(group.values()))


class Family:
    """One set and its pets as they are: who is in the range of ordinals, and who is too many."""

    def __init__(
        self,
        kind: Variant,
        set_: Object,
        pets: Pets,
        groups: Sequence[Group],
        history: revisions.History,
        view: View,
        now: float,
    ):
        self.kind, self.set, self.pets, self.history, self.view, self.now = kind, set_, pets, history, view, now
        self.start, self.size = pet_names.first_ordinal(set_), pet_names.replicas_wanted(set_)
        self.end = self.start + self.size
        self.is_ordered = meta.get(set_, "spec", "podManagementPolicy", default="OrderedReady") != "Parallel"
        self.strategy = meta.get(set_, "spec", "updateStrategy", "type", default="RollingUpdate")
        self.partition = meta.get(set_, "spec", "updateStrategy", "rollingUpdate", "partition", default=0)
        missing = meta.get(set_, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
        self.max_unavailable = max(1, workloads.resolved(missing, self.size, up=False))
        self.min_ready_seconds = meta.get(set_, "spec", "minReadySeconds", default=0)
        self.has_claims = bool(pet_names.claim_templates(set_))
        # The clock makes a difference between pets of one state when they must be ready for long.
        self.groups = [alike for group in groups for alike in self._alike(group)]
        self.condemned = [pets.by_ordinal[i] for i in pets.outside(self.start, self.end)]

    def _alike(self, group: Group) -> Iterable[Group]:
        if not self.min_ready_seconds or not one_of(group).is_ready:
            return (group,)
        return [{i: pet} for i, pet in group.items()]

    def in_range(self, group: Group) -> Iterator[int]:
        return (i for i in group if self.start <= i < self.end)

    def is_healthy(self, pet: Pet) -> bool:
        """Running, ready for long enough, staying, and not paused by hand."""
        return (
            pet.is_ready
            and not pet.is_deleting
            and not (pet.is_paused and self.kind.can_pause)
            and self.seconds_to_available(pet) <= 0
        )

    def is_old(self, pet: Pet) -> bool:
        """Of another template than the newest, and staying."""
        return pet.revision != meta.name(self.history.update) and not pet.is_deleting

    @property
    def has_old(self) -> bool:
        """Whether any pet is there that is of another template, going or not."""
        return any(one_of(group).revision != meta.name(self.history.update) for group in self.groups)

    def is_available(self, pet: Pet) -> bool:
        return pet.is_ready and self.seconds_to_available(pet) <= 0

    def seconds_to_available(self, pet: Pet) -> float:
        """How long a ready pet must still stay so."""
        if not self.min_ready_seconds or pet.ready_since is None:
            return 0.0
        return pet.ready_since + self.min_ready_seconds - self.now

    def pod_for(self, ordinal: int, template: Object, revision_name: str) -> Object:
        """The pod of one pet as it is made here. Raises init_annotations.Unreadable."""
        pod = identity.pod_for(self.set, ordinal, template, revision_name)
        return self.kind.translation.pod(pod) if self.kind.translation else pod

    def claims_for(self, pod_name: str) -> Iterator[Object]:
        """The claims one pet needs as they are made here."""
        claims = identity.claims_for(self.set, pod_name)
        return map(self.kind.translation.claim, claims) if self.kind.translation else claims

    def pod_events(self, verb: str, pod_name: str) -> tuple[actions.EmitEvent, actions.EmitEvent]:
        """The events of a step on a pet: (when done, when failed)."""
        return self._events(verb, self.kind.pod_text, self.kind.pod_failed_text, pod=pod_name)

    def claim_events(self, pod_name: str, claim_name: str) -> tuple[actions.EmitEvent, actions.EmitEvent]:
        texts = self.kind.claim_text, self.kind.claim_failed_text
        return self._events("create", *texts, pod=pod_name, claim=claim_name)

    def _events(self, verb: str, done: str, failed: str, **names: str) -> tuple[actions.EmitEvent, actions.EmitEvent]:
        names = {"verb": verb, "set": meta.name(self.set), "error": "{error}", **names}
        return (
            actions.EmitEvent(self.set, "Normal", f"Successful{verb.title()}", done.format(**names)),
            actions.EmitEvent(self.set, "Warning", f"Failed{verb.title()}", failed.format(**names)),
        )
