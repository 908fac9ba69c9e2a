"""VolumeAttachment: that a volume is to be at a node, and whether it is (storage.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from petset.kinds.storage import csi
from petset.objects import filling, meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, immutable, listed, named


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    yield from named(spec.get("attacher"), "spec.attacher", csi.driver_name)
    yield from named(spec.get("nodeName"), "spec.nodeName", names.subdomain)
    source = meta.part(spec, "source")
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and name is None:
        yield FieldError.required("spec.source", "must specify one of inlineVolumeSpec and persistentVolumeName")
    elif inline is not None and name is not None:
        why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        yield FieldError.forbidden("spec.source", why)
    elif inline is None:
        yield from named(name, "spec.source.persistentVolumeName", names.subdomain)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "spec")


def cells(obj: Object, now: float) -> list[Any]:
    spec = meta.part(obj, "spec")
    return [
        tables.name(obj),
        spec.get("attacher", ""),
        meta.get(spec, "source", "persistentVolumeName", default=""),
        spec.get("nodeName", ""),
        bool(meta.get(obj, "status", "attached")),
        tables.age(obj, now),
    ]


VOLUMEATTACHMENTS = Kind(
    "storage.k8s.io",
    "v1",
    "volumeattachments",
    "VolumeAttachment",
    False,
    subresources=STATUS,
    acted_on=False,
    prepare=filling.status_of_new({"attached": False}),
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, Attacher, PV, Node, Attached, Age"), cells),
)

KINDS = (VOLUMEATTACHMENTS,)
