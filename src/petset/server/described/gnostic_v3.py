"""OpenAPI v3 in protobuf: gnostic's openapi.v3.Document, which client-go asks for.

Numbers: openapiv3/OpenAPIv3.proto of google/gnostic-models. It has no default that is an object or a list: those are
left out, as upstream leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from petset.objects.meta import Object
from petset.server.described import gnostic
from petset.server.described.gnostic import Messages, field

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"

_TEXTS: Mapping[str, str] = {
    "Document": "openapi 1 text, info 2 Info",
    "Info": "title 1 text, description 2 text, version 6 text",
    "PathItem": "$ref 1 text, summary 2 text, description 3 text, get 4 Operation, put 5 Operation, "
    "post 6 Operation, delete 7 Operation, options 8 Operation, head 9 Operation, patch 10 Operation, "
    "trace 11 Operation, parameters 13 []Parameter?, x- 14 ext",
    "Operation": "tags 1 []text, summary 2 text, description 3 text, externalDocs 4 ExternalDocs, "
    "operationId 5 text, parameters 6 []Parameter?, requestBody 7 RequestBody?, responses 8 Responses, "
    "deprecated 10 bool, x- 13 ext",
    "Parameter": "name 1 text, in 2 text, description 3 text, required 4 bool, deprecated 5 bool, "
    "allowEmptyValue 6 bool, style 7 text, explode 8 bool, allowReserved 9 bool, schema 10 Schema?, x- 14 ext",
    "RequestBody": "description 1 text, content 2 {}MediaType, required 3 bool, x- 4 ext",
    "Response": "description 1 text, content 3 {}MediaType, x- 5 ext",
    "MediaType": "schema 1 Schema?, example 2 any, x- 5 ext",
    "Schema": "nullable 1 bool, readOnly 3 bool, writeOnly 4 bool, externalDocs 6 ExternalDocs, example 7 any, "
    "deprecated 8 bool, title 9 text, multipleOf 10 double, maximum 11 double, exclusiveMaximum 12 bool, "
    "minimum 13 double, exclusiveMinimum 14 bool, maxLength 15 int, minLength 16 int, pattern 17 text, "
    "maxItems 18 int, minItems 19 int, uniqueItems 20 bool, maxProperties 21 int, minProperties 22 int, "
    "required 23 []text, enum 24 []any, type 25 text, allOf 26 []Schema?, oneOf 27 []Schema?, anyOf 28 []Schema?, "
    "not 29 Schema, items 30 Items, properties 31 {}Schema?, additionalProperties 32 AdditionalProperties, "
    "default 33 Default, description 34 text, format 35 text, x- 36 ext",
    "Reference": "$ref 1 text, summary 2 text, description 3 text",
    "ExternalDocs": "description 1 text, url 2 text, x- 3 ext",
}


def _items(messages: Messages, value: Any) -> bytes:
    return field(1, messages.content("Schema?", value))


def _additional(messages: Messages, value: Any) -> bytes:
    return gnostic.scalar(2, "bool", value) if isinstance(value, bool) else _items(messages, value)


def _default(messages: Messages, value: Any) -> bytes:
    match value:
        case bool():
            return gnostic.scalar(2, "bool", value)
        case int() | float():
            return gnostic.scalar(1, "double", value)
        case str():
            return gnostic.scalar(3, "text", value)
        case _:
            return b""


def _responses(messages: Messages, value: Any) -> bytes:
    """One for all other codes stands apart."""
    return b"".join(
        field(1, messages.content("Response?", inner))
        if code == "default"
        else gnostic.named(2, code, messages.content("Response?", inner))
        for code, inner in gnostic.pairs(value)
    )


MESSAGES = Messages(
    _TEXTS, {"Items": _items, "AdditionalProperties": _additional, "Default": _default, "Responses": _responses}
)

# -- a document, in the pieces that are made one after another ------------------------------------------------------

_PATHS, _COMPONENTS, _SCHEMAS = 4, 5, 1


def head(info: Object) -> bytes:
    return MESSAGES.write("Document", {"openapi": "3.0.0", "info": info})


def paths(items: Iterable[tuple[str, Object]]) -> bytes:
    return field(_PATHS, b"".join(gnostic.named(1, name, MESSAGES.write("PathItem", item)) for name, item in items))


def components(schemas: Iterable[tuple[str, Object]]) -> bytes:
    content = (gnostic.named(1, name, MESSAGES.content("Schema?", tree)) for name, tree in schemas)
    return field(_COMPONENTS, field(_SCHEMAS, b"".join(content)))
