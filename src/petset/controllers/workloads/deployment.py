"""Deployment: pods that are all alike, changed a few at a time by way of ReplicaSets, one for each template.

`reconcile` takes what is its own (adopts and releases sets), finds the set of the present template and gives it its
revision, and then does one thing: it spreads a changed size over the sets, does nothing more while it is paused, or
brings the rollout one step further. A rolling update first lets the new set grow into what the strategy leaves free,
then takes from the old ones what may be missing; Recreate lets all old pods end first. When all is done, sets beyond
revisionHistoryLimit go. Pods are the ReplicaSets' business.

Invariant: a size is only changed in a set that is as it was seen (its resourceVersion), and the next look waits until
the caches show it (runner.py), so the arithmetic of rollout.py always stands on what was decided before.
Follows: "Deployments" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from petset.client.views import View, selector_of
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.controllers.workloads import claiming, generations, progress, replicas, rollout
from petset.controllers.workloads.generations import Generations, size
from petset.kinds.apps.deployment import DEPLOYMENTS
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

NO_LIMIT = 2**31 - 1
CREATE_FAILED = "ReplicaSetCreateError"


@dataclass(frozen=True, slots=True)
class Picture:
    """What one look is about."""

    deployment: Object
    sets: Generations
    view: View
    now: float


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps of one Deployment; [] when there is nothing to do now."""
    deployment = view.get(DEPLOYMENTS, *meta.split_key(key))
    if deployment is None:
        return []
    owned = view.by_index(REPLICASETS, "controller", meta.uid(deployment))
    selector = view.facts(DEPLOYMENTS, selector_of).of(deployment)
    own = [one for one in owned if selector.matches(meta.labels(one))]
    picture = Picture(deployment, generations.of(deployment, own, view), view, now)
    if meta.is_deleting(deployment):
        return report(picture, is_moving=False)
    strangers = [one for one in owned if not selector.matches(meta.labels(one))]
    if taking := claiming.claimed(view, REPLICASETS, deployment, selector, strangers):
        return taking
    is_paused = progress.is_paused_now(deployment)
    if is_paused or rollout.is_scaled(deployment, picture.sets):
        steps = described(picture) or resized(picture, rollout.sizes_when_scaled(deployment, picture.sets))
        if is_paused and not steps:
            steps = forgotten(picture)
        return actions.together([said(picture, is_moving=False), steps])
    if picture.sets.new is None:
        return first_steps(picture)
    steps = described(picture) or step(picture)
    return [*actions.together([said(picture, is_moving=True), steps]), *look_again(picture)]


def first_steps(picture: Picture) -> list[actions.Action]:
    """A set for the present template, as soon as it may be."""
    if not rollout.is_rolling(picture.deployment) and (ending := old_ones_end(picture)) is not None:
        return [*actions.together([said(picture, is_moving=True), ending]), *look_again(picture)]
    return made(picture)


def step(picture: Picture) -> list[actions.Action]:
    """One step of the rollout to the present template, whose set there is."""
    deployment, sets = picture.deployment, picture.sets
    assert sets.new is not None
    if not rollout.is_rolling(deployment) and (ending := old_ones_end(picture)) is not None:
        return ending
    next_size = rollout.size_of_new(deployment, sets)
    if next_size != size(sets.new):
        return resized(picture, {meta.name(sets.new): next_size})
    if rollout.is_rolling(deployment) and any(map(size, sets.old)):
        return resized(picture, rollout.sizes_of_old(deployment, sets))
    return forgotten(picture)


def old_ones_end(picture: Picture) -> list[actions.Action] | None:
    """What is to be done until no pod of another template runs; [] is to wait, None that none does."""
    if steps := resized(picture, {meta.name(one): 0 for one in picture.sets.old if size(one)}):
        return steps
    for one in picture.sets.old:
        members = replicas.members_of(REPLICASETS, one, picture.view)
        if members.active or members.ending:
            return []
    return None


