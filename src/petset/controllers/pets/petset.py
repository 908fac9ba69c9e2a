"""PetSet and StatefulSet: pets with an ordinal, a name and claims, made and removed in order.

`reconcile` looks at one set and what there is of it and answers the next steps: take the pods that are its own (adopt
orphans, release strangers), settle the history of its template, report the status; then for each pet, ascending,
replace what has failed, create what is missing (claims first), wait for what is not ready; then remove surplus pets
from the highest ordinal down; then update pets from the highest ordinal down to the partition, as many at
once as may be missing (updating.py). With the ordered policy the first pet that needs anything ends the round: its next
change brings us back here.

Invariants: pet i+1 is created only when pet i was seen ready; one pet at a time is created or removed; a deletion names
the uid it saw; a claim is never deleted here. The two kinds differ only in their row of `family.KINDS`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from petset.base import tasks
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.pets import identity, translation, updating
from petset.controllers.pets.family import KINDS, Family, Variant, one_of
from petset.controllers.pets.pets import IDENTITY, Group, Pet, Pets
from petset.controllers.runner import Controller, own_key
from petset.controllers.workloads import claiming, revisions
from petset.kinds import pet_names
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import init_annotations
from petset.kinds.service import SERVICES
from petset.objects import meta, selectors
from petset.objects.meta import Object

COUNTS = ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas")
TRANSLATED, FAILED_TO_TRANSLATE = "Translated", "FailedTranslate"
PET_SECONDS_MIN = 1.0  # Between a pet and its successor: a node may refuse each at once.


def reconcile(kind: Variant, key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps that bring one set's pets closer to its spec; [] when there is nothing to do now."""
    set_ = view.get(kind.resource, *meta.split_key(key))
    if set_ is None:
        return _forget(kind, key, view)
    pets = _pets(kind, set_, view)
    groups, strangers = claimed(kind, set_, pets, view)
    if not meta.is_deleting(set_) and (taking := _claiming(kind, set_, strangers, view)):
        return taking
    in_use = dict.fromkeys(one_of(group).revision for group in groups)
    history = revisions.history(set_, view.list(CONTROLLERREVISIONS, meta.namespace(set_)), in_use)
    family = Family(kind, set_, pets, groups, history, view, now)
    if meta.is_deleting(set_):
        return report(family)
    side_by_side = actions.together([report(family), pet_steps(family)])  # No pet waits for what is said of the set.
    last = [*published(family), *history.forget, *look_again(family)]
    return [*history.steps, *translated(family), *side_by_side, *last]


def _claiming(kind: Variant, set_: Object, strangers: Iterable[Object], view: View) -> list[actions.Action]:
    return [*claiming.released(set_, strangers), *claiming.adopted(set_, orphans(kind, set_, view))]


def _pets(kind: Variant, set_: Object, view: View) -> Pets:
    selector = view.facts(kind.resource, _selector).of(set_)
    apart = any(requirement.key in IDENTITY for requirement in selector.requirements)
    about = meta.namespace(set_), meta.name(set_), meta.uid(set_), apart
    return view.kept(Pets, f"{kind.resource.kind} {meta.key(set_)}", *about)


def _forget(kind: Variant, key: str, view: View) -> list[actions.Action]:
    view.forget(Pets, f"{kind.resource.kind} {key}")
    return []


def claimed(kind: Variant, set_: Object, pets: Pets, view: View) -> tuple[list[Group], list[Object]]:
    """(the set's own pets by state, pods that it controls and that are none)."""
    selector = view.facts(kind.resource, _selector).of(set_)
    own: list[Group] = []
    strangers = list(pets.strangers.values())
    for group in pets.by_state.values():
        if selector.matches(one_of(group).labels):
            own.append(group)
        else:
            strangers += [pet.pod for pet in group.values()]
    return own, strangers


def orphans(kind: Variant, set_: Object, view: View) -> list[Object]:
    """Its pets by name and labels that nobody controls."""
    selector = view.facts(kind.resource, _selector).of(set_)
    named = view.by_index(PODS, "masterless", meta.key(set_))
    return [pod for pod in named if selector.matches(meta.labels(pod)) and not meta.is_deleting(pod)]


