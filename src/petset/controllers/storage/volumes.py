"""Claims find their volumes: bound to one that is there, or to one made for them.

A claim without a volume takes one that names it, else the smallest free one that fits (class, size, modes, selector),
else, when its class or its annotation asks for it and the hostPath provisioner is on, gets a new directory and a
volume of its own. Binding writes the volume's claimRef first and the claim's volumeName second, each only if it is
unchanged, so two claims never get one volume; the phases follow. A claim that is being deleted stays until no pod on a
node uses it.

A claim without a class that nothing fits is given the default class as soon as there is one (KEP-3333).

Invariants: a bound pair is never parted here; a failed provisioning is said in one Event whose count grows, and tried
again after the key's back-off.
Follows: "Persistent Volumes" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from petset.base import well_known
from petset.client.views import View, claims_of
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.controllers.storage import growth, provisioning
from petset.controllers.storage.provisioning import Settings, event
from petset.kinds import node_affinity, persistent_volume, pod_phase, storage_class
from petset.kinds.node import NODES
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS, cloned, data_source, restored
from petset.kinds.pod import PODS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import meta
from petset.objects.meta import Object

LOST_TEXT = "Bound claim has lost {}. Data on the volume is lost!"
MISBOUND_TEXT = "Two claims are bound to the same volume, this one is bound incorrectly"


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
    if well_known.BIND_COMPLETED_ANNOTATION in meta.annotations(claim):
        return _lost(claim, LOST_TEXT.format("reference to PersistentVolume"))
    chosen = volume_for(claim, view)
    if chosen is not None:
        return bind(claim, chosen)
    if storage_class.of(claim) is None and (name := storage_class.counting(claim, view.list(STORAGECLASSES))):
        return [actions.Update(meta.changed(claim, ("spec", "storageClassName"), name))]
    return _unfit(claim, view) or provision(settings, claim, view)


def release_protection(claim: Object, view: View) -> list[actions.Action]:
    if well_known.PVC_PROTECTION_FINALIZER not in meta.finalizers(claim):
        return []
    for pod in view.by_index(PODS, "claim", meta.key(claim)):
        if meta.get(pod, "spec", "nodeName") and not pod_phase.has_ended(pod):
            return []
    return [actions.Update(meta.without_finalizers(claim, well_known.PVC_PROTECTION_FINALIZER))]


# Binding


def keep_bound(claim: Object, volume: Object | None) -> list[actions.Action]:
    """A claim that names its volume: finish the pair's binding, or say that it is lost."""
    was_bound = well_known.BIND_COMPLETED_ANNOTATION in meta.annotations(claim)
    if volume is None:
        return _lost(claim, LOST_TEXT.format("its PersistentVolume")) if was_bound else []
    if not is_claimed_by(volume, claim):
        if not meta.get(volume, "spec", "claimRef"):
            return bind(claim, volume) if was_bound else _bind_if_it_satisfies(claim, volume)
        if was_bound:
            return _lost(claim, MISBOUND_TEXT, "ClaimMisbound")
        why = f'volume "{meta.name(volume)}" already bound to a different claim.'
        return [event(claim, "Warning", "FailedBinding", why)]
    if not is_bound_to(volume, claim) or not was_bound:
        return bind(claim, volume)
    return growth.steps(claim, volume)


def _bind_if_it_satisfies(claim: Object, volume: Object) -> list[actions.Action]:
    """The volume that a claim names and that nobody has."""
    lacks = persistent_volume.lacks(volume, claim, storage_class.of(claim) or "")
    if not lacks:
        return bind(claim, volume)
    why = f'Cannot bind to requested volume "{meta.name(volume)}": {lacks}'
    return [event(claim, "Warning", "VolumeMismatch", why)]


def _lost(claim: Object, why: str, reason: str = "ClaimLost") -> list[actions.Action]:
    if meta.get(claim, "status", "phase") == "Lost":
        return []
    lost = {**claim, "status": {"phase": "Lost"}}
    return [actions.UpdateStatus(lost), event(claim, "Warning", reason, why)]


def is_claimed_by(volume: Object, claim: Object) -> bool:
    return provisioning.refers_to(meta.part(volume, "spec", "claimRef"), claim)


def is_bound_to(volume: Object, claim: Object) -> bool:
    return is_claimed_by(volume, claim) and bool(meta.get(volume, "spec", "claimRef", "uid"))


def bind(claim: Object, volume: Object) -> list[actions.Action]:
    """Volume first, claim second; whichever part is done already is left out."""
    steps: list[actions.Action] = []
    if not is_bound_to(volume, claim):
        by_us = not meta.get(volume, "spec", "claimRef")
        taken = meta.changed(volume, ("spec", "claimRef"), provisioning.claim_reference(claim))
        by_controller = {well_known.BOUND_BY_CONTROLLER_ANNOTATION: "yes"}
        steps.append(actions.Update(provisioning.annotated(taken, by_controller) if by_us else taken))
    return [*steps, *provisioning.bind_claim(claim, volume)]


