"""PetSet and StatefulSet: pets with an ordinal, a name and claims, made and removed in order.

`reconcile` looks at one set and what there is of it and answers the next steps: take the pods that are its own (adopt
orphans, release strangers), settle the history of its template, report the status; then for each pet, ascending,
replace what has failed, create what is missing (claims first), wait for what is not ready; then remove surplus pets
from the highest ordinal down; then update pets from the highest ordinal down to the partition. With the ordered policy
the first pet that needs anything ends the round: its next change brings us back here.

Invariants: pet i+1 is created only when pet i was seen ready; one pet at a time is created or removed; a deletion names
the uid it saw; a claim is never deleted here. The two kinds differ only in their row of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from petset.base import tasks
from petset.client.views import View
from petset.controllers import actions, identity, revisions
from petset.controllers.pets import Pet, read
from petset.controllers.runner import Controller, own_key
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Kind

PET_SECONDS_MIN = 1.0  # Between a pet and its successor: a node may refuse each at once.


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


def reconcile(kind: Variant, key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps that bring one set's pets closer to its spec; [] when there is nothing to do now."""
    set_ = view.get(kind.resource, *meta.split_key(key))
    if set_ is None:
        return []
    own, taking = claimed(kind, set_, view)
    if taking:
        return taking
    in_use = dict.fromkeys(pet.revision for pet in own)
    history = revisions.history(set_, view.list(CONTROLLERREVISIONS, meta.namespace(set_)), in_use)
    family = Family(kind, set_, own, history, view, now)
    if meta.is_deleting(set_):
        return report(family)
    return [*history.steps, *report(family), *pet_steps(family), *history.forget, *look_again(family)]


def claimed(kind: Variant, set_: Object, view: View) -> tuple[list[Pet], list[actions.Action]]:
    """(the set's own pets, steps that adopt or release some: they come first, and alone)."""
    selector = view.facts(kind.resource, _selector).of(set_)
    pets = view.facts(PODS, read)
    is_going = meta.is_deleting(set_)
    own: list[Pet] = []
    release: list[actions.Action] = []
    for pod in view.by_index(PODS, "controller", meta.uid(set_)):
        pet = pets.of(pod)
        if pet.parent == meta.name(set_) and selector.matches(pet.labels):
            own.append(pet)
        elif not is_going:
            references = pod["metadata"].get("ownerReferences") or []
            others = [reference for reference in references if reference.get("uid") != meta.uid(set_)]
            release.append(actions.Update(meta.changed(pod, ("metadata", "ownerReferences"), others)))
    adopt: list[actions.Action] = []
    for pod in () if is_going else view.by_index(PODS, "masterless", meta.key(set_)):
        if selector.matches(meta.labels(pod)) and not meta.is_deleting(pod):
            owned = [*(pod["metadata"].get("ownerReferences") or []), meta.owner_reference(set_)]
            adopt.append(actions.Update(meta.changed(pod, ("metadata", "ownerReferences"), owned)))
    # A set that was deleted meanwhile (or made anew) must not adopt: the server is asked, not the cache.
    return own, [*release, actions.StillThere(set_), *adopt] if adopt else release


def _selector(set_: Object) -> selectors.Selector:
    return selectors.from_object(set_["spec"].get("selector"))


class Family:
    """One set and its pets as they are: who is in the range of ordinals, and who is too many."""

    def __init__(
        self, kind: Variant, set_: Object, own: Sequence[Pet], history: revisions.History, view: View, now: float
    ):
        self.kind, self.set, self.own, self.history, self.view, self.now = kind, set_, own, history, view, now
        self.start, self.size = identity.first_ordinal(set_), identity.replicas_wanted(set_)
        self.is_ordered = meta.get(set_, "spec", "podManagementPolicy", default="OrderedReady") != "Parallel"
        self.strategy = meta.get(set_, "spec", "updateStrategy", "type", default="RollingUpdate")
        self.partition = meta.get(set_, "spec", "updateStrategy", "rollingUpdate", "partition", default=0)
        self.min_ready_seconds = meta.get(set_, "spec", "minReadySeconds", default=0)
        self.has_claims = bool(identity.claim_templates(set_))
        by_ordinal = {pet.ordinal: pet for pet in own}
        self.pets = {i: by_ordinal.get(i) for i in range(self.start, self.start + self.size)}  # Ascending.
        self.condemned = [by_ordinal[i] for i in sorted(by_ordinal, reverse=True) if i not in self.pets]

    def is_healthy(self, pet: Pet) -> bool:
        """Running, ready for long enough, staying, and not paused by hand."""
        return (
            pet.is_ready
            and not pet.is_deleting
            and not (pet.is_paused and self.kind.can_pause)
            and self.seconds_to_available(pet) <= 0
        )

    def is_available(self, pet: Pet) -> bool:
        return pet.is_ready and self.seconds_to_available(pet) <= 0

    def seconds_to_available(self, pet: Pet) -> float:
        """How long a ready pet must still stay so."""
        if not self.min_ready_seconds or pet.ready_since is None:
            return 0.0
        return pet.ready_since + self.min_ready_seconds - self.now

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


