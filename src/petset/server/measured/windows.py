"""From two looks at a node to what is used between them: pure.

A node counts the CPU time of each container from its start; how many cores are used is the difference of two looks by
the time between them. Looks are taken when somebody asks, and the last ones kept: a window ends now and begins at the
newest look that is at least WINDOW_SECONDS_GOOD old, else at the oldest one that is at least WINDOW_SECONDS_MIN. A
container that is younger than that look is told from its own start, when it had used nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petset.base import tasks
from petset.objects import meta
from petset.objects.meta import Object

WINDOW_SECONDS_MIN = 1.0
WINDOW_SECONDS_GOOD = 10.0
WINDOW_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Counted:
    """CPU time since the start, in seconds; the memory in use; when it started, None for a node."""

    cpu_seconds: float
    memory_bytes: int
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """At a node, at a moment; containers by pod uid and name."""

    at: float
    node: Counted
    pods: Mapping[str, Mapping[str, Counted]]


@dataclass(frozen=True, slots=True)
class Used:
    """Cores on average over the window, and bytes at its end."""

    cores: float
    memory_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Window:
    now: Look
    before: Look

    def node(self) -> Used | None:
        return _used(self.before.node, self.before.at, self.now.node, self.now.at)

    def pod(self, uid: str) -> dict[str, Used] | None:
        """What each running container uses; None when that cannot be told of one of them yet, or none runs."""
        found: dict[str, Used] = {}
        for name, counted in self.now.pods.get(uid, {}).items():
            used = _used(self.before.pods.get(uid, {}).get(name), self.before.at, counted, self.now.at)
            if used is None:
                return None
            found[name] = used
        return found or None


def _used(before: Counted | None, before_at: float, now: Counted, at: float) -> Used | None:
    if before is not None and before.started_at == now.started_at and before.cpu_seconds <= now.cpu_seconds:
        used, seconds = now.cpu_seconds - before.cpu_seconds, at - before_at
    elif now.started_at is not None:
        used, seconds = now.cpu_seconds, at - now.started_at
    else:
        return None
    return Used(used / seconds, now.memory_bytes, seconds) if seconds >= WINDOW_SECONDS_MIN else None


def kept(looks: Sequence[Look], new: Look) -> tuple[Look, ...]:
    """The looks to keep with a new one: no more than one of those that are old enough for a good window."""
    usable = recent(looks, new.at)
    good = [look for look in usable if new.at - look.at >= WINDOW_SECONDS_GOOD]
    return (*good[-1:], *(look for look in usable if new.at - look.at < WINDOW_SECONDS_GOOD), new)


def recent(looks: Sequence[Look], now: float) -> tuple[Look, ...]:
    """Those that a window may begin at. (A clock that was set back leaves none.)"""
    return tuple(look for look in looks if 0 <= now - look.at <= WINDOW_SECONDS_MAX)


def window(looks: Sequence[Look]) -> Window | None:
    """That up to the newest look; None while there is no other one to begin at."""
    if not looks:
        return None
    now = looks[-1]
    begins = [look for look in recent(looks, now.at) if now.at - look.at >= WINDOW_SECONDS_MIN]
    good = [look for look in begins if now.at - look.at >= WINDOW_SECONDS_GOOD]
    return Window(now, (good[-1:] or begins[:1])[0]) if begins else None


def look(summary: Object) -> Look:
    """A node's /stats/summary. Raises ValueError or KeyError for what is none."""
    node = meta.part(summary, "node")
    return Look(
        tasks.parse_rfc3339(node["cpu"]["time"]),
        _counted(node, None),
        {
            meta.part(pod, "podRef")["uid"]: {
                one["name"]: _counted(one, tasks.parse_rfc3339(one["startTime"]))
                for one in meta.parts(pod, "containers")
            }
            for pod in meta.parts(summary, "pods")
        },
    )


def _counted(used: Object, started_at: float | None) -> Counted:
    cpu, memory = meta.part(used, "cpu"), meta.part(used, "memory")
    return Counted(cpu["usageCoreNanoSeconds"] / 1e9, memory["workingSetBytes"], started_at)
