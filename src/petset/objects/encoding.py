"""JSON to and from bytes; the one place that imports orjson.

`loads` is for bytes of strangers: whatever is wrong with them is a plain ValueError that says what and where. The two
limits here hold for a body in any form (JSON, YAML, protobuf): how deep it is nested, so that a later walk may recurse,
and how many values it has, so that a walk has an end. `dumps` is for trees that came from
`loads`. `duplicate_fields` is the slow second look that strict field validation asks for, since orjson (like every
quick parser) lets the last of two equal keys win.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

from petset.objects.meta import Json

NESTING_LEVELS_MAX = (
    100  # Kubernetes' deepest types have about 30; orjson encodes 254, and what wraps an object needs room.
)
_CONTAINERS = (dict, list)  # Empty ones nest nothing, and are many in managedFields.
VALUES_MAX = 100_000  # In one object; a ConfigMap of 1 MiB in lines has 30,000.


def dumps(obj: Any) -> bytes:
    """Compact JSON, keys in the tree's order."""
    return bytes(memoryview(orjson.dumps(obj)))  # orjson's own bytes keep up to ten times their length allocated.


def indented(data: bytes) -> bytes:
    """The same JSON for people: two spaces a level."""
    return orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def dumps_sorted(obj: Any) -> bytes:
    """Compact JSON with sorted keys: equal trees give equal bytes (revision hashes, comparisons)."""
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


def loads(data: bytes | bytearray | memoryview | str) -> Any:
    """The tree; raises ValueError for what is not JSON in UTF-8, is nested too deeply or has too many values."""
    data = data.encode() if isinstance(data, str) else bytes(data)
    opened = data.count(b"{") + data.count(b"[")
    if len(data) > VALUES_MAX and opened + data.count(b",") > VALUES_MAX:
        _refuse_many(data)
    try:
        tree = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(str(error)) from None
    # Most objects have fewer brackets than levels allowed, and need no walk; what is empty nests nothing.
    if opened > NESTING_LEVELS_MAX and opened - data.count(b"{}") >= NESTING_LEVELS_MAX:
        refuse_deep(tree)
    return tree


def _refuse_many(data: bytes) -> None:
    """Raise ValueError for a text with more than VALUES_MAX values, before any of them is made."""
    without_escapes = data.replace(rb"\\", b"").replace(rb"\"", b"")
    bare = b"".join(without_escapes.split(b'"')[::2])  # What is not inside of strings.
    if bare.count(b"{") + bare.count(b"[") + bare.count(b",") > VALUES_MAX:
        raise ValueError(f"it has more than {VALUES_MAX} values")


def loads_answer(data: bytes) -> Any:
    """The tree of a server's answer: it was checked when it was written, and a list or a watch wraps it once more.

    Only the parser's own limit holds (1024 levels), and there is no walk through a long list.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(str(error)) from None


def refuse_deep(tree: Json) -> None:
    """Raise ValueError for a tree nested deeper than NESTING_LEVELS_MAX."""
    level, current = 0, [tree]
    while current:
        level += 1
        if level > NESTING_LEVELS_MAX:
            raise ValueError(f"nested deeper than {NESTING_LEVELS_MAX} levels")
        following: list[Json] = []
        last = level == NESTING_LEVELS_MAX  # What is empty is a level, too.
        for node in current:
            if type(node) is dict:
                following.extend([value for value in node.values() if (value or last) and type(value) in _CONTAINERS])
            elif type(node) is list:
                following.extend([value for value in node if (value or last) and type(value) in _CONTAINERS])
        current = following


class _Object(dict[str, Any]):
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


def has_no_duplicates(data: bytes, tree: Json) -> bool:
    """Whether it is certain, at little cost, that no key of the text occurs twice in one object; `tree` is its `loads`.

    Every key ends with a quote and a colon, so as many of those as the tree has keys means that none was lost. A text
    that has them inside its strings, or space before its colons, has another count or is not judged.
    """
    # Most texts have no such space, which is told sooner so than by a pattern.
    if (b" :" in data or b"\n:" in data or b"\t:" in data or b"\r:" in data) and _SPACE_BEFORE_COLON.search(data):
        return False
    keys = _keys_in(tree)
    count = data.count(b'":')
    if count != keys and b"\\\\" not in data:
        count -= data.count(b'\\":')  # A quote inside a string, as in the keys of managedFields.
    return count == keys


def _keys_in(tree: Json) -> int:
    """How many keys all its objects have."""
    keys, found = 0, [tree]
    for node in found:  # It grows meanwhile, by what is inside.
        values: Iterable[Json]
        if type(node) is dict:
            keys += len(node)
            values = node.values()
        else:
            values = node if type(node) is list else ()
        for value in values:
            if type(value) is dict or type(value) is list:
                found.append(value)
    return keys


_SPACE_BEFORE_COLON = re.compile(rb'"[ \t\r\n]+:')


KEY_CHARACTERS_SHOWN_MAX = 256


def joined(path: str, key: str) -> str:
    """The path of a field (spec.replicas); a long key is cut, since each of the values below it repeats it."""
    if len(key) > KEY_CHARACTERS_SHOWN_MAX:
        key = key[:KEY_CHARACTERS_SHOWN_MAX] + "..."
    return f"{path}.{key}" if path else key


def duplicate_fields(data: bytes | str) -> list[str]:
    """The paths (spec.containers[0].image) of keys that occur twice in one object, for bytes that `loads` took."""
    found: list[str] = []

    def look(node: Json, path: str) -> None:
        if isinstance(node, _Object):
            found.extend(joined(path, key) for key in node.repeated)
            for key, value in node.items():
                look(value, joined(path, key))
        elif isinstance(node, list):
            for index, value in enumerate(node):
                look(value, f"{path}[{index}]")

    try:
        look(json.loads(data, object_pairs_hook=_pairs), "")
    except (ValueError, RecursionError):
        return []
    return found
