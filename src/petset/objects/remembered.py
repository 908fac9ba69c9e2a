"""Answers about short texts, kept.

The same few names occur in every object, so what was found out about them is kept; but a text of strangers may have a
megabyte, and thousands of those would be kept as well. Long texts are looked at anew each time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from petset.base import memory

Answer = TypeVar("Answer")

CHARACTERS_MAX = 256


def remembered(texts_max: int) -> Callable[[Callable[[str], Answer]], Callable[[str], Answer]]:
    """For a function of one text: the latest answers about so many short texts are kept."""

    def decorate(function: Callable[[str], Answer]) -> Callable[[str], Answer]:
        kept = memory.cached(texts_max)(function)

        @wraps(function)
        def answer(text: str) -> Answer:
            return kept(text) if len(text) <= CHARACTERS_MAX else function(text)

        return answer

    return decorate
