"""PetSet: the StatefulSet of 2016, with a selector that comes from its template's labels (apps/v1alpha1)."""

from __future__ import annotations

from typing import Any

from petset.kinds import stateful_set
from petset.objects import filling, meta, names, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed


def defaults(obj: Object) -> Object:
    """A StatefulSet's defaults; selector and labels come from the template's labels where they are missing."""
    labels = meta.part(obj, "spec", "template", "metadata", "labels")
    if labels:
        if not meta.get(obj, "spec", "selector"):
            obj = meta.changed(obj, ("spec", "selector"), {"matchLabels": dict(labels)})
        if not meta.get(obj, "metadata", "labels"):
            obj = meta.changed(obj, ("metadata", "labels"), dict(labels))
    return stateful_set.defaults(obj)


@listed
def validate(obj: Object) -> Errors:
    yield from stateful_set.validate_set(obj, "petset")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from stateful_set.validate_set_update(new, old, "petset")


def cells(obj: Object, now: float) -> list[Any]:
    desired, current = meta.get(obj, "spec", "replicas", default=0), meta.get(obj, "status", "replicas", default=0)
    return [tables.name(obj), desired, current, tables.age(obj, now), *stateful_set.containers_and_images(obj)]


PETSETS = Kind(
    "apps",
    "v1alpha1",
    "petsets",
    "PetSet",
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({"replicas": 0}),
    validate=validate,
    validate_update=validate_update,
    name_rule=names.label,
    printer=tables.Printer(
        tables.columns("Name, Desired, Current, Age, +Containers, +Images", "Desired, Current"), cells
    ),
)

KINDS = (PETSETS,)
