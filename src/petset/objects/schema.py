"""What a kind's objects look like: types, required and unknown fields, merge keys, all looked up and none coded.

`check` reads a stranger's object. First a quick look, `Node.ok`: is it already exactly as it would be stored? Most
writes are. Otherwise the slow reading makes a new tree as the API server's decoder does: unknown fields are dropped
and told, nulls are dropped, quantities, times and base64 take their canonical form, a wrong type is a 400 that names
the path. The types themselves are schema_nodes' business; `node_of` hands them to the patch engine.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from petset.objects import encoding, errors, quantity, schema_nodes
from petset.objects.errors import FieldError
from petset.objects.meta import Json, Object, is_struct
from petset.objects.registry import Kind
from petset.objects.schema_nodes import Node

UNKNOWN_FIELDS_TOLD_MAX = 100


# -- nodes of kinds -----------------------------------------------------------------------------------------------


@functools.cache
def node(name: str) -> Node:
    """The node of a type by its module and class: core_v1.Pod, meta_v1.DeleteOptions, apps_v1alpha1.PetSet."""
    module, _, kind = name.partition(".")
    return schema_nodes.struct(module, kind)


def node_of(resource: Kind) -> Node:
    return resource.custom.node() if resource.custom is not None else node(resource.type_name)


# -- reading an object --------------------------------------------------------------------------------------------


class _Wrong(Exception):
    """A value that its type cannot take; the message is as the API server's decoder says it, `why` as its converter."""

    def __init__(self, message: str, why: str = ""):
        super().__init__(message)
        self.why = why or message


def check(
    obj: Json, resource: Kind, strict: bool = False, duplicates: Sequence[str] = (), stored: Object | None = None
) -> tuple[dict[str, Any], list[str], list[FieldError]]:
    """(the object as it would be stored, what strict decoding would refuse, missing required fields and long lists).

    Raises ApiError 400 for wrong types and another kind, and with `strict` for unknown and duplicate fields too.
    Without `strict` the second item holds texts for Warning headers: `unknown field "spec.foo"`. `duplicates` are the
    paths from `encoding.duplicate_fields`. Missing apiVersion and kind are filled in from the resource.
    Parts that are those of `stored`, the object that a patch was applied to, were checked when they were stored.
    """
    if resource.custom is not None and isinstance(obj, dict):
        return resource.custom.read(obj)
    return check_as(obj, resource.type_name, resource.api_version, resource.kind, strict, duplicates, stored)


def metadata(
    given: Json, api_version: str, kind: str, path: str = "metadata"
) -> tuple[dict[str, Any], list[str], list[FieldError]]:
    """`check` for the metadata of an object whose kind has no types of its own, or that is inside of such a one."""
    root = node("meta_v1.ObjectMeta")
    if not isinstance(given, dict):
        raise _refused(api_version, kind, f"json: cannot unmarshal {_json_type(given)} into Go struct field .{path}")
    if root.ok(given):
        return given, [], []
    reading = _Reading([])
    try:
        result = reading.struct(root, given, path)
    except _Wrong as wrong:
        raise _refused(api_version, kind, str(wrong), wrong.why) from None
    return result, reading.told, reading.wrong


def check_as(
    obj: Json,
    name: str,
    api_version: str,
    kind: str,
    strict: bool = False,
    duplicates: Sequence[str] = (),
    stored: Object | None = None,
) -> tuple[dict[str, Any], list[str], list[FieldError]]:
    """`check` for a body that is no resource of the table: meta_v1.DeleteOptions, autoscaling_v1.Scale, ..."""
    root = node(name)
    if not isinstance(obj, dict):
        raise _refused(api_version, kind, f"json: cannot unmarshal {_json_type(obj)} into Go value of type {root.name}")
    obj = _with_type(obj, api_version, kind)
    if not duplicates and (root.ok(obj) if stored is None else _is_ok_beside(stored, root, obj)):
        return obj, [], []
    reading = _Reading([])
    try:
        result = reading.struct(root, obj, "")
    except _Wrong as wrong:
        raise _refused(api_version, kind, str(wrong), wrong.why) from None
    reading.told += [f'duplicate field "{path}"' for path in duplicates]
    if strict and reading.told:
        raise _refused(api_version, kind, "strict decoding error: " + ", ".join(reading.told))
    return result, reading.told, reading.wrong


def _is_ok_beside(stored: Object, root: Node, obj: Object) -> bool:
    """`root.ok` for a tree that shares parts with one that is stored."""
    fields, required = root.loaded()
    for key, part in obj.items():
        before: Any = stored.get(key)
        if part is None or part is not before:
            field = fields.get(key)
            if field is None:
                return False
            if field.kind == "struct" and is_struct(before) and is_struct(part):
                if not _is_ok_beside(before, field, part):
                    return False
            elif not field.ok(part):
                return False
    return required <= obj.keys()


def partial(obj: Object, resource: Kind) -> tuple[dict[str, Any], list[str]]:
    """(an object of which anything may be missing as it would be stored, what its type does not know).

    Raises ApiError 400 for wrong types.
    """
    if resource.custom is not None:
        return resource.custom.read(obj)[:2]
    reading = _Reading([], fills=False)
    try:
        return reading.struct(node_of(resource), obj, ""), reading.told
    except _Wrong as wrong:
        raise _refused(resource.api_version, resource.kind, str(wrong), wrong.why) from None


