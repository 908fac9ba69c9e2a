"""The tree of a checked expression, read from the form in which the runtime gives it out.

Macros are comprehensions in it, operators are calls (`_==_`, `_[_]`). Each node has a number, by which its place in the
text is known and what the runtime found its type to be. A text nests at most 32 deep, so the tree may be recursed into.
Follows: cel.expr.CheckedExpr of the CEL project, in protobuf.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects.expressions import rewriting, types
from petset.objects.expressions.types import Type
from petset.objects.protobuf import reading

_TYPES, _EXPRESSION, _SOURCE, _POSITIONS = 3, 4, 5, 4
_PRIMITIVES = (types.DYN, types.BOOL, types.INT, types.UINT, types.DOUBLE, types.STRING, types.BYTES)
_WELL_KNOWN = (types.DYN, types.DYN, types.TIMESTAMP, types.DURATION)
_LITERALS = {
    1: types.NULL,
    2: types.BOOL,
    3: types.INT,
    4: types.UINT,
    5: types.DOUBLE,
    6: types.STRING,
    7: types.BYTES,
}


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    place: int
    type: Type
    value: int | str | bytes | float | None


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    place: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    place: int
    operand: Node
    field: str
    is_test: bool  # has()


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    place: int
    target: Node | None
    function: str
    arguments: Sequence[Node]


@dataclass(frozen=True, slots=True, eq=False)
class MadeList:
    place: int
    elements: Sequence[Node]
    optional: frozenset[int]  # Which of them are given as optionals.


@dataclass(frozen=True, slots=True, eq=False)
class MadeMap:
    place: int
    entries: Sequence[tuple[Node, Node, bool]]  # Key, value, whether the value is given as an optional.


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A macro over a range; cel.bind is one over nothing, whose accumulator is the variable."""

    place: int
    variable: str
    second: str  # Of a macro with two variables.
    range: Node
    accumulator: str
    begin: Node
    goes_on: Node
    step: Node
    result: Node


Node = Literal | Name | Select | Call | MadeList | MadeMap | Loop


@dataclass(frozen=True, slots=True)
class Tree:
    root: Node
    types: Mapping[int, Type]  # As the runtime has them, by place.
    positions: Mapping[int, int]  # In characters, by place.


def read(checked: bytes) -> Tree:
    """Raises ValueError."""
    message = _bytes(_last(checked, 2))  # It is within an Any.
    kinds: dict[int, Type] = {}
    positions: dict[int, int] = {}
    root: Node | None = None
    for number, value in reading.fields(message):
        if number == _TYPES and isinstance(value, bytes):
            entry = dict(reading.fields(value))
            kinds[_int(entry.get(1))] = _type(_bytes(entry.get(2)))
        elif number == _EXPRESSION:
            root = _node(_bytes(value))
        elif number == _SOURCE:
            for inner, pair in reading.fields(_bytes(value)):
                if inner == _POSITIONS and isinstance(pair, bytes):
                    entry = dict(reading.fields(pair))
                    positions[_int(entry.get(1))] = _int(entry.get(2))
    if root is None:
        raise ValueError("there is no expression in it")
    return Tree(root, kinds, positions)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _text(value: Any) -> str:
    return _bytes(value).decode()


def _last(message: bytes, number: int) -> Any:
    return dict(reading.fields(message)).get(number)


def _type(message: bytes) -> Type:
    for number, value in reading.fields(message):
        match number:
            case 2:
                return types.NULL
            case 3 if _int(value) < len(_PRIMITIVES):
                return _PRIMITIVES[_int(value)]
            case 5 if _int(value) < len(_WELL_KNOWN):
                return _WELL_KNOWN[_int(value)]
            case 6:
                return types.list_of(_type(_bytes(_last(_bytes(value), 1))))
            case 7:
                entry = dict(reading.fields(_bytes(value)))
                return types.map_of(_type(_bytes(entry.get(1))), _type(_bytes(entry.get(2))))
            case 11:
                return types.type_of(types.DYN)
            case 14:
                return _abstract(_bytes(value))
            case _:
                return types.DYN
    return types.DYN


def _abstract(message: bytes) -> Type:
    name, inner = "", types.DYN
    for number, value in reading.fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            inner = _type(_bytes(value))
    return types.optional_of(inner) if name == types.OPTIONAL else Type(name)


def _node(message: bytes) -> Node:
    place = 0
    for number, value in reading.fields(message):
        if number == 2:
            place = _int(value)
        elif number in _READERS:
            return _READERS[number](place, _bytes(value))
    return Literal(place, types.NULL, None)


def _literal(place: int, message: bytes) -> Node:
    for number, value in reading.fields(message):
        kind = _LITERALS.get(number, types.DYN)
        if number == 6:
            return Literal(place, kind, _text(value))
        if number == 5 and isinstance(value, bytes):
            return Literal(place, kind, struct.unpack("<d", value)[0])
        return Literal(place, kind, value)
    return Literal(place, types.NULL, None)


def _name(place: int, message: bytes) -> Node:
    return Name(place, _text(_last(message, 1)))


def _select(place: int, message: bytes) -> Node:
    parts = dict(reading.fields(message))
    return Select(place, _node(_bytes(parts.get(1))), _text(parts.get(2)), bool(parts.get(3)))


def _call(place: int, message: bytes) -> Node:
    target: Node | None = None
    name, arguments = "", list[Node]()
    for number, value in reading.fields(message):
        if number == 1:
            target = _node(_bytes(value))
        elif number == 2:
            name = rewriting.told(_text(value))
        elif number == 3:
            arguments.append(_node(_bytes(value)))
    return Call(place, target, name, arguments)


def _list(place: int, message: bytes) -> Node:
    elements: list[Node] = []
    optional: list[int] = []
    for number, value in reading.fields(message):
        if number == 1:
            elements.append(_node(_bytes(value)))
        elif number == 2:
            optional += reading.packed(value) if isinstance(value, bytes) else [value]
    return MadeList(place, elements, frozenset(optional))


def _map(place: int, message: bytes) -> Node:
    entries: list[tuple[Node, Node, bool]] = []
    for number, value in reading.fields(message):
        if number == 2:
            parts = dict(reading.fields(_bytes(value)))
            entries.append((_node(_bytes(parts.get(3))), _node(_bytes(parts.get(4))), bool(parts.get(5))))
    return MadeMap(place, entries)


def _loop(place: int, message: bytes) -> Node:
    parts = dict(reading.fields(message))
    inner = [_node(_bytes(parts.get(number))) for number in (2, 4, 5, 6, 7)]
    return Loop(place, _text(parts.get(1)), _text(parts.get(8)), inner[0], _text(parts.get(3)), *inner[1:])


_READERS = {3: _literal, 4: _name, 5: _select, 6: _call, 7: _list, 8: _map, 9: _loop}
