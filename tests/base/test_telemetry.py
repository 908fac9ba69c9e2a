"""Metrics: counted as they happen, bounded, and rendered so that a Prometheus parser reads them back."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from prometheus_client import openmetrics, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from petset.base import metrics as table
from petset.base import tasks, telemetry
from petset.store import memory

OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: telemetry.Telemetry) -> Samples:
    content_type, text = metrics.taken().render()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_count_and_a_histogram_are_the_same_for_the_same_labels() -> None:
    metrics = telemetry.Telemetry()
    for seconds in (0.001, 0.3, 1_000.0):
        metrics.histogram("workqueue_work_duration_seconds", "sets").observe(seconds)
        metrics.count("workqueue_adds_total", "sets").value += 2
    metrics.histogram("workqueue_work_duration_seconds", "nobody")
    seen = samples(metrics)
    name, label = "workqueue_work_duration_seconds", ("name", "sets")
    assert seen["workqueue_adds_total", (label,)] == 6
    buckets = {bound: seen[f"{name}_bucket", (("le", bound), label)] for bound in ("0.001", "0.1", "1.0", "+Inf")}
    assert buckets == {"0.001": 1, "0.1": 1, "1.0": 2, "+Inf": 3}
    assert seen[f"{name}_sum", (label,)] == pytest.approx(1000.301)
    assert (f"{name}_count", (("name", "nobody"),)) not in seen, "nothing was observed of it"
    assert seen["process_resident_memory_bytes", ()] > 1_000_000


@pytest.mark.parametrize("accept", [OPEN, f"{OPEN},text/plain;q=0.5", "application/openmetrics-text"])
def test_who_asks_for_openmetrics_is_told_in_it(accept: str) -> None:
    metrics = telemetry.Telemetry()
    metrics.count("workqueue_adds_total", "sets").value += 1
    content_type, text = metrics.taken().render(accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    families = {one.name: one for one in openmetrics_parser.text_string_to_metric_families(text.decode())}
    assert openmetrics.exposition.CONTENT_TYPE_LATEST.startswith("application/openmetrics-text")
    assert [sample.value for sample in families["workqueue_adds"].samples] == [1]


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "application/json", "nonsense;;=,,"])
def test_everybody_else_is_told_in_the_older_format(accept: str) -> None:
    assert telemetry.Telemetry().taken().render(accept)[0] == "text/plain; version=0.0.4; charset=utf-8"


def test_strangers_cannot_make_series_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "SERIES_MAX", 50)
    metrics = telemetry.Telemetry()
    for i in range(2 * telemetry.SERIES_MAX):
        metrics.count("workqueue_adds_total", f"stranger{i}").value += 1
        metrics.histogram("workqueue_queue_duration_seconds", f"stranger{i}").observe(0.1)
    seen = samples(metrics)
    assert seen["workqueue_adds_total", (("name", "other"),)] == telemetry.SERIES_MAX
    assert sum(name == "workqueue_adds_total" for name, _ in seen) == telemetry.SERIES_MAX + 1
    assert sum(name == "workqueue_queue_duration_seconds_count" for name, _ in seen) == telemetry.SERIES_MAX + 1


@pytest.mark.parametrize("metric", table.TABLE, ids=lambda metric: metric.name)
def test_each_row_of_the_table_is_one_that_prometheus_takes(metric: table.Metric) -> None:
    metrics = telemetry.Telemetry()
    make: Callable[..., object] = metrics.histogram if metric.kind == "histogram" else metrics.count
    one = make(metric.name, *("x" for _ in metric.labels))
    if isinstance(one, telemetry.Histogram):
        one.observe(1.0)
    assert (metric.kind == "histogram") == bool(metric.bounds) and list(metric.bounds) == sorted(metric.bounds)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    suffix = "_count" if metric.kind == "histogram" else ""
    assert samples(metrics)[metric.name + suffix, tuple(sorted((label, "x") for label in metric.labels))] >= 0


def test_what_is_read_at_a_scrape_is_as_it_is_then() -> None:
    metrics, depth = telemetry.Telemetry(), [1]
    metrics.source(lambda: [("workqueue_depth", ("sets",), depth[0])])
    taken = metrics.taken()
    depth[0] = 7
    assert b'workqueue_depth{name="sets"} 1.0' in taken.render()[1]
    assert samples(metrics)["workqueue_depth", (("name", "sets"),)] == 7


def test_the_stores_numbers_are_read_when_asked() -> None:
    metrics = telemetry.Telemetry()

    async def main() -> None:
        store = memory.MemoryStore()
        metrics.source(lambda: telemetry.read("petset_store", dataclasses.asdict(store.stats())))
        await asyncio.gather(*(store.put(f"/k{i}", {"metadata": {"name": "k"}}, 0) for i in range(4)))
        with store.watch("", since=4):
            seen = samples(metrics)
        assert {name: value for (name, _), value in seen.items() if name.startswith("petset_store_")} == {
            "petset_store_revision": 4,
            "petset_store_objects": 4,
            "petset_store_watchers": 1,
            "petset_store_history_changes": 4,
            "petset_store_commits_total": 1,
            "petset_store_writes_total": 4,
            "petset_store_failed_writes_total": 0,
        }
        await store.close()

    asyncio.run(main())


def test_failed_cleanups_are_seen() -> None:
    with tasks.best_effort("test the metrics"):
        raise OSError("a defect")
    seen = samples(telemetry.Telemetry())
    assert seen[("petset_best_effort_failures_total", (("doing", "test the metrics"),))] >= 1
