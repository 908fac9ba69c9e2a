"""PersistentVolume: storage that a claim can be bound to; where it is never changes (v1)."""

from __future__ import annotations

from typing import Any

from petset.base import well_known
from petset.kinds import persistent_volume_claim, storage_class
from petset.kinds.pod_spec import placement, volumes
from petset.objects import filling, meta, quantity, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import IMMUTABLE, Errors, immutable, listed, one_of


def defaults(obj: Object) -> Object:
    def spec(given: Object) -> Object:
        given = fill_empty(given, {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
        return at(given, "hostPath", lambda source: fill(source, {"type": ""}))

    obj = within(obj, "spec", spec)
    return within(obj, "status", lambda status: fill_empty(status, {"phase": "Pending"}))


# What a PersistentVolumeSpec has beside its source.
_NOT_A_SOURCE = (
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
)


def source(spec: Object) -> Object:
    """Where the storage is, as its spec says: {type: how}, of one type in a volume that is valid."""
    return {key: value for key, value in spec.items() if key not in _NOT_A_SOURCE}


# What a claim asks of a volume: the controllers, the scheduler and the node ask here.


def request(claim: Object) -> str:
    return meta.get(claim, "spec", "resources", "requests", "storage", default="0")


def requested_bytes(claim: Object) -> int:
    return quantity.to_bytes(request(claim))


def size(volume: Object) -> int:
    return quantity.to_bytes(meta.get(volume, "spec", "capacity", "storage", default="0"))


def directory(volume: Object) -> str:
    """Where on its node a hostPath volume is; "" of others."""
    return meta.get(volume, "spec", "hostPath", "path", default="")


def is_ours(volume: Object) -> bool:
    """Whether it is a directory that petset's provisioner made."""
    return meta.annotations(volume).get(well_known.PROVISIONED_BY_ANNOTATION) == well_known.HOST_PATH_PROVISIONER


def differs_in_mode(volume: Object, claim: Object) -> bool:
    mode, wanted = (meta.get(one, "spec", "volumeMode") or "Filesystem" for one in (volume, claim))
    return mode != wanted


def lacks(volume: Object, claim: Object, class_name: str) -> str:
    """Why a volume cannot be a claim's whose class is this one, in upstream's words; "" when it can."""
    attributes, wanted = (meta.get(one, "spec", "volumeAttributesClassName") or "" for one in (volume, claim))
    modes = meta.texts(volume, "spec", "accessModes")
    if meta.is_deleting(volume):
        return f'the volume is marked for deletion "{meta.name(volume)}"'
    if size(volume) < requested_bytes(claim):
        return "requested PV is too small"
    if (storage_class.of(volume) or "") != class_name:
        return "storageClassName does not match"
    if attributes != wanted:
        return "volumeAttributesClassName does not match"
    if differs_in_mode(volume, claim):
        return "incompatible volumeMode"
    if any(mode not in modes for mode in meta.texts(claim, "spec", "accessModes")):
        return "incompatible accessMode"
    return ""


def is_free_for(volume: Object, claim: Object, class_name: str) -> bool:
    """Whether nobody has it, and a claim that names no volume may take it."""
    wanted = meta.get(claim, "spec", "selector")
    return (
        not meta.get(volume, "spec", "claimRef")
        and meta.get(volume, "status", "phase", default="Pending") in ("Pending", "Available")
        and not lacks(volume, claim, class_name)
        and (not wanted or selectors.from_object(wanted).matches(meta.labels(volume)))
    )


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    yield from persistent_volume_claim.access_modes(meta.texts(spec, "accessModes"), "spec.accessModes")
    yield from persistent_volume_claim.amount(meta.get(spec, "capacity", "storage"), "spec.capacity[storage]")
    yield from one_of(
        spec.get("persistentVolumeReclaimPolicy"), "spec.persistentVolumeReclaimPolicy", ("Delete", "Recycle", "Retain")
    )
    sources = list(source(spec))
    if not sources:
        yield FieldError.required("spec", "must specify a volume type")
    for extra in sources[1:]:
        yield FieldError.forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
    if spec.get("hostPath") is not None:
        yield from volumes.host_path(spec["hostPath"], "spec.hostPath")
        if spec["hostPath"].get("path") == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            where, why = "spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'"
            yield FieldError.forbidden(where, why)
    if spec.get("local") is not None:
        if not spec["local"].get("path"):
            yield FieldError.required("spec.local.path")
        if not meta.get(spec, "nodeAffinity", "required"):
            yield FieldError.required("spec.nodeAffinity", "Local volume requires node affinity")
    if meta.get(spec, "nodeAffinity", "required"):
        yield from placement.node_selector(spec["nodeAffinity"]["required"], "spec.nodeAffinity.required")
    yield from persistent_volume_claim.mode_and_class(spec, "spec")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    wanted, given = meta.part(new, "spec"), meta.part(old, "spec")
    if source(wanted) != source(given):
        yield FieldError.forbidden(
            "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"
        )
    yield from immutable(wanted, given, "spec", "volumeMode")
    if given.get("nodeAffinity") and wanted.get("nodeAffinity") != given["nodeAffinity"]:
        yield FieldError.invalid("spec.nodeAffinity", wanted.get("nodeAffinity"), IMMUTABLE)


def cells(obj: Object, now: float) -> list[Any]:
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    claim = meta.part(spec, "claimRef")
    return [
        tables.name(obj),
        meta.get(spec, "capacity", "storage", default=""),
        persistent_volume_claim.format_access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if meta.is_deleting(obj) else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        persistent_volume_claim.class_name(obj),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason", ""),
        tables.age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


PERSISTENTVOLUMES = Kind(
    "",
    "v1",
    "persistentvolumes",
    "PersistentVolume",
    False,
    short_names=("pv",),
    subresources=STATUS,
    default=defaults,
    prepare=filling.status_of_new({"phase": "Pending"}),
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(
        tables.columns(
            "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, "
            "Reason, Age, +VolumeMode"
        ),
        cells,
    ),
)

KINDS = (PERSISTENTVOLUMES,)
