"""What is wrong with a schema that a CustomResourceDefinition brings: whether it is structural, and small enough.

Structural: every value has one type outside of allOf, anyOf, oneOf and not; what those speak of is there outside of
them, too; they set no type, default or extension of their own. Then an object can be pruned, filled and checked along
its schema. Defaults must be valid by the schema that they stand in, patterns must compile, rules too. Paths, reasons
and messages are upstream's. Bounded: so many nodes, so deep, so many rules.
Follows: KEP-2337 and "Specifying a structural schema" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from petset.objects import meta, patterns
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.structural import rules, shape, typed_rules, values

NODES_MAX = 50_000  # The largest known has 12,000.
DEPTH_MAX = 64
TYPES = ("array", "boolean", "integer", "number", "object", "string")
ROOT, ITEM, FIELD = "at the root", "for specified array items", "for specified object fields"
_NOT_SUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_LOGIC = ("allOf", "anyOf", "oneOf")
_INT_OR_STRING = ({"type": "integer"}, {"type": "string"})
_EMPTY: Mapping[str, str] = {  # What may not stand within allOf, anyOf, oneOf and not, and how that is said.
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}

Errors = Iterator[FieldError]


def schema(root: Object, path: str, is_new: bool = True) -> Errors:
    """Everything that is wrong with a schema; of one that was there before, not what its rules' types and costs say."""
    if why := too_large(root):
        yield FieldError.invalid(path, "", why)
        return
    if root.get("nullable"):
        yield FieldError.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    wrong = [*_structural(root, ROOT, path), *_node(root, path, True, False, False)]
    yield from wrong
    if wrong:
        return
    found = list(_defaults(root, path, True))
    yield from found
    if rules.count(root) > rules.RULES_MAX:
        yield FieldError.forbidden(path, f"it has more than {rules.RULES_MAX} rules")
    elif not found:
        wrong = list(_rules(root, path, ""))
        yield from wrong
        if is_new and not wrong:
            yield from typed_rules.wrong(root, path)


def too_large(root: Object) -> str:
    """Why a schema is more than is looked into, or ""."""
    count, left = 0, [(root, 1)]
    while left:
        node, depth = left.pop()
        count += 1
        if count > NODES_MAX:
            return f"the schema has more than {NODES_MAX} nodes"
        if depth > DEPTH_MAX:
            return f"the schema is nested deeper than {DEPTH_MAX} levels"
        left += [(inner, depth + 1) for _, inner in _below(node)]
    return ""


def _below(node: Object) -> Iterator[tuple[str, Object]]:
    """The nodes right below one, with the ends of their paths."""
    for name, inner in meta.part(node, "properties").items():
        yield f"properties[{name}]", inner
    for keyword in ("items", "additionalProperties", "not"):
        if meta.is_struct(node.get(keyword)):
            yield keyword, node[keyword]
    for keyword in _LOGIC:
        for index, inner in enumerate(meta.parts(node, keyword)):
            yield f"{keyword}[{index}]", inner


# -- structural


def _structural(node: Object, level: str, path: str) -> Errors:
    kind = node.get("type") or ""
    if kind == "array" and not meta.is_struct(node.get("items")):
        yield FieldError.required(f"{path}.items", "must be specified")
    if meta.is_struct(node.get("items")):
        yield from _structural(node["items"], ITEM, f"{path}.items")
    for name, inner in meta.part(node, "properties").items():
        yield from _structural(inner, FIELD, f"{path}.properties[{name}]")
    others = node.get("additionalProperties")
    if others is not None and level is ROOT:
        yield FieldError.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if meta.is_struct(others):
        yield from _structural(others, FIELD, f"{path}.additionalProperties")
    yield from _extensions(node, path)
    yield from _value_validation(node, node, level, path, path)
    yield from _type(node, kind, level, path)
    yield from _resource(node, level, path)


def _extensions(node: Object, path: str) -> Errors:
    if node.get("x-kubernetes-int-or-string"):
        for other in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if node.get(other):
                yield FieldError.invalid(f"{path}.{other}", True, "must be false if x-kubernetes-int-or-string is true")


