"""ControllerRevision: what a set's template was, for its controller to go back to; its data never changes (apps/v1)."""

from __future__ import annotations

from typing import Any

from petset.objects import meta, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, at_least, immutable, listed


@listed
def validate(obj: Object) -> Errors:
    if obj.get("data") is None:
        yield FieldError.required("data", "data is mandatory")
    yield from at_least(obj.get("revision"), "revision")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "data")


def cells(obj: Object, now: float) -> list[Any]:
    owner = meta.controller_of(obj)
    group = owner["apiVersion"].rpartition("/")[0] if owner else ""
    shown = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}" if owner else "<none>"
    return [tables.name(obj), shown, obj.get("revision", 0), tables.age(obj, now)]


CONTROLLERREVISIONS = Kind(
    "apps",
    "v1",
    "controllerrevisions",
    "ControllerRevision",
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, Controller, Revision, Age", "Revision"), cells),
)

KINDS = (CONTROLLERREVISIONS,)
