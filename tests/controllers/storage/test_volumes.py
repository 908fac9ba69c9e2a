"""Claims and volumes: which volume a claim gets, when one is made for it, and what becomes of it afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from petset.base import well_known
from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.storage import provisioning, reclaim, volumes
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers.sets import told

ON, OFF = provisioning.Settings("/volumes", True), provisioning.Settings("/volumes", False)


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
            **({"volumeMode": given["mode"]} if "mode" in given else {}),
            **({"nodeAffinity": given["nodes"]} if "nodes" in given else {}),
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
        "metadata": {
            "name": name,
            "annotations": given.pop("annotations", {}),
            "creationTimestamp": given.pop("created", "2016-08-03T00:00:00Z"),
        },
        "provisioner": well_known.HOST_PATH_PROVISIONER,
        **given,
    }


def steps_for(one: Object, *others: Object, settings: provisioning.Settings = ON) -> list[actions.Action]:
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
    steps = steps_for(claim(volume="disk"), volume("disk"))
    assert told(steps) == ["update PersistentVolume disk", "update PersistentVolumeClaim data"]


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        ({"size": "1Mi"}, "requested PV is too small"),
        ({"class": "other"}, "storageClassName does not match"),
        ({"modes": ["ReadOnlyMany"]}, "incompatible accessMode"),
        ({"deleting": True}, 'the volume is marked for deletion "disk"'),
        ({"mode": "Block"}, "incompatible volumeMode"),
    ],
    ids=str,
)
def test_a_claim_does_not_get_the_volume_it_names_when_that_does_not_satisfy_it(
    unfit: dict[str, Any], why: str
) -> None:
    assert told(steps_for(claim(volume="disk"), volume("disk", **unfit))) == [
        f'event Warning VolumeMismatch: Cannot bind to requested volume "disk": {why}'
    ]


def test_a_bound_claim_whose_volume_forgot_it_is_bound_again_and_one_whose_volume_is_anothers_is_lost() -> None:
    bound = claim(volume="disk", annotations={well_known.BIND_COMPLETED_ANNOTATION: "yes"}, phase="Bound")
    assert told(steps_for(bound, volume("disk", size="1Mi"))) == ["update PersistentVolume disk"]
    taken = volume("disk", claim={"namespace": "default", "name": "data", "uid": "another"})
    lost, said = steps_for(bound, taken)
    assert isinstance(lost, actions.UpdateStatus) and lost.object["status"] == {"phase": "Lost"}
    assert isinstance(said, actions.EmitEvent) and said.reason == "ClaimMisbound"


def test_a_bound_claim_that_names_no_volume_any_more_is_lost() -> None:
    unnamed = claim(annotations={well_known.BIND_COMPLETED_ANNOTATION: "yes"}, phase="Bound")
    lost, said = steps_for(unnamed, volume("disk"))
    assert isinstance(lost, actions.UpdateStatus) and isinstance(said, actions.EmitEvent)
    assert said.message == "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"


def test_a_volume_kept_for_a_claim_of_another_mode_is_told_to_both() -> None:
    kept = volume("disk", mode="Block", claim={"namespace": "default", "name": "data"})
    why = "due to incompatible volumeMode."
    assert told(steps_for(claim(**{"class": ""}), kept)) == [
        f'event Warning VolumeMismatch: Cannot bind PersistentVolume to requested PersistentVolumeClaim "data" {why}',
        f'event Warning VolumeMismatch: Cannot bind PersistentVolume "disk" to requested PersistentVolumeClaim {why}',
    ]


def test_a_claim_whose_volume_is_somebody_elses_waits() -> None:
    taken = volume("disk", claim={"namespace": "default", "name": "another", "uid": "x"})
    assert told(steps_for(claim(volume="disk"), taken)) == [
        'event Warning FailedBinding: volume "disk" already bound to a different claim.'
    ]


def test_a_bound_claim_says_what_it_has() -> None:
    bound = claim(volume="disk", annotations={well_known.BIND_COMPLETED_ANNOTATION: "yes"})
    disk = volume("disk", size="5Gi", claim=provisioning.claim_reference(bound))
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
    assert chosen(claim(), volume("classless"), storage_class("standard", annotations=DEFAULT)) == "classless"
    classes = [
        storage_class("newest", annotations=DEFAULT, created="2026-03-01T00:00:00Z"),
        storage_class("oldest", annotations=DEFAULT, created="2026-01-01T00:00:00Z"),
        storage_class("plain", created="2026-09-01T00:00:00Z"),
    ]
    (step,) = steps_for(claim(), *classes)
    assert isinstance(step, actions.Update) and step.object["spec"]["storageClassName"] == "newest"
    steps = steps_for(step.object, *classes)
    assert next(s.object for s in steps if isinstance(s, actions.Create))["spec"]["storageClassName"] == "newest"


@pytest.mark.parametrize(
    ("class_", "asked", "why"),
    [
        (
            {"parameters": {"type": "ssd"}},
            {},
            'Failed to provision volume with StorageClass "fast": invalid parameter "type": the provisioner '
            "kubernetes.io/host-path has none",
        ),
        (
            {"mountOptions": ["ro", "noatime"]},
            {},
            'Mount options are not supported by the provisioner but StorageClass "fast" has mount options [ro noatime]',
        ),
        ({}, {"volumeMode": "Block"}, "kubernetes.io/host-path does not support block volume provisioning"),
        (
            {},
            {"selector": {"matchLabels": {"a": "b"}}},
            "claim.Spec.Selector is not supported for dynamic provisioning",
        ),
        (
            {},
            {"volumeAttributesClassName": "gold"},
            'cannot use VolumeAttributesClass "gold": volumes of kubernetes.io/host-path have no attributes to set',
        ),
    ],
    ids=str,
)
def test_what_a_directory_cannot_be_is_refused(class_: dict[str, Any], asked: dict[str, Any], why: str) -> None:
    wants = claim(**{"class": "fast"})
    wants = {**wants, "spec": {**wants["spec"], **asked}}
    assert told(steps_for(wants, storage_class("fast", **class_))) == [
        f"event Warning ProvisioningFailed: {why}",
        "try again later",
    ]


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
    waiting = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]},
    }
    assert told(steps_for(claim(**{"class": "late"}), late, waiting)) == [
        "event Normal WaitForPodScheduled: waiting for pod p to be scheduled"
    ]


NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"kubernetes.io/hostname": "host-n"}}}


def affinity(host: str) -> Object:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}


def test_a_late_volume_is_of_the_node_that_was_chosen() -> None:
    late = storage_class("late", volumeBindingMode="WaitForFirstConsumer")
    told_node = claim(annotations={well_known.SELECTED_NODE_ANNOTATION: "n"}, **{"class": "late"})
    (made,) = [step.object for step in steps_for(told_node, late, NODE) if isinstance(step, actions.Create)]
    assert made["spec"]["nodeAffinity"] == affinity("host-n")
    elsewhere = volume("elsewhere", nodes=affinity("another"), **{"class": "late"})
    here = volume("here", size="9Gi", nodes=affinity("host-n"), **{"class": "late"})
    assert chosen(told_node, late, NODE, elsewhere, here) == "here"
    terms = [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["another"]}]}]
    (said, _) = steps_for(told_node, {**late, "allowedTopologies": terms}, NODE)
    assert isinstance(said, actions.EmitEvent)
    assert said.message == 'the node "n" is none of the allowedTopologies of StorageClass "late"'


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


# Growth


def bound_pair(asked: str, status: Object, has: str = "1Gi", ours: bool = True) -> tuple[Object, Object]:
    annotations = {well_known.BIND_COMPLETED_ANNOTATION: "yes"}
    one = claim(volume="disk", size=asked, annotations=annotations)
    said = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, **status}
    reference = provisioning.claim_reference(one)
    return {**one, "status": said}, volume("disk", size=has, claim=reference, provisioned=ours)


GROWING = {
    "allocatedResources": {"storage": "2Gi"},
    "allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"},
    "conditions": [{"type": "Resizing", "status": "True"}],
}


def test_a_claim_grows_step_by_step() -> None:
    says, event = steps_for(*bound_pair("2Gi", {}))
    assert isinstance(says, actions.UpdateStatus) and isinstance(event, actions.EmitEvent)
    assert {key: says.object["status"][key] for key in GROWING} == GROWING
    assert says.object["status"]["capacity"] == {"storage": "1Gi"}, "what it has is said when it has it"
    assert event.message == "External resizer is resizing volume disk"

    attempt, volume_grows = steps_for(*bound_pair("2Gi", GROWING))
    assert isinstance(attempt, actions.Attempt) and isinstance(volume_grows, actions.Update)
    (resize,) = attempt.steps
    assert isinstance(resize, actions.Resize) and (resize.path, resize.wanted_bytes) == ("/volumes/disk", 2 << 30)
    assert attempt.otherwise.object["status"]["allocatedResourceStatuses"] == {"storage": "ControllerResizeInfeasible"}
    assert volume_grows.object["spec"]["capacity"] == {"storage": "2Gi"}

    done, event = steps_for(*bound_pair("2Gi", GROWING, has="2Gi"))
    assert isinstance(done, actions.UpdateStatus) and isinstance(event, actions.EmitEvent)
    assert done.object["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "2Gi"},
        "allocatedResources": {"storage": "2Gi"},
    }
    assert event.reason == "VolumeResizeSuccessful"


def test_a_claim_that_could_not_grow_so_far_is_given_less_when_it_asks_for_less() -> None:
    failed = {**GROWING, "allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"}}
    says, _ = steps_for(*bound_pair("1536Mi", failed))
    assert isinstance(says, actions.UpdateStatus)
    assert says.object["status"]["allocatedResources"] == {"storage": "1536Mi"}
    assert says.object["status"]["allocatedResourceStatuses"] == {"storage": "ControllerResizeInProgress"}


def test_a_volume_of_somebody_elses_does_not_grow_here() -> None:
    (said,) = told(steps_for(*bound_pair("2Gi", {}, ours=False)))
    assert said.startswith("event Warning ExternalExpanding: Ignoring the PVC: didn't find a plugin capable of")


def test_attributes_that_a_directory_has_not_are_told_once() -> None:
    one, disk = bound_pair("1Gi", {})
    asks = meta.changed(one, ("spec", "volumeAttributesClassName"), "gold")
    says, event = steps_for(asks, disk)
    assert isinstance(says, actions.UpdateStatus) and isinstance(event, actions.EmitEvent)
    assert says.object["status"]["modifyVolumeStatus"] == {
        "targetVolumeAttributesClassName": "gold",
        "status": "Infeasible",
    }
    assert event.reason == "VolumeModifyFailed"
    assert steps_for(says.object, disk) == []


# What becomes of a volume


def steps_of(disk: Object, *others: Object, settings: provisioning.Settings = ON) -> list[actions.Action]:
    return reclaim.reconcile(settings, meta.name(disk), Snapshot([disk, *others]), 0)


def phase_after(steps: list[actions.Action]) -> str:
    return next((s.object["status"]["phase"] for s in steps if isinstance(s, actions.UpdateStatus)), "")


def test_phases_of_a_volume() -> None:
    bound = claim(volume="disk")
    reference = provisioning.claim_reference(bound)
    assert phase_after(steps_of(volume("disk", phase="Pending"))) == "Available"
    assert phase_after(steps_of(volume("disk", claim=reference), bound)) == "Bound"
    assert steps_of(volume("disk", claim=reference, phase="Bound"), bound) == []
    gone = steps_of(volume("disk", claim=reference, phase="Bound"))
    assert isinstance(gone[0], actions.Gone), "the server is asked before a volume is given up"
    assert phase_after(gone) == "Released"


def test_a_released_volume_goes_with_its_directory_if_its_policy_says_delete() -> None:
    reference = provisioning.claim_reference(claim())
    released = volume("disk", claim=reference, phase="Released", provisioned=True)
    gone, attempt, delete = steps_of(released)
    assert isinstance(gone, actions.Gone) and isinstance(attempt, actions.Attempt)
    (remove,) = attempt.steps
    assert isinstance(remove, actions.RemoveDirectory) and remove.path == "/volumes/disk"
    assert attempt.otherwise.object["status"] == {"phase": "Failed", "message": "{error}"}
    assert isinstance(delete, actions.Delete)


@pytest.mark.parametrize(
    "given", [{"provisioned": False}, {"provisioned": True, "path": "/etc"}, {"policy": "Recycle"}], ids=str
)
def test_what_we_did_not_make_is_never_removed(given: dict[str, Any]) -> None:
    reference = provisioning.claim_reference(claim())
    steps = steps_of(volume("disk", **{"claim": reference, "phase": "Released", "provisioned": True, **given}))
    assert not any(isinstance(step, (actions.RemoveDirectory, actions.Delete)) for step in actions.flat(steps))
    assert phase_after(steps) == "Failed"


def test_a_retained_volume_stays_released() -> None:
    reference = provisioning.claim_reference(claim())
    kept = volume("disk", claim=reference, phase="Released", policy="Retain", provisioned=True)
    assert [type(step) for step in steps_of(kept)] == [actions.Gone]


def test_a_claim_of_the_same_name_made_anew_does_not_get_the_old_data() -> None:
    reference = provisioning.claim_reference(claim(uid="an earlier one"))
    steps = steps_of(volume("disk", claim=reference, phase="Bound"), claim())
    assert phase_after(steps) == "Released"


def test_a_deleted_volume_waits_for_its_claim() -> None:
    bound = claim(volume="disk")
    reference = provisioning.claim_reference(bound)
    going = volume("disk", claim=reference, phase="Bound", deleting=True)
    assert steps_of(going, bound) == []
    (step,) = steps_of(going)
    assert isinstance(step, actions.Update) and step.object["metadata"]["finalizers"] == []


@pytest.mark.parametrize(("policy", "removed"), [("Delete", True), ("Retain", False)])
def test_a_volume_that_was_deleted_before_its_claim_keeps_its_policy(policy: str, removed: bool) -> None:
    reference = provisioning.claim_reference(claim())
    going = volume("disk", claim=reference, phase="Bound", deleting=True, policy=policy, provisioned=True)
    steps = list(actions.flat(steps_of(going)))
    assert any(isinstance(step, actions.RemoveDirectory) for step in steps) is removed
    assert isinstance(steps[0], actions.Gone) is removed, "the server is asked before data goes"
    assert isinstance(steps[-1], actions.Update) and steps[-1].object["metadata"]["finalizers"] == []


def test_a_policy_may_change_until_the_claim_goes() -> None:
    reference = provisioning.claim_reference(claim())
    for policy, count in (("Retain", 1), ("Delete", 3)):
        released = volume("disk", claim=reference, phase="Released", policy=policy, provisioned=True)
        assert len(steps_of(released)) == count
    (_, phase, event) = steps_of(volume("disk", claim=reference, phase="Released", policy="Recycle"))
    assert isinstance(phase, actions.UpdateStatus) and isinstance(event, actions.EmitEvent)
    assert (event.reason, event.message) == ("VolumeFailedRecycle", "No recycler plugin found for the volume!")
