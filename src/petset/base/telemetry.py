"""What an operator sees at /metrics: a table of metrics, counted in plain numbers, rendered when asked.

`Telemetry.counted(handler)` counts and times every request that goes through it, in process or from the network;
`source` names a function that is read at each scrape (the store's counts). The loop's lag is measured only when there
is something to measure: a request, at most every LAG_SECONDS_MIN, sends a callback round the loop and sees how long
that takes. So an idle process has no timer and no task here, and `prometheus_client`, 75 ms to import, waits for the
first scrape.

Invariants: the label values of strangers are bounded (SERIES_MAX, then "other"); recording costs microseconds.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from petset.base import tasks

LAG_SECONDS_MIN = 0.1  # Between two measurements of the loop's lag.
SERIES_MAX = 500  # Of one metric.
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
LAG_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


TABLE = (
    Metric("apiserver_request_total", "counter", "Requests by verb, resource and code.", ("verb", "resource", "code")),
    Metric(
        "apiserver_request_duration_seconds",
        "histogram",
        "Until the answer's head; a watch's or a followed log's own length is not in it.",
        ("verb", "resource"),
    ),
    Metric(
        "petset_loop_lag_seconds", "histogram", "How long a callback waits for its turn, sampled while requests come."
    ),
    Metric("petset_best_effort_failures_total", "counter", "Cleanups that failed, by what they did.", ("doing",)),
    Metric("petset_store_revision", "gauge", "The newest committed revision."),
    Metric("petset_store_objects", "gauge", "Objects stored."),
    Metric("petset_store_watchers", "gauge", "Open watches."),
    Metric("petset_store_history_changes", "gauge", "Changes that a watch can still begin from."),
    Metric("petset_store_commits_total", "counter", "Commits; writes by commits is the mean size of a group commit."),
    Metric("petset_store_writes_total", "counter", "Writes acknowledged."),
    Metric("petset_store_failed_writes_total", "counter", "Writes that the disk did not take."),
)

Labels = tuple[str, ...]
Source = Callable[[], Mapping[str, float]]


def _none() -> array[int]:
    return array("Q")


@dataclass(slots=True)
class Histogram:
    bounds: tuple[float, ...]
    counts: array[int] = field(default_factory=_none)  # Numbers in one piece: there are hundreds, of many moments.
    total: float = 0.0

    def observe(self, value: float) -> None:
        if not self.counts:
            self.counts = array("Q", bytes(8 * (len(self.bounds) + 1)))
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, observations up to it), as Prometheus wants them."""
        result: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            result.append((bound, float(seen)))
        return result


class Telemetry:
    """One process's numbers."""

    def __init__(self) -> None:
        self._requests: dict[Labels, int] = {}
        self._seconds: dict[Labels, Histogram] = {}
        self._series: dict[tuple[str, str, int], tuple[Labels, Histogram]] = {}  # Where each is counted.
        self._lag = Histogram(LAG_SECONDS)
        self._lag_measured = 0.0
        self._sources: list[tuple[str, Source]] = []

    def source(self, prefix: str, read: Source) -> None:
        """Read these numbers at each scrape; prefix_name (and _total for a counter) is the metric in TABLE."""
        self._sources.append((prefix, read))

    def counted(self, handler: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        """The same http.Handler, counted and timed."""

        async def count(request: Any) -> Any:
            loop = asyncio.get_running_loop()
            began = loop.time()
            code = 500
            try:
                response = await handler(request)
                code = response.code
                return response
            except asyncio.CancelledError:
                code = 499
                raise
            finally:
                now = loop.time()
                self.request(request.method, resource_of(request.target), code, now - began)
                if now - self._lag_measured >= LAG_SECONDS_MIN:
                    self._lag_measured = now
                    loop.call_soon(self._came_round, loop, now)

        return count

    def request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        known = self._series.get((verb, resource, code))
        if known is not None:
            self._requests[known[0]] += 1
            known[1].observe(seconds)
            return
        labels = (verb, resource, str(code))
        if labels not in self._requests and len(self._requests) >= SERIES_MAX:
            labels = ("other", "other", str(code))
        self._requests[labels] = self._requests.get(labels, 0) + 1
        histogram = self._seconds.get(labels[:2])
        if histogram is None:
            histogram = self._seconds[labels[:2]] = Histogram(REQUEST_SECONDS)
        histogram.observe(seconds)
        if labels[0] == verb:  # One of its own: no more than SERIES_MAX.
            self._series[verb, resource, code] = labels, histogram

    def render(self) -> bytes:
        """The text of /metrics."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.process_collector import ProcessCollector

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(self)  # It calls collect().
        return generate_latest(registry)

    def collect(self) -> Iterator[Any]:
        """The table's metrics with their present values, for prometheus_client."""
        from prometheus_client import metrics_core

        read = {f"{prefix}_{name}": value for prefix, values in self._sources for name, value in values().items()}
        for metric in TABLE:
            if metric.kind == "histogram":
                family = metrics_core.HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, histogram in self._histograms(metric.name):
                    if histogram.counts:
                        family.add_metric(list(labels), histogram.cumulative(), histogram.total)
            elif metric.kind == "counter":
                family = metrics_core.CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, value in self._counts(metric.name, read):
                    family.add_metric(list(labels), value)
            else:
                family = metrics_core.GaugeMetricFamily(metric.name, metric.help)
                if metric.name in read:
                    family.add_metric([], read[metric.name])
            yield family

    def _histograms(self, name: str) -> Iterable[tuple[Labels, Histogram]]:
        return self._seconds.items() if name == "apiserver_request_duration_seconds" else [((), self._lag)]

    def _counts(self, name: str, read: Mapping[str, float]) -> Iterable[tuple[Labels, float]]:
        if name == "apiserver_request_total":
            return self._requests.items()
        if name == "petset_best_effort_failures_total":
            return [((doing,), count) for doing, count in tasks.best_effort_failures().items()]
        value = read.get(name.removesuffix("_total"))
        return [] if value is None else [((), value)]

    def _came_round(self, loop: asyncio.AbstractEventLoop, sent: float) -> None:
        self._lag.observe(loop.time() - sent)


def resource_of(target: str) -> str:
    """pods, pods/exec, petsets.apps: what a request's path is about; "" for what is no object (health, discovery)."""
    steps = target.partition("?")[0].strip("/").split("/")
    if steps[0] == "api" and len(steps) > 2:
        group, rest = "", steps[2:]
    elif steps[0] == "apis" and len(steps) > 3:
        group, rest = f".{steps[1]}", steps[3:]
    else:
        return ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        rest = rest[2:]
    subresource = f"/{rest[2]}" if len(rest) > 2 else ""
    return f"{rest[0]}{group}{subresource}"
