"""Why a claim has no volume: the claim, its class, the class's provisioner, and the flag that switched that one off.

`claim` goes through CAUSES in their order; the first that knows the claim says what holds it.
Follows: "Persistent Volumes" and "Dynamic Volume Provisioning" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable

from petset.base import well_known
from petset.kinds import persistent_volume, storage_class
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import meta
from petset.objects.meta import Object
from petset.why import deleted, finding
from petset.why.finding import Finding
from petset.why.picture import Picture

FLAG = "--enable-hostpath-provisioner=true"
SWITCH_ON = f"start petset with {FLAG}, which is its default: `petset down`, then `petset up -d {FLAG}`"
VOLUMES_TOLD_MAX = 5


def named(picture: Picture, name: str, namespace: str) -> Finding | None:
    """What holds a claim that a pod names; None when nothing does."""
    found = picture.get(PERSISTENTVOLUMECLAIMS, name, namespace)
    if found is not None:
        told = claim(found, picture)
        return None if told.is_well else told
    if not picture.is_missing(PERSISTENTVOLUMECLAIMS, name, namespace):
        return None
    about = f"PersistentVolumeClaim {namespace}/{name}"
    return Finding(about, "there is no such claim", mend=f"create the claim {name}, or correct the pod's spec.volumes")


def claim(obj: Object, picture: Picture) -> Finding:
    for cause in CAUSES:
        if (found := cause(obj, picture)) is not None:
            return found
    return finding.of(obj, "is Pending, and nobody has said why yet", "waits")


def _deleting(obj: Object, picture: Picture) -> Finding | None:
    if not meta.is_deleting(obj):
        return None
    if well_known.PVC_PROTECTION_FINALIZER not in meta.finalizers(obj):
        return deleted.deleting(obj, picture)
    users = [meta.name(pod) for pod in picture.list(PODS, meta.namespace(obj)) if mounts(pod, meta.name(obj))]
    if not users:
        return deleted.deleting(obj, picture)
    says = f"is being deleted, and stays as long as {finding.listed(users)} {'use' if len(users) > 1 else 'uses'} it"
    return finding.of(obj, says, mend=f"delete {finding.listed([f'pod {name}' for name in users])}, if it shall go now")


def mounts(pod: Object, claim_name: str) -> bool:
    volumes = meta.parts(pod, "spec", "volumes")
    return any(meta.part(one, "persistentVolumeClaim").get("claimName") == claim_name for one in volumes)


def _bound(obj: Object, picture: Picture) -> Finding | None:
    if meta.part(obj, "status").get("phase") != "Bound":
        return None
    for type_ in ("FileSystemResizePending", "Resizing", "ModifyingVolume"):
        if meta.is_condition_true(obj, type_):
            why = finding.quoted((meta.condition(obj, type_) or {}).get("message") or type_)
            return finding.of(
                obj, f"is bound to {meta.get(obj, 'spec', 'volumeName')}, and is changing: {why}", "waits"
            )
    if trouble := picture.event(obj, "VolumeResizeFailed"):
        asked, has = (
            meta.get(obj, *path, "storage") for path in (("spec", "resources", "requests"), ("status", "capacity"))
        )
        if asked != has:
            says = f"is bound, but cannot grow from {has} to {asked}: {finding.quoted(trouble.get('message'))}"
            return finding.of(obj, says)
    return finding.of(obj, f"is bound to volume {meta.get(obj, 'spec', 'volumeName')}", "well")


def _lost(obj: Object, picture: Picture) -> Finding | None:
    if meta.part(obj, "status").get("phase") != "Lost":
        return None
    name = meta.get(obj, "spec", "volumeName", default="")
    says = f"is Lost: its volume {name} is gone, or is another claim's, and what was on it with it"
    mend = f"delete the claim {meta.name(obj)} and its pod, so that a new volume is made, and put a backup into it"
    return finding.of(obj, says, mend=mend)


def _named_volume(obj: Object, picture: Picture) -> Finding | None:
    """A claim that names the volume it wants."""
    name = meta.get(obj, "spec", "volumeName", default="")
    if not name:
        return None
    volume = picture.get(PERSISTENTVOLUMES, name)
    if volume is None:
        if not picture.is_missing(PERSISTENTVOLUMES, name):
            return finding.of(obj, f"is Pending and waits for volume {name}", "waits")
        return finding.of(
            obj, f"asks for volume {name}, which is not there", mend=f"create the PersistentVolume {name}"
        )
    taken = meta.part(volume, "spec", "claimRef")
    if taken and (taken.get("namespace"), taken.get("name")) != (meta.namespace(obj), meta.name(obj)):
        whose = f"{taken.get('namespace')}/{taken.get('name')}"
        says = f"asks for volume {name}, which is claim {whose}'s"
        return finding.of(obj, says, mend=f"name another volume, or take spec.claimRef out of volume {name}")
    if lacks := persistent_volume.lacks(volume, obj, storage_class.of(obj) or ""):
        return finding.of(
            obj, f"asks for volume {name}, which does not fit: {lacks}", mend="ask for what the volume has"
        )
    return finding.of(obj, f"is about to be bound to volume {name}", "waits")


def _provisioner_is_off(obj: Object, picture: Picture) -> Finding | None:
    told = picture.event(obj, "ProvisioningFailed")
    if told is None or finding.quoted(told.get("message")) != finding.quoted(storage_class.PROVISIONER_IS_OFF):
        return None
    off = Finding(
        "The hostPath provisioner",
        "is switched off (--enable-hostpath-provisioner=false), so no volume is made for any claim",
        mend=f"{SWITCH_ON}; or create a PersistentVolume that fits the claim"
        if picture.is_of_petset()
        else "start the controller manager with that flag true, or create a PersistentVolume that fits",
    )
    says = f"is Pending: no volume fits it, and none is made for it ({finding.quoted(told.get('message'))})"
    return finding.of(obj, f"{says}{_class_text(obj, picture)}", because=(off,))


def _class_text(obj: Object, picture: Picture) -> str:
    if storage_class.wants_any(obj):
        value = meta.annotations(obj)[well_known.STORAGE_CLASS_ALPHA_ANNOTATION]
        return f"; its annotation asks for storage class {value!r}, which is any provisioner there is"
    name = storage_class.counting(obj, picture.list(STORAGECLASSES))
    return f"; its storage class is {name}" if name else ""


def _no_class(obj: Object, picture: Picture) -> Finding | None:
    """Neither a class, nor a default one, nor a volume that fits."""
    classes = picture.list(STORAGECLASSES)
    if storage_class.counting(obj, classes) or storage_class.wants_any(obj) or picture.unread(STORAGECLASSES):
        return None
    there = [meta.name(one) for one in classes]
    others = f" (there are only: {finding.listed(there)})" if there else ""
    looked_at = _looked_at(obj, "", picture)
    if storage_class.of(obj) == "":
        says = f"is Pending: it wants a volume without a class (storageClassName is empty), and none fits{looked_at}"
        return finding.of(obj, says, mend="create a PersistentVolume without a class that fits it")
    says = f"is Pending: it names no storage class, no class is the default{others}, and no volume fits{looked_at}"
    mend = "mark a StorageClass as the default, name one in the claim, or create a PersistentVolume that fits"
    if picture.is_of_petset() and not there:
        off = Finding(
            "The hostPath provisioner", "is off, or its class was deleted: there is no storage class", mend=SWITCH_ON
        )
        return finding.of(obj, says, because=(off,))
    return finding.of(obj, says, mend=mend)


def _looked_at(obj: Object, class_name: str, picture: Picture) -> str:
    """What each volume that is nobody's lacks."""
    free = [one for one in picture.list(PERSISTENTVOLUMES) if not meta.part(one, "spec", "claimRef")]
    told = [f"{meta.name(one)}: {persistent_volume.lacks(one, obj, class_name) or 'its labels'}" for one in free]
    return f" ({'; '.join(told[:VOLUMES_TOLD_MAX])})" if told else ""


