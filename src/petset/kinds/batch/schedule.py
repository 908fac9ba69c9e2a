"""What a CronJob's schedule may be: five fields of times, or @hourly, @daily, ..., or @every with a duration.

The fields are minute, hour, day of the month, month and day of the week; each is *, a number or a range, perhaps every
so manieth (/n), or several of them with commas; months and days of the week have names (crontab(5), as
github.com/robfig/cron reads it).
"""

from __future__ import annotations

import re

CHARACTERS_MAX = 1_000

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_NAMED = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = re.compile(r"@every (?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+", re.ASCII)


def wrong(text: str) -> str:
    """What is wrong with a schedule, or ""."""
    if len(text) > CHARACTERS_MAX:
        return f"must be no more than {CHARACTERS_MAX} characters"
    if text.startswith("@"):
        known = text in _NAMED or _EVERY.fullmatch(text)
        return "" if known else f"unrecognized descriptor: {text}"
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: {parts}"
    for part, (name, least, most, words) in zip(parts, _FIELDS):
        for term in part.split(","):
            if not _is_term(term, least, most, words):
                return (
                    f"failed to parse {term!r} as {name}: it must be like *, {least}, {least}-{most} or */{least + 1}"
                )
    return ""


def _is_term(term: str, least: int, most: int, words: tuple[str, ...]) -> bool:
    span, slash, step = term.partition("/")
    if slash and not (step.isascii() and step.isdigit() and len(step) < 10 and int(step) > 0):
        return False
    if span in ("*", "?"):
        return True
    first, dash, last = span.partition("-")
    low, high = (_number(one, words, least) for one in (first, last if dash else first))
    return low is not None and high is not None and least <= low <= high <= most


def _number(text: str, words: tuple[str, ...], least: int) -> int | None:
    if text.lower() in words:
        return words.index(text.lower()) + least
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
