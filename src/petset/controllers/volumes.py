"""Claims find their volumes: bound to one that is there, or to one made for them.

A claim without a volume takes one that names it, else the smallest free one that fits (class, size, modes, selector),
else, when its class or its annotation asks for it and the hostPath provisioner is on, gets a new directory and a
volume of its own. Binding writes the volume's claimRef first and the claim's volumeName second, each only if it is
unchanged, so two claims never get one volume; the phases follow. A claim that is being deleted stays until no pod on a
node uses it.

Invariants: a bound pair is never parted here; a failed provisioning is said in one Event whose count grows, and tried
again after the key's back-off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from petset.base import well_known
from petset.client.views import View, claims_of
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds import pod_phase, storage_class
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import meta, quantity, selectors
from petset.objects.meta import Object

CREATED_BY = "hostpath-dynamic-provisioner"
LOST_TEXT = "Bound claim has lost {}. Data on the volume is lost!"
STANDARD_CLASS = "standard"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where provisioned volumes live, and whether the hostPath provisioner is on."""

    directory: str
    provisions: bool


def reconcile(settings: Settings, key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps of one claim towards its volume."""
    claim = view.get(PERSISTENTVOLUMECLAIMS, *meta.split_key(key))
    if claim is None:
        return []
    if meta.is_deleting(claim):
        return release_protection(claim, view)
    if not meta.get(claim, "status", "phase"):
        return [actions.UpdateStatus({**claim, "status": {"phase": "Pending"}})]
    volume_name = meta.get(claim, "spec", "volumeName", default="")
    if volume_name:
        return keep_bound(claim, view.get(PERSISTENTVOLUMES, "", volume_name))
    chosen = volume_for(claim, view)
    if chosen is not None:
        return bind(claim, chosen)
    return provision(settings, claim, view)


def release_protection(claim: Object, view: View) -> list[actions.Action]:
    finalizers = meta.texts(claim, "metadata", "finalizers")
    if well_known.PVC_PROTECTION_FINALIZER not in finalizers:
        return []
    for pod in view.by_index(PODS, "claim", meta.key(claim)):
        if meta.get(pod, "spec", "nodeName") and not pod_phase.has_ended(pod):
            return []
    others = [finalizer for finalizer in finalizers if finalizer != well_known.PVC_PROTECTION_FINALIZER]
    return [actions.Update(meta.changed(claim, ("metadata", "finalizers"), others))]


# Binding


def keep_bound(claim: Object, volume: Object | None) -> list[actions.Action]:
    """A claim that names its volume: finish the pair's binding, or say that it is lost."""
    was_bound = well_known.BIND_COMPLETED_ANNOTATION in meta.annotations(claim)
    if volume is None:
        return _lost(claim, LOST_TEXT.format("its PersistentVolume")) if was_bound else []
    if not is_claimed_by(volume, claim):
        if not meta.get(volume, "spec", "claimRef"):
            return bind(claim, volume)
        if was_bound:
            return _lost(claim, LOST_TEXT.format("reference to PersistentVolume"))
        why = f'volume "{meta.name(volume)}" already bound to a different claim.'
        return [_event(claim, "Warning", "FailedBinding", why)]
    if not is_bound_to(volume, claim) or not was_bound:
        return bind(claim, volume)
    if _is_ours(volume) and requested_bytes(claim) > _bytes(volume, "capacity"):
        return [actions.Update(meta.changed(volume, ("spec", "capacity", "storage"), _request(claim)))]
    status = {
        **meta.part(claim, "status"),
        "phase": "Bound",
        "accessModes": meta.get(volume, "spec", "accessModes", default=[]),
        "capacity": meta.get(volume, "spec", "capacity", default={}),
    }
    return [] if status == claim.get("status") else [actions.UpdateStatus({**claim, "status": status})]


def _is_ours(volume: Object) -> bool:
    """A directory that we made: it grows by saying so."""
    return meta.annotations(volume).get(well_known.PROVISIONED_BY_ANNOTATION) == well_known.HOST_PATH_PROVISIONER


def _request(claim: Object) -> str:
    return meta.get(claim, "spec", "resources", "requests", "storage", default="0")


def _lost(claim: Object, why: str) -> list[actions.Action]:
    if meta.get(claim, "status", "phase") == "Lost":
        return []
    lost = {**claim, "status": {"phase": "Lost"}}
    return [actions.UpdateStatus(lost), _event(claim, "Warning", "ClaimLost", why)]


def is_claimed_by(volume: Object, claim: Object) -> bool:
    """The volume's claimRef is this claim's: of the same name, and of its uid or of none yet."""
    reference = meta.get(volume, "spec", "claimRef", default={})
    named = (reference.get("namespace"), reference.get("name")) == (meta.namespace(claim), meta.name(claim))
    return named and reference.get("uid", "") in ("", meta.uid(claim))


def is_bound_to(volume: Object, claim: Object) -> bool:
    return is_claimed_by(volume, claim) and bool(meta.get(volume, "spec", "claimRef", "uid"))


def bind(claim: Object, volume: Object, provisioner: str = "") -> list[actions.Action]:
    """Volume first, claim second; whichever part is done already is left out."""
    steps: list[actions.Action] = []
    if not is_bound_to(volume, claim):
        by_us = not meta.get(volume, "spec", "claimRef")
        taken = meta.changed(volume, ("spec", "claimRef"), claim_reference(claim))
        steps.append(
            actions.Update(_annotated(taken, {well_known.BOUND_BY_CONTROLLER_ANNOTATION: "yes"}) if by_us else taken)
        )
    return [*steps, *_bind_claim(claim, volume, provisioner)]


def _bind_claim(claim: Object, volume: Object, provisioner: str = "") -> list[actions.Action]:
    annotations = {well_known.BIND_COMPLETED_ANNOTATION: "yes"}
    if meta.get(claim, "spec", "volumeName") != meta.name(volume):
        annotations[well_known.BOUND_BY_CONTROLLER_ANNOTATION] = "yes"
    if provisioner:
        annotations[well_known.STORAGE_PROVISIONER_ANNOTATION] = provisioner
    bound = _annotated(meta.changed(claim, ("spec", "volumeName"), meta.name(volume)), annotations)
    return [] if bound == claim else [actions.Update(bound)]


def claim_reference(claim: Object) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta.namespace(claim),
        "name": meta.name(claim),
        "uid": meta.uid(claim),
    }


