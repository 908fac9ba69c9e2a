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

from petset.base import tasks, well_known
from petset.client.views import View
from petset.controllers import actions, identity, revisions
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
    pods, taking = claimed(set_, view.list(PODS, meta.namespace(set_)))
    if taking:
        return taking
    history = revisions.history(set_, view.list(CONTROLLERREVISIONS, meta.namespace(set_)), pods)
    family = Family(kind, set_, pods, history, view, now)
    steps: list[actions.Action] = [*history.steps, *report(family)]
    if meta.is_deleting(set_):
        return list(report(family))
    return [*steps, *pet_steps(family), *history.forget, *look_again(family)]


def claimed(set_: Object, pods: Iterable[Object]) -> tuple[list[Object], list[actions.Action]]:
    """(the set's own pods, steps that adopt or release some: they come first, and alone)."""
    selector = selectors.from_object(set_["spec"].get("selector"))
    own: list[Object] = []
    adopt: list[actions.Action] = []
    release: list[actions.Action] = []
    for pod in pods:
        belongs = identity.parent(pod) == meta.name(set_) and selector.matches(meta.labels(pod))
        controller = meta.controller_of(pod)
        references = pod["metadata"].get("ownerReferences") or []
        if controller is None:
            if belongs and not meta.is_deleting(pod) and not meta.is_deleting(set_):
                owned = [*references, meta.owner_reference(set_)]
                adopt.append(actions.Update(meta.changed(pod, ("metadata", "ownerReferences"), owned)))
        elif controller.get("uid") == meta.uid(set_):
            if belongs:
                own.append(pod)
            elif not meta.is_deleting(set_):
                others = [reference for reference in references if reference.get("uid") != meta.uid(set_)]
                release.append(actions.Update(meta.changed(pod, ("metadata", "ownerReferences"), others)))
    # A set that was deleted meanwhile (or made anew) must not adopt: the server is asked, not the cache.
    return own, [*release, actions.StillThere(set_), *adopt] if adopt else release


class Family:
    """One set and its pets as they are: who is in the range of ordinals, and who is too many."""

    def __init__(
        self, kind: Variant, set_: Object, pods: Sequence[Object], history: revisions.History, view: View, now: float
    ):
        self.kind, self.set, self.pods, self.history, self.view, self.now = kind, set_, pods, history, view, now
        self.start, self.size = identity.first_ordinal(set_), identity.replicas_wanted(set_)
        self.is_ordered = meta.get(set_, "spec", "podManagementPolicy", default="OrderedReady") != "Parallel"
        by_ordinal = {identity.ordinal(pod): pod for pod in pods}
        self.pets = {i: by_ordinal.get(i) for i in range(self.start, self.start + self.size)}  # Ascending.
        self.condemned = [by_ordinal[i] for i in sorted(by_ordinal, reverse=True) if i not in self.pets]

    @property
    def strategy(self) -> str:
        return meta.get(self.set, "spec", "updateStrategy", "type", default="RollingUpdate")

    @property
    def partition(self) -> int:
        return meta.get(self.set, "spec", "updateStrategy", "rollingUpdate", "partition", default=0)

    @property
    def min_ready_seconds(self) -> int:
        return meta.get(self.set, "spec", "minReadySeconds", default=0)

    def is_healthy(self, pod: Object) -> bool:
        """Running, ready for long enough, staying, and not paused by hand."""
        paused = self.kind.can_pause and is_paused(pod)
        return self.is_available(pod) and not meta.is_deleting(pod) and not paused

    def is_available(self, pod: Object) -> bool:
        return is_running_and_ready(pod) and self.seconds_to_available(pod) <= 0

    def seconds_to_available(self, pod: Object) -> float:
        """How long a ready pod must still stay so."""
        ready = meta.condition(pod, "Ready") or {}
        since = ready.get("lastTransitionTime")
        if not self.min_ready_seconds or not since:
            return 0.0
        return tasks.parse_rfc3339(since) + self.min_ready_seconds - self.now

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


def is_running_and_ready(pod: Object) -> bool:
    return meta.get(pod, "status", "phase") == "Running" and meta.is_pod_ready(pod)


def has_ended(pod: Object) -> bool:
    return meta.get(pod, "status", "phase") in ("Failed", "Succeeded")


