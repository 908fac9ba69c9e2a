"""Snapshots: what a claim held at one time, kept as a directory that nobody writes.

A VolumeSnapshot of a claim gets its class, protects itself and its claim, and gets a content of its own, named after
its uid; the content's look takes the copy (`TakeSnapshot`, copying.py carries it out) and says so in its status, which
the snapshot repeats. One that names a content is bound to it when that names it, too. A deleted snapshot waits for the
claims that are made of it, then its content goes as the deletion policy says, then it does.

Keys are "<plural>|<namespace/name>": a snapshot and a content are looked at one by one.

Invariants: a copy has its final name only when it is whole, and that name is the content's uid, so that it is taken
once, whatever is killed; data goes only with a content that is being deleted and whose policy says Delete.
Follows: "Volume Snapshots" and the CSI external-snapshotter's controllers (its reasons and messages).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from petset.base import tasks, well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller
from petset.controllers.storage import provisioning, snapshot_kinds, sources
from petset.controllers.storage.provisioning import Settings, event
from petset.kinds import persistent_volume, volume_snapshots
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS, restored
from petset.kinds.pod import PODS
from petset.kinds.volume_snapshots import CLASSES, CONTENTS, SNAPSHOTS
from petset.objects import meta
from petset.objects.meta import Object

OURS = well_known.HOST_PATH_PROVISIONER
PROTECTING = (well_known.SNAPSHOT_SOURCE_FINALIZER, well_known.SNAPSHOT_BOUND_FINALIZER)


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Copy a volume's directory for a content, which then says that it is ready, or why it is not."""

    content: Object
    path: str
    restore_bytes: int
    pods: tuple[str, ...]  # The uids of those that may write there meanwhile.


@dataclass(frozen=True, slots=True)
class FindSnapshot:
    """A content that names a copy by hand says whether it is there."""

    content: Object


@dataclass(frozen=True, slots=True)
class RemoveSnapshot:
    """Remove a content's copy."""

    handle: str
    on_failure: actions.EmitEvent | None = None


def reconcile(settings: Settings, key: str, view: View, now: float) -> list[Any]:
    """The next steps of one snapshot or one content."""
    plural, _, name = key.partition("|")
    obj = snapshot_kinds.find(view, plural, *meta.split_key(name))
    if obj is None:
        return []
    return _of_snapshot(obj, view, now) if plural == SNAPSHOTS else _of_content(settings, obj, view)


def content_of(snapshot: Object, view: View) -> Object | None:
    """The content that a snapshot has or names."""
    name = meta.get(snapshot, "status", "boundVolumeSnapshotContentName") or content_name(snapshot)
    return snapshot_kinds.find(view, CONTENTS, "", name)


def content_name(snapshot: Object) -> str:
    return meta.get(snapshot, "spec", "source", "volumeSnapshotContentName") or f"snapcontent-{meta.uid(snapshot)}"


# ---- a snapshot


def _of_snapshot(snapshot: Object, view: View, now: float) -> list[actions.Action]:
    if meta.is_deleting(snapshot):
        return _end(snapshot, view)
    if any(one not in meta.finalizers(snapshot) for one in PROTECTING):
        return [actions.Update(meta.with_finalizers(snapshot, *PROTECTING))]
    if meta.get(snapshot, "spec", "source", "volumeSnapshotContentName"):
        return _prebound(snapshot, view, now)
    content = snapshot_kinds.find(view, CONTENTS, "", content_name(snapshot))
    if content is not None:
        return _repeat(snapshot, content, view)
    if meta.get(snapshot, "status", "readyToUse"):
        return _lost(snapshot, now)
    if meta.get(snapshot, "spec", "volumeSnapshotClassName") is None:
        return _given_class(snapshot, view, now)
    return _make_content(snapshot, view, now)


def _lost(snapshot: Object, now: float) -> list[actions.Action]:
    status = {**meta.part(snapshot, "status"), "readyToUse": False}
    why = "VolumeSnapshotContent is missing"
    return _failed({**snapshot, "status": status}, now, "SnapshotContentMissing", why)


