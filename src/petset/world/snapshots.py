"""What must hold of snapshots, restores and clones, at every moment and whatever is killed.

A content that says it is ready has its copy, whole, and a snapshot that says so has such a content; a copy goes only
with a content that is being deleted and whose policy says Delete; a volume made of a snapshot holds what that holds,
and one made of another volume what that held at some time; nothing is removed while it is read. What is on the disk
directories.py remembers. A world has these kinds from its beginning when it is asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from petset.controllers.storage.snapshots import handle_of
from petset.kinds import persistent_volume, persistent_volume_claim, volume_snapshots
from petset.objects import meta
from petset.objects.meta import Object
from petset.world.laws import CLAIMS, VOLUMES

SNAPSHOTS = f"/{volume_snapshots.GROUP}/{volume_snapshots.SNAPSHOTS}/"
CONTENTS = f"/{volume_snapshots.GROUP}/{volume_snapshots.CONTENTS}/"


class Disk(Protocol):
    def copied(self, handle: str) -> str | None:
        """What a whole copy holds."""
        ...

    def has_held(self, path: str) -> Sequence[str]:
        """All that a directory has held, the newest last."""
        ...


def broken_by(objects: Mapping[str, Object], disk: Disk, key: str, old: Object | None, obj: Object) -> Iterator[str]:
    """What is wrong with a change that was just made."""
    is_ready = bool(meta.get(obj, "status", "readyToUse"))
    if key.startswith(CONTENTS) and is_ready and disk.copied(handle_of(obj)) is None and not meta.is_deleting(obj):
        yield f"{key} says that it is ready, and there is no copy of it"
    if key.startswith(SNAPSHOTS) and is_ready and not meta.get(old, "status", "readyToUse"):
        content = objects.get(CONTENTS + meta.get(obj, "status", "boundVolumeSnapshotContentName", default=""))
        if not meta.get(content, "status", "readyToUse"):
            yield f"{key} says that it is ready, and its content does not"
    if key.startswith(VOLUMES) and old is None:
        yield from _holds_its_source(objects, disk, obj)


def _holds_its_source(objects: Mapping[str, Object], disk: Disk, volume: Object) -> Iterator[str]:
    reference = meta.part(volume, "spec", "claimRef")
    claim = objects.get(f"{CLAIMS}{reference.get('namespace')}/{reference.get('name')}")
    if claim is None or meta.uid(claim) != reference.get("uid"):
        return
    space, path = meta.namespace(claim), persistent_volume.directory(volume)
    held = disk.has_held(path)[-1:]
    if name := persistent_volume_claim.restored(claim):
        snapshot = objects.get(f"{SNAPSHOTS}{space}/{name}")
        bound = meta.get(snapshot, "status", "boundVolumeSnapshotContentName", default="")
        content = objects.get(CONTENTS + bound)
        if content is not None and held != [disk.copied(handle_of(content))]:
            yield f"{meta.name(volume)} holds {held}, which is not what its snapshot {name} holds"
    if name := persistent_volume_claim.cloned(claim):
        source = objects.get(f"{CLAIMS}{space}/{name}") or {}
        original = objects.get(VOLUMES + meta.get(source, "spec", "volumeName", default="")) or {}
        if not held or held[0] not in disk.has_held(persistent_volume.directory(original)):
            yield f"{meta.name(volume)} holds {held}, which its source {name} never held"


def wrongly_removed(objects: Mapping[str, Object], handle: str) -> Iterator[str]:
    """What is wrong with a copy that goes now."""
    for key, content in objects.items():
        if key.startswith(CONTENTS) and handle_of(content) == handle:
            if not meta.is_deleting(content):
                yield f"the copy of {key} was removed, and that is not being deleted"
            if meta.get(content, "spec", "deletionPolicy") != "Delete":
                yield f"the copy of {key} was removed, though it was to be retained"
