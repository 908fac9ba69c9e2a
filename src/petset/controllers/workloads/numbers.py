"""Ascending lists of numbers, each there once: what is asked of ordinals and indexes by halving, not by walking."""

from __future__ import annotations

from collections.abc import Sequence


def run_length(numbers: Sequence[int], place: int, first: int) -> int:
    """How many of them from `place` on are `first`, `first + 1`, and so on.

    As long as there is one for each, the one at `place + n` is `first + n`.
    """
    low, high = 0, len(numbers) - place
    while low < high:
        middle = (low + high) // 2
        if numbers[place + middle] == first + middle:
            low = middle + 1
        else:
            high = middle
    return low