def _given_class(snapshot: Object, view: View, now: float) -> list[actions.Action]:
    """The default class of whoever made the claim's volume."""
    claim = _source_claim(snapshot, view)
    driver = _driver(_volume_of(claim, view)) if claim is not None else OURS
    annotation = well_known.DEFAULT_SNAPSHOT_CLASS_ANNOTATION
    marked = [one for one in snapshot_kinds.every(view, CLASSES) if meta.annotations(one).get(annotation) == "true"]
    found = [one for one in marked if one.get("driver") == driver]
    if len(found) == 1:
        return [actions.Update(meta.changed(snapshot, ("spec", "volumeSnapshotClassName"), meta.name(found[0])))]
    why = f"{len(found)} default snapshot classes were found" if found else "cannot find default snapshot class"
    told = f"Failed to set default snapshot class with error {why}"
    return _failed(snapshot, now, "SetDefaultSnapshotClassFailed", told)


def _source_claim(snapshot: Object, view: View) -> Object | None:
    return view.get(PERSISTENTVOLUMECLAIMS, meta.namespace(snapshot), _names_claim(snapshot))


def _volume_of(claim: Object, view: View) -> Object | None:
    return view.get(PERSISTENTVOLUMES, "", meta.get(claim, "spec", "volumeName") or "-")


def _driver(volume: Object | None) -> str:
    """Who made a volume; one that is not there yet is to be ours."""
    if volume is None:
        return OURS
    made_by = meta.annotations(volume).get(well_known.PROVISIONED_BY_ANNOTATION, "")
    return meta.get(volume, "spec", "csi", "driver") or made_by


def _make_content(snapshot: Object, view: View, now: float) -> list[actions.Action]:
    reason, prefix = "SnapshotContentCreationFailed", "Failed to create snapshot content with error "
    name = meta.get(snapshot, "spec", "volumeSnapshotClassName")
    class_ = snapshot_kinds.find(view, CLASSES, "", name)
    if class_ is None:
        why = f'volumesnapshotclass.{volume_snapshots.GROUP} "{name}" not found'
        return _failed(snapshot, now, "GetSnapshotClassFailed", f"Failed to get snapshot class with error {why}")
    claim = _source_claim(snapshot, view)
    source = _names_claim(snapshot)
    if claim is None or meta.is_deleting(claim):
        return _failed(snapshot, now, reason, f'{prefix}cannot get claim from snapshot: claim "{source}" not found')
    volume = _volume_of(claim, view)
    if meta.get(claim, "status", "phase") != "Bound" or volume is None:
        why = f"the PVC {source} is not yet bound to a PV, will not attempt to take a snapshot"
        return _failed(snapshot, now, reason, prefix + why)
    driver, made_by = class_.get("driver"), _driver(volume)
    if driver != made_by:
        whose = made_by or "nobody's"
        why = f"the class {name} is of the driver {driver}, and the volume's is {whose}"
        return _failed(snapshot, now, reason, prefix + why)
    protected = well_known.SNAPSHOT_CLAIM_FINALIZER in meta.finalizers(claim)
    protect = [] if protected else [actions.Update(meta.with_finalizers(claim, well_known.SNAPSHOT_CLAIM_FINALIZER))]
    content = {
        "apiVersion": volume_snapshots.API_VERSION,
        "kind": "VolumeSnapshotContent",
        "metadata": {
            "name": content_name(snapshot),
            "finalizers": [well_known.SNAPSHOT_CONTENT_FINALIZER],
        },
        "spec": {
            "deletionPolicy": class_.get("deletionPolicy", "Delete"),
            "driver": class_.get("driver", ""),
            "source": {"volumeHandle": meta.name(volume)},
            "sourceVolumeMode": meta.get(volume, "spec", "volumeMode", default="Filesystem"),
            "volumeSnapshotClassName": name,
            "volumeSnapshotRef": {
                "apiVersion": volume_snapshots.API_VERSION,
                "kind": "VolumeSnapshot",
                "namespace": meta.namespace(snapshot),
                "name": meta.name(snapshot),
                "uid": meta.uid(snapshot),
            },
        },
    }
    waits = f"Waiting for a snapshot {meta.key(snapshot)} to be created by the CSI driver."
    return [*protect, actions.Create(content, event(snapshot, "Normal", "CreatingSnapshot", waits))]


def _prebound(snapshot: Object, view: View, now: float) -> list[actions.Action]:
    """One that names its content: bound when that names it, too."""
    content = snapshot_kinds.find(view, CONTENTS, "", content_name(snapshot))
    if content is None:
        return _failed(snapshot, now, "SnapshotContentMissing", "VolumeSnapshotContent is missing")
    reference = meta.part(content, "spec", "volumeSnapshotRef")
    if not meta.get(content, "spec", "source", "snapshotHandle"):
        why = "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one"
        return _failed(snapshot, now, "SnapshotContentMismatch", why)
    if not provisioning.refers_to(reference, snapshot):
        why = f"VolumeSnapshotContent [{meta.name(content)}] is bound to a different snapshot"
        return _failed(snapshot, now, "SnapshotContentMisbound", why)
    if not reference.get("uid"):
        return [actions.Update(meta.changed(content, ("spec", "volumeSnapshotRef", "uid"), meta.uid(snapshot)))]
    return _repeat(snapshot, content, view)


