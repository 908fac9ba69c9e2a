"""VolumeAttributesClass: attributes of volumes that their driver changes while they are used (storage.k8s.io/v1).

Kept for drivers and those who configure them; no volume of petset's own has any.
Follows: KEP-3751.
"""

from __future__ import annotations

from typing import Any

from petset.kinds.storage import csi
from petset.objects import meta, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed, named

PARAMETERS_MAX, PARAMETERS_BYTES_MAX = 512, 256 * 1024


@listed
def validate(obj: Object) -> Errors:
    yield from named(obj.get("driverName"), "driverName", csi.driver_name)
    parameters = meta.part(obj, "parameters")
    if not parameters:
        yield FieldError.required("parameters", "must contain at least one key/value pair")
    if len(parameters) > PARAMETERS_MAX:
        yield FieldError.too_many("parameters", len(parameters), PARAMETERS_MAX)
    if "" in parameters:
        yield FieldError.invalid("parameters", "", "field can not be empty")
    if sum(len(key.encode()) + len(text.encode()) for key, text in parameters.items()) > PARAMETERS_BYTES_MAX:
        yield FieldError.too_long("parameters", PARAMETERS_BYTES_MAX)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    for field in ("driverName", "parameters"):
        if new.get(field) != old.get(field):
            yield FieldError.forbidden(field, f"updates to {field} are forbidden.")


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), obj.get("driverName", ""), tables.age(obj, now)]


VOLUMEATTRIBUTESCLASSES = Kind(
    "storage.k8s.io",
    "v1",
    "volumeattributesclasses",
    "VolumeAttributesClass",
    False,
    short_names=("vac",),
    acted_on=False,
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, DriverName, Age"), cells),
)

KINDS = (VOLUMEATTRIBUTESCLASSES,)
