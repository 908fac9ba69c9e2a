"""StorageClass, and the class of a claim or a volume, whichever way it is written: who asks for it asks here.

Three ways have been: spec.storageClassName; the beta annotation of 1.4, which wins where both are given; and the alpha
annotation of 1.2, which names no class but asks for any provisioner there is. A claim that names none has the default
class, the newest of those marked so. An empty name is a name: it says that there is no class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from petset.base import well_known
from petset.objects import meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import fill_empty
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, immutable, listed, one_of

DEFAULT_ANNOTATIONS = (well_known.DEFAULT_CLASS_ANNOTATION, well_known.DEFAULT_CLASS_BETA_ANNOTATION)
STANDARD = "standard"  # The default class that there is while the hostPath provisioner is on.
# What is told of a claim while the provisioner of hostPath volumes is off.
PROVISIONER_IS_OFF = "No provisioner plugin found for the claim!"


def of(obj: Object) -> str | None:
    """The class that a claim or a volume names; None when it names none."""
    annotated = meta.annotations(obj).get(well_known.STORAGE_CLASS_BETA_ANNOTATION)
    return annotated if annotated is not None else meta.get(obj, "spec", "storageClassName")


def wants_any(claim: Object) -> bool:
    """2016's way: whatever provisioner there is."""
    return of(claim) is None and well_known.STORAGE_CLASS_ALPHA_ANNOTATION in meta.annotations(claim)


def counting(claim: Object, classes: Iterable[Object]) -> str:
    """The name of the class that counts for a claim: the one it names, else the default one, else ""."""
    name = of(claim)
    if name is not None:
        return name
    default = None if wants_any(claim) else default_of(classes)
    return meta.name(default) if default else ""


def default_of(classes: Iterable[Object]) -> Object | None:
    """The newest class that is marked as the default."""
    marked = [class_ for class_ in classes if is_default(class_)]
    return max(marked, key=meta.by_age, default=None)


def is_default(class_: Object) -> bool:
    return any(meta.annotations(class_).get(annotation) == "true" for annotation in DEFAULT_ANNOTATIONS)


def binds_late(claim: Object, classes: Iterable[Object]) -> bool:
    """Its class waits for the pod's node before a volume is made or chosen."""
    known = {meta.name(class_): class_ for class_ in classes}
    class_ = known.get(counting(claim, known.values()))
    return class_ is not None and class_.get("volumeBindingMode") == "WaitForFirstConsumer"


def allows_topology(class_: Object, node: Object) -> bool:
    """Whether volumes of the class may be on a node: one of its allowedTopologies, where there are any."""
    terms, labels = meta.parts(class_, "allowedTopologies"), meta.labels(node)
    return not terms or any(
        all(labels.get(one["key"]) in meta.texts(one, "values") for one in meta.parts(term, "matchLabelExpressions"))
        for term in terms
    )


@listed
def validate(obj: Object) -> Errors:
    provisioner = obj.get("provisioner") or ""
    if not provisioner:
        yield FieldError.required("provisioner", "")
    elif wrong := names.qualified(provisioner.lower()):
        yield FieldError.invalid("provisioner", provisioner, wrong)
    yield from one_of(obj.get("reclaimPolicy"), "reclaimPolicy", ("Delete", "Retain"))
    yield from one_of(obj.get("volumeBindingMode"), "volumeBindingMode", ("Immediate", "WaitForFirstConsumer"))
    for key in meta.part(obj, "parameters"):
        if not key:
            yield FieldError.invalid("parameters", key, "field can not be empty")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    for field in ("parameters", "provisioner", "reclaimPolicy"):
        if (new.get(field) or None) != (old.get(field) or None):
            yield FieldError.forbidden(field, f"updates to {field} are forbidden.")
    yield from immutable(new, old, "", "volumeBindingMode")


def defaults(obj: Object) -> Object:
    return fill_empty(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


def cells(obj: Object, now: float) -> list[Any]:
    return [
        tables.name(obj) + (" (default)" if is_default(obj) else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        tables.age(obj, now),
    ]


STORAGECLASSES = Kind(
    "storage.k8s.io",
    "v1",
    "storageclasses",
    "StorageClass",
    False,
    short_names=("sc",),
    default=defaults,
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(
        tables.columns("Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age"), cells
    ),
)

KINDS = (STORAGECLASSES,)
