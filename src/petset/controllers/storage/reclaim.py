"""What becomes of a volume: its phase while it is free, bound, released, and its end when its claim is gone.

A volume whose claim no longer exists (the server is asked, not the cache) is Released, and then its reclaim policy
speaks: Retain leaves it, Delete removes the directory of a volume we provisioned and then the volume. A volume that
lost the race for its claim is freed again, or, when it was made for that claim, reclaimed like any other.

Invariant: a directory is only removed for a volume that we provisioned, inside the directory of volumes, after its
claim is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from petset.base import well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.controllers.storage import provisioning, volumes
from petset.kinds import persistent_volume
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.objects import meta
from petset.objects.meta import Object


def reconcile(settings: provisioning.Settings, key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps of one volume."""
    volume = view.get(PERSISTENTVOLUMES, "", key)
    if volume is None:
        return []
    reference = meta.get(volume, "spec", "claimRef", default={})
    namespace, name = reference.get("namespace", ""), reference.get("name", "")
    claim = view.get(PERSISTENTVOLUMECLAIMS, namespace, name) if name else None
    if claim is not None and not volumes.is_claimed_by(volume, claim):
        claim = None
    if meta.is_deleting(volume):
        return with_phase(volume, "Bound") if claim is not None else end(settings, volume)
    if not reference.get("uid"):
        return with_phase(volume, "Available")
    if claim is None:
        gone = actions.Gone(PERSISTENTVOLUMECLAIMS, namespace, name, reference["uid"])
        return [gone, *reclaim(settings, volume)]
    chosen = meta.get(claim, "spec", "volumeName", default="")
    if chosen == meta.name(volume):
        return with_phase(volume, "Bound")
    if not chosen:  # The claim is yet to take it, or cannot: which, its own controller says.
        return with_phase(volume, "Available")
    if persistent_volume.is_ours(volume):
        return reclaim(settings, volume)
    if well_known.BOUND_BY_CONTROLLER_ANNOTATION in meta.annotations(volume):
        return [actions.Update(meta.without(volume, ("spec", "claimRef")))]
    return with_phase(volume, "Available")


def release_protection(volume: Object) -> list[actions.Action]:
    if well_known.PV_PROTECTION_FINALIZER not in meta.finalizers(volume):
        return []
    return [actions.Update(meta.without_finalizers(volume, well_known.PV_PROTECTION_FINALIZER))]


def end(settings: provisioning.Settings, volume: Object) -> list[actions.Action]:
    """A volume that is being deleted and that nobody has: its policy is kept first (KEP-2644)."""
    reference, policy = meta.part(volume, "spec", "claimRef"), meta.get(volume, "spec", "persistentVolumeReclaimPolicy")
    if policy != "Delete" or not reference.get("uid") or not _is_removable(settings, volume):
        return release_protection(volume)
    space, name = reference.get("namespace", ""), reference.get("name", "")
    return [
        actions.Gone(PERSISTENTVOLUMECLAIMS, space, name, reference["uid"]),
        remove(volume),
        *release_protection(volume),
    ]


def reclaim(settings: provisioning.Settings, volume: Object) -> list[actions.Action]:
    """A volume whose claim is gone: Released first, then as its policy says."""
    if meta.get(volume, "status", "phase") not in ("Released", "Failed"):
        return with_phase(volume, "Released")
    policy = meta.get(volume, "spec", "persistentVolumeReclaimPolicy", default="Retain")
    if policy == "Retain":
        return []
    if policy == "Recycle":
        return failed(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
    if not _is_removable(settings, volume):
        name = meta.name(volume)
        why = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
        return failed(volume, "VolumeFailedDelete", why)
    return [remove(volume), actions.Delete(volume)]


def _is_removable(settings: provisioning.Settings, volume: Object) -> bool:
    is_its_own = persistent_volume.directory(volume) == f"{settings.directory}/{meta.name(volume)}"
    return settings.provisions and persistent_volume.is_ours(volume) and is_its_own


def remove(volume: Object) -> actions.Action:
    """Its directory goes; when it does not, the volume has Failed, says why, and it is tried again."""
    trouble = actions.EmitEvent(volume, "Warning", "VolumeFailedDelete", "{error}")
    said = actions.UpdateStatus({**volume, "status": {"phase": "Failed", "message": "{error}"}})
    return actions.Attempt((actions.RemoveDirectory(persistent_volume.directory(volume), trouble),), otherwise=said)


def failed(volume: Object, reason: str, why: str) -> list[actions.Action]:
    if meta.get(volume, "status", "phase") == "Failed":
        return []
    return [*with_phase(volume, "Failed", why), actions.EmitEvent(volume, "Warning", reason, why)]


def with_phase(volume: Object, phase: str, message: str = "") -> list[actions.Action]:
    if meta.get(volume, "status", "phase") == phase:
        return []
    status = {"phase": phase, **({"message": message} if message else {})}
    return [actions.UpdateStatus({**volume, "status": status})]


def keys_of_claim(claim: Object, view: View) -> Iterable[str]:
    """The volume it names, and those that were taken or made for it."""
    name = meta.get(claim, "spec", "volumeName", default="")
    if name:
        yield name
    for volume in view.by_index(PERSISTENTVOLUMES, "claim", meta.key(claim)):
        yield meta.name(volume)


def controllers(settings: provisioning.Settings) -> tuple[Controller, ...]:
    return (
        Controller(
            name="persistentvolumes",
            component="persistentvolume-controller",
            watches=(
                (PERSISTENTVOLUMES, own_key),
                (PERSISTENTVOLUMECLAIMS, keys_of_claim),
            ),
            reconcile=partial(reconcile, settings),
        ),
    )
