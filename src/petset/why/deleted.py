"""Why something that was deleted is still there: its finalizers, its grace period, a node that does not answer.

Also why a pod that somebody wants to evict stays: the disruption budgets that guard it.
Follows: "Finalizers" and "Disruptions" of the Kubernetes documentation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from petset.base import well_known
from petset.kinds import disruptions
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.why import finding
from petset.why.finding import Finding
from petset.why.picture import Picture

Tell = Callable[[Object, Picture], Finding]

# Who takes a finalizer away, and when.
FINALIZERS = {
    well_known.PVC_PROTECTION_FINALIZER: "goes when no pod uses the claim any more",
    well_known.PV_PROTECTION_FINALIZER: "goes when no claim is bound to the volume any more",
    well_known.JOB_TRACKING_FINALIZER: "goes when the Job has counted the pod",
    well_known.FOREGROUND_FINALIZER: "goes when everything that it owns is gone",
    well_known.ORPHAN_FINALIZER: "goes when everything that it owned has been set free",
    "kubernetes": "goes when everything in the namespace is gone",
}


def first(tell: Tell) -> Tell:
    """Of what is marked for deletion it is told what holds it; of the rest, what `tell` says."""

    @functools.wraps(tell)
    def told(obj: Object, picture: Picture) -> Finding:
        return deleting(obj, picture) if meta.is_deleting(obj) else tell(obj, picture)

    return told


def deleting(obj: Object, picture: Picture) -> Finding:
    """What holds an object that is marked for deletion."""
    names = [*meta.finalizers(obj), *meta.texts(obj, "spec", "finalizers")]
    if not names:
        return finding.of(obj, "is being deleted and about to be gone", "waits")
    says = f"is being deleted, and stays until {finding.listed(names)} {'are' if len(names) > 1 else 'is'} taken away"
    return finding.of(obj, says, because=tuple(_finalizer(obj, name, picture) for name in names))


def _finalizer(obj: Object, name: str, picture: Picture) -> Finding:
    about = f"Finalizer {name}"
    if name in FINALIZERS:
        remaining = _of_namespace(obj) if obj["kind"] == "Namespace" else ""
        return Finding(about, FINALIZERS[name] + remaining, "waits")
    says = "is of no part of the cluster that is known here; whoever added it must take it away"
    command = finding.patched(obj, ("metadata", "finalizers"), "null")
    mend = f"start the program that handles {name}, or, if it is gone for good, take it away: {command}"
    return Finding(about, says, mend=mend)


def _of_namespace(obj: Object) -> str:
    """What the namespace itself says is left in it."""
    told = [
        finding.quoted(condition.get("message"))
        for condition in meta.parts(obj, "status", "conditions")
        if condition.get("status") == "True"
    ]
    return f": {'; '.join(told)}" if told else ""


def pod(obj: Object, picture: Picture, node_is_silent: bool) -> Finding:
    """What holds a pod that is going."""
    if meta.finalizers(obj):
        return deleting(obj, picture)
    node = meta.get(obj, "spec", "nodeName", default="")
    if node_is_silent:
        says = f"is being deleted, and its node {node} has not confirmed that it has ended, since it does not answer"
        command = finding.kubectl("delete", obj, "--force")
        mend = f"bring node {node} back; or, only if it is off for certain, {command}"
        return finding.of(obj, says, mend=mend)
    grace = meta.get(obj, "metadata", "deletionGracePeriodSeconds", default=30)
    says = f"is being deleted: its containers have {finding.counted(grace, 'second')} to end on their own"
    return finding.of(obj, f"{says}, until {obj['metadata']['deletionTimestamp']}", "waits")


def budgets(obj: Object, picture: Picture) -> tuple[Finding, ...]:
    """The disruption budgets that forbid to evict a pod now."""
    found = disruptions.guarding(obj, picture.list(PODDISRUPTIONBUDGETS, meta.namespace(obj)))
    return tuple(budget(one, picture) for one in found if not meta.get(one, "status", "disruptionsAllowed", default=0))


def budget(obj: Object, picture: Picture) -> Finding:
    status = meta.part(obj, "status")
    healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not status.get("expectedPods"):
        says = f"guards no pod: none has the labels {disruptions.selector_of(obj) or '(none)'}"
        return finding.of(obj, says, mend="correct its spec.selector, if it is to guard any")
    if allowed := status.get("disruptionsAllowed"):
        return finding.of(
            obj, f"lets {finding.counted(allowed, 'pod')} be evicted: {healthy} are healthy, {wanted} must be", "well"
        )
    condition = meta.condition(obj, disruptions.ALLOWED) or {}
    if condition.get("reason") == disruptions.SYNC_FAILED:
        return finding.of(obj, f"lets nobody be evicted: {finding.quoted(condition.get('message'))}")
    says = f"lets nobody be evicted: {healthy} of {status['expectedPods']} pods are healthy, and {wanted} must stay so"
    return finding.of(
        obj, says, mend="make its other pods ready, run more of them, or let it allow more (maxUnavailable)"
    )