def pet_steps(family: Family) -> list[actions.Action]:
    """Fill, then shrink, then update; the ordered policy ends the round at the first pet that needs anything."""
    filling: list[list[actions.Action]] = []
    for i, pet in family.pets.items():
        more, is_settled = pet_step(family, i, pet)
        filling.append(more)
        if family.is_ordered and not is_settled:
            return actions.together(filling)
    shrinking: list[list[actions.Action]] = []
    for pet in family.condemned:
        more, is_gone = surplus_step(family, pet)
        shrinking.append(more)
        if family.is_ordered and not is_gone:
            break
    steps = [*actions.together(filling), *actions.together(shrinking)]
    return steps if family.condemned else [*steps, *update_step(family)]


def pet_step(family: Family, i: int, pet: Pet | None) -> tuple[list[actions.Action], bool]:
    """(what one pet of the range needs, whether those above it may go on)."""
    if pet is None:
        return create_pet(family, i), False
    if pet.is_deleting:
        return [], False
    if pet.has_ended:
        return [replaced_in_time(family, pet.pod)], False
    steps: list[actions.Action] = []
    if family.has_claims and pet.phase in ("", "Pending"):
        steps += missing_claims(family, pet.pod)
    if family.set["kind"] == "PetSet" or not pet.is_labelled:
        repaired = identity.with_identity(family.set, pet.pod)
        if repaired is not pet.pod:
            steps.append(actions.Update(repaired, *family.pod_events("update", pet.name)))
    if family.has_claims:
        steps += owned_claims(family, pet.pod, condemned=False)
    return steps, family.is_healthy(pet)


def create_pet(family: Family, i: int) -> list[actions.Action]:
    """Claims first, then the pod; nothing while a claim of it is going away."""
    name = identity.pod_name(family.set, i)
    done, failed = family.pod_events("create", name)
    steps: list[actions.Action] = []
    for claim in identity.claims_for(family.set, name):
        there = family.view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(claim), meta.name(claim))
        if there is None:
            steps.append(actions.Create(claim, *family.claim_events(name, meta.name(claim))))
        elif meta.is_deleting(there) or identity.is_stale_claim(there, name):
            why = f"pvc {meta.name(there)} is being deleted"
            event = actions.EmitEvent(family.set, "Warning", failed.reason, failed.message.replace("{error}", why))
            return [event, actions.Fail(why)]
    template = family.history.update
    if family.strategy == "RollingUpdate" and i < family.start + family.partition:
        template = family.history.current
    pod = identity.pod_for(family.set, i, revisions.template_of(template), meta.name(template))
    return [*steps, actions.Create(pod, done, failed)]


def missing_claims(family: Family, pod: Object) -> list[actions.Action]:
    """Claims a pending pod still waits for: somebody deleted them, or it was adopted without."""
    return [
        actions.Create(claim, *family.claim_events(meta.name(pod), meta.name(claim)))
        for claim in identity.claims_for(family.set, meta.name(pod))
        if family.view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(claim), meta.name(claim)) is None
    ]


def owned_claims(family: Family, pod: Object, condemned: bool) -> list[actions.Action]:
    """Repairs of the owners of a pet's claims, as the retention policy wants them."""
    steps: list[actions.Action] = []
    for name in identity.claim_names(family.set, meta.name(pod)):
        claim = family.view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(pod), name)
        if claim is None or meta.is_deleting(claim):
            continue
        if identity.is_foreign(claim, family.set, pod) and not identity.keeps_claims(family.set):
            why = f"claim {name} has another controller: the retention policy does not count for it"
            steps.append(actions.EmitEvent(family.set, "Warning", "ConflictingController", why))
        wanted = identity.with_claim_owner(family.set, pod, claim, condemned)
        if wanted != claim:
            steps.append(actions.Update(wanted))
    return steps


def surplus_step(family: Family, pet: Pet) -> tuple[list[actions.Action], bool]:
    """(how a pet beyond the range goes, whether the next one may go too)."""
    if pet.is_deleting:
        return [], False
    if family.is_ordered and not (pet.has_ended or family.is_healthy(pet) or pet is first_unhealthy(family)):
        return [], False
    return [*owned_claims(family, pet.pod, condemned=True), remove_pet(family, pet.pod)], False