def _type(node: Object, kind: str, level: str, path: str) -> Errors:
    if node.get("x-kubernetes-embedded-resource") and kind != "object":
        why = "must be object if x-kubernetes-embedded-resource is true"
        yield FieldError.invalid(f"{path}.type", kind, why) if kind else FieldError.required(f"{path}.type", why)
    elif not kind and not (node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields")):
        yield FieldError.required(f"{path}.type", f"must not be empty {level}")
    if level is ROOT and kind and kind != "object":
        yield FieldError.invalid(f"{path}.type", kind, "must be object at the root")


def _resource(node: Object, level: str, path: str) -> Errors:
    """What is said of apiVersion, kind and metadata of a resource."""
    embedded, properties = bool(node.get("x-kubernetes-embedded-resource")), meta.part(node, "properties")
    if embedded and node.get("additionalProperties") is not None:
        why = "must not be used if x-kubernetes-embedded-resource is set"
        yield FieldError.forbidden(f"{path}.additionalProperties", why)
    if embedded and not properties and not node.get("x-kubernetes-preserve-unknown-fields"):
        why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        yield FieldError.required(f"{path}.properties", why)
    if level is not ROOT and not embedded:
        return
    for name, kind in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        found = properties.get(name)
        if found is not None and (given := found.get("type") or "") != kind:
            yield FieldError.invalid(f"{path}.properties[{name}].type", given, f"must be {kind}")
    metadata = meta.part(properties, "metadata")
    others = {key for key in metadata if key not in ("type", "properties", "description", "default")}
    if level is ROOT and (others or set(meta.part(metadata, "properties")) - {"name", "generateName"}):
        why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield FieldError.forbidden(f"{path}.properties[metadata]", why)


def _value_validation(node: Object, outside: Object, level: str, path: str, outside_path: str) -> Errors:
    """Of allOf, anyOf, oneOf and not; `outside` is what stands for the same value outside of them."""
    any_of = meta.parts(node, "anyOf")
    if not _is_int_or_string(any_of):
        for index, inner in enumerate(any_of):
            yield from _nested(inner, outside, level, f"{path}.anyOf[{index}]", outside_path)
    for index, inner in enumerate(meta.parts(node, "allOf")):
        if index or not _is_int_or_string(meta.parts(inner, "anyOf")):
            yield from _nested(inner, outside, level, f"{path}.allOf[{index}]", outside_path)
    for index, inner in enumerate(meta.parts(node, "oneOf")):
        yield from _nested(inner, outside, level, f"{path}.oneOf[{index}]", outside_path)
    if meta.is_struct(node.get("not")):
        yield from _nested(node["not"], outside, level, f"{path}.not", outside_path)
    if node.get("pattern"):
        try:
            patterns.compiled(node["pattern"])
        except ValueError as error:
            why = f"must be a valid regular expression, but isn't: {error}"
            yield FieldError.invalid(f"{path}.pattern", node["pattern"], why)


def _is_int_or_string(alternatives: Sequence[Object]) -> bool:
    return len(alternatives) == 2 and all(a == b for a, b in zip(alternatives, _INT_OR_STRING))


def _nested(node: Object, outside: Object | None, level: str, path: str, outside_path: str) -> Errors:
    if outside is None:
        yield FieldError.required(outside_path, f"because it is defined in {path}")
        return
    for keyword, why in _EMPTY.items():
        if node.get(keyword) not in (None, "", False, []):
            yield FieldError.forbidden(f"{path}.{keyword}", why)
    yield from _value_validation(node, outside, level, path, outside_path)
    if meta.is_struct(node.get("items")):
        items = outside.get("items")
        found = items if meta.is_struct(items) else None
        yield from _nested(node["items"], found, level, f"{path}.items", f"{outside_path}.items")
    known = meta.part(outside, "properties")
    for name, inner in meta.part(node, "properties").items():
        where = f"properties[{name}]"
        if name == "metadata":
            yield FieldError.forbidden(f"{path}.{where}", "must not be specified in a nested context")
        yield from _nested(inner, known.get(name), FIELD, f"{path}.{where}", f"{outside_path}.{where}")


# -- each node by itself


def _node(node: Object, path: str, is_root: bool, no_defaults: bool, in_metadata: bool) -> Errors:
    kind = node.get("type") or ""
    if kind == "null":
        yield FieldError.forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    elif kind and kind not in TYPES:
        yield FieldError.unsupported(f"{path}.type", kind, TYPES)
    if no_defaults and node.get("default") is not None:
        yield FieldError.forbidden(f"{path}.default", "must not be set")
    for keyword in _NOT_SUPPORTED:
        if node.get(keyword) not in (None, "", {}):
            yield FieldError.forbidden(f"{path}.{keyword}", f"{keyword} is not supported")
    if node.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield FieldError.forbidden(f"{path}.uniqueItems", why)
    if in_metadata and node.get("x-kubernetes-embedded-resource"):
        yield FieldError.forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")
    if node.get("properties") and node.get("additionalProperties") not in (None, True):
        why = "additionalProperties and properties are mutual exclusive"
        yield FieldError.forbidden(f"{path}.additionalProperties", why)
    if node.get("x-kubernetes-preserve-unknown-fields") is False:
        yield FieldError.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    yield from _map_type(node, kind, path)
    yield from _list_type(node, kind, path)
    for end, inner in _below(node):
        resource = end in ("properties[metadata]", "properties[kind]", "properties[apiVersion]")
        own = resource and (is_root or bool(node.get("x-kubernetes-embedded-resource")))
        forbids = no_defaults or (own and is_root) or (in_metadata and end == "additionalProperties")
        yield from _node(inner, f"{path}.{end}", False, forbids, in_metadata or own)


def _map_type(node: Object, kind: str, path: str) -> Errors:
    given = node.get("x-kubernetes-map-type")
    if given is None:
        return
    if kind != "object":
        why = "must be object if x-kubernetes-map-type is specified"
        yield FieldError.invalid(f"{path}.type", kind, why) if kind else FieldError.required(f"{path}.type", why)
    if given not in ("atomic", "granular"):
        yield FieldError.unsupported(f"{path}.x-kubernetes-map-type", given, ("atomic", "granular"))


def _list_type(node: Object, kind: str, path: str) -> Errors:
    given, keys = node.get("x-kubernetes-list-type"), meta.texts(node, "x-kubernetes-list-map-keys")
    where, keys_path = f"{path}.x-kubernetes-list-type", f"{path}.x-kubernetes-list-map-keys"
    if given is not None and kind != "array":
        why = "must be array if x-kubernetes-list-type is specified"
        yield FieldError.invalid(f"{path}.type", kind, why) if kind else FieldError.required(f"{path}.type", why)
    if given is not None and given not in ("atomic", "set", "map"):
        yield FieldError.unsupported(where, given, ("atomic", "set", "map"))
    if keys and given != "map":
        why = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield FieldError.required(where, why) if given is None else FieldError.invalid(where, given, why)
    items = node.get("items")
    if given not in ("set", "map") or not meta.is_struct(items):
        return
    if items.get("nullable"):
        yield FieldError.forbidden(
            f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {given}"
        )
    if given == "set":
        yield from _set_items(items, path)
        return
    if not keys:
        yield FieldError.required(keys_path, "must not be empty if x-kubernetes-list-type is map")
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        yield FieldError.invalid(f"{path}.items.type", items.get("type") or "", why)
        return
    yield from _keys(items, keys, path, keys_path)


def _set_items(items: Object, path: str) -> Errors:
    why = "must be atomic as item of a list with x-kubernetes-list-type=set"
    if items.get("type") == "array" and items.get("x-kubernetes-list-type") not in (None, "atomic"):
        yield FieldError.invalid(f"{path}.items.x-kubernetes-list-type", items["x-kubernetes-list-type"], why)
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        yield FieldError.invalid(f"{path}.items.x-kubernetes-map-type", items.get("x-kubernetes-map-type"), why)


def _keys(items: Object, keys: Sequence[str], path: str, keys_path: str) -> Errors:
    required = frozenset(meta.texts(items, "required"))
    seen: dict[str, None] = {}
    for key in keys:
        field, where = meta.part(items, "properties").get(key), f"{path}.items.properties[{key}]"
        if field is None:
            yield FieldError.invalid(keys_path, list(keys), "entries must all be names of item properties")
            continue
        if field.get("type") in ("array", "object"):
            why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield FieldError.invalid(f"{where}.type", field["type"], why)
        if key in seen:
            yield FieldError.invalid(keys_path, list(keys), "must not contain duplicate entries")
        seen[key] = None
        told = "this property is in x-kubernetes-list-map-keys, so it"
        if key not in required and field.get("default") is None:
            yield FieldError.required(f"{where}.default", f"{told} must have a default or be a required property")
        if field.get("nullable"):
            yield FieldError.forbidden(f"{where}.nullable", f"{told} cannot be nullable")


# -- defaults and rules


def _defaults(node: Object, path: str, is_root: bool) -> Errors:
    """That each default is what an object may have there."""
    default: Any = node.get("default")
    if default is not None:
        unknown: list[str] = []
        shape.pruning(node)(default, "", unknown)
        if unknown:
            yield FieldError.invalid(f"{path}.default", default, "must not have unknown fields")
        found: list[FieldError] = []
        values.compiled(node)(default, values.NONE, f"{path}.default", found)
        check = rules.compiled(node) if not found and not unknown else None
        if check is not None:
            check(default, values.NONE, f"{path}.default", found, rules.Evaluations())
        yield from found
    if meta.is_struct(node.get("items")):
        yield from _defaults(node["items"], f"{path}.items", False)
    for name, inner in meta.part(node, "properties").items():
        yield from _defaults(inner, f"{path}.properties[{name}]", False)


def _rules(node: Object, path: str, uncorrelated: str) -> Errors:
    yield from rules.wrong(node, path, uncorrelated)
    atomic = uncorrelated or (path if node.get("x-kubernetes-map-type") == "atomic" else "")
    for name, inner in meta.part(node, "properties").items():
        yield from _rules(inner, f"{path}.properties[{name}]", atomic)
    if meta.is_struct(node.get("additionalProperties")):
        yield from _rules(node["additionalProperties"], f"{path}.additionalProperties", uncorrelated)
    if meta.is_struct(node.get("items")):
        listed = uncorrelated or ("" if node.get("x-kubernetes-list-type") == "map" else path)
        yield from _rules(node["items"], f"{path}.items", listed)
