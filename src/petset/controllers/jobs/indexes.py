"""Sets of completion indexes as a Job's status writes them: "0,2-4,7", ascending, three and more in a row as a span."""

from __future__ import annotations

from collections.abc import Iterable


def read(text: str, end: int) -> dict[int, None]:
    """The indexes below `end`, ascending; nothing for what is no such text."""
    found: dict[int, None] = {}
    for span in text.split(",") if text else ():
        first, _, last = span.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            return {}
        found.update(dict.fromkeys(range(int(first), min(int(last or first) + 1, end))))
    return found


def write(indexes: Iterable[int]) -> str:
    spans: list[list[int]] = []
    for index in sorted(indexes):
        if spans and spans[-1][1] + 1 == index:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(_span(first, last) for first, last in spans)


def _span(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
