"""The status of disruption budgets: how many pods there should be, how many are healthy, how many may be evicted.

Of each budget a `Guarded` is kept. What its amounts are parts of is what the controllers of those pods want by their
scale, whichever kinds they are; where that cannot be told nothing may be evicted, and the condition says why. An
eviction (server/evictions.py) takes one from the status and names its pod in `disruptedPods`, which does not count
until it has gone, or for two minutes.
Follows: PodDisruptionBudgetStatus of policy/v1, upstream's disruption controller.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from petset.base import tasks
from petset.client.views import View, chosen_by
from petset.controllers import actions
from petset.controllers.disruptions.guarded import Guarded, Owner
from petset.controllers.runner import Controller, own_key
from petset.controllers.workloads import claiming
from petset.kinds import disruptions
from petset.kinds.apps import workloads
from petset.kinds.apps.deployment import DEPLOYMENTS
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.pod import PODS
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

COUNTS = ("currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed")
UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the "
    "status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these "
    'pods please set ".spec.minAvailable" field of the PDB to an integer value.'
)


class Unknown(Exception):
    """It cannot be told how many pods there should be; why."""


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The status as it is now, written when it says something else, with the events that explain it."""
    budget = view.get(PODDISRUPTIONBUDGETS, *meta.split_key(key))
    if budget is None:
        view.forget(Guarded, key)
        return []
    selector = view.facts(PODDISRUPTIONBUDGETS, disruptions.selector_of).of(budget)
    guarded = view.kept(Guarded, key, meta.namespace(budget), selector)
    tell = functools.partial(actions.EmitEvent, budget)
    try:
        expected, desired, unmanaged = _wanted(budget, guarded, view)
    except Unknown as unknown:
        why = f"Failed to calculate the number of expected pods: {unknown}"
        status = _failed(budget, str(unknown), now)
        return _told(budget, status, [tell("Warning", "CalculateExpectedPodCountFailed", why)])
    events: list[actions.Action] = []
    if not guarded.count:
        events.append(tell("Normal", "NoPods", "No matching pods found"))
    if unmanaged:
        events.append(tell("Warning", "UnmanagedPods", UNMANAGED.format(selector=selector)))
    disrupted, overdue, next_at = _disrupted(budget, guarded, now)
    healthy = len(guarded.healthy) - sum(name in guarded.healthy for name in disrupted)
    allowed = max(healthy - desired, 0) if expected > 0 else 0
    status: Object = {
        **{key: value for key, value in meta.part(budget, "status").items() if key != "disruptedPods"},
        **({"disruptedPods": disrupted} if disrupted else {}),
        **dict(zip(COUNTS, (healthy, desired, expected, allowed), strict=True)),
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    steps = _told(budget, disruptions.with_allowed(status, now), events)
    steps += [_not_deleted(budget, pod) for pod in overdue]
    return [*steps, *([actions.RequeueAfter(next_at - now)] if next_at is not None else [])]


def _told(budget: Object, status: Object, events: Iterable[actions.Action]) -> list[actions.Action]:
    """What explains a status is said when the status is."""
    said = meta.part(budget, "status")
    if status == said:
        return []
    allows_less = status.get("disruptionsAllowed", 0) < said.get("disruptionsAllowed", 0)
    is_urgent = allows_less or any(status.get(key) != said.get(key) for key in {**status, **said} if key not in COUNTS)
    return [actions.UpdateStatus({**budget, "status": status}, pace=not is_urgent), *events]


def _failed(budget: Object, why: str, now: float) -> Object:
    """Nothing may be evicted where it is not known what would be left."""
    status = {**meta.part(budget, "status"), "disruptionsAllowed": 0}
    return disruptions.with_condition(status, False, disruptions.SYNC_FAILED, why, now)


def _wanted(budget: Object, guarded: Guarded, view: View) -> tuple[int, int, bool]:
    """(how many pods there should be, how many must be healthy, whether some are nobody's). Raises Unknown."""
    spec = meta.part(budget, "spec")  # It may have none, and then guards nothing.
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most is not None:
        expected = _scale_of_all(guarded, meta.namespace(budget), view)
        desired = max(expected - workloads.resolved(most, expected, up=True), 0)
        return expected, desired, bool(guarded.unmanaged)
    if isinstance(least, str):
        expected = _scale_of_all(guarded, meta.namespace(budget), view)
        return expected, workloads.resolved(least, expected, up=True), bool(guarded.unmanaged)
    return (guarded.count, least, False) if least is not None else (0, 0, False)


def _scale_of_all(guarded: Guarded, namespace: str, view: View) -> int:
    """What those that control the pods want together; a ReplicaSet's Deployment speaks for it. Raises Unknown."""
    wanted: dict[str, int] = {}
    for owner, pods in guarded.owners.items():
        found = _scale(owner, namespace, view)
        if found is None:
            raise Unknown(f'found no controllers for pod "{min(pods)}"')
        uid, replicas = found
        wanted[uid] = replicas
    return sum(wanted.values())


def _scale(owner: Owner, namespace: str, view: View) -> tuple[str, int] | None:
    """(uid, replicas) of whoever says how many there are; None when it is gone. Raises Unknown."""
    api_version, kind_name, name, uid = owner
    kind = view.kinds.named(api_version, kind_name)
    if kind is None:
        raise Unknown(f'no matches for kind "{kind_name}" in version "{api_version}"')
    if not is_scaled(kind):
        group = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        raise Unknown(f"{group} does not implement the scale subresource")
    found = view.get(view.kinds.keeping(kind.key()) or kind, namespace, name)
    if found is None or meta.uid(found) != uid:
        return None
    above = meta.controller_of(found)
    if kind is REPLICASETS and above is not None and claiming.is_of(DEPLOYMENTS, above):
        upper = view.get(DEPLOYMENTS, namespace, above["name"])
        if upper is not None and meta.uid(upper) == above.get("uid"):
            return meta.uid(upper), meta.get(upper, *DEPLOYMENTS.scale.replicas, default=0)
    return uid, meta.get(found, *kind.scale.replicas, default=0)


def is_scaled(kind: Kind) -> bool:
    return kind.namespaced and not kind.elsewhere and "scale" in kind.subresources


def _disrupted(budget: Object, guarded: Guarded, now: float) -> tuple[dict[str, str], list[Object], float | None]:
    """(who is still expected to go, and since when; who should have; when the next of them should have)."""
    named: Mapping[str, str] = meta.part(budget, "status", "disruptedPods")
    staying = {name: since for name, since in named.items() if name in guarded.staying}
    going = {name: since for name, since in staying.items() if disruptions.is_expected_to_go(staying, name, now)}
    overdue = [guarded.staying[name] for name in staying if name not in going]
    ends = [tasks.parse_rfc3339(since) + disruptions.DELETION_SECONDS for since in going.values()]
    return going, overdue, min(ends, default=None)


def _not_deleted(budget: Object, pod: Object) -> actions.Action:
    message = f"Pod was expected by PDB {meta.key(budget)} to be deleted but it wasn't"
    return actions.EmitEvent(pod, "Warning", "NotDeleted", message)


# Which budgets a change concerns


def budgets_of(pod: Object, view: View) -> Iterable[str]:
    """Those that select it."""
    budgets = view.of(PODDISRUPTIONBUDGETS)
    if not len(budgets):
        return ()
    found: dict[str, None] = {}
    for mark in chosen_by(pod):
        found |= {meta.key(budget): None for budget in budgets.by_index("selects", mark)}
    return found


def budgets_near(owner: Object, view: View) -> Iterable[str]:
    """Those that select what it makes; of a kind whose pods are not told, all of its namespace."""
    if not len(view.of(PODDISRUPTIONBUDGETS)):
        return ()
    template: Any = meta.get(owner, "spec", "template", "metadata", "labels")
    if not meta.is_struct(template):
        return [meta.key(budget) for budget in view.list(PODDISRUPTIONBUDGETS, meta.namespace(owner))]
    return budgets_of({"metadata": {"namespace": meta.namespace(owner), "labels": template}}, view)


def all_budgets(view: View) -> Iterable[str]:
    return [meta.key(budget) for budget in view.list(PODDISRUPTIONBUDGETS)]


CONTROLLERS = (
    Controller(
        name="disruptionbudgets",
        component="controllermanager",
        watches=((PODDISRUPTIONBUDGETS, own_key), (PODS, budgets_of)),
        every=(is_scaled, budgets_near),
        when_kinds_change=all_budgets,
        reconcile=reconcile,
    ),
)
