"""How many replicas a metric asks for: pure, in thousandths (millicores, milli-bytes) as upstream computes.

The ratio of what pods use on average to what they should is what their number changes by, unless it is within the
tolerance. Pods that are not ready to be measured are left out, and those of which nothing is known; when that would
scale further than is safe they count after all: as idle when it goes up, as busy when it goes down, and nothing is done
when they turn the direction round.
Follows: "Horizontal Pod Autoscaling", Algorithm details, of the Kubernetes documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import tasks
from petset.kinds.pod_spec import pod_containers
from petset.objects import durations, meta, quantity
from petset.objects.meta import Object

TOLERANCE = 0.1
CPU_INITIALIZATION_SECONDS = 300.0  # After the start: a pod's figures count only once it is ready.
INITIAL_READINESS_SECONDS = 30.0  # One that stopped being ready within that was never ready.
REPLICAS_MAX = 2**31 - 1
WINDOW_CHARACTERS_MAX = 40


class Unknown(Exception):
    """Why nothing can be proposed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a pod uses, in thousandths; of which time."""

    milli: int
    at: float
    window_seconds: float


@dataclass(frozen=True, slots=True)
class Tolerances:
    down: float = TOLERANCE
    up: float = TOLERANCE

    def hold(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Asked:
    """What a metric asks of the pods."""

    resource: str  # "": something else than CPU or memory.
    container: str  # "": all of the pod.
    percent: int | None = None  # Of what they request,
    milli: int = 0  # or so much each.


@dataclass(frozen=True, slots=True)
class Proposal:
    replicas: int
    milli: int  # What each uses on average.
    percent: int | None = None  # Of what they request.


def milli(text: str) -> int:
    """Raises ValueError."""
    value = quantity.parse(text).value * 1000
    return math.ceil(value)


def samples(items: Sequence[Object], asked: Asked) -> dict[str, Sample]:
    """By pod, of PodMetrics, which may be a stranger's; those that do not say it are left out."""
    found: dict[str, Sample] = {}
    for item in items:
        try:
            containers = meta.parts(item, "containers")
            if asked.container:
                containers = [one for one in containers if one.get("name") == asked.container]
            used = [milli(meta.part(one, "usage")[asked.resource]) for one in containers]
            if used:
                text = item["window"]
                window = durations.seconds_of(text) if len(text) <= WINDOW_CHARACTERS_MAX else None
                if window is not None:
                    found[meta.name(item)] = Sample(sum(used), tasks.parse_rfc3339(item["timestamp"]), window)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


@dataclass(frozen=True, slots=True)
class Groups:
    """Names of the pods: measured, not ready to be measured, and of which nothing is known. Others do not count."""

    measured: list[str]
    unready: list[str]
    missing: list[str]


def grouped(pods: Sequence[Object], known: Mapping[str, Sample], resource: str, now: float) -> Groups:
    groups = Groups([], [], [])
    for pod in pods:
        phase, name = meta.get(pod, "status", "phase"), meta.name(pod)
        if meta.is_deleting(pod) or phase == "Failed":
            continue
        if phase == "Pending":
            groups.unready.append(name)
        elif name not in known:
            groups.missing.append(name)
        elif resource == "cpu" and _is_unready(pod, known[name], now):
            groups.unready.append(name)
        else:
            groups.measured.append(name)
    return groups


def _is_unready(pod: Object, sample: Sample, now: float) -> bool:
    ready, started = meta.condition(pod, "Ready"), meta.get(pod, "status", "startTime")
    if ready is None or not started:
        return True
    is_false, began = ready.get("status") == "False", tasks.parse_rfc3339(started)
    since = tasks.parse_rfc3339(ready["lastTransitionTime"]) if ready.get("lastTransitionTime") else 0.0
    if began + CPU_INITIALIZATION_SECONDS > now:
        return is_false or sample.at < since + sample.window_seconds  # Its start would be measured, too.
    return is_false and began + INITIAL_READINESS_SECONDS > since


