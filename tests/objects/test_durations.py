"""Durations as Go writes and reads them."""

from __future__ import annotations

import pytest

from petset.objects import durations


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1s"), (15.25, "15.25s"), (75.2, "1m15.2s"), (60, "1m0s"), (3601, "1h0m1s"), (-1, "0s")],
)
def test_they_are_written(seconds: float, text: str) -> None:
    assert durations.text_of(seconds) == text
    assert durations.seconds_of(text) == pytest.approx(max(0, seconds))


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("1h2m3.5s", 3723.5), ("0", 0), ("-1m", -60), ("+2s", 2)]
)
def test_they_are_read(text: str, seconds: float) -> None:
    assert durations.seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1s ", "999999999999h"])
def test_what_is_none(text: str) -> None:
    assert durations.seconds_of(text) is None