def volume_for(claim: Object, view: View) -> Object | None:
    """The volume that names the claim, else the smallest free one that fits."""
    volumes = [volume for volume in view.list(PERSISTENTVOLUMES) if not meta.is_deleting(volume)]
    for volume in volumes:
        if not persistent_volume.differs_in_mode(volume, claim) and _is_kept_for(volume, claim):
            return volume
    if waits_for_consumer(claim, view):
        return None
    class_name = storage_class.of(claim) or ""  # Without one it takes what has none, before it is given the default.
    node = view.get(NODES, "", meta.annotations(claim).get(well_known.SELECTED_NODE_ANNOTATION) or "-")
    fitting = [
        volume
        for volume in volumes
        if persistent_volume.is_free_for(volume, claim, class_name)
        and (node is None or node_affinity.has_volume(node, volume))
    ]
    return min(fitting, key=lambda volume: (persistent_volume.size(volume), meta.name(volume)), default=None)


def _is_kept_for(volume: Object, claim: Object) -> bool:
    return bool(meta.get(volume, "spec", "claimRef")) and is_claimed_by(volume, claim)


def _unfit(claim: Object, view: View) -> list[actions.Action]:
    """Volumes that are kept for the claim and cannot be it: either is told so, and none is made."""
    for volume in view.by_index(PERSISTENTVOLUMES, "claim", meta.key(claim)):
        if _is_kept_for(volume, claim) and persistent_volume.differs_in_mode(volume, claim):
            to, why = meta.name(claim), "due to incompatible volumeMode."
            about_volume = f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{to}" {why}'
            about_claim = f'Cannot bind PersistentVolume "{meta.name(volume)}" to requested PersistentVolumeClaim {why}'
            return [
                event(volume, "Warning", "VolumeMismatch", about_volume),
                event(claim, "Warning", "VolumeMismatch", about_claim),
            ]
    return []


# Classes and provisioning


def waits_for_consumer(claim: Object, view: View) -> bool:
    is_late = storage_class.binds_late(claim, view.list(STORAGECLASSES))
    return is_late and well_known.SELECTED_NODE_ANNOTATION not in meta.annotations(claim)


def _waited_for(claim: Object, view: View) -> actions.EmitEvent:
    """What a claim waits for that is bound with its first pod."""
    pods = view.by_index(PODS, "claim", meta.key(claim))
    unplaced = sorted(meta.name(pod) for pod in pods if not meta.get(pod, "spec", "nodeName"))
    if not unplaced:
        why = "waiting for first consumer to be created before binding"
        return event(claim, "Normal", "WaitForFirstConsumer", why)
    plural = "s" if len(unplaced) > 1 else ""
    why = f"waiting for pod{plural} {','.join(unplaced)} to be scheduled"
    return event(claim, "Normal", "WaitForPodScheduled", why)


Make = Callable[[Object, list[actions.Action]], list[actions.Action]]


def provision(settings: Settings, claim: Object, view: View, make: Make | None = None) -> list[actions.Action]:
    """Make a volume for a claim that nothing fits, or say why not.

    One that begins with data is made by whom `make` is of (sources.py): it is given the steps of an empty one.
    """
    notes: list[actions.Action] = []
    alpha, beta = well_known.STORAGE_CLASS_ALPHA_ANNOTATION, well_known.STORAGE_CLASS_BETA_ANNOTATION
    if alpha in meta.annotations(claim) and beta in meta.annotations(claim):
        both = f'both "{alpha}" and "{beta}" annotations are present, using the latter'
        notes.append(event(claim, "Warning", "ProvisioningIgnoreAlpha", both))
    if storage_class.wants_any(claim):
        return _made(settings, claim, None, None, make)
    name = storage_class.counting(claim, view.list(STORAGECLASSES))
    if not name:
        why = "no persistent volumes available for this claim and no storage class is set"
        return [*notes, event(claim, "Normal", "FailedBinding", why)]
    class_ = view.get(STORAGECLASSES, "", name)
    if class_ is None:
        return [*notes, *provisioning.failed(claim, f'storageclass.storage.k8s.io "{name}" not found')]
    if waits_for_consumer(claim, view):
        return [*notes, _waited_for(claim, view)]
    provisioner = class_.get("provisioner", "")
    if provisioner == well_known.HOST_PATH_PROVISIONER:
        node = view.get(NODES, "", meta.annotations(claim).get(well_known.SELECTED_NODE_ANNOTATION) or "-")
        return [*notes, *_made(settings, claim, class_, node, make)]
    if provisioner == well_known.NO_PROVISIONER:
        why = "no persistent volumes available for this claim"
        return [*notes, event(claim, "Normal", "FailedBinding", why)]
    why = f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or by hand."
    return [*notes, event(claim, "Normal", "ExternalProvisioning", why)]


def _made(
    settings: Settings, claim: Object, class_: Object | None, node: Object | None, make: Make | None
) -> list[actions.Action]:
    if not data_source(claim):
        return provisioning.ours(settings, claim, class_, node)
    if not cloned(claim) and not restored(claim):
        why = "Assuming an external populator will provision the volume"
        return [event(claim, "Normal", "Provisioning", why)]
    return make(claim, provisioning.ours(settings, claim, class_, node)) if make is not None else []


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
    """The claims it mounts that wait for it to let go, or, while it has no node, for it to have one."""
    claims = {key: view.get(PERSISTENTVOLUMECLAIMS, *meta.split_key(key)) for key in claims_of(pod)}
    waits = not meta.get(pod, "spec", "nodeName")
    return [
        key
        for key, claim in claims.items()
        if claim is not None and (meta.is_deleting(claim) or (waits and not meta.get(claim, "spec", "volumeName")))
    ]


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
            reads=(NODES,),
        ),
    )