def _class_is_missing(obj: Object, picture: Picture) -> Finding | None:
    name = storage_class.counting(obj, picture.list(STORAGECLASSES))
    if not name or not picture.is_missing(STORAGECLASSES, name):
        return None
    there = [meta.name(one) for one in picture.list(STORAGECLASSES)]
    has = f"those that there are: {finding.listed(there)}" if there else "there is none at all"
    missing = Finding(f"StorageClass {name}", f"there is no such class; {has}", mend=_of_missing(name, picture))
    return finding.of(obj, f"is Pending: its storage class {name} is not there", because=(missing,))


def _of_missing(name: str, picture: Picture) -> str:
    create = f"create the StorageClass {name}, or make the claim anew with one that is there"
    return f"{create}; `petset up` makes the class of that name: {SWITCH_ON}" if _is_ours(name, picture) else create


def _is_ours(name: str, picture: Picture) -> bool:
    return name == storage_class.STANDARD and picture.is_of_petset()


def _waits_for_consumer(obj: Object, picture: Picture) -> Finding | None:
    classes = picture.list(STORAGECLASSES)
    if not storage_class.binds_late(obj, classes) or well_known.SELECTED_NODE_ANNOTATION in meta.annotations(obj):
        return None
    class_name = storage_class.counting(obj, classes)
    says = f"waits for a pod that uses it to be given a node, as class {class_name} wants (WaitForFirstConsumer)"
    return finding.of(obj, says, "waits")


