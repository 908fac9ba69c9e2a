"""Checks of storage: PersistentVolumeClaim, PersistentVolume, StorageClass, and of claim templates.

A claim's spec is fixed once it exists, but for the binder setting volumeName, a class filled in later, and a bound
claim's request growing. A volume keeps its source, a class everything that provisioned volumes rely on.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.base import well_known
from petset.kinds import validation_affinity, validation_volume
from petset.objects import meta, names, quantity
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import (
    IMMUTABLE,
    Errors,
    immutable,
    label_selector,
    listed,
    named,
    object_metadata,
    one_of,
    optional,
)

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


@listed
def claim(obj: Object) -> Errors:
    yield from claim_spec(obj.get("spec") or {}, "spec")


def claim_spec(spec: Object, path: str) -> Errors:
    yield from _access_modes(spec.get("accessModes") or (), f"{path}.accessModes")
    yield from label_selector(spec.get("selector"), f"{path}.selector")
    request = meta.get(spec, "resources", "requests", "storage")
    if request is None:
        yield FieldError.required(f"{path}.resources[storage]")
    elif quantity.parse(request).value <= 0:
        yield FieldError.invalid(f"{path}.resources[storage]", request, "must be greater than zero")
    limit = meta.get(spec, "resources", "limits", "storage")
    if request is not None and limit is not None and quantity.compare(request, limit) > 0:
        yield FieldError.invalid(
            f"{path}.resources.requests", request, f"must be less than or equal to storage limit of {limit}"
        )
    if spec.get("volumeMode"):
        yield from one_of(spec["volumeMode"], f"{path}.volumeMode", VOLUME_MODES)
    yield from optional(spec.get("storageClassName"), f"{path}.storageClassName", names.subdomain)


def _access_modes(modes: Sequence[str], path: str) -> Errors:
    if not modes:
        yield FieldError.required(path, "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield FieldError.unsupported(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield FieldError.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def claim_templates(given: Sequence[Object], path: str) -> Errors:
    """A set's volumeClaimTemplates: each becomes a claim a pod, and a volume of that pod."""
    seen: dict[str, None] = {}
    for index, template in enumerate(given):
        where, metadata = f"{path}[{index}]", template.get("metadata") or {}
        name = metadata.get("name", "")
        yield from named(name, f"{where}.metadata.name", names.label)
        if name in seen:
            yield FieldError.duplicate(f"{where}.metadata.name", name)
        seen[name] = None
        yield from object_metadata(metadata, f"{where}.metadata")
        yield from claim_spec(template.get("spec") or {}, f"{where}.spec")


@listed
def claim_update(new: Object, old: Object) -> Errors:
    wanted, given = new.get("spec") or {}, old.get("spec") or {}
    bound = meta.get(old, "status", "phase") == "Bound"
    free = ["volumeName"] if not given.get("volumeName") else []
    if given.get("storageClassName") is None and not bound:
        free.append("storageClassName")
    if bound:
        free.append("volumeAttributesClassName")
        yield from _growth(wanted, given, meta.get(old, "status", "capacity", "storage"))
        wanted, given = _without_requests(wanted), _without_requests(given)
    if any(wanted.get(key) != given.get(key) for key in {**wanted, **given} if key not in free):
        yield FieldError.forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        )
    if meta.annotations(new).get(well_known.STORAGE_CLASS_BETA_ANNOTATION) != meta.annotations(old).get(
        well_known.STORAGE_CLASS_BETA_ANNOTATION
    ):
        value = meta.annotations(new).get(well_known.STORAGE_CLASS_BETA_ANNOTATION, "")
        yield FieldError.invalid(f"metadata.annotations[{well_known.STORAGE_CLASS_BETA_ANNOTATION}]", value, IMMUTABLE)


def _without_requests(spec: Object) -> Object:
    return meta.without(spec, ("resources", "requests"))


def _growth(wanted: Object, given: Object, capacity: str | None) -> Errors:
    after, before = (meta.get(spec, "resources", "requests", "storage") for spec in (wanted, given))
    if after is None or before is None or quantity.compare(after, before) >= 0:
        return
    if capacity is None or quantity.compare(after, capacity) <= 0:  # A growth that failed may be asked for in part.
        yield FieldError.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


# -- volumes ------------------------------------------------------------------------------------------------------

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


def _source(spec: Object) -> Object:
    return {key: value for key, value in spec.items() if key not in _NOT_A_SOURCE}


@listed
def volume(obj: Object) -> Errors:
    spec = obj.get("spec") or {}
    yield from _access_modes(spec.get("accessModes") or (), "spec.accessModes")
    capacity = meta.get(spec, "capacity", "storage")
    if capacity is None:
        yield FieldError.required("spec.capacity[storage]")
    elif quantity.parse(capacity).value <= 0:
        yield FieldError.invalid("spec.capacity[storage]", capacity, "must be greater than zero")
    yield from one_of(
        spec.get("persistentVolumeReclaimPolicy"), "spec.persistentVolumeReclaimPolicy", ("Delete", "Recycle", "Retain")
    )
    sources = list(_source(spec))
    if not sources:
        yield FieldError.required("spec", "must specify a volume type")
    for extra in sources[1:]:
        yield FieldError.forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
    if spec.get("hostPath") is not None:
        yield from validation_volume.host_path(spec["hostPath"], "spec.hostPath")
    if spec.get("local") is not None:
        if not spec["local"].get("path"):
            yield FieldError.required("spec.local.path")
        if not meta.get(spec, "nodeAffinity", "required"):
            yield FieldError.required("spec.nodeAffinity", "Local volume requires node affinity")
    if meta.get(spec, "nodeAffinity", "required"):
        yield from validation_affinity.node_selector(spec["nodeAffinity"]["required"], "spec.nodeAffinity.required")
    if spec.get("volumeMode"):
        yield from one_of(spec["volumeMode"], "spec.volumeMode", VOLUME_MODES)
    yield from optional(spec.get("storageClassName"), "spec.storageClassName", names.subdomain)


@listed
def volume_update(new: Object, old: Object) -> Errors:
    wanted, given = new.get("spec") or {}, old.get("spec") or {}
    if _source(wanted) != _source(given):
        yield FieldError.forbidden(
            "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"
        )
    yield from immutable(wanted, given, "spec", "volumeMode")
    if given.get("nodeAffinity") and wanted.get("nodeAffinity") != given["nodeAffinity"]:
        yield FieldError.invalid("spec.nodeAffinity", wanted.get("nodeAffinity"), IMMUTABLE)


# -- classes ------------------------------------------------------------------------------------------------------