def _repeat(snapshot: Object, content: Object, view: View) -> list[actions.Action]:
    """The snapshot's status, as its content's says."""
    said, before = meta.part(content, "status"), meta.part(snapshot, "status")
    created, size, error = said.get("creationTime"), said.get("restoreSize"), said.get("error")
    is_ready = bool(said.get("readyToUse"))
    status = {
        "boundVolumeSnapshotContentName": meta.name(content),
        **({"creationTime": tasks.rfc3339(created / 1e9)} if created else {}),
        "readyToUse": is_ready,
        **({"restoreSize": _quantity(size)} if size is not None else {}),
        **({"error": error} if error else {}),
    }
    steps: list[actions.Action] = []
    if status != before:
        steps.append(actions.UpdateStatus({**snapshot, "status": status}))
        what = f"Snapshot {meta.key(snapshot)}"
        if created and not before.get("creationTime"):
            done = f"{what} was successfully created by the CSI driver."
            steps.append(event(snapshot, "Normal", "SnapshotCreated", done))
        if is_ready and not before.get("readyToUse"):
            steps.append(event(snapshot, "Normal", "SnapshotReady", f"{what} is ready to use."))
    return [*steps, *_let_go(snapshot, view)] if is_ready else steps


def _let_go(snapshot: Object, view: View) -> list[actions.Action]:
    """The claim's protection goes with the last snapshot that is being taken of it."""
    claim = _source_claim(snapshot, view)
    if claim is None:
        return []
    if well_known.SNAPSHOT_CLAIM_FINALIZER not in meta.finalizers(claim):
        return []
    for other in snapshot_kinds.every(view, SNAPSHOTS):
        is_same = meta.namespace(other) == meta.namespace(claim) and _names_claim(other) == meta.name(claim)
        if is_same and meta.uid(other) != meta.uid(snapshot) and not _is_taken(other) and not meta.is_deleting(other):
            return []
    return [actions.Update(meta.without_finalizers(claim, well_known.SNAPSHOT_CLAIM_FINALIZER))]


def _is_bound(content: Object, snapshot: Object) -> bool:
    return meta.get(content, "spec", "volumeSnapshotRef", "uid") == meta.uid(snapshot)


def _is_taken(snapshot: Object) -> bool:
    return bool(meta.get(snapshot, "status", "readyToUse"))


def _names_claim(snapshot: Object) -> str:
    return meta.get(snapshot, "spec", "source", "persistentVolumeClaimName", default="")


