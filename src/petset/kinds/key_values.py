"""What ConfigMaps and Secrets have in common: keys and the size of their data, and data that is kept as it is."""

from __future__ import annotations

from collections.abc import Mapping

from petset.objects import meta, names
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import Errors

DATA_BYTES_MAX = 1024 * 1024

_KEPT = "field is immutable when `immutable` is set"


def keys(given: Mapping[str, str], path: str) -> Errors:
    for key in given:
        if wrong := names.config_key(key):
            yield FieldError.invalid(f"{path}[{key}]", key, wrong)


def size_of_texts(given: Mapping[str, str]) -> int:
    return sum([len(text) if text.isascii() else len(text.encode()) for text in given.values()])


def decoded_size(base64: str) -> int:
    return len(base64) * 3 // 4


def unchanged(new: Object, old: Object, *fields: str) -> Errors:
    if not new.get("immutable"):
        yield FieldError.forbidden("immutable", _KEPT)
    for field in fields:
        if meta.part(new, field) != meta.part(old, field):
            yield FieldError.forbidden(field, _KEPT)
