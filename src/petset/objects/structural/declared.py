"""A structural schema as types of CEL: what an expression may say of a value, and how large that may be.

A property that has no name in CEL, or no type that a rule could speak of, is not there. Of a resource's root
apiVersion, kind and the name in its metadata always are. Times and durations are evaluated as texts, so that no type is
known of them. Sizes that no schema bounds are those of the largest request.
Follows: "Validation rules" of the Kubernetes documentation (type mapping, escaping, estimated costs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from petset.objects import meta
from petset.objects.expressions import source, types
from petset.objects.expressions.types import Type
from petset.objects.meta import Object

REQUEST_BYTES_MAX = 3 * 1024 * 1024  # What estimates believe to be the largest.
_TEXT_MAX = REQUEST_BYTES_MAX - 2
_TIMES = {"duration": (32, 3), "date": (12, 12), "date-time": (32, 21)}  # By format: the longest text, the least bytes.
_SCALARS = {
    "boolean": Type("bool", most=0, least=4),
    "number": Type("double", most=0, least=1),
    "integer": Type("int", most=0, least=1),
}
_NAME = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*")
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


def escaped(name: str) -> str | None:
    """A property's name in CEL; None where it has none."""
    if source.RESERVED.fullmatch(name):
        return f"__{name}__"
    if _NAME.fullmatch(name) is None:
        return None
    return re.sub(r"__|[./-]", lambda found: _ESCAPES[found.group()], name)


class Declared:
    """The types of a schema's nodes, each made once."""

    def __init__(self, root: Object, is_resource: bool = True):
        self._root = root if is_resource else None
        self._made: dict[int, Type | None] = {}

    def type(self, node: Object) -> Type | None:
        """Of a node of the schema; None where rules cannot speak of it."""
        key = id(node)
        if key not in self._made:
            self._made[key] = self._make(node)
        return self._made[key]

    def _make(self, node: Object) -> Type | None:
        if node.get("x-kubernetes-int-or-string"):
            length = node.get("maxLength")
            return Type("dyn", most=_TEXT_MAX if length is None else 4 * max(length, 0), least=1)
        match node.get("type"):
            case "array":
                return self._list(node)
            case "object":
                return self._object(node)
            case "string":
                return _text(node)
            case scalar:
                return _SCALARS.get(scalar or "")

    def _list(self, node: Object) -> Type | None:
        items = node.get("items")
        item = self.type(items) if meta.is_struct(items) else None
        if item is None:
            return None
        return types.list_of(item, _bound(node, "maxItems", _TEXT_MAX // (item.least + 1)), 2)

    def _object(self, node: Object) -> Type | None:
        others = node.get("additionalProperties")
        is_resource = node is self._root or bool(node.get("x-kubernetes-embedded-resource"))
        if meta.is_struct(others) and not is_resource:
            value = self.type(others)
            if value is None:
                return None
            many = _bound(node, "maxProperties", _TEXT_MAX // (value.least + 6))
            return types.map_of(types.STRING, value, many, 2)
        required = frozenset(meta.texts(node, "required"))
        fields: dict[str, Type] = {}
        least = 2
        for name, inner in meta.part(node, "properties").items():
            found = self.type(inner)
            if found is None:
                continue
            if (shown := escaped(name)) is not None:
                fields[shown] = found
            if name in required and inner.get("default") is None:
                least += len(name) + found.least + 4
        if is_resource:
            fields = {**fields, **_resource(fields)}
        return Type(types.OBJECT, fields=fields, most=0, least=least)


def _resource(fields: Mapping[str, Type]) -> Mapping[str, Type]:
    text = _text({})
    known = fields.get("metadata")
    inner: Mapping[str, Type] = (known.fields if known is not None else None) or {}
    metadata = Type(types.OBJECT, fields={"name": text, "generateName": text, **inner}, most=0, least=2)
    return {"apiVersion": text, "kind": text, "metadata": metadata}


def _bound(node: Object, keyword: str, otherwise: int) -> int:
    given = node.get(keyword)
    return otherwise if given is None else max(given, 0)


def _text(node: Object) -> Type:
    form, length = node.get("format"), node.get("maxLength")
    if form in _TIMES:
        longest, least = _TIMES[form]
        return Type("dyn", most=longest, least=least)
    if form == "byte":
        return Type("dyn", most=_bound(node, "maxLength", _TEXT_MAX), least=2)
    if length is not None:
        return Type("string", most=4 * max(length, 0), least=2)
    enumerated = [len(one.encode()) for one in node.get("enum") or () if isinstance(one, str)]
    return Type("string", most=max(enumerated) if enumerated else _TEXT_MAX, least=2)


def cardinality(kind: Type) -> int:
    """How many values of a type may stand in one request."""
    return REQUEST_BYTES_MAX // (kind.least + 1)
