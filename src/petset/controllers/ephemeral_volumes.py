"""Claims for pods' ephemeral volumes: one a volume, controlled by its pod, with which the garbage collector takes it.

A claim of that name that is another's is told in an event and left alone; the pod waits for it to go.
Follows: "Generic ephemeral volumes" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller
from petset.kinds import pod_phase
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import claims
from petset.objects import meta
from petset.objects.meta import Object


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    pod = view.get(PODS, *meta.split_key(key))
    if pod is None or meta.is_deleting(pod) or pod_phase.has_ended(pod):
        return []
    found: list[actions.Action] = []
    for volume in claims.ephemeral(pod):
        there = view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(pod), claims.name_of(pod, volume))
        if there is None:
            failed = f"ephemeral volume {volume['name']}: create PVC {claims.name_of(pod, volume)}: {{error}}"
            event = actions.EmitEvent(pod, "Warning", "FailedBinding", failed)
            found.append(actions.Create(claim(pod, volume), on_failure=event))
        elif why := claims.not_its_own(pod, there):
            found.append(
                actions.EmitEvent(pod, "Warning", "FailedBinding", f"ephemeral volume {volume['name']}: {why}")
            )
    return found


def claim(pod: Object, volume: Object) -> Object:
    template = meta.part(volume, "ephemeral", "volumeClaimTemplate")
    metadata: dict[str, Any] = {
        "name": claims.name_of(pod, volume),
        "namespace": meta.namespace(pod),
        "ownerReferences": [meta.owner_reference({"apiVersion": "v1", "kind": "Pod", **pod})],
    }
    for field in ("labels", "annotations"):
        if given := meta.part(template, "metadata", field):
            metadata[field] = dict(given)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": meta.part(template, "spec"),
    }


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    return (meta.key(pod),) if claims.ephemeral(pod) else ()


def keys_of_claim(claim: Object, view: View) -> Iterable[str]:
    """The pod that controls it, which makes it anew when it goes; and whoever waits for one of that name to go."""
    owner = meta.controller_of(claim) or {}
    if owner.get("kind") == PODS.kind:
        return (f"{meta.namespace(claim)}/{owner.get('name', '')}",)
    return [meta.key(pod) for pod in view.by_index(PODS, "claim", meta.key(claim)) if claims.ephemeral(pod)]


CONTROLLERS = (
    Controller(
        name="ephemeral volumes",
        component="ephemeral-volume-controller",
        watches=((PODS, keys_of_pod), (PERSISTENTVOLUMECLAIMS, keys_of_claim)),
        reconcile=reconcile,
    ),
)
