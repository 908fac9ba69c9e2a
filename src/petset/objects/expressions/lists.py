"""The functions of lists that Kubernetes adds to CEL, as a table: order, sums, places, sets, and what merges maps.

Two values are the same when CEL says so: 1 and 1.0 are, 1 and true are not. What is made is bounded: whoever asks for a
range gets no longer one than an evaluation may have steps.
Follows: the list and set libraries in "Common Expression Language in Kubernetes" of the Kubernetes documentation, and
cel-go's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from petset.objects import meta
from petset.objects.cel_functions import Function
from petset.objects.expressions import rewriting, standard

RANGE_MAX = 10_000  # As many steps as an evaluation may have.


def _is_sorted(items: Sequence[Any]) -> bool:
    return all(not after < before for before, after in itertools.pairwise(items))


def _least(items: Sequence[Any]) -> Any:
    if not items:
        raise ValueError("min called on empty list")
    return min(items)


def _most(items: Sequence[Any]) -> Any:
    if not items:
        raise ValueError("max called on empty list")
    return max(items)


def _sum(items: Sequence[Any]) -> Any:
    return sum(items)


def _range(size: int) -> list[int]:
    if size > RANGE_MAX:
        raise ValueError(f"lists.range(): more than {RANGE_MAX} items")
    return list(range(size))


def _distinct(items: Sequence[Any]) -> list[Any]:
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(_key(item), item)
    return list(found.values())


def _includes(value: Any, wrapped: Sequence[Any]) -> bool:
    return _key(wrapped[0]) in {_key(one) for one in (value if meta.is_list(value) else [value])}


def _index(items: Sequence[Any], other: Any) -> int:
    wanted = _key(other)
    return next((at for at, item in enumerate(items) if _key(item) == wanted), -1)


def _index_of(value: Any, other: Any) -> int:
    return value.find(other) if isinstance(value, str) else _index(value, other)


def _last_index_of(value: Any, other: Any) -> int:
    if isinstance(value, str):
        return value.rfind(other)
    at = _index(value[::-1], other)
    return -1 if at < 0 else len(value) - 1 - at


def _index_from(text: str, other: str, first: int) -> int:
    _require_within(text, first)
    return text.find(other, first)


def _last_index_before(text: str, other: str, last: int) -> int:
    _require_within(text, last)
    return text.rfind(other, 0, last + len(other))


def _require_within(text: str, at: int) -> None:
    if not 0 <= at <= len(text):
        raise ValueError(f"index out of range: {at}")


def _merged(maps: Sequence[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for one in maps:
        if not isinstance(one, Mapping):
            raise ValueError("no such overload: it is no map")
        pairs: Any = one.items()  # pyright: ignore[reportUnknownVariableType]
        for key, value in pairs:
            if key in found:
                raise ValueError(f"insert failed: key {key!r} already exists")
            found[key] = value
    return found


# -- sets


def _contains(items: Sequence[Any], others: Sequence[Any]) -> bool:
    known = {_key(item) for item in items}
    return all(_key(other) in known for other in others)


def _intersects(items: Sequence[Any], others: Sequence[Any]) -> bool:
    known = {_key(item) for item in items}
    return any(_key(other) in known for other in others)


def _equivalent(items: Sequence[Any], others: Sequence[Any]) -> bool:
    return _contains(items, others) and _contains(others, items)


def _key(value: Any) -> Any:
    """Something that can be a key, equal for equal values; a number is no bool."""
    if isinstance(value, Mapping):
        pairs: Any = value.items()  # pyright: ignore[reportUnknownVariableType]
        return ("map", frozenset((_key(key), _key(inner)) for key, inner in pairs))
    if isinstance(value, (list, tuple)):
        items: Any = value  # pyright: ignore[reportUnknownVariableType]
        return ("list", tuple(_key(item) for item in items))
    return (isinstance(value, bool), value)


_INDEX, _LAST_INDEX = rewriting.RENAMED["indexOf"], rewriting.RENAMED["lastIndexOf"]
# The runtime finds a function by what its arguments are, and takes none for "anything".
_KINDS = (*standard.NUMBERS, *standard.ORDERED, "NULL", "LIST", "MAP")
_SEARCHED = (("STRING", "STRING"), *(("LIST", one) for one in _KINDS))

TABLE: Sequence[Function] = (
    Function("isSorted", ("LIST",), "BOOL", _is_sorted, True),
    Function("sum", ("LIST",), "DYN", _sum, True),
    Function("min", ("LIST",), "DYN", _least, True),
    Function("max", ("LIST",), "DYN", _most, True),
    *(Function("includes", (one, "LIST"), "BOOL", _includes, True) for one in _KINDS),
    *(Function(_INDEX, given, "INT", _index_of, True) for given in _SEARCHED),
    Function(_INDEX, ("STRING", "STRING", "INT"), "INT", _index_from, True),
    *(Function(_LAST_INDEX, given, "INT", _last_index_of, True) for given in _SEARCHED),
    Function(_LAST_INDEX, ("STRING", "STRING", "INT"), "INT", _last_index_before, True),
    Function(rewriting.RENAMED["distinct"], ("LIST",), "LIST", _distinct, True),
    Function(f"lists.{rewriting.RENAMED['range']}", ("INT",), "LIST", _range),
    Function(rewriting.MERGED, ("LIST",), "DYN", _merged, True),
    Function("sets.contains", ("LIST", "LIST"), "BOOL", _contains),
    Function("sets.intersects", ("LIST", "LIST"), "BOOL", _intersects),
    Function("sets.equivalent", ("LIST", "LIST"), "BOOL", _equivalent),
)
