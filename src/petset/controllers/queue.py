"""The keys of a controller that wait to be looked at, and how often something may be told.

Invariant: a key waits once, however often it is asked for, and is with one worker at a time; one that is asked for
while a worker has it comes back when he is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from petset.base import metrics, tasks, telemetry

PACED_SECONDS_LEAST = 1e-6
PACED_MAX = 1000  # Objects remembered before those are forgotten that have rested.

# What a dashboard asks for: the label `name` of workqueue_*, where Kubernetes' controller of the same task has another
# name for its queue. Each stands here once, so that no two queues are one series.
NAMES: Mapping[str, str] = {
    "statefulsets": "statefulset",
    "deployments": "deployment",
    "daemonsets": "daemonset",
    "replicasets": "replicaset",
    "replicationcontrollers": "replicationmanager",
    "jobs": "job",
    "cronjobs": "cronjob",
    "endpoints": "endpoint",
    "endpointslices": "endpoint_slice",
    "namespaces": "namespace",
    "aggregation": "ClusterRoleAggregator",
    "disruptionbudgets": "disruption",
    "disruptiontargets": "stale_pod_disruption",
}


class Pace:
    """How often a thing may be told: so many times at once, and then as often as one comes in so many seconds."""

    def __init__(self, burst: int, seconds: float):
        self._burst_seconds, self._seconds = (burst - 1) * seconds, seconds
        self._paid: dict[str, float] = {}  # Until when what was told is paid for, by who tells.

    def seconds(self, who: str, now: float) -> float:
        """How long it must wait; 0.0 when it is told now."""
        paid = max(now, self._paid.get(who, now))
        early = paid - now - self._burst_seconds
        if early > PACED_SECONDS_LEAST:  # Less is a rounding: a timer for it would come at once, and again.
            return early
        if len(self._paid) >= PACED_MAX:
            self._paid = {who: until for who, until in self._paid.items() if until > now}
        self._paid[who] = paid + self._seconds
        return 0.0


class Queue:
    """Keys that wait for a worker: each at most once; busy ones come back when done, delayed ones by a timer."""

    def __init__(self) -> None:
        self._ready: dict[str, float] = {}  # Since when each waits.
        self._busy: dict[str, bool] = {}  # The key's value: whether it is to be looked at again.
        self._begun: dict[str, float] = {}  # Since when each is worked on.
        self._added = self._retried = 0
        self._waited = telemetry.Histogram(metrics.QUEUE_SECONDS)
        self._worked = telemetry.Histogram(metrics.QUEUE_SECONDS)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def add(self, key: str) -> None:
        if key in self._busy:
            self._busy[key] = True
            return
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key not in self._ready:
            self._ready[key] = tasks.monotonic()
            self._added += 1
        self._wake.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Add it later; the earlier of two such times wins."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def take(self) -> str:
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = next(iter(self._ready))
        now = self._begun[key] = tasks.monotonic()
        self._waited.observe(now - self._ready.pop(key))
        self._busy[key] = False
        return key

    def worked(self, key: str) -> None:
        """The work on a key has ended; it may rest a while before it is done."""
        self._worked.observe(tasks.monotonic() - self._begun.pop(key))

    def retry(self, key: str, seconds: float) -> None:
        self._retried += 1
        self.add_after(key, seconds)

    def samples(self, name: str) -> Iterator[telemetry.Sample]:
        """As Kubernetes' controllers tell of their queues."""
        of, now = (name,), tasks.monotonic()
        begun = list(self._begun.values())
        yield "workqueue_adds_total", of, self._added
        yield "workqueue_retries_total", of, self._retried
        yield "workqueue_depth", of, len(self._ready)
        yield "workqueue_queue_duration_seconds", of, self._waited
        yield "workqueue_work_duration_seconds", of, self._worked
        yield "workqueue_unfinished_work_seconds", of, sum(now - since for since in begun)
        yield "workqueue_longest_running_processor_seconds", of, now - min(begun, default=now)

    def done(self, key: str) -> None:
        if self._busy.pop(key):
            self.add(key)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