def _refused(api_version: str, kind: str, message: str, why: str = "") -> errors.ApiError:
    version = api_version.rpartition("/")[2]
    text = f'{kind} in version "{version}" cannot be handled as a {kind}: {message}'
    return errors.WrongType(text, why) if why else errors.bad_request(text)


def _restoring(kind: str, given: str) -> str:
    """How a value of another type is refused where a patched tree becomes an object."""
    given = _GO_KINDS.get(given, given)
    match kind:
        case "map":
            return f"cannot restore map from {given}"
        case "list":
            return f"cannot restore slice from {given}"
        case "struct":
            return f"cannot restore struct from: {given}"
        case _:
            return f"cannot convert {given} to {kind}"


_GO_KINDS = {"array": "slice", "object": "map", "number": "int64"}


def _with_type(obj: dict[str, Any], api_version: str, kind: str) -> dict[str, Any]:
    given_version, given_kind = obj.get("apiVersion"), obj.get("kind")
    if given_version == api_version and given_kind == kind:
        return obj
    if given_version in (None, "") and given_kind in (None, ""):
        return {**obj, "apiVersion": api_version, "kind": kind}
    if not given_kind:
        raise errors.bad_request("Object 'Kind' is missing in the object; set kind and apiVersion")
    raise errors.bad_request(
        f"the API version in the data ({given_version or ''}, Kind={given_kind}) does not match the expected "
        f"API version ({api_version}, Kind={kind})"
    )


def _json_type(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"


class _Reading:
    """One slow walk: what it told about unknown fields, which required ones it missed and which lists are too long."""

    def __init__(self, told: list[str], fills: bool = True):
        self.told = told
        self._fills = fills  # What a status lacks.
        self.wrong: list[FieldError] = []

    def struct(self, node: Node, value: Object, path: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        fields = node.fields
        for key, inner in value.items():
            field = fields.get(key)
            where = encoding.joined(path, key)
            if field is None:
                if len(self.told) < UNKNOWN_FIELDS_TOLD_MAX:
                    self.told.append(f'unknown field "{where}"')
            elif inner is not None:  # A null is a field that was not given.
                result[key] = inner if field.ok(inner) else self.value(field, inner, where, node)
        for key in sorted(node.required - result.keys()):
            where = encoding.joined(path, key)
            if path.startswith("status"):  # What a status lacks is empty: its readers find every field they count on.
                if self._fills and fields[key].kind in schema_nodes.ZERO:
                    result[key] = self.zero(fields[key])
            elif where != "status":
                self.wrong.append(FieldError.required(where))
        return result

    def value(self, node: Node, value: Json, path: str, struct: Node) -> Any:
        """The value as it is stored, for one that `ok` refused."""
        if node.items_max and isinstance(value, (list, dict)) and len(value) > node.items_max:
            self.wrong.append(FieldError.too_many(path, len(value), node.items_max))
            return self.zero(node)
        match node.kind:
            case "struct" if isinstance(value, dict):
                return self.struct(node, value, path)
            case "list" if isinstance(value, list) and node.item is not None:
                item = node.item
                return [
                    self.zero(item) if inner is None else self.value(item, inner, f"{path}[{index}]", struct)
                    for index, inner in enumerate(value)
                ]
            case "map" if isinstance(value, dict) and node.item is not None:
                item = node.item
                return {
                    key: self.zero(item)
                    if inner is None
                    else self.value(item, inner, encoding.joined(path, key), struct)
                    for key, inner in value.items()
                }
            case _:
                return value if node.ok(value) else self.scalar(node, value, path, struct)

    def zero(self, node: Node) -> Any:
        if node.kind in ("struct", "map", "object"):
            return {}
        return [] if node.kind == "list" else schema_nodes.ZERO.get(node.kind)

    def scalar(self, node: Node, value: Json, path: str, struct: Node) -> Any:
        if node.kind == "Quantity" and type(value) in (str, int, float):
            try:
                return quantity.canonical(value if isinstance(value, str) else str(value))
            except ValueError as error:
                raise _Wrong(f"{path}: {error}") from None
        if isinstance(value, str):
            if node.kind == "byte":
                if (text := schema_nodes.bytes_text(value)) is None:
                    raise _Wrong(f"{path}: illegal base64 data")
                return text
            if node.kind in ("Time", "MicroTime"):
                read = schema_nodes.time_text if node.kind == "Time" else schema_nodes.micro_time_text
                if (text := read(value)) is None:
                    raise _Wrong(f'{path}: parsing time "{value}": it must be like "2006-01-02T15:04:05Z"')
                return text
        given = _json_type(value)
        why = _restoring(node.kind, given)
        if given == "number" and node.kind in ("int32", "int64", "IntOrString"):
            given = f"number {value}"
        owner = struct.name.rpartition(".")[2]
        raise _Wrong(f"json: cannot unmarshal {given} into Go struct field {owner}.{path} of type {node.name}", why)
