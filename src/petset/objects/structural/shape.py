"""What a custom resource is stored as: fields that its schema does not know are dropped, defaults are filled in.

`pruning` and `defaulting` make closures of a structural schema, once. Both give back the tree they were given where
there is nothing to do, and done twice they do no more than once. A null where the schema says neither `nullable` nor a
default is a field that was not given. apiVersion, kind and metadata of the object itself, and of a resource embedded
in it, are always known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from petset.objects import encoding, meta
from petset.objects.meta import Object

UNKNOWN_FIELDS_TOLD_MAX = 100
RESOURCE_FIELDS = ("apiVersion", "kind", "metadata")

Prune = Callable[[Any, str, list[str]], Any]  # (value, path, the unknown fields found) -> value
Fill = Callable[[Any], Any]


def _children(schema: Object) -> tuple[Mapping[str, Object], Object | bool | None, Object | None]:
    """(properties, additionalProperties, items) of a node."""
    items: Any = schema.get("items")
    return meta.part(schema, "properties"), schema.get("additionalProperties"), items if meta.is_struct(items) else None


def nodes(root: Object) -> Iterator[Object]:
    """The node and all below it that stand for values of their own."""
    left = [root]
    while left:
        node = left.pop()
        yield node
        properties, others, items = _children(node)
        left += properties.values()
        left += [inner for inner in (items, others) if meta.is_struct(inner)]


def pruning(schema: Object, is_root: bool = False) -> Prune:
    """Drops what the schema does not know, and tells the paths of it."""
    properties, others, items = _children(schema)
    keeps = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    known = RESOURCE_FIELDS if is_root or schema.get("x-kubernetes-embedded-resource") else ()
    fields = {name: pruning(inner) for name, inner in properties.items()}
    rest = pruning(others) if meta.is_struct(others) else None
    keeps_rest = keeps or others is True
    of_items = pruning(items) if items is not None else None

    def prune(value: Any, path: str, found: list[str]) -> Any:
        if meta.is_struct(value):
            return _fields(value, path, found)
        if meta.is_list(value) and of_items is not None:
            made = [of_items(item, f"{path}[{index}]", found) for index, item in enumerate(value)]
            return made if any(new is not old for new, old in zip(made, value)) else value
        return value

    def _fields(struct: Mapping[str, Any], path: str, found: list[str]) -> Mapping[str, Any]:
        result: dict[str, Any] = {}
        changed = False
        for key, inner in struct.items():
            if key in known:
                result[key] = inner
                continue
            one = fields.get(key, rest)
            if one is not None:
                result[key] = new = one(inner, encoding.joined(path, key), found)
                changed = changed or new is not inner
            elif keeps_rest:
                result[key] = inner
            else:
                changed = True
                if len(found) < UNKNOWN_FIELDS_TOLD_MAX:
                    found.append(encoding.joined(path, key))
        return result if changed else struct

    return prune


def defaulting(schema: Object) -> Fill | None:
    """Fills in the defaults, and drops nulls that mean nothing; None where the schema has neither to do."""
    properties, others, items = _children(schema)
    fields = {name: defaulting(inner) for name, inner in properties.items()}
    defaults = {name: inner["default"] for name, inner in properties.items() if inner.get("default") is not None}
    nullable = frozenset(name for name, inner in properties.items() if _takes_null(inner))
    rest = defaulting(others) if meta.is_struct(others) else None
    rest_takes_null = not meta.is_struct(others) or _takes_null(others)
    of_items = defaulting(items) if items is not None else None
    if not properties and rest is None and rest_takes_null and of_items is None:
        return None

    def fill(value: Any) -> Any:
        if meta.is_struct(value):
            return _fields(value)
        if meta.is_list(value) and of_items is not None:
            made = [of_items(item) for item in value]
            return made if any(new is not old for new, old in zip(made, value)) else value
        return value

    def _fields(struct: Mapping[str, Any]) -> Mapping[str, Any]:
        result: dict[str, Any] = {}
        changed = False
        for key, inner in struct.items():
            is_property = key in fields
            if inner is None and (key not in nullable if is_property else not rest_takes_null):
                changed = True
                continue
            one = fields[key] if is_property else rest
            result[key] = new = inner if one is None else one(inner)
            changed = changed or new is not inner
        for key, default in defaults.items():
            if key not in result:
                one = fields[key]
                result[key] = default if one is None else one(default)
                changed = True
        return result if changed else struct

    return fill


def _takes_null(schema: Object) -> bool:
    return bool(schema.get("nullable")) or bool(
        schema.get("x-kubernetes-preserve-unknown-fields") and not schema.get("type")
    )
