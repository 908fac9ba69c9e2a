"""Short texts are looked at once, long ones each time: what strangers send is not kept by the megabyte."""

from __future__ import annotations

from petset.objects import remembered


def test_only_short_texts_are_kept():
    asked = []

    @remembered.remembered(2)
    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    long = "x" * (remembered.CHARACTERS_MAX + 1)
    assert [length(text) for text in ("a", "a", long, long, "b", "c", "a")] == [1, 1, 257, 257, 1, 1, 1]
    assert asked == ["a", long, long, "b", "c", "a"]
