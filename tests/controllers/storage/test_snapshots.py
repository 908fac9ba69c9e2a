"""Snapshots and copies in a control plane: taken once, bound both ways, restored and cloned whole, gone as they say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from petset.base import well_known
from petset.controllers.storage import snapshot_kinds, sources
from petset.kinds import volume_snapshots
from petset.kinds.custom_resource_definition import CUSTOMRESOURCEDEFINITIONS
from petset.kinds.event import EVENTS
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.store import memory
from tests.controllers import cluster
from tests.controllers.cluster import Cluster


def play(scene: Callable[[Cluster], Awaitable[None]], store: memory.MemoryStore | None = None) -> None:
    async def main() -> None:
        async with cluster.running(snapshots=True, store=store) as it:
            await it.until(lambda: snapshot_kinds.of(it.client.kinds.now, volume_snapshots.CLASSES) is not None)
            await it.until(lambda: it.get(kind(it, volume_snapshots.CLASSES), "standard", ""))
            await scene(it)

    asyncio.run(main())


def kind(it: Cluster, plural: str = volume_snapshots.SNAPSHOTS) -> Kind:
    found = snapshot_kinds.of(it.client.kinds.now, plural)
    assert found is not None
    return found


def claim(name: str, size: str = "1Gi", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec},
    }


def snapshot(name: str, of: str = "data", **spec: Any) -> Object:
    source = {"persistentVolumeClaimName": of}
    return {
        "apiVersion": volume_snapshots.API_VERSION,
        "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"source": source, **spec},
    }


def status(it: Cluster, name: str) -> Object:
    return meta.part(it.get(kind(it), name) or {}, "status")


def phase(it: Cluster, name: str) -> str:
    return meta.get(it.get(PERSISTENTVOLUMECLAIMS, name), "status", "phase", default="")


def finalizers(it: Cluster, name: str) -> list[str]:
    return list(meta.texts(it.get(PERSISTENTVOLUMECLAIMS, name) or {}, "metadata", "finalizers"))


def said(it: Cluster, reason: str) -> list[str]:
    return [event["message"] for event in it.all(EVENTS) if event["reason"] == reason]


def of_snapshot(name: str) -> Object:
    return {"apiGroup": volume_snapshots.GROUP, "kind": "VolumeSnapshot", "name": name}


def test_a_snapshot_is_taken_restored_and_goes_with_its_copy() -> None:
    async def scene(it: Cluster) -> None:
        assert it.directories is not None
        await it.create(claim("data"), snapshot("s"))  # It waits for its claim to be bound.
        await it.until(lambda: status(it, "s").get("readyToUse"))
        told = status(it, "s")
        (content,) = it.all(kind(it, volume_snapshots.CONTENTS))
        assert told == {
            "boundVolumeSnapshotContentName": meta.name(content),
            "creationTime": "2001-09-09T01:46:40Z",
            "readyToUse": True,
            "restoreSize": "1Gi",
        }
        taken = it.get(kind(it), "s")
        assert taken is not None and meta.name(content) == f"snapcontent-{meta.uid(taken)}"
        assert taken["spec"]["volumeSnapshotClassName"] == "standard"
        assert list(it.directories.snapshots) == [content["status"]["snapshotHandle"]]
        await it.until(lambda: finalizers(it, "data") == [well_known.PVC_PROTECTION_FINALIZER])
        assert said(it, "SnapshotReady") == ["Snapshot default/s is ready to use."]

        source = of_snapshot("s")
        await it.create(claim("restored", dataSource=source), claim("small", "1Mi", dataSource=source))
        await it.until(lambda: phase(it, "restored") == "Bound")
        made = it.get(PERSISTENTVOLUMECLAIMS, "restored")
        assert made is not None and made["spec"]["dataSourceRef"] == source
        size = f"requested volume size {1 << 20} is less than the size {1 << 30} for the source snapshot s"
        why = f"error getting handle for DataSource Type VolumeSnapshot by Name s: {size}"
        await it.until(lambda: why in said(it, "ProvisioningFailed"))

        await it.client.delete(kind(it), "s", "default")
        await it.until(lambda: said(it, "SnapshotDeletePending") == ["Snapshot is being used to restore a PVC"])
        assert it.get(kind(it), "s") is not None
        await it.client.delete(PERSISTENTVOLUMECLAIMS, "small", "default")
        await it.until(lambda: not it.all(kind(it)) and not it.all(kind(it, volume_snapshots.CONTENTS)))
        assert it.directories.snapshots == {}

    play(scene)


def test_what_is_deleted_stays_for_claims_that_came_before_that() -> None:
    async def scene(it: Cluster) -> None:
        assert it.directories is not None
        await it.create(claim("data"), snapshot("s"))
        await it.until(lambda: status(it, "s").get("readyToUse"))
        it.directories.failing = "the disk is full"
        cloned = {"kind": "PersistentVolumeClaim", "name": "data"}
        await it.create(claim("restored", dataSource=of_snapshot("s")), claim("cloned", dataSource=cloned))
        await it.until(lambda: len(said(it, "ProvisioningFailed")) == 2)
        await it.client.delete(kind(it), "s", "default")
        await it.client.delete(PERSISTENTVOLUMECLAIMS, "data", "default")
        await it.until(lambda: said(it, "SnapshotDeletePending"))
        it.directories.failing = ""
        await it.until(lambda: phase(it, "restored") == phase(it, "cloned") == "Bound")
        await it.until(lambda: not it.all(kind(it)) and it.get(PERSISTENTVOLUMECLAIMS, "data") is None)

    play(scene)


def test_who_comes_after_the_deletion_does_not_hold_it_up() -> None:
    source = {"metadata": {"deletionTimestamp": "2024-01-01T00:00:01Z"}}
    came = ["2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z", "2024-01-01T00:00:02Z"]
    claims = [{"metadata": {"creationTimestamp": at}} for at in came]
    assert [sources.may_still_use(one, source) for one in claims] == [True, True, False]
    assert sources.may_still_use(claims[2], {"metadata": {}})


def test_a_retained_content_keeps_its_copy_and_can_be_bound_again_by_hand() -> None:
    async def scene(it: Cluster) -> None:
        assert it.directories is not None
        class_ = {**snapshot_kinds.standard_class(), "metadata": {"name": "kept"}, "deletionPolicy": "Retain"}
        await it.create(class_, claim("data"), snapshot("s", volumeSnapshotClassName="kept"))
        await it.until(lambda: status(it, "s").get("readyToUse"))
        (content,) = it.all(kind(it, volume_snapshots.CONTENTS))
        handle = content["status"]["snapshotHandle"]
        await it.client.delete(kind(it), "s", "default")
        await it.until(lambda: not it.all(kind(it)))
        await it.client.delete(kind(it, volume_snapshots.CONTENTS), meta.name(content))
        await it.until(lambda: not it.all(kind(it, volume_snapshots.CONTENTS)))
        assert list(it.directories.snapshots) == [handle], "the data is retained"

        by_hand = {
            "apiVersion": volume_snapshots.API_VERSION,
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": "by-hand"},
            "spec": {
                "deletionPolicy": "Delete",
                "driver": well_known.HOST_PATH_PROVISIONER,
                "source": {"snapshotHandle": handle},
                "volumeSnapshotRef": {"namespace": "default", "name": "again"},
            },
        }
        again = snapshot("again")
        again = {**again, "spec": {"source": {"volumeSnapshotContentName": "by-hand"}}}
        await it.create(again)
        await it.until(lambda: said(it, "SnapshotContentMissing") == ["VolumeSnapshotContent is missing"])
        await it.create(by_hand)
        await it.until(lambda: status(it, "again").get("readyToUse"))
        assert status(it, "again")["restoreSize"] == "1Gi"
        bound = it.get(kind(it, volume_snapshots.CONTENTS), "by-hand", "")
        assert bound is not None and bound["spec"]["volumeSnapshotRef"]["uid"]

        another = {**snapshot("another"), "spec": {"source": {"volumeSnapshotContentName": "by-hand"}}}
        await it.create(another)
        why = "VolumeSnapshotContent [by-hand] is bound to a different snapshot"
        await it.until(lambda: said(it, "SnapshotContentMisbound") == [why])
        assert status(it, "another")["error"]["message"] == why

    play(scene)


def test_a_claim_is_cloned_and_its_source_is_protected_meanwhile() -> None:
    async def scene(it: Cluster) -> None:
        source = {"kind": "PersistentVolumeClaim", "name": "data"}
        await it.create(claim("copy", "2Gi", dataSourceRef=source), claim("small", "1Mi", dataSource=source))
        missing = 'error getting PVC data from api server: persistentvolumeclaims "data" not found'
        why = f"error getting handle for DataSource Type PersistentVolumeClaim by Name data: {missing}"
        await it.until(lambda: why in said(it, "ProvisioningFailed"))
        await it.create(claim("data"))
        await it.until(lambda: phase(it, "copy") == "Bound")
        made = it.get(PERSISTENTVOLUMECLAIMS, "copy")
        assert made is not None and made["spec"]["dataSource"] == source
        assert well_known.CLONE_SOURCE_FINALIZER in finalizers(it, "data"), "the small one still waits for it"
        await it.client.delete(PERSISTENTVOLUMECLAIMS, "small", "default")
        await it.until(lambda: well_known.CLONE_SOURCE_FINALIZER not in finalizers(it, "data"))
        assert len(it.all(PERSISTENTVOLUMES)) == 2

    play(scene)


def test_snapshots_of_what_nobody_here_made_say_why_there_are_none() -> None:
    async def scene(it: Cluster) -> None:
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "theirs"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "hostPath": {"path": "/data"},
            },
        }
        await it.create(volume, claim("data", storageClassName=""), snapshot("s"), snapshot("t", "nothing"))
        text = "Failed to set default snapshot class with error cannot find default snapshot class"
        await it.until(lambda: text in said(it, "SetDefaultSnapshotClassFailed"))
        await it.create(snapshot("u", volumeSnapshotClassName="none"))
        text = 'Failed to get snapshot class with error volumesnapshotclass.snapshot.storage.k8s.io "none" not found'
        await it.until(lambda: said(it, "GetSnapshotClassFailed") == [text])
        text = 'Failed to create snapshot content with error cannot get claim from snapshot: claim "nothing" not found'
        await it.until(lambda: text in said(it, "SnapshotContentCreationFailed"))
        assert status(it, "t")["readyToUse"] is False and status(it, "t")["error"]["message"] == text

    play(scene)


def test_definitions_that_somebody_brought_are_left_as_they_are() -> None:
    async def scene(it: Cluster) -> None:
        name = f"{volume_snapshots.SNAPSHOTS}.{volume_snapshots.GROUP}"
        await it.client.patch(CUSTOMRESOURCEDEFINITIONS, name, "", {"metadata": {"labels": {"by": "a-chart"}}})
        with pytest.raises(errors.ApiError, match="exactly one of"):
            bad = snapshot("bad")
            await it.create({**bad, "spec": {"source": {}}})

    async def after(it: Cluster) -> None:
        name = f"{volume_snapshots.SNAPSHOTS}.{volume_snapshots.GROUP}"
        await it.rests()
        found = it.get(CUSTOMRESOURCEDEFINITIONS, name, "")
        assert found is not None and meta.labels(found) == {"by": "a-chart"}

    store = memory.MemoryStore()
    for each in (scene, after):
        play(each, store)