def _quantity(size: int) -> str:
    """Bytes as upstream's client spells them: in the largest binary unit that leaves no fraction."""
    for power, unit in ((60, "Ei"), (50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)


def _end(snapshot: Object, view: View) -> list[actions.Action]:
    """A snapshot that is being deleted."""
    if not any(one in PROTECTING for one in meta.finalizers(snapshot)):
        return []
    if _is_taken(snapshot) and sources.claims_made_of(snapshot, view):  # One that is not never will be: nobody waits.
        why = "Snapshot is being used to restore a PVC"
        return [event(snapshot, "Warning", "SnapshotDeletePending", why)]
    content = content_of(snapshot, view)
    if content is not None and _is_bound(content, snapshot) and meta.get(content, "spec", "deletionPolicy") == "Delete":
        if well_known.SNAPSHOT_BEING_DELETED_ANNOTATION not in meta.annotations(content):
            marked = {well_known.SNAPSHOT_BEING_DELETED_ANNOTATION: "yes"}
            return [actions.Update(provisioning.annotated(content, marked))]
        return [] if meta.is_deleting(content) else [actions.Delete(content)]  # The snapshot goes after it.
    return [*_let_go(snapshot, view), actions.Update(meta.without_finalizers(snapshot, *PROTECTING))]


def _failed(snapshot: Object, now: float, reason: str, why: str) -> list[actions.Action]:
    """Say so once, and try again later; a change that could help comes back here, too."""
    before = meta.part(snapshot, "status")
    if meta.get(before, "error", "message") == why:
        return [actions.Fail(why)]
    error = {"message": why, "time": tasks.rfc3339(now)}
    status = {**before, "readyToUse": False, "error": error}
    return [
        actions.UpdateStatus({**snapshot, "status": status}),
        event(snapshot, "Warning", reason, why),
        actions.Fail(why),
    ]


# ---- a content


def _of_content(settings: Settings, content: Object, view: View) -> list[Any]:
    if meta.get(content, "spec", "driver") != OURS or not settings.provisions:
        return []  # Somebody else's.
    reference = meta.part(content, "spec", "volumeSnapshotRef")
    snapshot = snapshot_kinds.find(view, SNAPSHOTS, reference.get("namespace", ""), reference.get("name", ""))
    if meta.is_deleting(content):
        return _content_ends(content, snapshot)
    if well_known.SNAPSHOT_CONTENT_FINALIZER not in meta.finalizers(content):
        return [actions.Update(meta.with_finalizers(content, well_known.SNAPSHOT_CONTENT_FINALIZER))]
    if meta.get(content, "status", "readyToUse"):
        return []
    if meta.get(content, "spec", "source", "snapshotHandle"):
        return [FindSnapshot(content)]
    return _take(content, view)


def _take(content: Object, view: View) -> list[Any]:
    volume = view.get(PERSISTENTVOLUMES, "", meta.get(content, "spec", "source", "volumeHandle", default="-"))
    if volume is None or not persistent_volume.is_ours(volume):
        return [actions.Fail("its volume is not here")]
    path, size = persistent_volume.directory(volume), persistent_volume.size(volume)
    return [TakeSnapshot(content, path, size, sources.writers(volume, view))]


def _content_ends(content: Object, snapshot: Object | None) -> list[Any]:
    if well_known.SNAPSHOT_CONTENT_FINALIZER not in meta.finalizers(content):
        return []
    if snapshot is not None and _is_bound(content, snapshot) and not meta.is_deleting(snapshot):
        return []  # It stays while its snapshot does.
    goes = actions.Update(meta.without_finalizers(content, well_known.SNAPSHOT_CONTENT_FINALIZER))
    if meta.get(content, "spec", "deletionPolicy") != "Delete":
        return [goes]
    trouble = event(content, "Warning", "SnapshotDeleteError", "Failed to delete snapshot: {error}")
    return [RemoveSnapshot(handle_of(content), trouble), goes]


def handle_of(content: Object) -> str:
    """The name of a content's copy: the one that it was made of by hand, else its own."""
    return meta.get(content, "spec", "source", "snapshotHandle") or f"snapshot-{meta.uid(content)}"


# ---- who is concerned


def keys(obj: Object, view: View) -> Iterable[str]:
    """Of a snapshot, its content, or a class of them."""
    if obj["kind"] == "VolumeSnapshot":
        yield f"{SNAPSHOTS}|{meta.key(obj)}"
        yield f"{CONTENTS}|{meta.get(obj, 'status', 'boundVolumeSnapshotContentName') or content_name(obj)}"
    elif obj["kind"] == "VolumeSnapshotContent":
        reference = meta.part(obj, "spec", "volumeSnapshotRef")
        yield f"{CONTENTS}|{meta.name(obj)}"
        yield f"{SNAPSHOTS}|{reference.get('namespace', '')}/{reference.get('name', '')}"
    else:
        untaken = (one for one in snapshot_kinds.every(view, SNAPSHOTS) if not _is_taken(one))
        yield from (f"{SNAPSHOTS}|{meta.key(one)}" for one in untaken)


def keys_of_claim(claim: Object, view: View) -> Iterable[str]:
    """Snapshots that are being taken of it, and the one that it is made of."""
    for snapshot in snapshot_kinds.every(view, SNAPSHOTS):
        if meta.namespace(snapshot) == meta.namespace(claim):
            of_it = _names_claim(snapshot) == meta.name(claim) and not _is_taken(snapshot)
            if of_it or restored(claim) == meta.name(snapshot):
                yield f"{SNAPSHOTS}|{meta.key(snapshot)}"


def controllers(settings: Settings) -> tuple[Controller, ...]:
    return (
        Controller(
            name="volumesnapshots",
            component="snapshot-controller",
            watches=((PERSISTENTVOLUMECLAIMS, keys_of_claim),),
            every=(snapshot_kinds.is_such, keys),
            reconcile=partial(reconcile, settings),
            reads=(PERSISTENTVOLUMES, PODS),
        ),
    )
