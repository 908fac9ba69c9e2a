"""Sets of completion indexes as a Job writes them: "0,2-4,7", ascending, three and more in a row as a span.

They are kept as spans: "0-2147483646" is one, and costs no more than "0".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

DIGITS_MAX = 10
Span = tuple[int, int]  # The first and the last.


@dataclass(frozen=True, slots=True)
class Indexes:
    spans: tuple[Span, ...] = ()  # Ascending; between two of them something is missing.

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.spans)

    def __contains__(self, index: int | None) -> bool:
        return index is not None and self.gap_from(index) != index

    def gap_from(self, index: int) -> int:
        """The first that is missing, from this one on."""
        place = bisect_right(self.spans, index, key=lambda span: span[0]) - 1
        return self.spans[place][1] + 1 if place >= 0 and self.spans[place][1] >= index else index

    def common(self, other: Indexes) -> int:
        """How many both have."""
        found = mine = theirs = 0
        while mine < len(self.spans) and theirs < len(other.spans):
            (first, last), (begin, end) = self.spans[mine], other.spans[theirs]
            found += max(0, min(last, end) - max(first, begin) + 1)
            mine, theirs = (mine + 1, theirs) if last < end else (mine, theirs + 1)
        return found

    def plus(self, more: Iterable[int]) -> Indexes:
        return _joined([*self.spans, *((index, index) for index in more)])

    def __str__(self) -> str:
        return ",".join(_text(first, last) for first, last in self.spans)


def read(text: str, end: int) -> Indexes:
    """The indexes below `end`; nothing for what is no such text."""
    found: list[Span] = []
    for span in text.split(",") if text else ():
        first, dash, last = span.partition("-")
        last = last if dash else first
        if not all(one.isascii() and one.isdecimal() and len(one) <= DIGITS_MAX for one in (first, last)):
            return Indexes()
        found.append((int(first), min(int(last), end - 1)))
    return _joined(found)


def _joined(spans: Iterable[Span]) -> Indexes:
    found: list[Span] = []
    for first, last in sorted(span for span in spans if span[0] <= span[1]):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return Indexes(tuple(found))


def _text(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
