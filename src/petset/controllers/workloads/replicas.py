"""ReplicaSet and ReplicationController: so many active pods of one template, no matter which.

`reconcile` takes what is its own (adopts orphans, releases strangers), makes what is missing in batches that double as
long as all goes well, removes what is too much in the order of ranking.py, and reports. What cannot be made or removed
stands in the condition ReplicaFailure until the number is right again.

Invariants: a pod that has ended or is going counts for nobody; a deletion names the uid it saw; nothing is made before
the cache shows what was made before (runner.py). The two kinds differ only in their row of `KINDS`.
Follows: "ReplicaSet" and "ReplicationController" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from petset.base import tasks
from petset.client.views import View, selector_of
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.controllers.workloads import claiming, ranking, templates
from petset.controllers.workloads.members import Members
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.pod import PODS
from petset.kinds.replication_controller import REPLICATIONCONTROLLERS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

AT_ONCE_MAX = 500  # Pods made or removed in one look.
FIRST_BATCH = 1
FAILURE = "ReplicaFailure"
COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "terminatingReplicas")


@dataclass(frozen=True, slots=True)
class Variant:
    resource: Kind
    component: str
    counts_ending: bool  # Its status has terminatingReplicas.


REPLICASET = Variant(REPLICASETS, "replicaset-controller", counts_ending=True)
REPLICATIONCONTROLLER = Variant(REPLICATIONCONTROLLERS, "replication-controller", counts_ending=False)
KINDS = (REPLICASET, REPLICATIONCONTROLLER)


def reconcile(kind: Variant, key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps that bring the number of an owner's pods closer to its spec; [] when there is nothing to do."""
    owner = view.get(kind.resource, *meta.split_key(key))
    if owner is None:
        view.forget(Members, f"{kind.resource.kind} {key}")
        return []
    members = members_of(kind.resource, owner, view)
    if not meta.is_deleting(owner):
        selector = view.facts(kind.resource, selector_of).of(owner)
        if taking := claiming.claimed(view, PODS, owner, selector, members.strangers.values()):
            return taking
    steps = [] if meta.is_deleting(owner) else number_steps(kind, owner, members, view, now)
    return [*actions.together([report(kind, owner, members, now), steps]), *look_again(owner, members, now)]


def members_of(kind: Kind, owner: Object, view: View) -> Members:
    selector = view.facts(kind, selector_of).of(owner)
    labels = tuple(sorted(meta.part(owner, "spec", "template", "metadata", "labels").items()))
    return view.kept(
        Members, f"{kind.kind} {meta.key(owner)}", meta.namespace(owner), meta.uid(owner), selector, labels
    )


def wanted(owner: Object) -> int:
    return meta.get(owner, "spec", "replicas", default=1)


def number_steps(kind: Variant, owner: Object, members: Members, view: View, now: float) -> list[actions.Action]:
    """Make what is missing, or remove what is too much."""
    more = wanted(owner) - len(members.active)
    if not more:
        return []
    if more > 0:
        steps, reason = created(owner, min(more, AT_ONCE_MAX)), "FailedCreate"
    else:
        kin = _kin(kind, owner, members, view)
        going = ranking.in_order(members.active.values(), kin, now)[: min(-more, AT_ONCE_MAX)]
        steps, reason = removed(owner, going), "FailedDelete"
    if (meta.condition(owner, FAILURE) or {}).get("reason") == reason:
        return steps
    failure = {
        "type": FAILURE,
        "status": "True",
        "lastTransitionTime": tasks.rfc3339(now),
        "reason": reason,
        "message": "{error}",
    }
    status = {**_status(kind, owner, members, now)}
    status["conditions"] = [one for one in meta.parts(status, "conditions") if one.get("type") != FAILURE] + [failure]
    return [actions.Attempt(tuple(steps), actions.UpdateStatus({**owner, "status": status}))]


def created(owner: Object, count: int, template: Object | None = None) -> list[actions.Action]:
    """So many pods, in batches of 1, 2, 4, ...: where nothing can be made, little is tried."""
    pod = templates.pod_for(owner, template or meta.part(owner, "spec", "template"))
    return in_batches([create_step(owner, pod)] * count)


def create_step(owner: Object, pod: Object) -> actions.Create:
    return actions.Create(
        pod,
        on_success=actions.EmitEvent(owner, "Normal", "SuccessfulCreate", "Created pod: {name}"),
        on_failure=actions.EmitEvent(owner, "Warning", "FailedCreate", "Error creating: {error}"),
    )


def removed(owner: Object, pods: Iterable[Object]) -> list[actions.Action]:
    return actions.together([[delete_step(owner, pod)] for pod in pods])


def delete_step(owner: Object, pod: Object) -> actions.Delete:
    return actions.Delete(
        pod,
        on_success=actions.EmitEvent(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}"),
        on_failure=actions.EmitEvent(owner, "Warning", "FailedDelete", "Error deleting: {error}"),
    )


def in_batches(steps: Sequence[actions.Action]) -> list[actions.Action]:
    """Side by side in batches that double, one batch after another: the first failure begins no more."""
    batches: list[actions.Action] = []
    done, size = 0, FIRST_BATCH
    while done < len(steps):
        batches += actions.together([[step] for step in steps[done : done + size]])
        done, size = done + size, size * 2
    return batches


def _kin(kind: Variant, owner: Object, members: Members, view: View) -> list[Object]:
    """The active pods of all owners that one Deployment has; its own when it has none."""
    above = meta.controller_uid(owner)
    if not above or kind.resource is not REPLICASETS:
        return list(members.active.values())
    siblings = view.by_index(REPLICASETS, "controller", above)
    return [pod for one in siblings for pod in members_of(REPLICASETS, one, view).active.values()]


def report(kind: Variant, owner: Object, members: Members, now: float) -> list[actions.Action]:
    """The status as it is now, written when it says something else."""
    return actions.report(owner, _status(kind, owner, members, now), COUNTS)


def _status(kind: Variant, owner: Object, members: Members, now: float) -> dict[str, Any]:
    said = meta.part(owner, "status")
    count = len(members.active)
    counts = {
        "fullyLabeledReplicas": members.full,
        "readyReplicas": members.ready,
        "availableReplicas": members.available(meta.get(owner, "spec", "minReadySeconds", default=0), now),
    }
    conditions = meta.parts(said, "conditions")
    if count == wanted(owner):
        conditions = [one for one in conditions if one.get("type") != FAILURE]
    return {
        "replicas": count,
        **{key: number for key, number in counts.items() if number},
        **({"terminatingReplicas": len(members.ending)} if kind.counts_ending else {}),
        **({"conditions": conditions} if conditions else {}),
        "observedGeneration": meta.get(owner, "metadata", "generation", default=0),
    }


def look_again(owner: Object, members: Members, now: float) -> list[actions.Action]:
    """Nothing changes when a pod has been ready for long enough: only time tells."""
    seconds = members.seconds_to_next(meta.get(owner, "spec", "minReadySeconds", default=0), now)
    return [actions.RequeueAfter(max(seconds, 0.0))] if seconds is not None else []


def _controller(kind: Variant) -> Controller:
    return Controller(
        name=kind.resource.plural,
        component=kind.component,
        watches=((kind.resource, own_key), (PODS, partial(claiming.keys_of, kind.resource))),
        reconcile=partial(reconcile, kind),
    )


CONTROLLERS = tuple(_controller(kind) for kind in KINDS)
