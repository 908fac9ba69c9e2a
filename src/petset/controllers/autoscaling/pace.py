"""How quickly an autoscaler may follow what its metrics ask for: stabilization windows, policies, bounds. Pure.

A `History` is what it asked for lately and what it changed; it lives in memory, and begins anew with the present size
when petset does, as upstream's. `followed` brings a wish to what is done now, with what the conditions AbleToScale and
ScalingLimited say of it. Without spec.behavior a wish for less waits until it was the largest for five minutes, and
more than twice as many (four at the least) are never made at once; with it both directions have windows and policies.
Follows: "Horizontal Pod Autoscaling", Configurable scaling behavior, of the Kubernetes documentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object

DOWN_WINDOW_SECONDS = 300
UP_FACTOR, UP_LEAST = 2, 4
KEPT_SECONDS = 3600  # The longest window and the longest period that a behavior may have are not longer.


@dataclass(frozen=True, slots=True)
class History:
    """(when, how many) of the wishes, of the pods added, of those taken away; and a change that is being made."""

    wishes: tuple[tuple[float, int], ...] = ()
    ups: tuple[tuple[float, int], ...] = ()
    downs: tuple[tuple[float, int], ...] = ()
    changing: tuple[float, int, int] | None = None  # When, from, to: it counts once it is seen.

    def seen(self, replicas: int, now: float) -> History:
        """With what is there now: the change that was being made, if it came about; what is too old is forgotten."""
        ups, downs = self.ups, self.downs
        if self.changing is not None and self.changing[2] == replicas:
            at, before, after = self.changing
            if after > before:
                ups = (*ups, (at, after - before))
            else:
                downs = (*downs, (at, before - after))
        wishes = self.wishes or ((now, replicas),)

        def young(entries: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
            return tuple(entry for entry in entries if now - entry[0] <= KEPT_SECONDS)

        return History(young(wishes), young(ups), young(downs))

    def wished(self, replicas: int, now: float) -> History:
        return replace(self, wishes=(*self.wishes, (now, replicas)))


@dataclass(frozen=True, slots=True)
class Followed:
    """How many there shall be; (reason, message) of AbleToScale, which holds; the same of ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    is_limited: bool
    limit: tuple[str, str]


READY = ("ReadyForNewScale", "recommended size matches current size")
DOWN_STABILIZED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
UP_STABILIZED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


def followed(spec: Object, history: History, current: int, wish: int, least: int, now: float) -> Followed:
    """`history` is without the wish."""
    most: int = spec["maxReplicas"]
    behavior = meta.part(spec, "behavior")
    if not behavior:
        cutoff = now - DOWN_WINDOW_SECONDS
        steady = max([wish, *(replicas for at, replicas in history.wishes if at >= cutoff)])
        able = READY if steady == wish else DOWN_STABILIZED
        limit = min(most, max(UP_FACTOR * current, UP_LEAST))
        found, why = _within(steady, least, limit, UP_LIMIT if limit < most else TOO_MANY)
        return Followed(found, able, found != steady, why)
    up, down = meta.part(behavior, "scaleUp"), meta.part(behavior, "scaleDown")
    steady = _steady(history, up, down, current, wish, now)
    stabilized = UP_STABILIZED if wish >= current else DOWN_STABILIZED
    able = READY if steady == wish else stabilized
    found, why = steady, WITHIN
    if steady > current:
        limit = max(current, _up_limit(history, up, current, now))
        found, why = (min(most, limit), UP_LIMIT if limit < most else TOO_MANY)
        found, why = (steady, WITHIN) if steady <= found else (found, why)
    elif steady < current:
        limit = min(current, _down_limit(history, down, current, now))
        found, why = (max(least, limit), DOWN_LIMIT if limit > least else TOO_FEW)
        found, why = (steady, WITHIN) if steady >= found else (found, why)
    return Followed(found, able, found != steady, why)


def _within(wish: int, least: int, most: int, above: tuple[str, str]) -> tuple[int, tuple[str, str]]:
    if wish < least:
        return least, TOO_FEW
    return (most, above) if wish > most else (wish, WITHIN)


def _window(rules: Object, default: int) -> int:
    given: Any = rules.get("stabilizationWindowSeconds")
    return default if given is None else given


def _steady(history: History, up: Object, down: Object, current: int, wish: int, now: float) -> int:
    """The present size, brought between the lowest of the lately wished (up) and the highest (down)."""
    up_cutoff, down_cutoff = now - _window(up, 0), now - _window(down, DOWN_WINDOW_SECONDS)
    lowest = min([wish, *(replicas for at, replicas in history.wishes if at > up_cutoff)])
    highest = max([wish, *(replicas for at, replicas in history.wishes if at > down_cutoff)])
    return min(max(current, lowest), highest)


def _changed(entries: Sequence[tuple[float, int]], seconds: int, now: float) -> int:
    return sum(change for at, change in entries if at > now - seconds)


def _starts(history: History, rules: Object, current: int, now: float) -> list[tuple[Object, int]]:
    """Each policy with how many there were when its period began."""
    return [
        (policy, current - _changed(history.ups, seconds, now) + _changed(history.downs, seconds, now))
        for policy in meta.parts(rules, "policies")
        for seconds in (policy["periodSeconds"],)
    ]


def _up_limit(history: History, rules: Object, current: int, now: float) -> int:
    select = rules.get("selectPolicy")
    if select == "Disabled":
        return current
    allowed = [
        start + policy["value"]
        if policy["type"] == "Pods"
        else math.ceil(start * (100 + policy["value"]) / 100)  # Rounded up, or one pod would never become two.
        for policy, start in _starts(history, rules, current, now)
    ]
    return (min if select == "Min" else max)(allowed, default=current)


def _down_limit(history: History, rules: Object, current: int, now: float) -> int:
    select = rules.get("selectPolicy")
    if select == "Disabled":
        return current
    allowed = [
        start - policy["value"] if policy["type"] == "Pods" else math.trunc(start * (100 - policy["value"]) / 100)
        for policy, start in _starts(history, rules, current, now)
    ]
    return (max if select == "Min" else min)(allowed, default=current)