def volume_for(claim: Object, view: View) -> Object | None:
    """The volume that names the claim, else the smallest free one that fits."""
    volumes = [volume for volume in view.list(PERSISTENTVOLUMES) if not meta.is_deleting(volume)]
    for volume in volumes:
        if meta.get(volume, "spec", "claimRef") and is_claimed_by(volume, claim):
            return volume
    if _waits_for_consumer(claim, view):
        return None
    class_name = storage_class.counting(claim, view.list(STORAGECLASSES))
    fitting = [volume for volume in volumes if fits(volume, claim, class_name)]
    return min(fitting, key=lambda volume: (_bytes(volume, "capacity"), meta.name(volume)), default=None)


def fits(volume: Object, claim: Object, class_name: str) -> bool:
    spec, wanted = volume["spec"], meta.part(claim, "spec")
    return (
        not spec.get("claimRef")
        and meta.get(volume, "status", "phase", default="Pending") in ("Pending", "Available")
        and (storage_class.of(volume) or "") == class_name
        and (spec.get("volumeMode") or "Filesystem") == (wanted.get("volumeMode") or "Filesystem")
        and all(mode in (spec.get("accessModes") or ()) for mode in wanted.get("accessModes") or ())
        and _bytes(volume, "capacity") >= requested_bytes(claim)
        and (not wanted.get("selector") or selectors.from_object(wanted["selector"]).matches(meta.labels(volume)))
    )


def _bytes(volume: Object, field: str) -> int:
    return quantity.to_bytes(meta.get(volume, "spec", field, "storage", default="0"))


def requested_bytes(claim: Object) -> int:
    return quantity.to_bytes(_request(claim))


# Classes and provisioning


def _waits_for_consumer(claim: Object, view: View) -> bool:
    is_late = storage_class.binds_late(claim, view.list(STORAGECLASSES))
    return is_late and well_known.SELECTED_NODE_ANNOTATION not in meta.annotations(claim)


def provision(settings: Settings, claim: Object, view: View) -> list[actions.Action]:
    """Make a volume for a claim that nothing fits, or say why not."""
    notes: list[actions.Action] = []
    alpha, beta = well_known.STORAGE_CLASS_ALPHA_ANNOTATION, well_known.STORAGE_CLASS_BETA_ANNOTATION
    if alpha in meta.annotations(claim) and beta in meta.annotations(claim):
        both = f'both "{alpha}" and "{beta}" annotations are present, using the latter'
        notes.append(_event(claim, "Warning", "ProvisioningIgnoreAlpha", both))
    if storage_class.wants_any(claim):
        return [*_provision_ours(settings, claim, None)]
    name = storage_class.counting(claim, view.list(STORAGECLASSES))
    if not name:
        why = "no persistent volumes available for this claim and no storage class is set"
        return [*notes, _event(claim, "Normal", "FailedBinding", why)]
    class_ = view.get(STORAGECLASSES, "", name)
    if class_ is None:
        return [*notes, *_failed(claim, f'storageclass.storage.k8s.io "{name}" not found')]
    if _waits_for_consumer(claim, view):
        why = "waiting for first consumer to be created before binding"
        return [*notes, _event(claim, "Normal", "WaitForFirstConsumer", why)]
    provisioner = class_.get("provisioner", "")
    if provisioner == well_known.HOST_PATH_PROVISIONER:
        return [*notes, *_provision_ours(settings, claim, class_)]
    if provisioner == well_known.NO_PROVISIONER:
        why = "no persistent volumes available for this claim"
        return [*notes, _event(claim, "Normal", "FailedBinding", why)]
    why = f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or by hand."
    return [*notes, _event(claim, "Normal", "ExternalProvisioning", why)]


