"""Claims and volumes: which volume a claim gets, when one is made for it, and what becomes of it afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from petset.base import well_known
from petset.client.views import Snapshot
from petset.controllers import actions, reclaim, volumes
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers.sets import told

ON, OFF = volumes.Settings("/volumes", True), volumes.Settings("/volumes", False)


def claim(name: str = "data", **given: Any) -> Object:
    """{class, annotations, size, modes, volume, phase, deleting, selector, uid}"""
    spec: dict[str, Any] = {
        "accessModes": given.get("modes", ["ReadWriteOnce"]),
        "resources": {"requests": {"storage": given.get("size", "1Gi")}},
        **({"storageClassName": given["class"]} if "class" in given else {}),
        **({"volumeName": given["volume"]} if "volume" in given else {}),
        **({"selector": {"matchLabels": given["selector"]}} if "selector" in given else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": given.get("uid", f"uid-{name}"),
            "annotations": given.get("annotations", {}),
            "finalizers": [well_known.PVC_PROTECTION_FINALIZER],
            **({"deletionTimestamp": "2016-08-03T00:00:00Z"} if given.get("deleting") else {}),
        },
        "spec": spec,
        "status": {"phase": given.get("phase", "Pending")},
    }


def volume(name: str, **given: Any) -> Object:
    """{size, modes, class, claim, phase, policy, labels, provisioned}"""
    annotations = (
        {well_known.PROVISIONED_BY_ANNOTATION: well_known.HOST_PATH_PROVISIONER} if given.get("provisioned") else {}
    )
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": given.get("labels", {}),
            "annotations": annotations,
            "finalizers": [well_known.PV_PROTECTION_FINALIZER],
            **({"deletionTimestamp": "2016-08-03T00:00:00Z"} if given.get("deleting") else {}),
        },
        "spec": {
            "capacity": {"storage": given.get("size", "1Gi")},
            "accessModes": given.get("modes", ["ReadWriteOnce"]),
            "storageClassName": given.get("class", ""),
            "hostPath": {"path": given.get("path", f"/volumes/{name}")},
            "persistentVolumeReclaimPolicy": given.get("policy", "Delete"),
            **({"claimRef": given["claim"]} if "claim" in given else {}),
        },
        "status": {"phase": given.get("phase", "Available")},
    }


def storage_class(name: str, **given: Any) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": given.pop("annotations", {})},
        "provisioner": well_known.HOST_PATH_PROVISIONER,
        **given,
    }


def steps_for(one: Object, *others: Object, settings: volumes.Settings = ON) -> list[actions.Action]:
    return volumes.reconcile(settings, meta.key(one), Snapshot([one, *others]), 0)


def chosen(one: Object, *others: Object) -> str:
    """The volume that a claim is bound to."""
    found = [
        step.object["spec"]["volumeName"]
        for step in steps_for(one, *others)
        if isinstance(step, actions.Update) and step.object["kind"] == "PersistentVolumeClaim"
    ]
    return found[0] if found else ""


def test_the_smallest_that_fits() -> None:
    disks = [volume("big", size="10Gi"), volume("small", size="512Mi"), volume("fits", size="2Gi")]
    assert chosen(claim(**{"class": ""}), *disks) == "fits"
    assert told(steps_for(claim(**{"class": ""}), *disks)) == [
        "update PersistentVolume fits",
        "update PersistentVolumeClaim data",
    ]


@pytest.mark.parametrize(
    "unfit",
    [
        {"size": "1Mi"},
        {"class": "other"},
        {"modes": ["ReadOnlyMany"]},
        {"phase": "Released"},
        {"phase": "Failed"},
        {"deleting": True},
        {"claim": {"namespace": "default", "name": "another", "uid": "x"}},
    ],
    ids=str,
)
def test_what_does_not_fit_is_not_taken(unfit: dict[str, Any]) -> None:
    assert chosen(claim(**{"class": ""}), volume("disk", **unfit)) == ""


def test_a_selector_chooses() -> None:
    disks = [volume("a"), volume("b", labels={"kind": "ssd"})]
    assert chosen(claim(selector={"kind": "ssd"}, **{"class": ""}), *disks) == "b"


def test_a_volume_reserved_for_the_claim_comes_first() -> None:
    reserved = volume("reserved", size="100Gi", claim={"namespace": "default", "name": "data"})
    assert chosen(claim(**{"class": ""}), volume("small"), reserved) == "reserved"


def test_a_claim_that_names_its_volume_gets_it() -> None:
    steps = steps_for(claim(volume="disk"), volume("disk", size="1Mi"))
    assert told(steps) == ["update PersistentVolume disk", "update PersistentVolumeClaim data"]


def test_a_claim_whose_volume_is_somebody_elses_waits() -> None:
    taken = volume("disk", claim={"namespace": "default", "name": "another", "uid": "x"})
    assert told(steps_for(claim(volume="disk"), taken)) == [
        'event Warning FailedBinding: volume "disk" already bound to a different claim.'
    ]


def test_a_bound_claim_says_what_it_has() -> None:
    bound = claim(volume="disk", annotations={well_known.BIND_COMPLETED_ANNOTATION: "yes"})
    disk = volume("disk", size="5Gi", claim=volumes.claim_reference(bound))
    (step,) = steps_for(bound, disk)
    assert isinstance(step, actions.UpdateStatus)
    assert step.object["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "5Gi"},
    }
    assert steps_for(step.object, disk) == []


def test_a_claim_whose_volume_vanished_is_lost() -> None:
    bound = claim(volume="disk", annotations={well_known.BIND_COMPLETED_ANNOTATION: "yes"}, phase="Bound")
    steps = steps_for(bound)
    assert isinstance(steps[0], actions.UpdateStatus) and steps[0].object["status"] == {"phase": "Lost"}
    assert steps_for(steps[0].object) == []


ALPHA = {"volume.alpha.kubernetes.io/storage-class": "anything"}
BETA = {"volume.beta.kubernetes.io/storage-class": "fast"}
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}


def test_the_alpha_annotation_is_provisioned_whatever_it_says() -> None:
    steps = steps_for(claim(annotations=ALPHA))
    assert [type(step) for step in steps] == [actions.MakeDirectory, actions.Create, actions.Update]
    made = steps[1].object  # type: ignore[union-attr]
    assert meta.name(made) == "pvc-uid-data"
    assert made["spec"]["hostPath"]["path"] == "/volumes/pvc-uid-data"
    assert made["spec"]["storageClassName"] == ""
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert made["spec"]["claimRef"]["uid"] == "uid-data"
    assert steps[1].on_success.message == (  # type: ignore[union-attr]
        "Successfully provisioned volume pvc-uid-data using kubernetes.io/host-path"
    )


def test_without_the_provisioner_it_fails_and_is_tried_again() -> None:
    assert told(steps_for(claim(annotations=ALPHA), settings=OFF)) == [
        "event Warning ProvisioningFailed: No provisioner plugin found for the claim!",
        "try again later",
    ]


def test_beta_wins_over_alpha_with_an_event() -> None:
    both = claim(annotations={**ALPHA, **BETA})
    steps = steps_for(both, storage_class("fast", reclaimPolicy="Retain"))
    assert told(steps)[0].startswith("event Warning ProvisioningIgnoreAlpha: both ")
    made = next(step.object for step in steps if isinstance(step, actions.Create))
    assert (made["spec"]["storageClassName"], made["spec"]["persistentVolumeReclaimPolicy"]) == ("fast", "Retain")


def test_a_class_that_is_not_there_is_said() -> None:
    assert told(steps_for(claim(**{"class": "fast"}))) == [
        'event Warning ProvisioningFailed: storageclass.storage.k8s.io "fast" not found',
        "try again later",
    ]


def test_a_claim_without_a_class_takes_the_default_one_or_waits() -> None:
    assert told(steps_for(claim())) == [
        "event Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"
    ]
    steps = steps_for(claim(), storage_class("standard", annotations=DEFAULT))
    assert next(s.object for s in steps if isinstance(s, actions.Create))["spec"]["storageClassName"] == "standard"


def test_a_claim_that_wants_no_class_is_never_provisioned() -> None:
    steps = steps_for(claim(**{"class": ""}), storage_class("standard", annotations=DEFAULT))
    assert told(steps) == [
        "event Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"
    ]


def test_a_late_class_waits_for_the_pods_node() -> None:
    late = storage_class("late", volumeBindingMode="WaitForFirstConsumer")
    assert told(steps_for(claim(**{"class": "late"}), late)) == [
        "event Normal WaitForFirstConsumer: waiting for first consumer to be created before binding"
    ]
    told_node = claim(annotations={well_known.SELECTED_NODE_ANNOTATION: "n"}, **{"class": "late"})
    assert any(isinstance(step, actions.Create) for step in steps_for(told_node, late))


def test_another_ones_class_is_left_to_its_provisioner() -> None:
    (line,) = told(steps_for(claim(**{"class": "theirs"}), storage_class("theirs", provisioner="example.org/disk")))
    assert line.startswith("event Normal ExternalProvisioning: ") and "'example.org/disk'" in line


def test_a_claim_in_use_stays_until_its_pod_is_gone() -> None:
    def pod(**given: Any) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {
                "nodeName": given.get("node", "n"),
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
            },
            "status": {"phase": given.get("phase", "Running")},
        }

    going = claim(deleting=True)
    assert steps_for(going, pod()) == []
    for harmless in (pod(node=""), pod(phase="Succeeded")):
        (step,) = steps_for(going, harmless)
        assert isinstance(step, actions.Update) and step.object["metadata"]["finalizers"] == []


# What becomes of a volume


def steps_of(disk: Object, *others: Object, settings: volumes.Settings = ON) -> list[actions.Action]:
    return reclaim.reconcile(settings, meta.name(disk), Snapshot([disk, *others]), 0)


def phase_after(steps: list[actions.Action]) -> str:
    return next((s.object["status"]["phase"] for s in steps if isinstance(s, actions.UpdateStatus)), "")


def test_phases_of_a_volume() -> None:
    bound = claim(volume="disk")
    reference = volumes.claim_reference(bound)
    assert phase_after(steps_of(volume("disk", phase="Pending"))) == "Available"
    assert phase_after(steps_of(volume("disk", claim=reference), bound)) == "Bound"
    assert steps_of(volume("disk", claim=reference, phase="Bound"), bound) == []
    gone = steps_of(volume("disk", claim=reference, phase="Bound"))
    assert isinstance(gone[0], actions.Gone), "the server is asked before a volume is given up"
    assert phase_after(gone) == "Released"


def test_a_released_volume_goes_with_its_directory_if_its_policy_says_delete() -> None:
    reference = volumes.claim_reference(claim())
    released = volume("disk", claim=reference, phase="Released", provisioned=True)
    gone, remove, delete = steps_of(released)
    assert isinstance(gone, actions.Gone)
    assert isinstance(remove, actions.RemoveDirectory) and remove.path == "/volumes/disk"
    assert isinstance(delete, actions.Delete)


@pytest.mark.parametrize(
    "given", [{"provisioned": False}, {"provisioned": True, "path": "/etc"}, {"policy": "Recycle"}], ids=str
)
def test_what_we_did_not_make_is_never_removed(given: dict[str, Any]) -> None:
    reference = volumes.claim_reference(claim())
    steps = steps_of(volume("disk", **{"claim": reference, "phase": "Released", "provisioned": True, **given}))
    assert not any(isinstance(step, (actions.RemoveDirectory, actions.Delete)) for step in steps)
    assert phase_after(steps) == "Failed"


def test_a_retained_volume_stays_released() -> None:
    reference = volumes.claim_reference(claim())
    kept = volume("disk", claim=reference, phase="Released", policy="Retain", provisioned=True)
    assert [type(step) for step in steps_of(kept)] == [actions.Gone]


def test_a_claim_of_the_same_name_made_anew_does_not_get_the_old_data() -> None:
    reference = volumes.claim_reference(claim(uid="an earlier one"))
    steps = steps_of(volume("disk", claim=reference, phase="Bound"), claim())
    assert phase_after(steps) == "Released"


def test_a_deleted_volume_waits_for_its_claim() -> None:
    bound = claim(volume="disk")
    reference = volumes.claim_reference(bound)
    going = volume("disk", claim=reference, phase="Bound", deleting=True)
    assert steps_of(going, bound) == []
    (step,) = steps_of(going)
    assert isinstance(step, actions.Update) and step.object["metadata"]["finalizers"] == []