def made(picture: Picture) -> list[actions.Action]:
    """The new set, with as many pods as there is room for; the status tells that it was made, or why not."""
    deployment, sets = picture.deployment, picture.sets
    count = rollout.size_of_new(deployment, sets)
    new, collisions = generations.made(deployment, sets, count, rollout.most(deployment), picture.view)
    name = meta.name(new)
    grows = actions.EmitEvent(deployment, "Normal", "ScalingReplicaSet", _scaled_text(name, 0, count))
    fails = f'cannot create ReplicaSet "{name}": {{error}}'
    trouble = actions.EmitEvent(deployment, "Warning", CREATE_FAILED, fails)
    create = actions.Create(new, on_success=grows if count else None, on_failure=trouble)

    def telling(status: str, reason: str, message: str) -> actions.UpdateStatus:
        now = progress.status(deployment, sets, picture.now, is_moving=True)
        conditions = now["conditions"]
        if progress.deadline(deployment) is not None:
            told = progress.condition(progress.PROGRESSING, status, reason, message)
            conditions = progress.with_condition(conditions, told, picture.now, is_news=status == "True")
        count = {"collisionCount": collisions} if collisions else {}
        return actions.UpdateStatus({**deployment, "status": {**now, "conditions": conditions, **count}})

    begun = telling("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
    return [actions.Attempt((create,), telling("False", CREATE_FAILED, fails)), begun]


def described(picture: Picture) -> list[actions.Action]:
    """The revision and the annotations of the set of the present template, where it does not have them yet."""
    new = generations.described(picture.deployment, picture.sets)
    return [actions.Update(new)] if new is not None and new is not picture.sets.new else []


def resized(picture: Picture, sizes: Mapping[str, int]) -> list[actions.Action]:
    """The sets with these sizes, where they have others or do not know the Deployment's."""
    deployment, steps = picture.deployment, list[list[actions.Action]]()
    for one in picture.sets.all:
        count = sizes.get(meta.name(one))
        if count is None:
            continue
        known = {**meta.annotations(one), **generations.sizes(deployment, rollout.most(deployment))}
        resized = meta.changed(one, ("metadata", "annotations"), known)
        if count == size(one):
            if known != meta.annotations(one):
                steps.append([actions.Update(resized)])
            continue
        text = _scaled_text(meta.name(one), size(one), count)
        event = actions.EmitEvent(deployment, "Normal", "ScalingReplicaSet", text)
        steps.append([actions.Update(meta.changed(resized, ("spec", "replicas"), count), on_success=event)])
    return actions.together(steps)


def _scaled_text(name: str, before: int, after: int) -> str:
    return f"Scaled {'up' if after > before else 'down'} replica set {name} from {before} to {after}"


def forgotten(picture: Picture) -> list[actions.Action]:
    """Sets of earlier templates that go once the rollout is complete, or while it is paused: the oldest revisions."""
    deployment = picture.deployment
    limit = meta.get(deployment, "spec", "revisionHistoryLimit", default=NO_LIMIT)
    status = {**dict.fromkeys(progress.COUNTS, 0), **meta.part(deployment, "status")}
    if limit == NO_LIMIT or not (progress.is_paused_now(deployment) or progress.is_complete(deployment, status)):
        return []
    over = [one for one in picture.sets.old if _is_over(one)]
    over.sort(key=lambda one: (generations.revision(one), one["metadata"].get("creationTimestamp", "")))
    going = over[: max(0, len(over) - limit)]
    return actions.together([[actions.Delete(one, at_revision=True)] for one in going])


def _is_over(one: Object) -> bool:
    """It has no pods, wants none, and says so of its present spec."""
    status = meta.part(one, "status")
    is_told = status.get("observedGeneration", 0) >= meta.get(one, "metadata", "generation", default=0)
    return is_told and not size(one) and not status.get("replicas") and not meta.is_deleting(one)


def said(picture: Picture, is_moving: bool) -> list[actions.Action]:
    """The revision in the Deployment's own annotation; once it is there, the status."""
    deployment = picture.deployment
    if picture.sets.new is not None:
        number = str(generations.newest_revision(picture.sets))
        if meta.annotations(deployment).get(generations.REVISION) != number:
            annotations = {**meta.annotations(deployment), generations.REVISION: number}
            return [actions.Update(meta.changed(deployment, ("metadata", "annotations"), annotations))]
    return report(picture, is_moving)


def report(picture: Picture, is_moving: bool) -> list[actions.Action]:
    """The status as it is now, written when it says something else."""
    status = progress.status(picture.deployment, picture.sets, picture.now, is_moving)
    return actions.report(picture.deployment, status)


def look_again(picture: Picture) -> list[actions.Action]:
    """Only time tells that nothing moves."""
    conditions = [*meta.parts(picture.deployment, "status", "conditions")]
    seconds = progress.seconds_left(picture.deployment, conditions, picture.now)
    return [actions.RequeueAfter(max(seconds, 0.0) + 1)] if seconds is not None else []


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The Deployment that waits for this pod to end."""
    controller = meta.controller_of(pod)
    if controller is None or controller.get("kind") != REPLICASETS.kind:
        return
    one = view.get(REPLICASETS, meta.namespace(pod), controller["name"])
    for key in claiming.keys_of(DEPLOYMENTS, one, view) if one is not None else ():
        deployment = view.get(DEPLOYMENTS, *meta.split_key(key))
        if deployment is not None and not rollout.is_rolling(deployment):
            yield key


CONTROLLERS = (
    Controller(
        name=DEPLOYMENTS.plural,
        component="deployment-controller",
        watches=((DEPLOYMENTS, own_key), (REPLICASETS, partial(claiming.keys_of, DEPLOYMENTS)), (PODS, keys_of_pod)),
        reconcile=reconcile,
    ),
)
