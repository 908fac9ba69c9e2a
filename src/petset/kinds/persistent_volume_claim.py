"""PersistentVolumeClaim: the storage a pod asks for; once bound it may grow and nothing else (v1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from petset.base import well_known
from petset.kinds import storage_class
from petset.objects import filling, meta, names, quantity, tables
from petset.objects.errors import FieldError
from petset.objects.filling import fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import (
    IMMUTABLE,
    Errors,
    label_selector,
    listed,
    named_once,
    object_metadata,
    one_of,
    optional,
)


def defaults(obj: Object) -> Object:
    obj = within(obj, "spec", lambda spec: fill_empty(spec, {"volumeMode": "Filesystem"}))
    return within(obj, "status", lambda status: fill_empty(status, {"phase": "Pending"}))


ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def is_for_one_pod(claim: Object) -> bool:
    """Whether one pod alone may use it at a time."""
    return "ReadWriteOncePod" in meta.texts(claim, "spec", "accessModes")


VOLUME_MODES = ("Block", "Filesystem")


SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
_COPIED = (("", "PersistentVolumeClaim"), (SNAPSHOT_GROUP, "VolumeSnapshot"))


def data_source(claim: Object) -> Object:
    """What a claim's volume begins with: {kind, name, apiGroup}; {} for nothing."""
    return meta.part(claim, "spec", "dataSourceRef") or meta.part(claim, "spec", "dataSource")


def cloned(claim: Object) -> str:
    """The name of the claim that it is a copy of, or ""."""
    return _named_source(claim, *_COPIED[0])


def restored(claim: Object) -> str:
    """The name of the snapshot that it is made of, or ""."""
    return _named_source(claim, *_COPIED[1])


def _named_source(claim: Object, group: str, kind: str) -> str:
    source = data_source(claim)
    return source.get("name", "") if _kind_of(source) == (group, kind) else ""


def _kind_of(source: Object) -> tuple[str, str | None]:
    """(group, kind) of a source."""
    return source.get("apiGroup") or "", source.get("kind")


def prepare(new: Object, old: Object | None) -> Object:
    """A new claim has no status of its creator's, and says its source both ways (KEP-1495)."""
    if old is not None:
        return new
    new = _NEW(new, old)
    spec = meta.part(new, "spec")
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is None and reference is None:
        return new
    if source is not None and _kind_of(source) not in _COPIED:
        source = None  # Nobody ever made a volume of it; a reference may name anything.
    if reference is None:
        reference = source
    elif source is None and not reference.get("namespace"):
        source = reference if _kind_of(reference) in _COPIED else None
    kept = {key: value for key, value in spec.items() if key not in ("dataSource", "dataSourceRef")}
    named = {"dataSource": source, "dataSourceRef": reference}
    return {**new, "spec": {**kept, **{key: value for key, value in named.items() if value is not None}}}


_NEW = filling.status_of_new({"phase": "Pending"})


def _identity(source: Object) -> list[str]:
    return [source.get(part) or "" for part in ("apiGroup", "kind", "name")]


def sources(spec: Object, path: str) -> Errors:
    """A claim's dataSource and dataSourceRef."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for one, field in ((source, "dataSource"), (reference, "dataSourceRef")):
        if one is None:
            continue
        for part in ("name", "kind"):
            if not one.get(part):
                yield FieldError.required(f"{path}.{field}.{part}")
        if not one.get("apiGroup") and one.get("kind") and one["kind"] != "PersistentVolumeClaim":
            why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            yield FieldError.invalid(f"{path}.{field}", one["kind"], why)
    if source is not None and reference is not None and _identity(source) != _identity(reference):
        yield FieldError.invalid(f"{path}.dataSource", source, "must match dataSourceRef")
    if reference is not None and reference.get("namespace"):
        why = "petset makes volumes of what is in the claim's own namespace"
        yield FieldError.forbidden(f"{path}.dataSourceRef.namespace", why)


@listed
def validate(obj: Object) -> Errors:
    yield from sources(meta.part(obj, "spec"), "spec")
    yield from validate_spec(meta.part(obj, "spec"), "spec")


def validate_spec(spec: Object, path: str) -> Errors:
    yield from access_modes(meta.texts(spec, "accessModes"), f"{path}.accessModes")
    yield from label_selector(spec.get("selector"), f"{path}.selector")
    request = meta.get(spec, "resources", "requests", "storage")
    yield from amount(request, f"{path}.resources[storage]")
    limit = meta.get(spec, "resources", "limits", "storage")
    if request is not None and limit is not None and quantity.compare(request, limit) > 0:
        yield FieldError.invalid(
            f"{path}.resources.requests", request, f"must be less than or equal to storage limit of {limit}"
        )
    yield from mode_and_class(spec, path)


# ---- what a claim and a volume have in common


def amount(storage: str | None, path: str) -> Errors:
    if storage is None:
        yield FieldError.required(path)
    elif quantity.parse(storage).value <= 0:
        yield FieldError.invalid(path, storage, "must be greater than zero")


def mode_and_class(spec: Object, path: str) -> Errors:
    if spec.get("volumeMode"):
        yield from one_of(spec["volumeMode"], f"{path}.volumeMode", VOLUME_MODES)
    yield from optional(spec.get("storageClassName"), f"{path}.storageClassName", names.subdomain)


def access_modes(modes: Sequence[str], path: str) -> Errors:
    if not modes:
        yield FieldError.required(path, "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield FieldError.unsupported(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield FieldError.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def validate_templates(given: Sequence[Object], path: str) -> Errors:
    """A set's volumeClaimTemplates: each becomes a claim a pod, and a volume of that pod."""
    seen: dict[str, None] = {}
    for index, template in enumerate(given):
        where, metadata = f"{path}[{index}]", meta.part(template, "metadata")
        name = metadata.get("name", "")
        yield from named_once(name, f"{where}.metadata.name", names.label, seen)
        yield from object_metadata(metadata, f"{where}.metadata")
        yield from validate_spec(meta.part(template, "spec"), f"{where}.spec")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    wanted, given = meta.part(new, "spec"), meta.part(old, "spec")
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


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def format_access_modes(modes: Iterable[str] | None) -> str:
    return tables.joined((short for mode, short in _MODES.items() if mode in (modes or ())), "")


def class_name(obj: Object) -> str:
    return storage_class.of(obj) or ""


def cells(obj: Object, now: float) -> list[Any]:
    status, volume = meta.part(obj, "status"), meta.get(obj, "spec", "volumeName", default="")
    return [
        tables.name(obj),
        "Terminating" if meta.is_deleting(obj) else status.get("phase", ""),
        volume,
        meta.get(status, "capacity", "storage", default="") if volume else "",
        format_access_modes(status.get("accessModes")) if volume else "",
        class_name(obj),
        meta.get(obj, "spec", "volumeAttributesClassName", default="<unset>"),
        tables.age(obj, now),
        meta.get(obj, "spec", "volumeMode", default="<unset>"),
    ]


PERSISTENTVOLUMECLAIMS = Kind(
    "",
    "v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    short_names=("pvc",),
    subresources=STATUS,
    default=defaults,
    prepare=prepare,
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(
        tables.columns(
            "Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, +VolumeMode"
        ),
        cells,
    ),
)

KINDS = (PERSISTENTVOLUMECLAIMS,)
