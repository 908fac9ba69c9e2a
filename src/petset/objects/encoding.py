"""JSON to and from bytes; the one place that imports orjson.

`loads` is for bytes of strangers: whatever is wrong with them is a plain ValueError that says what and where, also a
tree nested deeper than a later encoding, or a walk of ours, could follow. `dumps` is for trees that came from
`loads`. `duplicate_fields` is the slow second look that strict field validation asks for, since orjson (like every
quick parser) lets the last of two equal keys win.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

NESTING_LEVELS_MAX = 200  # orjson encodes at most 254 levels; managed fields and patches need room around an object.


def dumps(obj: Any) -> bytes:
    """Compact JSON, keys in the tree's order."""
    return orjson.dumps(obj)


def dumps_sorted(obj: Any) -> bytes:
    """Compact JSON with sorted keys: equal trees give equal bytes (revision hashes, comparisons)."""
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


def loads(data: bytes | bytearray | memoryview | str) -> Any:
    """The tree; raises ValueError for anything that is not JSON in UTF-8, or is nested too deeply."""
    try:
        tree = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(str(error)) from None
    if isinstance(data, memoryview):
        data = bytes(data)
    brackets = (
        data.count("{") + data.count("[") if isinstance(data, str) else data.count(b"{") + data.count(b"[")
    )  # Most objects have fewer brackets than levels allowed, and need no walk.
    if brackets > NESTING_LEVELS_MAX:
        refuse_deep(tree)
    return tree


def loads_answer(data: bytes) -> Any:
    """The tree of a server's answer: it was checked when it was written, and a list or a watch wraps it once more.

    Only the parser's own limit holds (1024 levels), and there is no walk through a long list.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(str(error)) from None


def refuse_deep(tree: Any) -> None:
    """Raise ValueError for a tree nested deeper than NESTING_LEVELS_MAX."""
    level, current = 0, [tree]
    while current:
        level += 1
        if level > NESTING_LEVELS_MAX:
            raise ValueError(f"nested deeper than {NESTING_LEVELS_MAX} levels")
        following = []
        for node in current:
            if type(node) is dict:
                following.extend(value for value in node.values() if type(value) in (dict, list))
            elif type(node) is list:
                following.extend(value for value in node if type(value) in (dict, list))
        current = following


class _Object(dict):
    """A decoded object that remembers which of its keys came twice."""

    repeated: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> _Object:
    result = _Object(pairs)
    if len(result) != len(pairs):
        seen: dict[str, int] = {}
        for key, _ in pairs:
            seen[key] = seen.get(key, 0) + 1
        result.repeated = tuple(key for key, times in seen.items() if times > 1)
    return result


def has_no_duplicates(data: bytes, tree: Any) -> bool:
    """Whether it is certain, at little cost, that no key of the text occurs twice in one object; `tree` is its `loads`.

    Every key ends with a quote and a colon, so as many of those as the tree has keys means that none was lost. A text
    that has them inside its strings, or space before its colons, has another count or is not judged.
    """
    if _SPACE_BEFORE_COLON.search(data):
        return False
    keys, left = 0, [tree]
    while left:
        node = left.pop()
        if type(node) is dict:
            keys += len(node)
            left.extend(value for value in node.values() if type(value) in (dict, list))
        elif type(node) is list:
            left.extend(value for value in node if type(value) in (dict, list))
    return data.count(b'":') == keys


_SPACE_BEFORE_COLON = re.compile(rb'"[ \t\r\n]+:')


def duplicate_fields(data: bytes | str) -> list[str]:
    """The paths (spec.containers[0].image) of keys that occur twice in one object, for bytes that `loads` took."""
    found: list[str] = []

    def look(node: Any, path: str) -> None:
        if isinstance(node, _Object):
            found.extend(f"{path}.{key}" if path else key for key in node.repeated)
            for key, value in node.items():
                look(value, f"{path}.{key}" if path else key)
        elif isinstance(node, list):
            for index, value in enumerate(node):
                look(value, f"{path}[{index}]")

    try:
        look(json.loads(data, object_pairs_hook=_pairs), "")
    except (ValueError, RecursionError):
        return []
    return found
