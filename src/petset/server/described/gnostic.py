"""OpenAPI documents in protobuf: the wire format, and messages by a table (gnostic_v2.py and gnostic_v3.py have them).

`Messages.write("Schema", tree)` writes a JSON tree. A table has of each message its fields by their JSON names, with
number and type. A type is a scalar (text, bool, int, double), `any` (a value as YAML, for which JSON will do), another
message, or a shape that the table's module writes itself; with `[]` before it is repeated, with `{}` a map: a message
of pairs of name and value; with `?` behind it may be a reference instead. What begins with x- goes into the message's
extensions (`ext`). What is not in the table is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from petset.objects import encoding, meta
from petset.objects.meta import Json, Object

_EXTENSION = "x-"
Shape = Callable[["Messages", Any], bytes]  # The content of what a table cannot say.

# -- the wire format ----------------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value >= 0x80:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def field(number: int, content: bytes) -> bytes:
    """A text or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def scalar(number: int, kind: str, value: Json) -> bytes:
    """A field of a scalar type. Raises ValueError for a value of another."""
    match kind, value:
        case "bool", bool():
            return _varint(number << 3) + (b"\1" if value else b"\0")
        case "int", int():
            return _varint(number << 3) + _varint(value)
        case "double", int() | float():
            return _varint(number << 3 | 1) + struct.pack("<d", value)
        case "text", str():
            return field(number, value.encode())
        case "any", _:
            return field(number, _any(value))
        case _:
            raise ValueError(f"cannot write {value!r} as {kind}")


def _any(value: Json) -> bytes:
    return field(2, encoding.dumps(value))


def named(number: int, name: str, value: bytes) -> bytes:
    """A pair of a map."""
    return field(number, field(1, name.encode()) + field(2, value))


# -- messages -----------------------------------------------------------------------------------------------------


class Messages:
    """A version's messages: `table` by message and JSON name (number, type), `shapes` by name."""

    def __init__(self, texts: Mapping[str, str], shapes: Mapping[str, Shape]):
        """`texts`: message -> "JSON name, number, type" of its fields, by commas."""
        self._table = {message: dict(_row(row) for row in text.split(", ")) for message, text in texts.items()}
        self._shapes = shapes

    def write(self, message: str, tree: Object | Json) -> bytes:
        """A message's content. Raises ValueError for a value of another type than the table says."""
        if not meta.is_struct(tree):
            raise ValueError(f"cannot write {tree!r} as {message}")
        return b"".join(self._fields(self._table[message], tree))

    def _fields(self, table: Mapping[str, tuple[int, str]], tree: Object) -> Iterator[bytes]:
        for key, value in tree.items():
            if key in table:
                number, kind = table[key]
                if kind.startswith("[]"):
                    yield from (self._value(number, kind[2:], inner) for inner in elements(value))
                else:
                    yield self._value(number, kind, value)
            elif key.startswith(_EXTENSION) and _EXTENSION in table:
                yield named(table[_EXTENSION][0], key, _any(value))

    def _value(self, number: int, kind: str, value: Any) -> bytes:
        if kind.startswith("{}") or kind.endswith("?") or kind in self._shapes or kind in self._table:
            return field(number, self.content(kind, value))
        return scalar(number, kind, value)

    def content(self, kind: str, value: Any) -> bytes:
        """The content of a message, of a shape, of a map of them, or of what may be a reference."""
        if kind.startswith("{}"):
            return b"".join(named(1, name, self.content(kind[2:], inner)) for name, inner in pairs(value))
        if kind.endswith("?"):
            is_reference = meta.is_struct(value) and "$ref" in value
            return field(2, self.write("Reference", value)) if is_reference else field(1, self.write(kind[:-1], value))
        shape = self._shapes.get(kind)
        return shape(self, value) if shape is not None else self.write(kind, value)


def _row(text: str) -> tuple[str, tuple[int, str]]:
    name, number, kind = text.split()
    return name, (int(number), kind)


def elements(value: Any) -> list[Any]:
    """Raises ValueError for what is no list."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r} is no list")
    return [*value]


def pairs(value: Any) -> list[tuple[str, Any]]:
    """Raises ValueError for what is no object."""
    if not meta.is_struct(value):
        raise ValueError(f"{value!r} is no object")
    return list(value.items())