def _provision_ours(settings: Settings, claim: Object, class_: Object | None) -> list[actions.Action]:
    if not settings.provisions:
        return _failed(claim, "No provisioner plugin found for the claim!")
    if meta.get(claim, "spec", "selector"):
        return _failed(claim, "claim.Spec.Selector is not supported for dynamic provisioning")
    if meta.get(claim, "spec", "volumeMode") == "Block":
        return _failed(claim, f"{well_known.HOST_PATH_PROVISIONER} does not support block volume provisioning")
    volume = provisioned_volume(settings, claim, class_)
    done = f"Successfully provisioned volume {meta.name(volume)} using {well_known.HOST_PATH_PROVISIONER}"
    failed = _event(claim, "Warning", "ProvisioningFailed", "Failed to provision volume: {error}")
    size = volume["spec"]["capacity"]["storage"]
    too_large = (
        f"The claim asks for {size}, but only {{room}} are free on the disk of its volume: free some space there"
    )
    little_room = _event(claim, "Warning", "LittleSpace", too_large)
    path = volume["spec"]["hostPath"]["path"]
    return [
        actions.MakeDirectory(path, failed, requested_bytes(claim), little_room),
        actions.Create(volume, _event(claim, "Normal", "ProvisioningSucceeded", done), failed),
        *_bind_claim(claim, volume, well_known.HOST_PATH_PROVISIONER),
    ]


def provisioned_volume(settings: Settings, claim: Object, class_: Object | None) -> dict[str, Any]:
    """The hostPath volume made for a claim, bound to it from the start."""
    name = f"pvc-{meta.uid(claim)}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {
                well_known.CREATED_BY_ANNOTATION: CREATED_BY,
                well_known.PROVISIONED_BY_ANNOTATION: well_known.HOST_PATH_PROVISIONER,
                well_known.BOUND_BY_CONTROLLER_ANNOTATION: "yes",
            },
        },
        "spec": {
            "capacity": {"storage": _request(claim)},
            "accessModes": meta.get(claim, "spec", "accessModes", default=["ReadWriteOnce"]),
            "hostPath": {"path": f"{settings.directory}/{name}", "type": ""},
            "persistentVolumeReclaimPolicy": (class_ or {}).get("reclaimPolicy") or "Delete",
            "storageClassName": meta.name(class_) if class_ else "",
            "volumeMode": "Filesystem",
            "claimRef": claim_reference(claim),
        },
    }


def standard_class() -> dict[str, Any]:
    """The default class there is when the provisioner is on."""
    return {
        "apiVersion": STORAGECLASSES.api_version,
        "kind": "StorageClass",
        "metadata": {"name": STANDARD_CLASS, "annotations": {well_known.DEFAULT_CLASS_ANNOTATION: "true"}},
        "provisioner": well_known.HOST_PATH_PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def _failed(claim: Object, why: str) -> list[actions.Action]:
    return [_event(claim, "Warning", "ProvisioningFailed", why), actions.Fail(why)]


def _event(claim: Object, type_: str, reason: str, message: str) -> actions.EmitEvent:
    return actions.EmitEvent(claim, type_, reason, message)


def _annotated(obj: Object, annotations: Object) -> dict[str, Any]:
    return meta.changed(obj, ("metadata", "annotations"), {**meta.annotations(obj), **annotations})


def keys_of_volume(volume: Object, view: View) -> Iterable[str]:
    """The claim it is for, those that name it, and, while it is free, every claim that waits."""
    reference = meta.get(volume, "spec", "claimRef", default={})
    if reference:
        yield f"{reference.get('namespace', '')}/{reference.get('name', '')}"
    for claim in view.by_index(PERSISTENTVOLUMECLAIMS, "volume", meta.name(volume)):
        yield meta.key(claim)
    if not reference:
        yield from waiting_claims(volume, view)


def waiting_claims(obj: Object, view: View) -> Iterable[str]:
    for claim in view.list(PERSISTENTVOLUMECLAIMS):
        if not meta.get(claim, "spec", "volumeName"):
            yield meta.key(claim)


def keys_of_pod(pod: Object, view: View) -> Sequence[str]:
    """The claims it mounts that wait for it to let go."""
    claims = {key: view.get(PERSISTENTVOLUMECLAIMS, *meta.split_key(key)) for key in claims_of(pod)}
    return [key for key, claim in claims.items() if claim is not None and meta.is_deleting(claim)]


def controllers(settings: Settings) -> tuple[Controller, ...]:
    return (
        Controller(
            name="persistentvolumeclaims",
            component="persistentvolume-controller",
            watches=(
                (PERSISTENTVOLUMECLAIMS, own_key),
                (PERSISTENTVOLUMES, keys_of_volume),
                (STORAGECLASSES, waiting_claims),
                (PODS, keys_of_pod),
            ),
            reconcile=partial(reconcile, settings),
        ),
    )
