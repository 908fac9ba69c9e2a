"""The part of JSONPath that printer columns, scale and selectable fields use: names, indices, filters by equality.

`.spec.a`, `.metadata.annotations.example\\.com/a`, `['a.b']`, `[0]`, `[-1]`, `[*]`, `[?(@.type=="Ready")]`. Of several
values found the first counts, as in upstream's tables. Follows: "JSONPath Support" of kubectl's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object

PATH_CHARACTERS_MAX = 1024
_STEP = re.compile(
    r"""\.(?P<name>(?:\\.|[^.\[\]\\])+)"""
    r"""|\[(?:'(?P<quoted>(?:\\.|[^'\\])*)'|"(?P<double>[^"]*)"|(?P<index>-?\d{1,9})|(?P<all>\*)"""
    r"""|\?\(@(?P<left>(?:\.[\w/-]+)+)\s*(?P<operator>==|!=)\s*(?P<right>"[^"]*"|'[^']*'|[\w.-]+)\))\]""",
    re.ASCII,
)

Step = Callable[[Any], Iterator[Any]]


def parse(path: str) -> Callable[[Object], Any]:
    """A function from an object to the first value at the path, or None. Raises ValueError for what is no such path."""
    steps: list[Step] = []
    at = 0
    if len(path) > PATH_CHARACTERS_MAX:
        raise ValueError(f"it is longer than {PATH_CHARACTERS_MAX} characters")
    while at < len(path) and path != ".":
        match = _STEP.match(path, at)
        if match is None:
            raise ValueError(f"unrecognized JSONPath at {path[at : at + 40]!r}")
        steps.append(_step(match))
        at = match.end()

    def first(obj: Object) -> Any:
        return next(_walked(obj, steps), None)

    return first


def _walked(value: Any, steps: Sequence[Step]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    for inner in steps[0](value):
        yield from _walked(inner, steps[1:])


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return lambda value: _at(value, int(match["index"]))
    if match["all"] is not None:
        return _every
    if match["left"] is not None:
        left = parse(match["left"])
        right, is_equal = match["right"].strip("\"'"), match["operator"] == "=="
        return lambda value: (item for item in _every(value) if (_text(left, item) == right) is is_equal)
    name = re.sub(r"\\(.)", r"\1", match["name"] or match["quoted"] or match["double"] or "")
    return lambda value: iter((value[name],)) if meta.is_struct(value) and name in value else iter(())


def _text(left: Callable[[Object], Any], item: Any) -> str | None:
    found = left(item) if meta.is_struct(item) else None
    if isinstance(found, bool):
        return "true" if found else "false"
    return None if found is None else str(found)


def _at(value: Any, index: int) -> Iterator[Any]:
    if meta.is_list(value) and -len(value) <= index < len(value):
        yield value[index]


def _every(value: Any) -> Iterator[Any]:
    if meta.is_list(value):
        yield from value
    elif meta.is_struct(value):
        yield from value.values()