def is_paused(pod: Object) -> bool:
    """Said to be not initialized: only a false that can be read as one pauses."""
    return meta.annotations(pod).get(well_known.INITIALIZED_ANNOTATION) in ("false", "False", "FALSE", "f", "F", "0")


def pet_steps(family: Family) -> list[actions.Action]:
    """Fill, then shrink, then update; the ordered policy ends the round at the first pet that needs anything."""
    steps: list[actions.Action] = []
    for i, pod in family.pets.items():
        more, is_settled = pet_step(family, i, pod)
        steps += more
        if family.is_ordered and not is_settled:
            return steps
    for pod in family.condemned:
        more, is_gone = surplus_step(family, pod)
        steps += more
        if family.is_ordered and not is_gone:
            return steps
    if family.condemned:
        return steps
    return [*steps, *update_step(family)]


def pet_step(family: Family, i: int, pod: Object | None) -> tuple[list[actions.Action], bool]:
    """(what one pet of the range needs, whether those above it may go on)."""
    if pod is None:
        return create_pet(family, i), False
    if meta.is_deleting(pod):
        return [], False
    if has_ended(pod):
        return [replaced_in_time(family, pod)], False
    steps: list[actions.Action] = []
    if meta.get(pod, "status", "phase", default="Pending") == "Pending":
        steps += missing_claims(family, pod)
    repaired = identity.with_identity(family.set, pod)
    if repaired is not pod:
        steps.append(actions.Update(repaired, *family.pod_events("update", meta.name(pod))))
    return [*steps, *owned_claims(family, pod, condemned=False)], family.is_healthy(pod)


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


def surplus_step(family: Family, pod: Object) -> tuple[list[actions.Action], bool]:
    """(how a pet beyond the range goes, whether the next one may go too)."""
    if meta.is_deleting(pod):
        return [], False
    may_go = has_ended(pod) or family.is_healthy(pod) or pod is first_unhealthy(family)
    if family.is_ordered and not may_go:
        return [], False
    return [*owned_claims(family, pod, condemned=True), remove_pet(family, pod)], False


def first_unhealthy(family: Family) -> Object | None:
    """The lowest pet that is not healthy, those in the range before those beyond it that may get well yet."""
    in_range = [pod for pod in family.pets.values() if pod is not None]
    for pod in [*in_range, *(pod for pod in reversed(family.condemned) if not has_ended(pod))]:
        if not family.is_healthy(pod):
            return pod
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
    for i in sorted(family.pets, reverse=True):
        pod = family.pets[i]
        if i < family.start + family.partition or pod is None:
            return []
        if meta.is_deleting(pod):
            return []
        if identity.revision_name(pod) != meta.name(family.history.update):
            return [remove_pet(family, pod)]
        if not family.is_healthy(pod):
            return []
    return []


def report(family: Family) -> list[actions.Action]:
    """The status as it is now, written when it says something else."""
    set_, history = family.set, family.history
    created = [pod for pod in family.pods if meta.get(pod, "status", "phase")]
    ready = [pod for pod in created if is_running_and_ready(pod)]
    staying = [pod for pod in created if not meta.is_deleting(pod)]
    current, update = meta.name(history.current), meta.name(history.update)
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": sum(identity.revision_name(pod) == current for pod in staying),
        "updatedReplicas": sum(identity.revision_name(pod) == update for pod in staying),
    }
    is_updated = counts["updatedReplicas"] == len(created) == counts["readyReplicas"] == family.size
    if family.strategy == "RollingUpdate" and is_updated:
        current, counts["currentReplicas"] = update, counts["updatedReplicas"]
    status = {
        **{key: value for key, value in (set_.get("status") or {}).items() if key not in counts},
        **{key: count for key, count in counts.items() if count},
        "observedGeneration": meta.get(set_, "metadata", "generation", default=0),
        "replicas": len(created),
        "availableReplicas": sum(family.is_available(pod) for pod in ready),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": history.collisions,
    }
    return [] if status == set_.get("status") else [actions.UpdateStatus({**set_, "status": status})]


def look_again(family: Family) -> list[actions.Action]:
    """Nothing changes when a pet has been ready for long enough: only time tells."""
    waits = [family.seconds_to_available(pod) for pod in family.pods if is_running_and_ready(pod)]
    return [actions.RequeueAfter(min(wait for wait in waits if wait > 0))] if any(w > 0 for w in waits) else []


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
            if identity.parse(pet)[0] == meta.name(set_):
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
