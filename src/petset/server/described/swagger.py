"""OpenAPI v2 out of v3: the same paths and schemas in the words of the older version.

A body is a parameter, an answer has its schema without media types, components are definitions. What v2 cannot say of
a schema (alternatives, nullable, fields that are not known) is left out as upstream leaves it out, so that kubectl does
not refuse what the server takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object
from petset.server.described import definitions

DEFINITIONS = "#/definitions/"
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_UNKNOWN = frozenset(("oneOf", "anyOf", "not", "nullable", "allOf", "writeOnly", "deprecated"))
_SCHEMAS_INSIDE = ("items", "additionalProperties")
_PRESERVED, _INT_OR_STRING = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"


def path_item(item: Object) -> Object:
    """The operations of a path."""
    return {
        **({"parameters": [_parameter(one) for one in item["parameters"]]} if "parameters" in item else {}),
        **{method: _operation(item[method]) for method in _METHODS if method in item},
    }


def _operation(operation: Object) -> Object:
    parameters = [_parameter(one) for one in operation.get("parameters", ())]
    body = operation.get("requestBody")
    consumed: list[str] = []
    if body is not None:
        consumed = list(body["content"])
        schema_of = next(iter(body["content"].values()))["schema"]
        is_required = {"required": True} if body.get("required") else {}
        parameters.append({"in": "body", "name": "body", **is_required, "schema": schema(schema_of)})
    produced: dict[str, None] = {}
    responses: dict[str, Any] = {}
    for code, response in operation["responses"].items():
        content: Mapping[str, Any] = response.get("content", {})
        produced |= dict.fromkeys(content)
        responses[code] = {"description": response["description"]}
        for answered in content.values():
            responses[code]["schema"] = schema(answered["schema"])
    kept = {key: value for key, value in operation.items() if key not in ("parameters", "requestBody", "responses")}
    return {
        **kept,
        "consumes": consumed or ["*/*"],
        "produces": list(produced),
        **({"parameters": parameters} if parameters else {}),
        "responses": responses,
        "schemes": ["https"],
    }


def _parameter(parameter: Object) -> Object:
    kept = {key: value for key, value in parameter.items() if key != "schema"}
    return {**kept, **{key: value for key, value in parameter["schema"].items() if key != "default"}}


def definition(tree: Object) -> Object:
    """A component's schema. Of one that keeps unknown fields at its top nothing is said, as upstream says nothing."""
    if tree.get(_PRESERVED):
        return {key: value for key, value in tree.items() if key in ("type", "x-kubernetes-group-version-kind")}
    return schema(tree)


def schema(tree: Object) -> Object:
    """A schema: of a component, a body, an answer, or inside of one."""
    match tree.get("allOf"):
        case [{"$ref": reference}]:  # How v3 says something beside a reference.
            return {"$ref": _reference(reference), **_without(tree, ("allOf",))}
        case _:
            pass
    if "$ref" in tree:
        return {**tree, "$ref": _reference(tree["$ref"])}
    left_out: tuple[str, ...] = ()
    if tree.get(_INT_OR_STRING) or tree.get("nullable"):
        left_out = ("type", "items", "properties", "additionalProperties")
    elif tree.get(_PRESERVED):
        left_out = ("items", "properties", "additionalProperties")
    found = _without(tree, left_out)
    if tree.get("format") == "int-or-string" or _is_number_or_text(tree):
        found["type"] = "string"
    return found


def _is_number_or_text(tree: Object) -> bool:
    match tree.get("oneOf"):
        case [{"type": _}, {"type": _}]:
            return "type" not in tree
        case _:
            return False


def _without(tree: Object, left_out: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key in _UNKNOWN or key in left_out:
            continue
        if key == "properties":
            found[key] = {name: schema(inner) for name, inner in value.items()}
        elif key in _SCHEMAS_INSIDE and meta.is_struct(value):
            found[key] = schema(value)
        else:
            found[key] = value
    return found


def _reference(reference: str) -> str:
    return DEFINITIONS + reference.removeprefix(definitions.REFERENCE)
