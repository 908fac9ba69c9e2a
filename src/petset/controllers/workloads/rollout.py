"""How many pods each ReplicaSet of a Deployment shall have next: the arithmetic of rolling updates, and of scaling.

Each function answers sizes by the sets' names; those it does not name stay. What may be missing of the pods and what
may be too much come from the strategy; a set counts as available what its status says and its spec still wants, so
that what was told to go is not counted on.

Invariants: the pods together are never more than the Deployment's size and its surge, but for what was there before:
those that shall go count until they have gone, which upstream does not wait for; as
long as no pod fails, the available ones never become fewer than the Deployment's size less what may be missing.
Follows: "Rolling Update Deployment", "Proportional scaling" of the Kubernetes documentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from petset.controllers.workloads import generations
from petset.controllers.workloads.generations import Generations, available, held, size
from petset.kinds.apps import workloads
from petset.objects import meta
from petset.objects.meta import Object

Sizes = dict[str, int]


def is_rolling(deployment: Object) -> bool:
    return meta.get(deployment, "spec", "strategy", "type", default="RollingUpdate") == "RollingUpdate"


def room(deployment: Object) -> tuple[int, int]:
    """(how many pods may be too many, how many may be missing); both 0 only when nothing rolls."""
    if not is_rolling(deployment):
        return 0, 0
    rolling, total = meta.part(deployment, "spec", "strategy", "rollingUpdate"), size(deployment)
    surge = workloads.resolved(rolling.get("maxSurge", 0), total, up=True)
    missing = workloads.resolved(rolling.get("maxUnavailable", 0), total, up=False)
    if not surge and not missing:
        missing = 1  # Two percentages of few pods may both be none: nothing would move.
    return surge, min(missing, total)


def most(deployment: Object) -> int:
    return size(deployment) + room(deployment)[0]


def size_of_new(deployment: Object, now: Generations) -> int:
    """How many pods the set of the present template shall have next."""
    wanted, has = size(deployment), size(now.new) if now.new is not None else 0
    if not is_rolling(deployment) or has >= wanted:
        return wanted
    there = [held(one) for one in now.all]
    free = most(deployment) - sum(one or 0 for one in there)
    return has + min(free, wanted - has) if free > 0 and None not in there else has


def sizes_of_old(deployment: Object, now: Generations) -> Sizes:
    """How many the others shall have: those that are not available go first, then as many as may be missing."""
    assert now.new is not None
    least = size(deployment) - room(deployment)[1]
    not_yet = size(now.new) - available(now.new)
    left = sum(map(size, now.all)) - least - not_yet
    if left <= 0:
        return {}
    sizes = {meta.name(one): size(one) for one in now.old if size(one)}
    for one in now.old:
        unhealthy = min(left, size(one) - available(one))
        if unhealthy > 0:
            sizes[meta.name(one)] -= unhealthy
            left -= unhealthy
    there = available(now.new) + sum(min(available(one), sizes.get(meta.name(one), 0)) for one in now.old)
    spare = there - least
    for name, count in sizes.items():
        going = min(count, spare)
        if going > 0:
            sizes[name] -= going
            spare -= going
    return {meta.name(one): sizes[meta.name(one)] for one in now.old if size(one) != sizes.get(meta.name(one), 0)}


def sizes_when_scaled(deployment: Object, now: Generations) -> Sizes:
    """The sizes after the Deployment's size has changed: of one set all of it, of several each its share.

    They grow only when what shall go has gone.
    """
    sizes = _sizes_when_scaled(deployment, now)
    grows = any(sizes.get(meta.name(one), 0) > size(one) for one in now.all)
    return {} if grows and any(held(one) != size(one) for one in now.all) else sizes


def _sizes_when_scaled(deployment: Object, now: Generations) -> Sizes:
    active = [one for one in now.all if size(one)]
    wanted = size(deployment)
    if len(active) <= 1:
        one = active[0] if active else (now.new or max(now.old, key=meta.by_age, default=None))
        return {meta.name(one): wanted} if one is not None else {}
    if now.new is not None and _is_saturated(deployment, now.new):
        return {meta.name(one): 0 for one in now.old if size(one)}
    if not is_rolling(deployment):
        return {meta.name(one): size(one) for one in active}
    return _shares(deployment, active)


def _shares(deployment: Object, active: Sequence[Object]) -> Sizes:
    allowed = most(deployment) if size(deployment) else 0
    more = allowed - sum(map(size, active))
    # The largest first; of equals the newest grows and the oldest shrinks.
    in_order = sorted(sorted(active, key=meta.by_age, reverse=more > 0), key=size, reverse=True)
    sizes, added = Sizes(), 0
    for one in in_order:
        share = _share(deployment, one)
        share = max(0, min(share, more - added)) if more > 0 else min(0, max(share, more - added))
        sizes[meta.name(one)] = size(one) + share
        added += share
    if in_order:
        largest = meta.name(in_order[0])
        sizes[largest] = max(0, sizes[largest] + more - added)
    return sizes


def _share(deployment: Object, one: Object) -> int:
    """By how much a set grows or shrinks when it keeps its part of the whole."""
    if not size(deployment):
        return -size(one)
    before = meta.annotated_number(one, generations.MOST) or meta.part(deployment, "status").get("replicas", 0)
    if not before:
        return 0
    return math.floor(size(one) * most(deployment) / before + 0.5) - size(one)


def _is_saturated(deployment: Object, new: Object) -> bool:
    """It has all the pods, and all are available."""
    wanted = size(deployment)
    is_told = meta.annotations(new).get(generations.WANTED) == str(wanted)
    return is_told and size(new) == wanted == meta.part(new, "status").get("availableReplicas", 0)


def is_scaled(deployment: Object, now: Generations) -> bool:
    """Whether the Deployment's size has changed since its sets were told."""
    wanted = str(size(deployment))
    return any(size(one) and meta.annotations(one).get(generations.WANTED, wanted) != wanted for one in now.all)