def first_unhealthy(family: Family) -> Pet | None:
    """The lowest pet that is not healthy, those in the range before those beyond it that may get well yet."""
    in_range = [pet for pet in family.pets.values() if pet is not None]
    for pet in [*in_range, *(pet for pet in reversed(family.condemned) if not pet.has_ended)]:
        if not family.is_healthy(pet):
            return pet
    return None


def replaced_in_time(family: Family, pod: Object) -> actions.Action:
    """A pet that ended goes, and another comes; those that end as soon as they are made do not go in a circle."""
    made = tasks.parse_rfc3339(pod["metadata"].get("creationTimestamp", "1970-01-01T00:00:00Z"))
    left = made + PET_SECONDS_MIN - family.now
    return actions.RequeueAfter(left) if left > 0 else remove_pet(family, pod)


def remove_pet(family: Family, pod: Object) -> actions.Action:
    done, failed = family.pod_events("delete", meta.name(pod))
    return actions.Delete(pod, on_success=done, on_failure=failed)


def update_step(family: Family) -> list[actions.Action]:
    """Replace the highest pet that has another template than the newest, once all above it are healthy again."""
    if family.strategy != "RollingUpdate":
        return []
    newest = meta.name(family.history.update)
    for i, pet in reversed(family.pets.items()):
        if i < family.start + family.partition or pet is None or pet.is_deleting:
            return []
        if pet.revision != newest:
            return [remove_pet(family, pet.pod)]
        if not family.is_healthy(pet):
            return []
    return []


def report(family: Family) -> list[actions.Action]:
    """The status as it is now, written when it says something else."""
    set_, history = family.set, family.history
    created = [pet for pet in family.own if pet.phase]
    staying = [pet.revision for pet in created if not pet.is_deleting]
    current, update = meta.name(history.current), meta.name(history.update)
    counts = {
        "readyReplicas": sum(pet.is_ready for pet in created),
        "currentReplicas": staying.count(current),
        "updatedReplicas": staying.count(update),
    }
    is_updated = counts["updatedReplicas"] == len(created) == counts["readyReplicas"] == family.size
    if family.strategy == "RollingUpdate" and is_updated:
        current, counts["currentReplicas"] = update, counts["updatedReplicas"]
    status = {
        **{key: value for key, value in (set_.get("status") or {}).items() if key not in counts},
        **{key: count for key, count in counts.items() if count},
        "observedGeneration": meta.get(set_, "metadata", "generation", default=0),
        "replicas": len(created),
        "availableReplicas": sum(family.is_available(pet) for pet in created),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": history.collisions,
    }
    return [] if status == set_.get("status") else [actions.UpdateStatus({**set_, "status": status})]


def look_again(family: Family) -> list[actions.Action]:
    """Nothing changes when a pet has been ready for long enough: only time tells."""
    if not family.min_ready_seconds:
        return []
    waits = [wait for pet in family.own if pet.is_ready and (wait := family.seconds_to_available(pet)) > 0]
    return [actions.RequeueAfter(min(waits))] if waits else []


def keys_of_pod(kind: Variant, pod: Object, view: View) -> Iterable[str]:
    """The set that controls the pod, and the one its name belongs to (to adopt it, or to get the name back)."""
    space, controller, parent = meta.namespace(pod), meta.controller_of(pod), identity.parent(pod)
    if controller is not None and controller.get("kind") == kind.resource.kind:
        yield f"{space}/{controller['name']}"
    if parent:
        yield f"{space}/{parent}"


def keys_of_claim(kind: Variant, claim: Object, view: View) -> Iterable[str]:
    """The sets whose claim, by its name, this is."""
    for set_ in view.list(kind.resource, meta.namespace(claim)):
        for template in identity.claim_templates(set_):
            prefix = meta.name(template) + "-"
            pet = meta.name(claim)[len(prefix) :] if meta.name(claim).startswith(prefix) else ""
            if identity.parse_pet_name(pet)[0] == meta.name(set_):
                yield meta.key(set_)


def keys_of_revision(kind: Variant, revision: Object, view: View) -> Iterable[str]:
    controller = meta.controller_of(revision)
    if controller is not None and controller.get("kind") == kind.resource.kind:
        yield f"{meta.namespace(revision)}/{controller['name']}"


def _controller(kind: Variant) -> Controller:
    return Controller(
        name=kind.resource.plural,
        component=kind.component,
        watches=(
            (kind.resource, own_key),
            (PODS, partial(keys_of_pod, kind)),
            (PERSISTENTVOLUMECLAIMS, partial(keys_of_claim, kind)),
            (CONTROLLERREVISIONS, partial(keys_of_revision, kind)),
        ),
        reconcile=partial(reconcile, kind),
    )


CONTROLLERS = tuple(_controller(kind) for kind in KINDS)
