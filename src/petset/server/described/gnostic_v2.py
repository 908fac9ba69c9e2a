"""OpenAPI v2 in protobuf: gnostic's openapi.v2.Document, which kubectl up to 1.26 and client-go ask for.

Numbers: openapiv2/OpenAPIv2.proto of google/gnostic-models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object
from petset.server.described import gnostic
from petset.server.described.gnostic import Messages, field

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_TEXTS: Mapping[str, str] = {
    "Document": "swagger 1 text, info 2 Info",
    "Info": "title 1 text, version 2 text, description 3 text",
    "PathItem": "$ref 1 text, get 2 Operation, put 3 Operation, post 4 Operation, delete 5 Operation, "
    "options 6 Operation, head 7 Operation, patch 8 Operation, parameters 9 []ParametersItem, x- 10 ext",
    "Operation": "tags 1 []text, summary 2 text, description 3 text, operationId 5 text, produces 6 []text, "
    "consumes 7 []text, parameters 8 []ParametersItem, responses 9 {}ResponseValue, schemes 10 []text, "
    "deprecated 11 bool, x- 13 ext",
    "Response": "description 1 text, schema 2 Items, x- 5 ext",
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
    "type 22 Type, items 23 Items, allOf 24 []Schema, properties 25 {}Schema, discriminator 26 text, "
    "readOnly 27 bool, externalDocs 29 ExternalDocs, example 30 any, x- 31 ext",
    "ExternalDocs": "description 1 text, url 2 text, x- 3 ext",
}
_PARAMETERS: Mapping[str, tuple[int, str]] = {
    "header": (1, "HeaderParameter"),
    "query": (3, "QueryParameter"),
    "path": (4, "PathParameter"),
}


def _type(messages: Messages, value: Any) -> bytes:
    return b"".join(field(1, str(one).encode()) for one in (value if meta.is_list(value) else [value]))


def _schema_inside(messages: Messages, value: Any) -> bytes:
    return field(1, messages.write("Schema", value))


def _additional(messages: Messages, value: Any) -> bytes:
    return gnostic.scalar(2, "bool", value) if isinstance(value, bool) else _schema_inside(messages, value)


def _response(messages: Messages, value: Any) -> bytes:
    is_reference = meta.is_struct(value) and "$ref" in value
    return (
        field(2, messages.write("JsonReference", value))
        if is_reference
        else field(1, messages.write("Response", value))
    )


def _parameter(messages: Messages, value: Any) -> bytes:
    where = str(value.get("in")) if meta.is_struct(value) else ""
    if meta.is_struct(value) and "$ref" in value:
        return field(2, messages.write("JsonReference", value))
    if where == "body":
        return field(1, field(1, messages.write("BodyParameter", value)))
    if where not in _PARAMETERS:
        raise ValueError(f"{value!r} is no parameter")
    number, name = _PARAMETERS[where]
    return field(1, field(2, field(number, messages.write(name, value))))


MESSAGES = Messages(
    _TEXTS,
    {
        "Type": _type,
        "Items": _schema_inside,
        "AdditionalProperties": _additional,
        "ResponseValue": _response,
        "ParametersItem": _parameter,
    },
)

# -- a document, piece by piece -----------------------------------------------------------------------------------

PATHS, DEFINITIONS = 8, 9


def head(info: Object) -> bytes:
    return MESSAGES.write("Document", {"swagger": "2.0", "info": info})


def path(name: str, item: Object) -> bytes:
    return gnostic.named(2, name, MESSAGES.write("PathItem", item))


def definition(name: str, tree: Object) -> bytes:
    return gnostic.named(1, name, MESSAGES.write("Schema", tree))
