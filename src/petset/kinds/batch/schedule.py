"""A CronJob's schedule: five fields of times, or @hourly, @daily, ..., or @every with a duration; and when it comes.

The fields are minute, hour, day of the month, month and day of the week; each is *, a number or a range, perhaps every
so manieth (/n), or several of them with commas; months and days of the week have names (crontab(5), as
github.com/robfig/cron reads it). Where both kinds of days are given one of them is enough. A time that a change of
the clock leaves out does not come, one that it repeats comes twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

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
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
EVERY_SECONDS_MAX = 1e10  # Some three hundred years.
YEARS_MAX = 5  # A schedule that comes not once in so many years never comes.
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


# -- when it comes


@dataclass(frozen=True, slots=True)
class Every:
    """So many whole seconds after the last time."""

    seconds: int

    def after(self, moment: float) -> float | None:
        return float(int(moment)) + self.seconds


@dataclass(frozen=True, slots=True)
class Fields:
    """The minutes, hours, days, months and days of the week (0 is Sunday) at which it comes, in a time zone."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_either: bool  # Both kinds of days are given, and one of them is enough.
    zone: tzinfo

    def after(self, moment: float) -> float | None:
        """The first time later than this one; None when there is none within YEARS_MAX."""
        at = datetime.fromtimestamp(int(moment) // 60 * 60 + 60, self.zone)
        last = at.year + YEARS_MAX
        while at.year <= last:
            if at.month not in self.months:
                year, month = divmod(at.year * 12 + at.month, 12)
                at = self._local(datetime(year, month + 1, 1))
            elif not self._is_day(at):
                at = self._local(datetime(at.year, at.month, at.day) + timedelta(days=1))
            elif at.hour not in self.hours:
                at = self._later(at, 60 - at.minute)
            elif at.minute not in self.minutes:
                at = self._later(at, 1)
            else:
                return at.timestamp()
        return None

    def _is_day(self, at: datetime) -> bool:
        of_month, of_week = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.is_either else of_month and of_week

    def _local(self, naive: datetime) -> datetime:
        """The moment at which a clock there shows it; one that a change leaves out is the moment of the change."""
        return naive.replace(tzinfo=self.zone).astimezone(UTC).astimezone(self.zone)

    def _later(self, at: datetime, minutes: int) -> datetime:
        return (at.astimezone(UTC) + timedelta(minutes=minutes)).astimezone(self.zone)


Times = Every | Fields


def read(text: str, zone: tzinfo) -> Times:
    """A schedule with which nothing is wrong."""
    if _EVERY.fullmatch(text):
        seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _AMOUNT.findall(text))
        return Every(max(1, int(min(seconds, EVERY_SECONDS_MAX))))
    read = [_values(part, *about[1:]) for part, about in zip(_NAMED.get(text, text).split(), _FIELDS)]
    (minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday) = read
    return Fields(minutes, hours, days, months, weekdays, not any_day and not any_weekday, zone)


def _values(part: str, least: int, most: int, words: tuple[str, ...]) -> tuple[frozenset[int], bool]:
    """The values of a field, and whether it says that any will do."""
    found: set[int] = set()
    takes_any = False
    for term in part.split(","):
        span, slash, step = term.partition("/")
        by = int(step) if slash else 1
        if span in ("*", "?"):
            low, high = least, most
            takes_any = takes_any or by == 1
        else:
            first, dash, last = span.partition("-")
            low = _number(first, words, least) or 0
            high = (_number(last, words, least) or 0) if dash else most if slash else low
        found.update(range(low, high + 1, by))
    return frozenset(found), takes_any
