"""Claims that begin with data: a snapshot restored, or another claim cloned.

`reconcile` is the look at claims that name a source and have no volume yet: when the source is there, ready, of our own
provisioner and not larger than what is asked for, the volume is made as any other, out of a copy (`CopyVolume`). It is
a controller of its own, since a copy may take long and others' claims must not wait for it. The source of a clone is
protected while it is read.

Invariants: a volume object is made only after its copy is whole and has its final name, so that nothing half-copied is
ever bound.
Follows: "Volume Snapshots", "Volume Cloning" and "Volume populators" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from petset.base import well_known
from petset.client.views import View, source_mark
from petset.controllers import actions
from petset.controllers.runner import Controller
from petset.controllers.storage import provisioning, snapshot_kinds, volumes
from petset.controllers.storage.provisioning import Settings, event
from petset.kinds import persistent_volume, pod_phase, volume_snapshots
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS, cloned, data_source, restored
from petset.kinds.pod import PODS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import meta, quantity
from petset.objects.meta import Object


@dataclass(frozen=True, slots=True)
class CopyVolume:
    """Make a volume's directory as a copy: of another volume's directory, or of a snapshot by its handle."""

    claim: Object  # Whose events tell how far it is.
    path: str
    wanted_bytes: int
    from_path: str = ""
    from_snapshot: str = ""
    pods: tuple[str, ...] = ()  # The uids of those that may write to the source.
    on_failure: actions.EmitEvent | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a volume is copied from; or why it cannot be."""

    path: str = ""
    handle: str = ""
    pods: tuple[str, ...] = ()
    why_not: str = ""


def claims_made_of(obj: Object, view: View) -> list[Object]:
    """Claims that wait for a volume made of a snapshot or of another claim."""
    mark = source_mark(meta.namespace(obj), obj["kind"], meta.name(obj))
    found = view.by_index(PERSISTENTVOLUMECLAIMS, "source", mark)
    return [claim for claim in found if is_waiting(claim) and may_still_use(claim, obj)]


def may_still_use(claim: Object, source: Object) -> bool:
    """Whether a source is there for a claim: one that is being deleted stays for those that came before that.

    Upstream refuses them, too, and then either waits for the other for ever.
    """
    until = meta.get(source, "metadata", "deletionTimestamp")
    return until is None or meta.get(claim, "metadata", "creationTimestamp", default="") <= until


def is_waiting(claim: Object) -> bool:
    return not meta.get(claim, "spec", "volumeName") and not meta.is_deleting(claim)


def writers(volume: Object, view: View) -> tuple[str, ...]:
    """The uids of pods on nodes that have a volume's claim."""
    reference = meta.part(volume, "spec", "claimRef")
    pods = view.by_index(PODS, "claim", f"{reference.get('namespace', '')}/{reference.get('name', '')}")
    return tuple(meta.uid(pod) for pod in pods if meta.get(pod, "spec", "nodeName") and not pod_phase.has_ended(pod))


