"""Durations as Go writes them (1h30m, 1.5s, 300ms): of query parameters, flags and windows."""

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


def text_of(seconds: float) -> str:
    """To the thousandth: 75.2 -> 1m15.2s."""
    millis = max(0, round(seconds * 1000))
    minutes, rest = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    last = f"{rest // 1000}.{rest % 1000:03}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{last}" if hours else f"{minutes}m{last}" if minutes else last
