"""Durations as Go writes them (1h30m, 1.5s, 300ms): of query parameters and flags."""

from __future__ import annotations

import re

SECONDS_MAX = 2**63 / 1e9
_DURATION = re.compile(r"([-+]?)(0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_PART = re.compile(r"([\d.]+)([a-zµμ]+)", re.ASCII)
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: str) -> float | None:
    """How many seconds a duration has, below 0 too; None when the text is none."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))
    return None if seconds > SECONDS_MAX else -seconds if found[1] == "-" else seconds
