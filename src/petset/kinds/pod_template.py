"""PodTemplate: a template that is kept by itself, for whoever makes pods from it (v1)."""

from __future__ import annotations

from typing import Any

from petset.kinds.pod_spec import filled, validation
from petset.objects import meta, tables
from petset.objects.filling import at
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed


def defaults(obj: Object) -> Object:
    return at(obj, "template", filled.template)


@listed
def validate(obj: Object) -> Errors:
    yield from validation.template(meta.part(obj, "template"), "template")


def cells(obj: Object, now: float) -> list[Any]:
    template = meta.part(obj, "template")
    containers = meta.parts(meta.part(template, "spec"), "containers")
    return [
        tables.name(obj),
        tables.joined(one.get("name", "") for one in containers),
        tables.joined(one.get("image", "") for one in containers),
        tables.format_labels(meta.part(template, "metadata", "labels")),
    ]


PODTEMPLATES = Kind(
    "",
    "v1",
    "podtemplates",
    "PodTemplate",
    default=defaults,
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Containers, Images, Pod Labels"), cells),
)

KINDS = (PODTEMPLATES,)