def _selector(set_: Object) -> selectors.Selector:
    return selectors.from_object(set_["spec"].get("selector"))


def pet_steps(family: Family) -> list[actions.Action]:
    """Fill, then shrink, then update; the ordered policy ends the round at the first pet that needs anything."""
    if (steps := updating.recreate_steps(family)) is not None:
        return steps
    filling: list[list[actions.Action]] = []
    for i in to_look_at(family):
        more, is_settled = pet_step(family, i, family.pets.by_ordinal.get(i))
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
    return steps if family.condemned else [*steps, *updating.update_step(family)]


def to_look_at(family: Family) -> Iterator[int]:
    """The ordinals of the range, ascending, whose `pet_step` may have anything to do, or is waited for.

    One pet of each state is looked at for all of them; of those whose claims are not as they are wanted, each.
    """
    found = list(unsettled_claims(family)) if family.has_claims else []
    for group in family.groups:
        steps, is_settled = pod_step(family, one_of(group))
        if steps or (family.is_ordered and not is_settled):
            found += family.in_range(group)
    last = -1
    for i in heapq.merge(family.pets.missing(family.start, family.end), sorted(found)):
        if i != last:
            yield i
        last = i


def unsettled_claims(family: Family) -> Iterator[int]:
    """The ordinals of the range with a claim that may have to be made, or to change its owner."""
    pending = [i for group in family.groups if is_pending(one_of(group)) for i in family.in_range(group)]
    for template in pet_names.claim_templates(family.set):
        parent = pet_names.claim_name(template, meta.name(family.set))
        claims = family.pets.claims(parent)
        yield from (i for i in pending if i not in claims.by_ordinal)
        for group in claims.by_owners.values():
            one = next(iter(group.values()))
            owners = one["metadata"].get("ownerReferences") or ()
            if any(owner.get("kind") == "Pod" for owner in owners) or owner_steps(family, None, one, condemned=False):
                yield from (i for i in group if family.start <= i < family.end)


def pet_step(family: Family, i: int, pet: Pet | None) -> tuple[list[actions.Action], bool]:
    """(what one pet of the range needs, whether those above it may go on)."""
    if pet is None:
        return create_pet(family, i), False
    steps, is_settled = pod_step(family, pet)
    if not family.has_claims or pet.is_deleting or pet.has_ended:
        return steps, is_settled
    missing = missing_claims(family, pet.pod) if is_pending(pet) else []
    return [*missing, *steps, *owned_claims(family, pet.pod, condemned=False)], is_settled


def pod_step(family: Family, pet: Pet) -> tuple[list[actions.Action], bool]:
    """The same, but for its claims: it follows from the pet's state."""
    if pet.is_deleting:
        return [], False
    if pet.has_ended:
        return [replaced_in_time(family, pet.pod)], False
    steps: list[actions.Action] = []
    if family.set["kind"] == "PetSet" or not pet.is_labelled:
        repaired = identity.with_identity(family.set, pet.pod)
        if repaired is not pet.pod:
            steps.append(actions.Update(repaired, *family.pod_events("update", pet.name)))
    return steps, family.is_healthy(pet)


def is_pending(pet: Pet) -> bool:
    return pet.phase in ("", "Pending")


def create_pet(family: Family, i: int) -> list[actions.Action]:
    """Claims first, then the pod; nothing while a claim of it is going away."""
    name = pet_names.name(family.set, i)
    done, failed = family.pod_events("create", name)
    steps: list[actions.Action] = []
    for claim in family.claims_for(name):
        there = family.view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(claim), meta.name(claim))
        if there is None:
            steps.append(actions.Create(claim, *family.claim_events(name, meta.name(claim))))
        elif meta.is_deleting(there) or identity.is_stale_claim(there, name):
            return _cannot(failed, f"pvc {meta.name(there)} is being deleted")
    template = family.history.update
    if family.strategy == "RollingUpdate" and i < family.start + family.partition:
        template = family.history.current
    try:
        pod = family.pod_for(i, revisions.template_of(template), meta.name(template))
    except init_annotations.Unreadable as error:
        return _cannot(failed, str(error))
    return [*steps, actions.Create(pod, done, failed)]


