"""Types of CEL as expressions are checked by them, with how large a value may be.

A `Type` says of a value what it is and, where a schema told it, its size at most (characters, items, entries) and the
bytes of its smallest JSON. `dyn` is whatever the checker does not know. `joined` is the one type that two values may
both have; two objects are of one type when they have the very same fields.
Follows: the CEL language definition ("Gradual Type Checking").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

UNBOUNDED = 2**64 - 1  # A size that nobody knows.
LIST, MAP, OBJECT, OPTIONAL, TYPE = "list", "map", "object", "optional_type", "type"
_TAKE_NULL = (OBJECT, "timestamp", "duration", "google.protobuf.Timestamp", "google.protobuf.Duration", OPTIONAL)


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    kind: str
    of: tuple[Type, ...] = ()  # A list's items; a map's keys and values; what an optional holds.
    fields: Mapping[str, Type] | None = None  # Of an object.
    most: int | None = None  # Its size at most; None where no schema tells it.
    least: int = 0  # Bytes of its smallest JSON.

    def __str__(self) -> str:
        if self.of and self.kind != TYPE:
            return f"{self.kind}({', '.join(map(str, self.of))})"
        return self.kind

    @property
    def item(self) -> Type:
        """What a list's items or a map's values are."""
        return self.of[-1]


DYN, BOOL, INT, UINT, DOUBLE, STRING, BYTES = map(Type, ("dyn", "bool", "int", "uint", "double", "string", "bytes"))
NULL, TIMESTAMP, DURATION, FREE = map(Type, ("null", "timestamp", "duration", "?"))  # FREE: an empty list's items.
SCALARS = ("bool", "int", "uint", "double", "timestamp", "duration")


def list_of(item: Type, most: int | None = None, least: int = 0) -> Type:
    return Type(LIST, (item,), most=most, least=least)


def map_of(key: Type, value: Type, most: int | None = None, least: int = 0) -> Type:
    return Type(MAP, (key, value), most=most, least=least)


def optional_of(value: Type) -> Type:
    return Type(OPTIONAL, (value,))


def type_of(value: Type) -> Type:
    return Type(TYPE, (value,))


def joined(one: Type, other: Type) -> Type | None:
    """The type of what may be either; None where nothing can be both."""
    if one is other or other.kind == "?":
        return one
    if one.kind == "?":
        return other
    if "dyn" in (one.kind, other.kind):
        return one if one.kind == "dyn" and other.kind != "dyn" else other if other.kind == "dyn" else DYN
    if one.kind == "null" and other.kind != "null":
        return other if _takes_null(other) else None
    if other.kind == "null" and one.kind != "null":
        return one if _takes_null(one) else None
    if one.kind != other.kind or len(one.of) != len(other.of):
        return None
    if one.kind == TYPE:
        return one
    if one.kind == OBJECT and one.fields is not other.fields:
        return None
    return _with_parts(one, other)


def _with_parts(one: Type, other: Type) -> Type | None:
    parts: list[Type] = []
    for mine, its in zip(one.of, other.of):
        part = joined(mine, its)
        if part is None:
            return None
        parts.append(part)
    most = None if one.most is None or other.most is None else max(one.most, other.most)
    if most == one.most and all(part is mine for part, mine in zip(parts, one.of)):
        return one
    return replace(one, of=tuple(parts), most=most)


def _takes_null(kind: Type) -> bool:
    return kind.kind in _TAKE_NULL or "." in kind.kind


def unsized(kind: Type) -> Type:
    """The same type, of a value that no schema bounds."""
    return replace(kind, of=tuple(unsized(one) for one in kind.of), most=None)


def told(kinds: Sequence[Type]) -> str:
    return f"({', '.join(map(str, kinds))})"
