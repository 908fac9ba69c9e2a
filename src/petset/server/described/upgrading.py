"""OpenAPI v3 out of v2, of a server that has no v3: pure.

The same paths and definitions in the words of the newer version: a body is no parameter, an answer has its schema by
media type, definitions are components, and what is said beside a reference stands around it. What v2 says of forms has
no such words and is left out. `swagger.py` goes the other way.
Follows: upstream's aggregator, which does the same for such a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object
from petset.server.described import definitions, gnostic_v3, merging, swagger

JSON = "application/json"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
# What a parameter of v2 says of itself and not of its values.
_OF_PARAMETER = ("name", "in", "description", "required", "allowEmptyValue")
_OF_OPERATION = ("tags", "summary", "description", "externalDocs", "operationId", "deprecated")
_SCHEMAS, _SCHEMA_LISTS, _SCHEMA_MAPS = ("items", "additionalProperties", "not"), ("allOf",), ("properties",)

Pairs = Iterator[tuple[str, Object]]


def paths(part: merging.Part) -> Pairs:
    for path, item in part.paths.items():
        yield path, _path_item(item)


def components(part: merging.Part) -> Pairs:
    """The schemas."""
    for name, definition in part.definitions.items():
        yield name, schema(definition)


def can_be(part: bytes) -> bool:
    """Whether what another server describes can be told in v3, in every form."""
    try:
        read = merging.read(part)
        gnostic_v3.paths(paths(read))
        gnostic_v3.components(components(read))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return True


def _path_item(item: Object) -> Object:
    parameters, _ = _parameters(meta.parts(item, "parameters"))
    return {
        **_extensions(item),
        **({"parameters": parameters} if parameters else {}),
        **{method: _operation(meta.part(item, method)) for method in _METHODS if method in item},
    }


def _operation(operation: Object) -> Object:
    parameters, body = _parameters(meta.parts(operation, "parameters"))
    produced, consumed = meta.texts(operation, "produces") or (JSON,), meta.texts(operation, "consumes") or (JSON,)
    found = {key: operation[key] for key in _OF_OPERATION if key in operation} | _extensions(operation)
    if parameters:
        found["parameters"] = parameters
    if body is not None:
        is_required = {"required": True} if body.get("required") else {}
        found["requestBody"] = {"content": _content(consumed, meta.part(body, "schema")), **is_required}
    answers: Mapping[str, Any] = meta.part(operation, "responses")
    found["responses"] = {code: _response(one, produced) for code, one in answers.items() if meta.is_struct(one)}
    return found


def _content(types: Sequence[str], of: Object) -> Object:
    """By media type."""
    said = {"schema": schema(of)}
    return {type_: said for type_ in types}  # noqa: C420  # Nobody changes it.


def _response(response: Object, produced: Sequence[str]) -> Object:
    said = {"description": response.get("description", ""), **_extensions(response)}
    return {**said, "content": _content(produced, response["schema"])} if "schema" in response else said


def _parameters(given: Sequence[Object]) -> tuple[list[Object], Object | None]:
    """(those that v3 has, the body)"""
    found: list[Object] = []
    body = None
    for one in given:
        if one.get("in") == "body":
            body = one
        elif one.get("in") != "formData":
            own = {key: one[key] for key in _OF_PARAMETER if key in one} | _extensions(one)
            values = {key: value for key, value in one.items() if key not in own and key != "collectionFormat"}
            found.append({**own, "schema": schema(values)})
    return found, body


def _extensions(tree: Object) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key.startswith("x-")}


def schema(tree: Object) -> Object:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key in _SCHEMAS and meta.is_struct(value):
            found[key] = schema(value)
        elif key in _SCHEMA_LISTS and meta.is_list(value):
            found[key] = [schema(one) if meta.is_struct(one) else one for one in value]
        elif key in _SCHEMA_MAPS and meta.is_struct(value):
            found[key] = {name: schema(one) if meta.is_struct(one) else one for name, one in value.items()}
        else:
            found[key] = value
    reference = found.pop("$ref", None)
    if not isinstance(reference, str):
        return found
    referred = {"$ref": definitions.REFERENCE + reference.removeprefix(swagger.DEFINITIONS)}
    return {**found, "allOf": [referred]} if found else referred
