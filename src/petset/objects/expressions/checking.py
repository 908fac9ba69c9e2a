"""Whether an expression holds to the types of its variables: fields that there are, operands that fit.

The runtime checks all but what a schema says, since it knows no types but its own: to it an object is a map of
anything. `checked` goes through its tree again with the declared types and finds what each part is. Nothing is refused
but what is known to be wrong: where a type is not known, it may be any.
Follows: the CEL language definition ("Gradual Type Checking"); messages are those of cel-go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petset.objects.expressions import signatures, types
from petset.objects.expressions.tree import Call, Literal, Loop, MadeList, MadeMap, Name, Node, Select, Tree
from petset.objects.expressions.types import Type


class Wrong(ValueError):
    """What does not hold to the types, and where: the number of the part."""

    def __init__(self, why: str, place: int):
        super().__init__(why)
        self.why, self.place = why, place


@dataclass(frozen=True, slots=True)
class Checked:
    root: Node
    types: Mapping[int, Type]  # By place.

    @property
    def type(self) -> Type:
        return self.types[self.root.place]


def checked(expression: Tree, variables: Mapping[str, Type], is_mixed: bool = False) -> Checked:
    """`is_mixed`: items of a list may be of several types. Raises Wrong."""
    checker = _Checker(expression.types, variables, is_mixed)
    checker.type_of(expression.root)
    return Checked(expression.root, checker.found)


def told(wrong: Wrong, expression: Tree, text: str, before: int = 0) -> str:
    """What is wrong, with the line and a mark below it; `before`: characters of the tree's text before the text."""
    at = max(0, min(expression.positions.get(wrong.place, 0) - before, len(text)))
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:].partition("\n")[0]
    row, column = text.count("\n", 0, at) + 1, at - begin
    return f"ERROR: <input>:{row}:{column + 1}: {wrong.why}\n | {line}\n | {'.' * column}^"


class _Checker:
    def __init__(self, known: Mapping[int, Type], variables: Mapping[str, Type], is_mixed: bool):
        self._known, self._variables = known, variables
        self._locals: list[tuple[str, Type]] = []
        self._is_mixed = is_mixed
        self._mixed: list[Node] = []  # Lists in which items may be.
        self.found: dict[int, Type] = {}

    def type_of(self, node: Node) -> Type:
        match node:
            case Literal():
                found = node.type
            case Name():
                found = self._name(node)
            case Select():
                found = self._select(node)
            case Call():
                found = self._call(node)
            case MadeList():
                found = self._list(node)
            case MadeMap():
                found = self._map(node)
            case Loop():
                found = self._loop(node)
        self.found[node.place] = found
        return found

    def _runtimes(self, node: Node) -> Type:
        return self._known.get(node.place, types.DYN)

    def _name(self, node: Name) -> Type:
        for name, kind in reversed(self._locals):
            if name == node.name:
                return kind
        return self._variables.get(node.name) or self._runtimes(node)

    def _select(self, node: Select) -> Type:
        found = self._field(self.type_of(node.operand), node.field, node.place)
        return types.BOOL if node.is_test else found

    def _field(self, operand: Type, field: str, place: int) -> Type:
        if operand.kind in ("dyn", "?"):
            return types.DYN
        if operand.kind == types.OPTIONAL:
            found = self._field(operand.item, field, place)
            return found if found.kind == types.OPTIONAL else types.optional_of(found)
        if operand.kind == types.MAP:
            return types.unsized(operand.item)  # As upstream's estimates have it.
        if operand.fields is not None:
            found = operand.fields.get(field)
            if found is None:
                raise Wrong(f"undefined field '{field}'", place)
            return found
        raise Wrong(f"type '{operand}' does not support field selection", place)

    def _call(self, node: Call) -> Type:
        if node.function == "_?._":
            name = node.arguments[1]
            found = self._field(self.type_of(node.arguments[0]), _text_of(name), node.place)
            self.found[name.place] = types.STRING
            return found if found.kind == types.OPTIONAL else types.optional_of(found)
        if node.function == "format":  # Its values may be of several types.
            self._mixed += node.arguments
        given = [self.type_of(one) for one in (*_target(node), *node.arguments)]
        overloads = signatures.of(node.function)
        if overloads is None or not any(len(parameters) == len(given) for parameters, _ in overloads):
            return self._runtimes(node)
        found = signatures.matched(overloads, given)
        if found is None:
            applied = types.told(given[1:] if node.target is not None else given)
            on = f"{given[0]}." if node.target is not None else ""
            raise Wrong(f"found no matching overload for '{node.function}' applied to '{on}{applied}'", node.place)
        return found

    def _list(self, node: MadeList) -> Type:
        item = types.FREE
        is_mixed = self._is_mixed or any(one is node for one in self._mixed)
        for at, element in enumerate(node.elements):
            found = self.type_of(element)
            if at in node.optional and found.kind == types.OPTIONAL:
                found = found.item
            item = types.joined(item, found) or types.DYN if is_mixed else self._alike(item, found, element)
        return types.list_of(item)

    def _map(self, node: MadeMap) -> Type:
        runtimes = self._runtimes(node)
        key = value = types.FREE
        for name, inner, is_optional in node.entries:
            key = self._alike(key, self.type_of(name), name)
            found = self.type_of(inner)
            if is_optional and found.kind == types.OPTIONAL:
                found = found.item
            value = found if value is types.FREE else types.joined(value, found) or types.DYN
        return types.map_of(key, value) if runtimes.kind in (types.MAP, "dyn") else runtimes

    def _alike(self, one: Type, other: Type, node: Node) -> Type:
        found = types.joined(one, other)
        if found is None:
            raise Wrong(f"expected type '{one}' but found '{other}'", node.place)
        return found

    def _loop(self, node: Loop) -> Type:
        over = self.type_of(node.range)
        begin = self.type_of(node.begin)
        first, second = _items(over)
        if first is None:
            why = f"expression of type '{over}' cannot be range of a comprehension (must be list, map, or dynamic)"
            raise Wrong(why, node.range.place)
        depth = len(self._locals)
        self._locals.append((node.accumulator, begin))
        self._locals.append((node.variable, types.INT if node.second and over.kind == types.LIST else first))
        if node.second:
            self._locals.append((node.second, second))
        self.type_of(node.goes_on)
        step = self.type_of(node.step)
        del self._locals[depth:]
        self._locals.append((node.accumulator, types.joined(begin, step) or step))
        result = self.type_of(node.result)
        self._locals.pop()
        return result


def _items(over: Type) -> tuple[Type | None, Type]:
    """What a macro's variables are: of a list its items, of a map its keys and values."""
    if over.kind in ("dyn", "?"):
        return types.DYN, types.DYN
    if over.kind in (types.LIST, types.MAP):
        return over.of[0], over.item
    return None, types.DYN


def _target(node: Call) -> Sequence[Node]:
    return () if node.target is None else (node.target,)


def _text_of(node: Node) -> str:
    return node.value if isinstance(node, Literal) and isinstance(node.value, str) else ""
