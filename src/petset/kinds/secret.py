"""Secret: a ConfigMap for what not everybody may read, of a type that says which keys it has (v1)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from petset.base import well_known
from petset.kinds import key_values
from petset.objects import encoding, meta, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.filling import fill_empty
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import IMMUTABLE, Errors, listed


def defaults(obj: Object) -> Object:
    """The type, and what was given as text joins the data; it is never read back as text."""
    obj = fill_empty(obj, {"type": "Opaque"})
    if "stringData" not in obj:
        return obj
    texts = {key: base64.b64encode(text.encode()).decode() for key, text in meta.part(obj, "stringData").items()}
    rest = {key: value for key, value in obj.items() if key != "stringData"}
    return {**rest, "data": {**meta.part(rest, "data"), **texts}} if texts else rest


# The keys that a secret of a known type must have; one of them where they are alternatives.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    well_known.DOCKERCFG_SECRET: (".dockercfg",),
    well_known.DOCKERCONFIGJSON_SECRET: (".dockerconfigjson",),
    well_known.SSH_AUTH_SECRET: ("ssh-privatekey",),
    well_known.TLS_SECRET: ("tls.crt", "tls.key"),
}


@listed
def validate(obj: Object) -> Errors:
    data, kind = meta.part(obj, "data"), obj.get("type") or ""
    yield from key_values.keys(data, "data")
    if sum(key_values.decoded_size(text) for text in data.values()) > key_values.DATA_BYTES_MAX:
        yield FieldError.too_long("data", key_values.DATA_BYTES_MAX)
    if kind == well_known.SERVICE_ACCOUNT_TOKEN_SECRET and not meta.annotations(obj).get(
        well_known.SERVICE_ACCOUNT_NAME_ANNOTATION
    ):
        yield FieldError.required(f"metadata.annotations[{well_known.SERVICE_ACCOUNT_NAME_ANNOTATION}]")
    for key in _NEEDED.get(kind, ()):
        if key not in data:
            yield FieldError.required(f"data[{key}]")
        elif key.startswith(".docker") and not _is_json(data[key]):
            yield FieldError.invalid(f"data[{key}]", "<secret contents redacted>", "it is not JSON")
    if kind == well_known.BASIC_AUTH_SECRET and not ("username" in data or "password" in data):
        yield FieldError.required("data[username]")
        yield FieldError.required("data[password]")


def _is_json(base64_text: str) -> bool:
    try:
        encoding.loads(base64.b64decode(base64_text))
    except ValueError:
        return False
    return True


@listed
def validate_update(new: Object, old: Object) -> Errors:
    if new.get("type") != old.get("type"):
        yield FieldError.invalid("type", new.get("type"), IMMUTABLE)
    if old.get("immutable"):
        yield from key_values.unchanged(new, old, "data")


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), obj.get("type", ""), len(meta.part(obj, "data")), tables.age(obj, now)]


SECRETS = Kind(
    "",
    "v1",
    "secrets",
    "Secret",
    default=defaults,
    validate=validate,
    validate_update=validate_update,
    fields=selectors.fields("type"),
    printer=tables.Printer(tables.columns("Name, Type, Data, Age", "Data"), cells),
)

KINDS = (SECRETS,)
