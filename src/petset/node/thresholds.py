"""When a node has too little of something, as a kubelet's flags say it, and what follows from what is left.

`read` makes an `Eviction` of the texts of the flags (`memory.available<100Mi,nodefs.available<5%`): hard thresholds,
which count at once, and soft ones, each with the time for which it must have been crossed. A flag that is not given
leaves what petset has of itself (HARD); what is given names all there are, so that a signal that is left out is not
looked at. `Watch` is told what is left, at each look, and says what is crossed and what is to be done about it: pure
but for what it remembers, which is since when, and what it has had something done about: that counts as crossed until
there is so much more than the threshold as --eviction-minimum-reclaim says.

Follows: "Node-pressure Eviction" of the Kubernetes documentation; docs/decisions/disk-pressure.md says where petset's
own thresholds differ from a kubelet's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from petset.objects import durations, quantity

MEMORY, NODEFS, NODEFS_INODES = "memory.available", "nodefs.available", "nodefs.inodesFree"
IMAGEFS, IMAGEFS_INODES = "imagefs.available", "imagefs.inodesFree"
RESOURCES = {  # What there is too little of, by the signal that tells.
    MEMORY: "memory",
    NODEFS: "ephemeral-storage",
    NODEFS_INODES: "inodes",
    IMAGEFS: "ephemeral-storage",
    IMAGEFS_INODES: "inodes",
}


TRANSITION_SECONDS = 30.0  # A node has not been low for so long when it takes back that it is.


class ThresholdError(Exception):
    """Why a text is no threshold."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """How much more than a threshold there must be, once it was crossed: an amount, or a part of the whole."""

    amount: int = 0
    percent: float = 0.0

    def of(self, total: int) -> int:
        return self.amount + int(total * self.percent / 100)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Crossed by less than this; than the smaller one, of an amount and a part of the whole."""

    signal: str
    amount: int | None = None
    percent: float | None = None
    after_seconds: float | None = None  # For which a soft one must have been crossed; None: it is a hard one.
    reclaim: Reclaim = Reclaim()

    def least(self, total: int) -> int:
        parts = [] if self.percent is None else [int(total * self.percent / 100)]
        return min([*parts, *([] if self.amount is None else [self.amount])])


HARD = (
    Threshold(MEMORY, amount=100 << 20),
    *(Threshold(signal, amount=1 << 30, percent=5) for signal in (NODEFS, IMAGEFS)),
    *(Threshold(signal, percent=1) for signal in (NODEFS_INODES, IMAGEFS_INODES)),
)


@dataclass(frozen=True, slots=True)
class Eviction:
    """What a node is told of it."""

    thresholds: Sequence[Threshold] = HARD
    pod_grace_seconds_max: int = 0  # Of pods that a soft threshold evicts; hard ones give none.
    transition_seconds: float = TRANSITION_SECONDS

    def of(self, *signals: str) -> list[Threshold]:
        return [one for one in self.thresholds if one.signal in signals]


@dataclass(frozen=True, slots=True)
class Left:
    """How much there is of something."""

    total: int
    available: int


@dataclass(frozen=True, slots=True)
class Lack:
    """What a node is low on, as a kubelet calls it."""

    resource: str
    least: int
    available: int
    is_hard: bool = True


@dataclass(slots=True)
class Watch:
    """What is crossed, and since when."""

    thresholds: Sequence[Threshold]
    _since: dict[Threshold, float] = field(default_factory=dict[Threshold, float])
    _acted_on: list[Threshold] = field(default_factory=list[Threshold])

    def look(self, left: Mapping[str, Left], now: float) -> tuple[Lack | None, Lack | None]:
        """What is lacking, and the same for long enough that something must be done; hard ones go first."""
        found = {**dict(crossed(self._acted_on, left, reclaiming=True)), **dict(crossed(self.thresholds, left))}
        self._since = {one: self._since.get(one, now) for one in found}
        due = {one: lack for one, lack in found.items() if now - self._since[one] >= (one.after_seconds or 0)}
        self._acted_on = list(due)
        return _first(found.values()), _first(due.values())


def _first(lacks: Iterable[Lack]) -> Lack | None:
    return min(lacks, key=lambda lack: not lack.is_hard, default=None)


def crossed(
    thresholds: Iterable[Threshold], left: Mapping[str, Left], reclaiming: bool = False
) -> Iterator[tuple[Threshold, Lack]]:
    """`reclaiming`: or there is not yet as much above them as there must be."""
    for one in thresholds:
        if (there := left.get(one.signal)) is not None:
            least = one.least(there.total)
            if there.available < least + (one.reclaim.of(there.total) if reclaiming else 0):
                yield one, Lack(RESOURCES[one.signal], least, there.available, one.after_seconds is None)


