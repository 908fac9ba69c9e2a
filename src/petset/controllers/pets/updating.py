"""How the pets of a set come to be of its newest template: rolling, all at once, or by hand.

RollingUpdate removes pets of an old template from the highest ordinal down to the partition, as many at a time as may
be missing (maxUnavailable); Recreate removes all of them before any comes back; with OnDelete the user does. Who was
removed is created again, of the template that is due, as any pet that is missing.
Follows: KEP-961 (maxUnavailable), KEP-3541 (StatefulSetRecreateStrategy), upstream's controller of 1.37.
"""

from __future__ import annotations

import heapq

from petset.base import tasks
from petset.controllers import actions
from petset.controllers.pets.family import Family, one_of
from petset.objects import meta
from petset.objects.meta import Object


def update_step(family: Family) -> list[actions.Action]:
    """Remove pets of an old template, the highest first, as long as no more than maxUnavailable are not healthy.

    Where nobody waits for anybody (Parallel), old pets that are not healthy anyway go at once, and cost nothing.
    """
    if family.strategy != "RollingUpdate":
        return []
    first = family.start + family.partition
    ill = [group for group in family.groups if not family.is_healthy(one_of(group))]
    count = sum(1 for group in ill for _ in family.in_range(group))
    left = family.max_unavailable - count - sum(1 for _ in family.pets.missing(family.start, family.end))
    going: list[int] = []
    if not family.is_ordered:
        stuck = [group for group in ill if family.is_old(one_of(group)) and not one_of(group).has_ended]
        going = sorted((i for group in stuck for i in family.in_range(group) if i >= first), reverse=True)
    if left > 0:
        fine = [group for group in family.groups if family.is_old(one_of(group)) and family.is_healthy(one_of(group))]
        going += heapq.nlargest(left, (i for group in fine for i in family.in_range(group) if i >= first))
    return [remove_pet(family, family.pets.by_ordinal[i].pod) for i in going]


def recreate_steps(family: Family) -> list[actions.Action] | None:
    """With the strategy Recreate: all pets of an old template go, before any comes; None when there is none."""
    if family.strategy != "Recreate" or not family.has_old:
        return None
    there = [pet for group in family.groups if family.is_old(one_of(group)) for pet in group.values()]
    steps = [remove_pet(family, pet.pod) for pet in sorted(there, key=lambda pet: -pet.ordinal)]
    if not steps:
        return []  # They are on their way.
    text = "Deleting all pods for Recreate update"
    return [actions.EmitEvent(family.set, "Normal", "RecreateStarted", text), *steps]


def progress(family: Family) -> Object:
    """The conditions of a set with the strategy Recreate: whether it is being made anew."""
    if family.strategy != "Recreate":
        return {}
    newest = meta.name(family.history.update)
    new = [group for group in family.groups if one_of(group).revision == newest and not one_of(group).is_deleting]
    if family.has_old:
        reason, message = "RecreateInProgress", "Pods of an older template are being removed."
    elif sum(1 for group in new for _ in family.in_range(group)) == family.size:
        reason, message = "RecreateComplete", "All pods are of the newest template."
    else:
        return {}
    moment = tasks.rfc3339(family.now)
    condition = {"type": "Progressing", "status": "True", "reason": reason, "message": message}
    given = meta.parts(family.set, "status", "conditions")
    return {"conditions": meta.with_condition(given, {**condition, "lastTransitionTime": moment})}


def remove_pet(family: Family, pod: Object) -> actions.Action:
    done, failed = family.pod_events("delete", meta.name(pod))
    return actions.Delete(pod, on_success=done, on_failure=failed)
