"""What the text of a flag means, where several commands have it: said wrong, it is wrong usage (exit code 2)."""

from __future__ import annotations

import argparse

from petset.objects import durations


def seconds(text: str) -> float:
    """A duration like 90s or 5m; a number alone is of seconds. Raises ArgumentTypeError."""
    found = durations.seconds_of(f"{text}s" if text.isdecimal() else text)
    if found is None or found <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration like 90s or 5m")
    return found