def _by_hand(obj: Object, picture: Picture) -> Finding | None:
    """A class whose volumes nobody makes."""
    name = storage_class.counting(obj, picture.list(STORAGECLASSES))
    found = picture.get(STORAGECLASSES, name) if name else None
    if found is None or found.get("provisioner") != well_known.NO_PROVISIONER:
        return None
    says = f"is Pending: volumes of class {name} are made by hand, and none fits{_looked_at(obj, name, picture)}"
    return finding.of(obj, says, mend=f"create a PersistentVolume of class {name} that fits it")


def _failed(obj: Object, picture: Picture) -> Finding | None:
    """What whoever makes volumes says of it."""
    told = picture.event(obj, "ProvisioningFailed", "VolumeMismatch", "FailedBinding", "LittleSpace", "ClaimMisbound")
    if told is None:
        return None
    mend = "free some space on the disk of the volumes" if told.get("reason") == "LittleSpace" else ""
    return finding.of(obj, f"is Pending: {finding.quoted(told.get('message'))}", mend=mend)


def _elsewhere(obj: Object, picture: Picture) -> Finding | None:
    """A provisioner that is another program."""
    name = storage_class.counting(obj, picture.list(STORAGECLASSES))
    found = picture.get(STORAGECLASSES, name) if name else None
    if found is None or found.get("provisioner") == well_known.HOST_PATH_PROVISIONER:
        return None
    by = found.get("provisioner", "")
    silent = Finding(
        f"StorageClass {name}",
        f"its volumes are made by {by}, which is not part of the cluster and has said nothing of this claim",
        mend=f"see whether the provisioner {by} runs, and what its log says",
    )
    return finding.of(obj, f"is Pending: it waits for {by} to make a volume", "held", because=(silent,))


Cause = Callable[[Object, Picture], Finding | None]
CAUSES: tuple[Cause, ...] = (
    _deleting,
    _bound,
    _lost,
    _named_volume,
    _provisioner_is_off,
    _class_is_missing,
    _waits_for_consumer,
    _no_class,
    _by_hand,
    _failed,
    _elsewhere,
)