def _cannot(failed: actions.EmitEvent, why: str) -> list[actions.Action]:
    return [replace(failed, message=failed.message.replace("{error}", why)), actions.Fail(why)]


def translated(family: Family) -> list[actions.Action]:
    """What is told of a spec that is new: how its pets are written in the words of today, where that is asked for."""
    is_seen = meta.get(family.set, "status", "observedGeneration") == meta.get(family.set, "metadata", "generation")
    if family.kind.translation is None or is_seen:
        return []
    try:
        notes = family.kind.translation.notes(family.set)
    except init_annotations.Unreadable as error:
        return [actions.EmitEvent(family.set, "Warning", FAILED_TO_TRANSLATE, str(error))]
    return [actions.EmitEvent(family.set, "Normal", TRANSLATED, note) for note in notes]


def published(family: Family) -> list[actions.Action]:
    """The set's Service in the words of today; after the pets, which do not wait for it."""
    name = meta.get(family.set, "spec", "serviceName", default="")
    if family.kind.translation is None or not name:
        return []
    service = family.view.get(SERVICES, meta.namespace(family.set), name)
    if service is None or (wanted := translation.published(service)) is None:
        return []
    done = actions.EmitEvent(family.set, "Normal", TRANSLATED, translation.published_note(service))
    failed = actions.EmitEvent(family.set, "Warning", FAILED_TO_TRANSLATE, f"Service {name}: {{error}}")
    return [actions.Update(wanted, done, failed)]


def missing_claims(family: Family, pod: Object) -> list[actions.Action]:
    """Claims a pending pod still waits for: somebody deleted them, or it was adopted without."""
    return [
        actions.Create(claim, *family.claim_events(meta.name(pod), meta.name(claim)))
        for claim in family.claims_for(meta.name(pod))
        if family.view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(claim), meta.name(claim)) is None
    ]


def owned_claims(family: Family, pod: Object, condemned: bool) -> list[actions.Action]:
    """Repairs of the owners of a pet's claims, as the retention policy wants them."""
    steps: list[actions.Action] = []
    for name in pet_names.claim_names(family.set, meta.name(pod)):
        claim = family.view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(pod), name)
        if claim is not None and not meta.is_deleting(claim):
            steps += owner_steps(family, pod, claim, condemned)
    return steps


def owner_steps(family: Family, pod: Object | None, claim: Object, condemned: bool) -> list[actions.Action]:
    """The same of one claim; without a pod, of one that no pod owns."""
    steps: list[actions.Action] = []
    if identity.is_foreign(claim, family.set, pod) and not identity.keeps_claims(family.set):
        why = f"claim {meta.name(claim)} has another controller: the retention policy does not count for it"
        steps.append(actions.EmitEvent(family.set, "Warning", "ConflictingController", why))
    wanted = identity.with_claim_owner(family.set, pod, claim, condemned)
    return [*steps, actions.Update(wanted)] if wanted != claim else steps


def surplus_step(family: Family, pet: Pet) -> tuple[list[actions.Action], bool]:
    """(how a pet beyond the range goes, whether the next one may go too)."""
    if pet.is_deleting:
        return [], False
    if family.is_ordered and not (pet.has_ended or family.is_healthy(pet) or pet is first_unhealthy(family)):
        return [], False
    return [*owned_claims(family, pet.pod, condemned=True), updating.remove_pet(family, pet.pod)], False


def first_unhealthy(family: Family) -> Pet | None:
    """The lowest pet that is not healthy, those in the range before those beyond it that may get well yet."""
    unhealthy = [i for group in family.groups if not family.is_healthy(one_of(group)) for i in family.in_range(group)]
    if unhealthy:
        return family.pets.by_ordinal[min(unhealthy)]
    for pet in reversed(family.condemned):
        if not pet.has_ended and not family.is_healthy(pet):
            return pet
    return None