# ---- the flags


def read(
    hard: str | None,
    soft: str,
    soft_grace_period: str,
    pod_grace_seconds_max: int = 0,
    minimum_reclaim: str = "",
    transition_period: str = "",
) -> Eviction:
    """Raises ThresholdError. `hard` None: petset's own."""
    periods, reclaims = read_periods(soft_grace_period), read_reclaims(minimum_reclaim)
    found = list(HARD if hard is None else read_thresholds(hard))
    for one in read_thresholds(soft):
        if one.signal not in periods:
            raise ThresholdError(f"{one.signal} of --eviction-soft has no time in --eviction-soft-grace-period")
        found.append(Threshold(one.signal, one.amount, one.percent, periods.pop(one.signal)))
    for signal in periods:
        raise ThresholdError(f"{signal} of --eviction-soft-grace-period is not in --eviction-soft")
    found = [replace(one, reclaim=reclaims.get(one.signal, Reclaim())) for one in found]
    return Eviction(found, pod_grace_seconds_max, read_transition(transition_period) or TRANSITION_SECONDS)


def read_thresholds(text: str) -> list[Threshold]:
    """Of `memory.available<100Mi,nodefs.available<5%`. Raises ThresholdError. 0% and 100% switch a signal off."""
    found = [_threshold(signal, limit) for signal, limit in _pairs(text, "<", f"{MEMORY}<100Mi")]
    return [one for one in found if one.percent not in (0, 100)]


def read_periods(text: str) -> dict[str, float]:
    """Of `memory.available=1m30s`. Raises ThresholdError."""
    periods: dict[str, float] = {}
    for signal, period in _pairs(text, "=", f"{MEMORY}=1m30s"):
        seconds = durations.seconds_of(period)
        if seconds is None or seconds < 0:
            raise ThresholdError(f"{period!r} of {signal} is no duration, like 1m30s")
        periods[signal] = seconds
    return periods


def read_reclaims(text: str) -> dict[str, Reclaim]:
    """Of `nodefs.available=2Gi,memory.available=5%`. Raises ThresholdError."""
    found: dict[str, Reclaim] = {}
    for signal, value in _pairs(text, "=", f"{NODEFS}=2Gi"):
        if value.endswith("%"):
            found[signal] = Reclaim(percent=_percent(signal, value))
            if not found[signal].percent:
                raise ThresholdError(f"{value!r} of {signal} is not more than nothing")
        else:
            found[signal] = Reclaim(_amount(signal, value))
            if found[signal].amount < 0:
                raise ThresholdError(f"{value!r} of {signal} is less than nothing")
    return found


def read_transition(text: str) -> float:
    """Seconds of a duration; 0 of "" and of 0, which a kubelet takes for its own, too. Raises ThresholdError."""
    seconds = durations.seconds_of(text) if text else 0.0
    if seconds is None or seconds < 0:
        raise ThresholdError(f"{text!r} is no duration, like 5m")
    return seconds


def _pairs(text: str, between: str, example: str) -> Iterator[tuple[str, str]]:
    seen: dict[str, None] = {}
    for part in filter(None, text.split(",")):
        signal, found, value = (piece.strip() for piece in part.partition(between))
        if not found:
            raise ThresholdError(f"{part!r} is not written like {example}")
        if signal not in RESOURCES:
            raise ThresholdError(f"{signal!r} is none of {', '.join(RESOURCES)}")
        if signal in seen:
            raise ThresholdError(f"{signal} is there twice")
        seen[signal] = None
        yield signal, value


def _threshold(signal: str, limit: str) -> Threshold:
    if limit.endswith("%"):
        return Threshold(signal, percent=_percent(signal, limit))
    amount = _amount(signal, limit)
    if amount <= 0:
        raise ThresholdError(f"{limit!r} of {signal} is not more than nothing")
    return Threshold(signal, amount=amount)


def _percent(signal: str, text: str) -> float:
    number = text.removesuffix("%")
    if number.isascii() and number.replace(".", "", 1).isdecimal() and 0 <= float(number) <= 100:
        return float(number)
    raise ThresholdError(f"{text!r} of {signal} is no part from 0% to 100%")


def _amount(signal: str, text: str) -> int:
    try:
        return quantity.to_bytes(text)
    except ValueError:
        raise ThresholdError(f"{text!r} of {signal} is no quantity, like 100Mi or 5%") from None
