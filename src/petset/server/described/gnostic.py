"""OpenAPI v2 in protobuf: gnostic's openapi.v2.Document, which kubectl up to 1.26 and client-go ask for.

`message("Schema", tree)` writes a JSON tree by the table below: of each message its fields by their JSON names, with
number and type. A type is a scalar (text, bool, int, double), `any` (a value as YAML, for which JSON will do), another
message, or one of the shapes: `[]` repeated, `{}` a map as repeated pairs of name and value. What begins with x- goes
into the message's vendor extensions. Numbers: openapiv2/OpenAPIv2.proto of google/gnostic-models.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from petset.objects import encoding
from petset.objects.meta import Json, Object

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

# Message -> "JSON name, number, type" of its fields; x- is where vendor extensions go.
_TEXT: Mapping[str, str] = {
    "Document": "swagger 1 text, info 2 Info",
    "Info": "title 1 text, version 2 text, description 3 text",
    "PathItem": "$ref 1 text, get 2 Operation, put 3 Operation, post 4 Operation, delete 5 Operation, "
    "options 6 Operation, head 7 Operation, patch 8 Operation, parameters 9 []ParametersItem, x- 10 ext",
    "Operation": "tags 1 []text, summary 2 text, description 3 text, operationId 5 text, produces 6 []text, "
    "consumes 7 []text, parameters 8 []ParametersItem, responses 9 Responses, schemes 10 []text, deprecated 11 bool, "
    "x- 13 ext",
    "Response": "description 1 text, schema 2 SchemaItem, x- 5 ext",
    "JsonReference": "$ref 1 text, description 2 text",
    "BodyParameter": "description 1 text, name 2 text, in 3 text, required 4 bool, schema 5 Schema, x- 6 ext",
    "HeaderParameter": "required 1 bool, in 2 text, description 3 text, name 4 text, type 5 text, format 6 text",
    "QueryParameter": "required 1 bool, in 2 text, description 3 text, name 4 text, type 6 text, format 7 text, "
    "uniqueItems 21 bool, x- 23 ext",
    "PathParameter": "required 1 bool, in 2 text, description 3 text, name 4 text, type 5 text, format 6 text, "
    "uniqueItems 20 bool, x- 22 ext",
    "Schema": "$ref 1 text, format 2 text, title 3 text, description 4 text, default 5 any, multipleOf 6 double, "
    "maximum 7 double, exclusiveMaximum 8 bool, minimum 9 double, exclusiveMinimum 10 bool, maxLength 11 int, "
    "minLength 12 int, pattern 13 text, maxItems 14 int, minItems 15 int, uniqueItems 16 bool, maxProperties 17 int, "
    "minProperties 18 int, required 19 []text, enum 20 []any, additionalProperties 21 AdditionalProperties, "
    "type 22 Type, items 23 Items, allOf 24 []Schema, properties 25 Properties, discriminator 26 text, "
    "readOnly 27 bool, externalDocs 29 ExternalDocs, example 30 any, x- 31 ext",
    "ExternalDocs": "description 1 text, url 2 text, x- 3 ext",
}


def _table(text: str) -> Mapping[str, tuple[int, str]]:
    rows = [row.split() for row in text.split(", ")]
    return {name: (int(number), kind) for name, number, kind in rows}


_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {name: _table(text) for name, text in _TEXT.items()}
_VENDOR = "x-"

# -- the wire format ----------------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value >= 0x80:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def field(number: int, content: bytes) -> bytes:
    """A text or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _scalar(number: int, kind: str, value: Json) -> bytes:
    match kind, value:
        case "bool", bool():
            return _varint(number << 3) + (b"\1" if value else b"\0")
        case "int", int():
            return _varint(number << 3) + _varint(value)
        case "double", int() | float():
            return _varint(number << 3 | 1) + struct.pack("<d", value)
        case "text", str():
            return field(number, value.encode())
        case "any", _:
            return field(number, _any(value))
        case _:
            raise ValueError(f"cannot write {value!r} as {kind}")


def _any(value: Json) -> bytes:
    return field(2, encoding.dumps(value))


def _named(number: int, name: str, value: bytes) -> bytes:
    """A pair of a map."""
    return field(number, field(1, name.encode()) + field(2, value))


# -- messages -----------------------------------------------------------------------------------------------------


def message(name: str, tree: Object) -> bytes:
    """A message's content, by its table. Raises ValueError for a value of another type than the table says."""
    return b"".join(_fields(_MESSAGES[name], tree))


def _fields(table: Mapping[str, tuple[int, str]], tree: Object) -> Iterator[bytes]:
    for key, value in tree.items():
        if key in table:
            number, kind = table[key]
            if kind.startswith("[]"):
                yield from (_value(number, kind[2:], inner) for inner in value)
            else:
                yield _value(number, kind, value)
        elif key.startswith(_VENDOR) and _VENDOR in table:
            yield _named(table[_VENDOR][0], key, _any(value))


def _value(number: int, kind: str, value: Any) -> bytes:
    if kind in _MESSAGES:
        return field(number, message(kind, value))
    special = _SPECIAL.get(kind)
    return field(number, special(value)) if special else _scalar(number, kind, value)


def _type(value: Json) -> bytes:
    return field(1, str(value).encode())


def _items(value: Object) -> bytes:
    return field(1, message("Schema", value))


def _additional(value: Any) -> bytes:
    return _scalar(2, "bool", value) if isinstance(value, bool) else _items(value)


def _properties(value: Object) -> bytes:
    return b"".join(_named(1, name, message("Schema", inner)) for name, inner in value.items())


def _responses(value: Object) -> bytes:
    return b"".join(_named(1, code, field(1, message("Response", inner))) for code, inner in value.items())


_PARAMETERS: Mapping[str, tuple[int, str]] = {
    "header": (1, "HeaderParameter"),
    "query": (3, "QueryParameter"),
    "path": (4, "PathParameter"),
}


def _parameter(value: Object) -> bytes:
    if "$ref" in value:
        return field(2, message("JsonReference", value))
    if value["in"] == "body":
        return field(1, field(1, message("BodyParameter", value)))
    number, name = _PARAMETERS[value["in"]]
    return field(1, field(2, field(number, message(name, value))))


_SPECIAL = {
    "Type": _type,
    "Items": _items,
    "AdditionalProperties": _additional,
    "Properties": _properties,
    "Responses": _responses,
    "SchemaItem": _items,
    "ParametersItem": _parameter,
}

# -- a document, piece by piece -----------------------------------------------------------------------------------

PATHS, DEFINITIONS = 8, 9


def head(info: Object) -> bytes:
    return message("Document", {"swagger": "2.0", "info": info})


def path(name: str, item: Object) -> bytes:
    return _named(2, name, message("PathItem", item))


def definition(name: str, tree: Object) -> bytes:
    return _named(1, name, message("Schema", tree))
