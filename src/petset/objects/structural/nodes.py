"""A structural schema as types (schema_nodes.Node): what patches and server-side apply ask of a kind.

Lists have their types and keys, structs and maps what is inside; what the schema leaves open is anything. Built when
it is first asked for, level by level.
"""

from __future__ import annotations

from typing import Any

from petset.objects import meta, schema_nodes
from petset.objects.meta import Object
from petset.objects.schema_nodes import Fields, Node


def _any(value: Any) -> bool:
    return True


_ANYTHING = Node("any", "interface {}", _any)


def resource(schema: Object, name: str) -> Node:
    """The node of a whole object."""
    return Node("struct", name, _any, load=lambda: _resource_fields(schema))


def _resource_fields(schema: Object) -> Fields:
    fields = {key: node(inner) for key, inner in meta.part(schema, "properties").items()}
    text = Node("string", "string", _any)
    own = {"apiVersion": text, "kind": text, "metadata": schema_nodes.struct("meta_v1", "ObjectMeta")}
    return {**fields, **own}, frozenset()


def node(schema: Object) -> Node:
    if schema.get("x-kubernetes-embedded-resource"):
        return resource(schema, "object")
    kind, items, others = schema.get("type"), schema.get("items"), schema.get("additionalProperties")
    if kind == "array" and meta.is_struct(items):
        made = Node("list", "[]", _any, node(items))
        made.list_type = schema.get("x-kubernetes-list-type") or ""
        made.list_keys = tuple(meta.texts(schema, "x-kubernetes-list-map-keys"))
        return made
    if kind != "object":
        return _ANYTHING
    if meta.is_struct(others):
        made = Node("map", "map[string]", _any, node(others))
    else:
        made = Node("struct", "object", _any, load=lambda: _fields(schema))
    made.is_atomic = schema.get("x-kubernetes-map-type") == "atomic"
    return made


def _fields(schema: Object) -> Fields:
    return {key: node(inner) for key, inner in meta.part(schema, "properties").items()}, frozenset()