def replaced_in_time(family: Family, pod: Object) -> actions.Action:
    """A pet that ended goes, and another comes; those that end as soon as they are made do not go in a circle."""
    made = tasks.parse_rfc3339(pod["metadata"].get("creationTimestamp", "1970-01-01T00:00:00Z"))
    left = made + PET_SECONDS_MIN - family.now
    return actions.RequeueAfter(left) if left > 0 else updating.remove_pet(family, pod)


def report(family: Family) -> list[actions.Action]:
    """The status as it is now, written when it says something else."""
    set_, history = family.set, family.history
    created = [(one_of(group), len(group)) for group in family.groups if one_of(group).phase]
    replicas = sum(count for _, count in created)
    current, update = meta.name(history.current), meta.name(history.update)

    def of_revision(name: str) -> int:
        return sum(count for pet, count in created if pet.revision == name and not pet.is_deleting)

    counts = {
        "readyReplicas": sum(count for pet, count in created if pet.is_ready),
        "currentReplicas": of_revision(current),
        "updatedReplicas": of_revision(update),
    }
    is_updated = counts["updatedReplicas"] == replicas == counts["readyReplicas"] == family.size
    if family.strategy != "OnDelete" and is_updated:
        current, counts["currentReplicas"] = update, counts["updatedReplicas"]
    said = meta.part(set_, "status")
    status = {
        **{key: value for key, value in said.items() if key not in counts},
        **{key: count for key, count in counts.items() if count},
        "observedGeneration": meta.get(set_, "metadata", "generation", default=0),
        "replicas": replicas,
        "availableReplicas": sum(count for pet, count in created if family.is_available(pet)),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": history.collisions,
        **updating.progress(family),
    }
    return actions.report(set_, status, COUNTS)


def look_again(family: Family) -> list[actions.Action]:
    """Nothing changes when a pet has been ready for long enough: only time tells."""
    if not family.min_ready_seconds:
        return []
    ready = [one_of(group) for group in family.groups if one_of(group).is_ready]
    waits = [wait for pet in ready if (wait := family.seconds_to_available(pet)) > 0]
    return [actions.RequeueAfter(min(waits))] if waits else []


def keys_of_pod(kind: Variant, pod: Object, view: View) -> Iterable[str]:
    """The set that controls the pod, and the one its name belongs to (to adopt it, or to get the name back)."""
    space, controller, parent = meta.namespace(pod), meta.controller_of(pod), pet_names.parent(pod)
    if controller is not None and controller.get("kind") == kind.resource.kind:
        yield f"{space}/{controller['name']}"
    if parent:
        yield f"{space}/{parent}"


def keys_of_claim(kind: Variant, claim: Object, view: View) -> Iterable[str]:
    """The sets whose claim, by its name, this is: the name ends with the pet's, that begins with the set's."""
    parent = pet_names.parent(claim)
    for place, character in enumerate(parent):
        set_name = parent[place + 1 :]
        set_ = view.get(kind.resource, meta.namespace(claim), set_name) if character == "-" and set_name else None
        if set_ is not None and pet_names.template_of(set_, meta.name(claim)) is not None:
            yield meta.key(set_)


def keys_of_service(kind: Variant, service: Object, view: View) -> Iterable[str]:
    """The sets whose Service this is, where it says in 2016's words what has to be said in today's."""
    if translation.published(service) is not None:
        for set_ in view.list(kind.resource, meta.namespace(service)):
            if meta.get(set_, "spec", "serviceName") == meta.name(service):
                yield meta.key(set_)


def controller(kind: Variant) -> Controller:
    """The row of one kind of sets."""
    services = ((SERVICES, partial(keys_of_service, kind)),) if kind.translation else ()
    return Controller(
        name=kind.resource.plural,
        component=kind.component,
        watches=(
            (kind.resource, own_key),
            (PODS, partial(keys_of_pod, kind)),
            (PERSISTENTVOLUMECLAIMS, partial(keys_of_claim, kind)),
            (CONTROLLERREVISIONS, partial(claiming.keys_of_controller, kind.resource)),
            *services,
        ),
        reconcile=partial(reconcile, kind),
    )


CONTROLLERS = tuple(controller(kind) for kind in KINDS)