def requests(pods: Sequence[Object], asked: Asked) -> dict[str, int]:
    """What each pod requests, in thousandths. Raises Unknown when one requests nothing."""
    return {meta.name(pod): _request(pod, asked) for pod in pods}


def _request(pod: Object, asked: Asked) -> int:
    whole = meta.part(pod, "spec", "resources", "requests")
    if whole and not asked.container:
        if asked.resource not in whole:
            raise Unknown(f"missing pod-level request for {asked.resource} in Pod {meta.name(pod)}")
        return milli(whole[asked.resource])
    containers = [*meta.parts(pod, "spec", "containers"), *pod_containers.sidecars(meta.part(pod, "spec"))]
    if asked.container:
        containers = [one for one in containers if one["name"] == asked.container]
        if not containers:
            raise Unknown(f"container {asked.container} not found in Pod {meta.name(pod)}")
    total = 0
    for container in containers:
        request: Any = meta.part(container, "resources", "requests").get(asked.resource)
        if request is None:
            raise Unknown(
                f"missing request for {asked.resource} in container {container['name']} of Pod {meta.name(pod)}"
            )
        total += milli(request)
    return total


def proposal(
    asked: Asked,
    replicas: int,
    pods: Sequence[Object],
    known: Mapping[str, Sample],
    tolerances: Tolerances,
    now: float,
) -> Proposal:
    """How many pods there should be of `replicas`, by what is known of those that are selected. Raises Unknown."""
    if not pods:
        raise Unknown("no pods returned by selector while calculating replica count")
    groups = grouped(pods, known, asked.resource, now)
    used = {name: known[name].milli for name in groups.measured}
    ignored = dict.fromkeys([*groups.unready, *(meta.name(pod) for pod in pods if _counts_not(pod))])
    others = {name: sample.milli for name, sample in known.items() if name not in used and name not in ignored}
    if not used and not others:
        raise Unknown("did not receive metrics for targeted pods (pods might be unready)")
    needed = requests(pods, asked) if asked.percent is not None else {}

    def measured(of: Mapping[str, int]) -> tuple[float, int, int | None]:
        """(ratio, average, percent)"""
        if asked.percent is None:
            average = sum(of.values()) // len(of)
            return average / asked.milli, average, None
        both = [name for name in of if name in needed]
        requested = sum(needed[name] for name in both)
        if not requested:
            raise Unknown("no metrics returned matched known pods")
        total = sum(of[name] for name in both)
        percent = total * 100 // requested
        return percent / asked.percent, total // len(both), percent

    ratio, average, percent = measured({**used, **others})
    same = Proposal(replicas, average, percent)
    counts_unready = bool(groups.unready) and ratio > 1.0
    if not counts_unready and not groups.missing:
        wanted = math.ceil(ratio * len(groups.measured))
        return same if tolerances.hold(ratio) else Proposal(min(wanted, REPLICAS_MAX), average, percent)
    careful = {**used, **others}
    if ratio < 1.0:
        careful |= {name: _busy(asked, needed.get(name, 0)) for name in groups.missing}
    elif ratio > 1.0:
        careful |= dict.fromkeys(groups.missing, 0)
    if counts_unready:
        careful |= dict.fromkeys(groups.unready, 0)
    again, _, _ = measured(careful)
    if tolerances.hold(again) or (ratio < 1.0 < again) or (again < 1.0 < ratio):
        return same
    wanted = min(math.ceil(again * len(careful)), REPLICAS_MAX)
    if (again < 1.0 and wanted > replicas) or (again > 1.0 and wanted < replicas):
        return same
    return Proposal(wanted, average, percent)


def _counts_not(pod: Object) -> bool:
    return meta.is_deleting(pod) or meta.get(pod, "status", "phase") == "Failed"


def _busy(asked: Asked, requested: int) -> int:
    """What a pod uses that uses all that it should, or all that it asked for."""
    return asked.milli if asked.percent is None else requested * max(100, asked.percent) // 100
