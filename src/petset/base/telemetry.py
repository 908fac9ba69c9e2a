"""What an operator sees at /metrics: counted in plain numbers, rendered when asked.

Whoever counts asks once for a `Count` or `Histogram` of the table (metrics.py) with its labels, and keeps it: to count
is then an addition. What is known anyway (how many objects are stored, which keys wait) is not counted but read at
each scrape, from a `source`. `taken` copies the numbers, on the loop; `Taken.render` makes text of the copy, in any
thread. `prometheus_client`, 75 ms to import, waits for the first scrape.

Invariants: a metric has SERIES_MAX series at most, and what comes then is counted together as "other"; recording costs
less than a microsecond.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from petset.base import metrics, tasks
from petset.base.metrics import Labels, Metric

SERIES_MAX = 2000  # Of one metric.
OTHER = "other"
TABLE: Mapping[str, Metric] = {metric.name: metric for metric in metrics.TABLE}


def _none() -> array[int]:
    return array("Q")


@dataclass(slots=True)
class Count:
    """A number that is counted up, or up and down."""

    value: float = 0


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

    def copied(self) -> Histogram:
        return Histogram(self.bounds, copy(self.counts), self.total)


Sample = tuple[str, Labels, "float | Histogram"]  # A metric's name, the values of its labels, and what it is at.
Source = Callable[[], Iterable[Sample]]


def read(prefix: str, figures: Mapping[str, float]) -> list[Sample]:
    """Figures without labels as samples: prefix_name, and _total for a counter, is the metric in the table."""
    names = [(f"{prefix}_{name}", value) for name, value in figures.items()]
    return [(name if name in TABLE else f"{name}_total", (), value) for name, value in names]


class Telemetry:
    """One process's numbers."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[Labels, Count]] = {}
        self._histograms: dict[str, dict[Labels, Histogram]] = {}
        self._sources: list[Source] = []

    def source(self, read: Source) -> None:
        """Read these samples at each scrape."""
        self._sources.append(read)

    def count(self, name: str, *labels: str) -> Count:
        """Where this is counted; the same for the same labels."""
        series = self._counts.setdefault(name, {})
        found = series.get(labels)
        if found is None:
            found = series.setdefault(_bounded(series, labels), Count())
        return found

    def histogram(self, name: str, *labels: str) -> Histogram:
        """Where this is observed; the same for the same labels."""
        series = self._histograms.setdefault(name, {})
        found = series.get(labels)
        if found is None:
            found = series.setdefault(_bounded(series, labels), Histogram(TABLE[name].bounds))
        return found

    def taken(self) -> Taken:
        """A copy of all numbers."""
        found: dict[str, list[tuple[Labels, float | Histogram]]] = {name: [] for name in TABLE}
        for name, counts in self._counts.items():
            found[name] += [(labels, one.value) for labels, one in counts.items()]
        for name, histograms in self._histograms.items():
            found[name] += [(labels, one.copied()) for labels, one in histograms.items() if one.counts]
        for source in self._sources:
            for name, labels, value in source():
                if not isinstance(value, Histogram):
                    found[name].append((labels, value))
                elif value.counts:
                    found[name].append((labels, value.copied()))
        for doing, number in tasks.best_effort_failures().items():
            found["petset_best_effort_failures_total"].append(((doing,), number))
        return Taken(found, of_process=True)


def _bounded(series: Mapping[Labels, Any], labels: Labels) -> Labels:
    return labels if len(series) < SERIES_MAX else (OTHER,) * len(labels)


class Taken:
    """Numbers as they were at a moment, by metric."""

    def __init__(
        self,
        series: Mapping[str, list[tuple[Labels, float | Histogram]]],
        table: Mapping[str, Metric] = TABLE,
        of_process: bool = False,
    ):
        self._series, self._table, self._of_process = series, table, of_process

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """(content type, the text): OpenMetrics for who asks for it, else Prometheus' own format 0.0.4."""
        from prometheus_client import CollectorRegistry, exposition
        from prometheus_client.process_collector import ProcessCollector

        registry = CollectorRegistry()
        if self._of_process:
            ProcessCollector(registry=registry)
        registry.register(self)  # It calls collect().
        encode, content_type = exposition.choose_encoder(accept)
        return content_type, encode(registry)

    def collect(self) -> Iterator[Any]:
        """The table's metrics with their values, for prometheus_client."""
        from prometheus_client import metrics_core

        for name, series in self._series.items():
            metric = self._table[name]
            if metric.kind == "histogram":
                family = metrics_core.HistogramMetricFamily(name, metric.help, labels=metric.labels)
                for labels, value in series:
                    assert isinstance(value, Histogram)
                    family.add_metric(list(labels), value.cumulative(), value.total)
                yield family
                continue
            make = metrics_core.CounterMetricFamily if metric.kind == "counter" else metrics_core.GaugeMetricFamily
            family = make(name, metric.help, labels=metric.labels)
            for labels, value in series:
                assert not isinstance(value, Histogram)
                family.add_metric(list(labels), value)
            yield family
