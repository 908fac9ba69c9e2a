"""ConfigMap: texts and bytes for pods to read, kept as they are once marked immutable (v1)."""

from __future__ import annotations

from typing import Any

from petset.kinds import key_values
from petset.objects import meta, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed


@listed
def validate(obj: Object) -> Errors:
    data, binary = meta.part(obj, "data"), meta.part(obj, "binaryData")
    yield from key_values.keys(data, "data")
    size = key_values.size_of_texts(data)
    if binary:
        yield from key_values.keys(binary, "binaryData")
        for key in data:
            if key in binary:
                yield FieldError.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += sum(map(key_values.decoded_size, binary.values()))
    if size > key_values.DATA_BYTES_MAX:
        yield FieldError.too_long("data", key_values.DATA_BYTES_MAX)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    if old.get("immutable"):
        yield from key_values.unchanged(new, old, "data", "binaryData")


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), len(meta.part(obj, "data")) + len(meta.part(obj, "binaryData")), tables.age(obj, now)]


CONFIGMAPS = Kind(
    "",
    "v1",
    "configmaps",
    "ConfigMap",
    short_names=("cm",),
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, Data, Age", "Data"), cells),
)

KINDS = (CONFIGMAPS,)
