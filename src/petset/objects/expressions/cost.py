"""What an expression may cost at most, told from its tree and from how large its values may be.

A unit is about one step of the runtime. What a function costs grows with the sizes of what it is given, which come
from the schema (maxLength, maxItems, maxProperties, or the largest request where there is none), from the expression
itself, or from what another function makes of them. A macro costs what its step costs, as often as its range has
items. The estimate decides which rules may stand in a definition, so it is the same as upstream's, for the same schema.
Follows: checker/cost.go of cel-go and the estimates of Kubernetes' own functions, by their figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petset.objects.expressions import types
from petset.objects.expressions.checking import Checked
from petset.objects.expressions.tree import Call, Literal, Loop, MadeList, MadeMap, Name, Node, Select
from petset.objects.expressions.types import UNBOUNDED, Type

_NAMED, _LIST, _MAP = 1, 10, 30  # A name or a field, a list made, a map made.
_CHARACTER, _PATTERN_CHARACTER = 0.1, 0.25
_AUTHORIZATION = 350_000
_ACCUMULATORS = ("@result", "__result__")
_SCAN = ("lowerAscii", "upperAscii", "substring", "trim")  # Give a text as long as theirs.
_PARSE = ("url", "isURL", "cidr", "isIP", "isCIDR", "quantity", "isQuantity", "ip", "semver", "isSemver")
_OVER_ITEMS = ("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes")
_MAKES_LIST = ("slice", "flatten", "reverse", "lists.range", "distinct", "sort", "@sortByAssociatedKeys")
_FORMAT = 128  # Characters of a named format's pattern.
_COMPARE = ("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_")
_PARSED = ("string", "dyn")


@dataclass(frozen=True, slots=True)
class Size:
    least: int
    most: int

    def plus(self, other: Size) -> Size:
        return Size(_sum(self.least, other.least), _sum(self.most, other.most))

    def times(self, other: Size) -> Size:
        return Size(_product(self.least, other.least), _product(self.most, other.most))

    def either(self, other: Size) -> Size:
        return Size(min(self.least, other.least), max(self.most, other.most))


_UNKNOWN, _ONE = Size(0, UNBOUNDED), Size(1, 1)


def most(expression: Checked) -> int:
    """What an evaluation may cost at most, UNBOUNDED for more than can be told."""
    return _Coster(expression.types).cost(expression.root)


def _sum(*values: int) -> int:
    return min(UNBOUNDED, sum(values))


def _product(one: int, other: int) -> int:
    return min(UNBOUNDED, one * other)


def _share(size: int, factor: float) -> int:
    """So many units for each of so many."""
    return min(UNBOUNDED, math.ceil(float(size) * factor))


class _Coster:
    def __init__(self, kinds: Mapping[int, Type]):
        self._kinds = kinds
        self._sizes: dict[int, Size] = {}  # By place, of what is known of a value beside its type.
        self._locals: list[tuple[str, Size | None]] = []

    def cost(self, node: Node) -> int:
        match node:
            case Literal():
                return 0
            case Name():
                local = next((size for name, size in reversed(self._locals) if name == node.name), None)
                if local is not None:
                    self._sizes[node.place] = local
                return _NAMED
            case Select():
                inner = self.cost(node.operand)
                if node.is_test:
                    return inner
                return _sum(inner, _NAMED if self._kind(node.operand).kind in (types.MAP, types.OBJECT) else 0)
            case Call():
                return self._call(node)
            case MadeList():
                return _sum(_LIST, *(self.cost(one) for one in node.elements))
            case MadeMap():
                return _sum(_MAP, *(self.cost(one) for key, value, _ in node.entries for one in (key, value)))
            case Loop():
                return self._bind(node) if _is_bind(node) else self._loop(node)

    def _kind(self, node: Node) -> Type:
        return self._kinds.get(node.place, types.DYN)

    def _size(self, node: Node) -> Size:
        known = self._sizes.get(node.place)
        if known is not None:
            return known
        match node:
            case Literal(value=str() as text):
                return Size(len(text), len(text))
            case Literal(value=bytes() as data) if node.type.kind == "bytes":
                return Size(len(data), len(data))
            case Literal():
                return _ONE
            case MadeList():
                return Size(len(node.elements), len(node.elements))
            case MadeMap():
                return Size(len(node.entries), len(node.entries))
            case _:
                return _size_by(self._kind(node))

    def _loop(self, node: Loop) -> int:
        outside = _sum(self.cost(node.range), self.cost(node.begin))
        depth = len(self._locals)
        begin = self._size(node.begin) if isinstance(node.begin, Literal) else None
        self._locals.append((node.accumulator, begin))
        self._locals += [(name, None) for name in (node.variable, node.second) if name]
        each = _sum(self.cost(node.goes_on), self.cost(node.step))
        del self._locals[depth + 1 :]
        outside = _sum(outside, self.cost(node.result))
        self._locals.pop()
        times = self._size(node.range)
        self._sizes[node.place] = times if begin is None else begin
        return _sum(outside, _product(times.most, each))

    def _bind(self, node: Loop) -> int:
        given = _sum(self.cost(node.range), self.cost(node.begin))
        self._locals.append((node.accumulator, self._size(node.begin)))
        found = _sum(given, self.cost(node.result))
        self._locals.pop()
        self._sizes[node.place] = self._size(node.result)
        return found

    def _call(self, node: Call) -> int:
        arguments = [self.cost(one) for one in node.arguments]
        target = self.cost(node.target) if node.target is not None else 0
        if node.function == "_?_:_":
            condition, *branches = arguments
            self._sizes[node.place] = self._size(node.arguments[1]).either(self._size(node.arguments[2]))
            return _sum(condition, max(branches))
        sizes = [self._size(one) for one in (*([node.target] if node.target is not None else []), *node.arguments)]
        own, size = self._own(node, sizes)
        if size is not None:
            self._sizes[node.place] = size
        return _sum(target, *arguments, own)

    def _own(self, node: Call, sizes: Sequence[Size]) -> tuple[int, Size | None]:
        """What a call itself costs, and the size of its value where it is known; `sizes` are those of its operands."""
        name, count = node.function, len(sizes)
        first = sizes[0] if sizes else _ONE
        if name in ("_&&_", "_||_"):
            return 0, None
        if name == "dyn":
            return 1, first
        if name == "check":
            return _AUTHORIZATION, None
        if name in _COMPARE and count == 2:
            return self._compared(node, sizes), None
        if name in ("_+_", "@in"):
            return self._list_or_text(node, sizes)
        if name in ("startsWith", "endsWith") and count == 2:
            return _share(sizes[1].most, _CHARACTER), None
        if name == "contains" and count == 2:
            return _product(_share(first.most, _CHARACTER), _share(sizes[1].most, _CHARACTER)), None
        if name in ("matches", "find", "findAll") and count > 1:
            over = _share(_sum(first.most, 1), _CHARACTER)
            return _product(over, _share(sizes[1].most, _PATTERN_CHARACTER)), _found(name, first)
        if name in _OVER_ITEMS:
            return self._over_items(node, first), None
        if name in _MAKES_LIST and not self._is_text(node):
            return self._list(node, sizes)
        if name in _SCAN:
            return _share(first.most, _CHARACTER), first
        if name in _PARSE and count and self._is_text(node):
            return _share(first.most, _CHARACTER), None
        return _made(name, sizes, self._item_size(node))

    def _is_text(self, node: Call) -> bool:
        given = node.target or node.arguments[0]
        return self._kind(given).kind in _PARSED

    def _compared(self, node: Call, sizes: Sequence[Size]) -> int:
        kinds = [self._kind(one).kind for one in node.arguments]
        if node.function not in ("_==_", "_!=_") and not any(kind in ("string", "bytes", "dyn") for kind in kinds):
            return 1  # Of numbers and times.
        return _share(min(sizes[0].most, sizes[1].most), _CHARACTER)

    def _list_or_text(self, node: Call, sizes: Sequence[Size]) -> tuple[int, Size | None]:
        first, second = sizes
        if node.function == "@in":
            return (second.most if self._kind(node.arguments[1]).kind != types.MAP else 1), None
        both = first.plus(second)
        match self._kind(node).kind:
            case "string" | "bytes" | "dyn":
                return _share(both.most, _CHARACTER), both
            case types.LIST:
                return 1, both
            case _:
                return 1, None

    def _item_size(self, node: Call) -> Size:
        given = self._kind(node.target) if node.target is not None else types.DYN
        return _size_by(given.item) if given.kind == types.LIST else _UNKNOWN

    def _over_items(self, node: Call, size: Size) -> int:
        given = self._kind(node.target or node.arguments[0])
        if given.kind != types.LIST:  # indexOf in a text, or includes in what may be a list.
            return _share(size.most, 1 if node.function == "includes" else _CHARACTER)
        each = 1
        if given.item.kind in ("string", "bytes"):
            each = _sum(1, _share(self._item_size(node).most, _CHARACTER))
        return _product(size.most, each)

    def _list(self, node: Call, sizes: Sequence[Size]) -> tuple[int, Size | None]:
        """Of what makes a list of another."""
        name, first, given = node.function, sizes[0], self._kind(node.target or node.arguments[0])
        factor = 1.0
        if name == "slice":
            start, end = (_number(one, unless) for one, unless in zip(node.arguments, (0, first.most)))
            first = Size(max(end - start, 0), max(end - start, 0))
        elif name == "flatten" and node.arguments:
            factor = float(_number(node.arguments[0], UNBOUNDED))
        elif name == "lists.range":
            most = _number(node.arguments[0], UNBOUNDED)
            first = Size(most, most)
        elif name not in ("flatten", "reverse"):  # They compare each item with each.
            of = sizes[1] if name == "@sortByAssociatedKeys" else first
            keys = self._kind(node.arguments[0]) if name == "@sortByAssociatedKeys" else given
            is_of_texts = keys.kind == types.LIST and keys.item.kind in ("string", "bytes")
            first, factor = of.times(of), 2 + (_CHARACTER if is_of_texts and name != "distinct" else 0)
        return _sum(_share(first.most, factor), 1, _LIST), first


def _number(node: Node, unless: int) -> int:
    """The number that stands there, if one does."""
    if isinstance(node, Literal) and node.type.kind == "int" and isinstance(node.value, int):
        return max(node.value, 0)
    return unless


def _size_by(kind: Type) -> Size:
    if kind.most is not None:
        return Size(0, kind.most)
    if kind.kind == types.OPTIONAL:
        return _ONE if kind.item.kind in types.SCALARS else _UNKNOWN
    return _ONE if kind.kind in types.SCALARS else _UNKNOWN


def _is_bind(node: Loop) -> bool:
    is_nothing = isinstance(node.range, MadeList) and not node.range.elements
    never = isinstance(node.goes_on, Literal) and not node.goes_on.value
    return is_nothing and never and node.accumulator not in _ACCUMULATORS


def _found(name: str, text: Size) -> Size | None:
    return None if name == "matches" else Size(0, text.most)


def _made(name: str, sizes: Sequence[Size], item: Size) -> tuple[int, Size | None]:
    """Of functions that make a text or a list of another, or of anything else."""
    first = sizes[0] if sizes else _ONE
    count = len(sizes)
    if name == "replace" and count > 2:
        return _share(first.most, 2 * _CHARACTER), _replaced(first, sizes[1], sizes[2])
    if name == "split" and count > 1:
        return _share(first.most, 2 * _CHARACTER), Size(0, first.most)
    if name == "join" and count:
        size = first.times(item)
        if count > 1:
            between = Size(max(first.least - 1, 0), max(first.most - 1, 0))
            size = size.plus(sizes[1].times(between))
        return _share(size.most, _CHARACTER), size
    if name == "format" and count > 1:
        return _share(first.most, _CHARACTER), first.plus(sizes[1])
    if name == "bytes" and count == 1:
        return _share(first.most, _CHARACTER), Size(first.least, _product(first.most, 4))
    if name == "validate" and count > 1:
        return _share(_share(sizes[1].most, _CHARACTER), _FORMAT * _PATTERN_CHARACTER), None
    if name == "ip.isCanonical":
        return _share(first.most, 2 * _CHARACTER), None
    if name in ("containsIP", "containsCIDR"):
        return 7 if name == "containsCIDR" else 4, None  # Two addresses of 16 bytes are looked through.
    return 1, None


def _replaced(text: Size, old: Size, new: Size) -> Size:
    kept, count = 0, 0
    if old.least == 0:
        count, kept = _sum(text.most, 1), text.most
    elif new.most <= old.least:
        kept = text.most
    else:
        count = -(-text.most // old.least)
    return Size(0, _sum(_product(count, new.most), kept))
