"""A volume made for a claim: a directory of its own below the instance's directory of volumes, and the object for it.

A class may ask for what a plain directory has not (parameters, mount options, block devices, attributes): then nothing
is made, and an event says so. Of a class that waits for the first consumer the volume belongs to the node that the
scheduler chose.
Follows: the in-tree provisioner "kubernetes.io/host-path" and "Dynamic Volume Provisioning".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petset.base import well_known
from petset.controllers import actions
from petset.kinds import node_affinity, persistent_volume, storage_class
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import meta
from petset.objects.meta import Object

CREATED_BY = "hostpath-dynamic-provisioner"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where provisioned volumes live, and whether the hostPath provisioner is on."""

    directory: str
    provisions: bool


def ours(settings: Settings, claim: Object, class_: Object | None, node: Object | None = None) -> list[actions.Action]:
    """The steps that make a volume of ours and bind it; or that say why none is made."""
    if not settings.provisions:
        return failed(claim, storage_class.PROVISIONER_IS_OFF)
    if why := refusal(claim, class_, node):
        return failed(claim, why)
    volume = provisioned_volume(settings, claim, class_, node)
    done = f"Successfully provisioned volume {meta.name(volume)} using {well_known.HOST_PATH_PROVISIONER}"
    trouble = event(claim, "Warning", "ProvisioningFailed", "Failed to provision volume: {error}")
    size = volume["spec"]["capacity"]["storage"]
    too_large = (
        f"The claim asks for {size}, but only {{room}} are free on the disk of its volume: free some space there"
    )
    little_room = event(claim, "Warning", "LittleSpace", too_large)
    path = volume["spec"]["hostPath"]["path"]
    return [
        actions.MakeDirectory(path, trouble, persistent_volume.requested_bytes(claim), little_room),
        actions.Create(volume, event(claim, "Normal", "ProvisioningSucceeded", done), trouble),
        *bind_claim(claim, volume, well_known.HOST_PATH_PROVISIONER),
    ]


def refusal(claim: Object, class_: Object | None, node: Object | None) -> str:
    """Why a directory cannot be what the claim and its class ask for; "" when it can."""
    ours_is = well_known.HOST_PATH_PROVISIONER
    if meta.get(claim, "spec", "selector"):
        return "claim.Spec.Selector is not supported for dynamic provisioning"
    if meta.get(claim, "spec", "volumeMode") == "Block":
        return f"{ours_is} does not support block volume provisioning"
    name = meta.name(class_) if class_ else ""
    for parameter in meta.part(class_ or {}, "parameters"):
        why = f'invalid parameter "{parameter}": the provisioner {ours_is} has none'
        return f'Failed to provision volume with StorageClass "{name}": {why}'
    if options := meta.texts(class_ or {}, "mountOptions"):
        told = " ".join(options)
        return (
            f'Mount options are not supported by the provisioner but StorageClass "{name}" has mount options [{told}]'
        )
    if attributes := meta.get(claim, "spec", "volumeAttributesClassName"):
        return f'cannot use VolumeAttributesClass "{attributes}": volumes of {ours_is} have no attributes to set'
    if node is not None and not storage_class.allows_topology(class_ or {}, node):
        return f'the node "{meta.name(node)}" is none of the allowedTopologies of StorageClass "{name}"'
    return ""


def bind_claim(claim: Object, volume: Object, provisioner: str = "") -> list[actions.Action]:
    annotations = {well_known.BIND_COMPLETED_ANNOTATION: "yes"}
    if meta.get(claim, "spec", "volumeName") != meta.name(volume):
        annotations[well_known.BOUND_BY_CONTROLLER_ANNOTATION] = "yes"
    if provisioner:
        annotations[well_known.STORAGE_PROVISIONER_ANNOTATION] = provisioner
    bound = annotated(meta.changed(claim, ("spec", "volumeName"), meta.name(volume)), annotations)
    return [] if bound == claim else [actions.Update(bound)]


def claim_reference(claim: Object) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta.namespace(claim),
        "name": meta.name(claim),
        "uid": meta.uid(claim),
    }


def refers_to(reference: Object, obj: Object) -> bool:
    """Whether it is of this object's name, and of its uid or of none yet."""
    named = (reference.get("namespace"), reference.get("name")) == (meta.namespace(obj), meta.name(obj))
    return named and reference.get("uid", "") in ("", meta.uid(obj))


def provisioned_volume(
    settings: Settings, claim: Object, class_: Object | None, node: Object | None = None
) -> dict[str, Any]:
    """The hostPath volume made for a claim, bound to it from the start, and to the node that was chosen first."""
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
            "capacity": {"storage": persistent_volume.request(claim)},
            "accessModes": meta.get(claim, "spec", "accessModes", default=["ReadWriteOnce"]),
            "hostPath": {"path": f"{settings.directory}/{name}", "type": ""},
            "persistentVolumeReclaimPolicy": (class_ or {}).get("reclaimPolicy") or "Delete",
            "storageClassName": meta.name(class_) if class_ else "",
            "volumeMode": "Filesystem",
            "claimRef": claim_reference(claim),
            **({"nodeAffinity": node_affinity.only(node)} if node is not None else {}),
        },
    }


def standard_class() -> dict[str, Any]:
    """The default class there is when the provisioner is on."""
    return {
        "apiVersion": STORAGECLASSES.api_version,
        "kind": "StorageClass",
        "metadata": {"name": storage_class.STANDARD, "annotations": {well_known.DEFAULT_CLASS_ANNOTATION: "true"}},
        "provisioner": well_known.HOST_PATH_PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
    }


def failed(claim: Object, why: str) -> list[actions.Action]:
    return [event(claim, "Warning", "ProvisioningFailed", why), actions.Fail(why)]


def event(about: Object, type_: str, reason: str, message: str) -> actions.EmitEvent:
    return actions.EmitEvent(about, type_, reason, message)


def annotated(obj: Object, annotations: Object) -> dict[str, Any]:
    return meta.changed(obj, ("metadata", "annotations"), {**meta.annotations(obj), **annotations})