def reconcile(settings: Settings, key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps of one claim: as one that is to be made of something, and as one that others are made of."""
    claim = view.get(PERSISTENTVOLUMECLAIMS, *meta.split_key(key))
    if claim is None:
        return []
    if well_known.CLONE_SOURCE_FINALIZER in meta.finalizers(claim) and not claims_made_of(claim, view):
        return [actions.Update(meta.without_finalizers(claim, well_known.CLONE_SOURCE_FINALIZER))]
    if not data_source(claim) or not is_waiting(claim) or volumes.volume_for(claim, view) is not None:
        return []
    return volumes.provision(settings, claim, view, make=partial(_made_of, view))


def _made_of(view: View, claim: Object, steps: list[Any]) -> list[Any]:
    """The steps of an ordinary provisioning, with the copy in the place of the new directory."""
    directory = next((step for step in steps if isinstance(step, actions.MakeDirectory)), None)
    if directory is None:
        return steps  # It is refused for another reason.
    source = of(claim, view)
    if source.why_not:
        return provisioning.failed(claim, source.why_not)
    protect: list[actions.Action] = []
    if source.path:
        original = view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(claim), cloned(claim))
        if original is not None and well_known.CLONE_SOURCE_FINALIZER not in meta.finalizers(original):
            protect = [actions.Update(meta.with_finalizers(original, well_known.CLONE_SOURCE_FINALIZER))]
    copy = CopyVolume(
        claim,
        directory.path,
        directory.wanted_bytes,
        source.path,
        source.handle,
        source.pods,
        directory.on_failure,
    )
    begins = event(
        claim, "Normal", "Provisioning", f"Copying {data_source(claim)['kind']} {data_source(claim)['name']}"
    )
    return [*protect, begins, *(copy if step is directory else step for step in steps)]


def of(claim: Object, view: View) -> Source:
    """What a claim's volume is copied from."""
    found = _of_snapshot(claim, view) if restored(claim) else _of_claim(claim, view)
    if not found.why_not:
        return found
    kind, name = data_source(claim).get("kind"), data_source(claim).get("name")
    return replace(found, why_not=f"error getting handle for DataSource Type {kind} by Name {name}: {found.why_not}")


def _of_snapshot(claim: Object, view: View) -> Source:
    name = restored(claim)
    snapshot = snapshot_kinds.find(view, volume_snapshots.SNAPSHOTS, meta.namespace(claim), name)
    if snapshot is None:
        kind = f"{volume_snapshots.SNAPSHOTS}.{volume_snapshots.GROUP}"
        return Source(why_not=f'error getting snapshot {name} from api server: {kind} "{name}" not found')
    if not may_still_use(claim, snapshot):
        return Source(why_not=f"snapshot {name} is currently being deleted")
    bound = meta.get(snapshot, "status", "boundVolumeSnapshotContentName", default="")
    content = snapshot_kinds.find(view, volume_snapshots.CONTENTS, "", bound)
    handle = meta.get(content, "status", "snapshotHandle")
    if content is None or not handle or not meta.get(snapshot, "status", "readyToUse"):
        return Source(why_not=f"snapshot {name} is not Ready")
    if meta.get(content, "spec", "driver") != well_known.HOST_PATH_PROVISIONER:
        driver = meta.get(content, "spec", "driver")
        return Source(why_not=f"the driver {driver} of the content of snapshot {name} is not the provisioner's")
    size, wanted = meta.get(content, "status", "restoreSize", default=0), persistent_volume.requested_bytes(claim)
    if wanted < size:
        why = f"requested volume size {wanted} is less than the size {size} for the source snapshot {name}"
        return Source(why_not=why)
    return Source(handle=handle)


def _of_claim(claim: Object, view: View) -> Source:
    name = cloned(claim)
    original = view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(claim), name)
    if original is None:
        why = f'error getting PVC {name} from api server: persistentvolumeclaims "{name}" not found'
        return Source(why_not=why)
    if not may_still_use(claim, original):
        return Source(why_not="the PVC DataSource is currently being deleted")
    volume = view.get(PERSISTENTVOLUMES, "", meta.get(original, "spec", "volumeName") or "-")
    if volume is None or meta.get(original, "status", "phase") != "Bound":
        return Source(why_not=f"the PVC {name} is not bound to a PV")
    if not persistent_volume.is_ours(volume):
        return Source(why_not=f"the volume {meta.name(volume)} is not of {well_known.HOST_PATH_PROVISIONER}")
    if persistent_volume.differs_in_mode(volume, claim):
        return Source(why_not="the source PVC and destination PVCs must have the same volumeMode")
    has = meta.get(volume, "spec", "capacity", "storage", default="0")
    wanted = persistent_volume.request(claim)
    if quantity.compare(wanted, has) < 0:
        why = "new PVC request must be greater than or equal in size to the specified PVC data source"
        return Source(why_not=f"error, {why}, requested {wanted} but source is {has}")
    return Source(path=persistent_volume.directory(volume), pods=writers(volume, view))


def keys_of_claim(claim: Object, view: View) -> Iterable[str]:
    """Itself, where it is to be made of something or others are; the one it is made of; those that wait for it."""
    if data_source(claim) or well_known.CLONE_SOURCE_FINALIZER in meta.finalizers(claim):
        yield meta.key(claim)
    if name := cloned(claim):
        yield f"{meta.namespace(claim)}/{name}"
    for other in claims_made_of(claim, view):
        yield meta.key(other)


def keys_of_snapshot(obj: Object, view: View) -> Iterable[str]:
    return [meta.key(claim) for claim in claims_made_of(obj, view)] if obj["kind"] == "VolumeSnapshot" else ()


def waiting_with_source(obj: Object, view: View) -> Sequence[str]:
    return [meta.key(one) for one in view.list(PERSISTENTVOLUMECLAIMS) if data_source(one) and is_waiting(one)]


def controllers(settings: Settings) -> tuple[Controller, ...]:
    return (
        Controller(
            name="volumecopies",
            component="persistentvolume-controller",
            watches=((PERSISTENTVOLUMECLAIMS, keys_of_claim), (STORAGECLASSES, waiting_with_source)),
            every=(snapshot_kinds.is_such, keys_of_snapshot),
            reconcile=partial(reconcile, settings),
            reads=(PERSISTENTVOLUMES, PODS),
        ),
    )
