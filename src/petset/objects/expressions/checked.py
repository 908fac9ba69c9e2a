"""A checked expression, looked through for what the runtime does not survive: an optional within a list or a map.

The runtime ends the whole process when it hands a list or a map with an optional in it to a function of ours. So an
expression may hold an optional only where its type says so: no element, no map's value, no argument but of what takes
one, none of them within another. What is compiled is checked, so that what has the type of an optional is one, and
what has not never is; but for x[?i] of an x without a type, which may only be asked at once what it has. `wrong` reads
the checked expression in the form that the runtime gives out.
Follows: cel.expr.CheckedExpr of the CEL project, in protobuf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from petset.objects.protobuf import reading

_OPTIONAL = b"optional_type"
_INDEX = "_[?_]"
_TAKE_ONE = ("_==_", "_!=_", "_?._", _INDEX, "hasValue", "value", "orValue", "or")  # As what they are called on.
WHY = "an optional cannot be an element, a value of a map or an argument: use orValue(), [?x] or {?key: x}"

# Of CheckedExpr and what it is made of: numbers of fields.
_TYPES, _EXPRESSION = 3, 4
_ABSTRACT_TYPE = 14
_SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 5, 6, 7, 8, 9
_COMPREHENDED = (2, 4, 5, 6, 7)  # The range, how it begins, how long it goes on, its step, its result.


def wrong(checked: bytes) -> str:
    """What is wrong with an expression, "" for nothing."""
    if _OPTIONAL not in checked and _INDEX.encode() not in checked:
        return ""
    try:
        inner = _one(checked, 2)  # The message is within an Any.
        kinds = dict(_types(inner))
        if any(kind is None for kind in kinds.values()):
            return WHY
        return "" if _Walk(kinds).is_fine(_one(inner, _EXPRESSION)) else WHY
    except ValueError as error:
        return f"its checked form cannot be read: {error}"
    except RecursionError:
        return "it is nested too deeply for one that has optionals"


def _parts(message: bytes, number: int) -> Iterator[bytes]:
    for found, value in reading.fields(message):
        if found == number and isinstance(value, bytes):
            yield value


def _one(message: bytes, number: int) -> bytes:
    return next(_parts(message, number), b"")


def _types(checked: bytes) -> Iterator[tuple[int, bool | None]]:
    """By expression, whether it is an optional; None for a type that has one within."""
    for entry in _parts(checked, _TYPES):
        place, kind = 0, b""
        for number, value in reading.fields(entry):
            if number == 1 and isinstance(value, int):
                place = value
            elif isinstance(value, bytes):
                kind = value
        yield place, _is_optional(kind)


def _is_optional(kind: bytes) -> bool | None:
    count = kind.count(_OPTIONAL)
    if not count:
        return False
    name = _one(_one(kind, _ABSTRACT_TYPE), 1)
    is_type_of = kind.startswith(b"\x5a")  # The type of a type: no value is one.
    return True if name == _OPTIONAL and count == 1 else False if is_type_of else None


class _Walk:
    def __init__(self, kinds: Mapping[int, bool | None]):
        self._kinds = kinds

    def is_fine(self, expression: bytes) -> bool:
        place = self._place(expression)
        for number, value in reading.fields(expression):
            if isinstance(value, int):
                continue
            if number == _SELECT and not self._are_tight_and_fine([_one(value, 1)]):
                return False
            if number == _CALL and not self._is_fine_call(place, value):
                return False
            if number == _LIST and not self._is_fine_list(value):
                return False
            if number == _STRUCT and not all(self._is_fine_entry(entry) for entry in _parts(value, 2)):
                return False
            if number == _COMPREHENSION:
                inner = [one for at in _COMPREHENDED for one in _parts(value, at)]
                if not self._are_tight_and_fine(inner):
                    return False
        return True

    def _place(self, expression: bytes) -> int:
        return next(
            (value for number, value in reading.fields(expression) if number == 2 and isinstance(value, int)), 0
        )

    def _is_optional(self, expression: bytes) -> bool:
        return bool(self._kinds.get(self._place(expression))) or self._is_loose(expression)

    def _is_loose(self, expression: bytes) -> bool:
        """Whether it is an optional that has not the type of one."""
        is_index = any(_one(call, 2) == _INDEX.encode() for call in _parts(expression, _CALL))
        return is_index and not self._kinds.get(self._place(expression))

    def _are_tight_and_fine(self, expressions: Sequence[bytes]) -> bool:
        return not any(self._is_loose(one) for one in expressions) and self._are_fine(expressions)

    def _are_fine(self, expressions: Sequence[bytes]) -> bool:
        return all(self.is_fine(one) for one in expressions)

    def _is_fine_call(self, place: int, call: bytes) -> bool:
        target, arguments = list(_parts(call, 1)), list(_parts(call, 3))
        name = _one(call, 2).decode()
        taken = [*target, *arguments]
        takes_one = name in _TAKE_ONE
        given = taken[1:] if takes_one and not name.endswith("=_") else [] if takes_one else taken
        if any(self._is_loose(one) for one in given):
            return False
        if any(self._is_optional(one) for one in given) and not self._kinds.get(place):
            return False
        return self._are_fine(taken)

    def _is_fine_list(self, made: bytes) -> bool:
        optional: dict[int, None] = {}
        for number, value in reading.fields(made):
            if number == 2:
                optional.update(dict.fromkeys(reading.packed(value) if isinstance(value, bytes) else [value]))
        elements = list(_parts(made, 1))
        is_bare = any(self._is_optional(one) for at, one in enumerate(elements) if at not in optional)
        return not is_bare and self._are_fine(elements)

    def _is_fine_entry(self, entry: bytes) -> bool:
        is_optional = any(number == 5 and value for number, value in reading.fields(entry))
        parts = [*_parts(entry, 3), *_parts(entry, 4)]
        return (is_optional or not any(self._is_optional(one) for one in parts)) and self._are_fine(parts)
