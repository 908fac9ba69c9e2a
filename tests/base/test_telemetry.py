"""Metrics: counted as they happen, bounded, and rendered so that a Prometheus parser reads them back."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from prometheus_client.parser import text_string_to_metric_families

from petset.base import tasks, telemetry
from petset.store import memory
from petset.wire import http


def samples(metrics: telemetry.Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("target", "resource"),
    [
        ("/api/v1/pods?watch=1", "pods"),
        ("/api/v1/namespaces/default/pods/web-0", "pods"),
        ("/api/v1/namespaces/default/pods/web-0/exec?command=ls", "pods/exec"),
        ("/api/v1/namespaces/default", "namespaces"),
        ("/api/v1/namespaces/default/status", "namespaces/status"),
        ("/apis/apps/v1alpha1/namespaces/default/petsets/web", "petsets.apps"),
        ("/apis/apps/v1/statefulsets", "statefulsets.apps"),
        ("/apis/apps/v1", ""),
        ("/api/v1", ""),
        ("/healthz", ""),
        ("/", ""),
        ("", ""),
    ],
)
def test_what_a_request_is_about(target: str, resource: str) -> None:
    assert telemetry.resource_of(target) == resource


def test_requests_are_counted_timed_and_the_loops_lag_is_measured_with_them() -> None:
    metrics = telemetry.Telemetry()

    async def handle(request: http.Request) -> http.Response:
        if request.method == "DELETE":
            raise ValueError
        return http.Response(201)

    async def main() -> None:
        handler = metrics.counted(handle)
        for _ in range(3):
            assert (await handler(http.Request("POST", "/api/v1/namespaces/a/pods"))).code == 201
        with pytest.raises(ValueError):
            await handler(http.Request("DELETE", "/api/v1/nodes/n"))
        await asyncio.sleep(0)

    asyncio.run(main())
    seen = samples(metrics)
    total = "apiserver_request_total"
    assert seen[(total, (("code", "201"), ("resource", "pods"), ("verb", "POST")))] == 3
    assert seen[(total, (("code", "500"), ("resource", "nodes"), ("verb", "DELETE")))] == 1
    assert seen[("apiserver_request_duration_seconds_count", (("resource", "pods"), ("verb", "POST")))] == 3
    assert seen[("petset_loop_lag_seconds_count", ())] == 1
    assert seen[("process_resident_memory_bytes", ())] > 1_000_000


def test_strangers_cannot_make_series_without_end() -> None:
    metrics = telemetry.Telemetry()
    for i in range(2 * telemetry.SERIES_MAX):
        metrics.request("GET", f"stranger{i}", 404, 0.001)
    seen = samples(metrics)
    assert seen[("apiserver_request_total", (("code", "404"), ("resource", "other"), ("verb", "other")))] == 500
    assert sum(name == "apiserver_request_total" for name, _ in seen) == telemetry.SERIES_MAX + 1


def test_the_stores_numbers_are_read_when_asked() -> None:
    metrics = telemetry.Telemetry()

    async def main() -> None:
        store = memory.MemoryStore()
        metrics.source("petset_store", lambda: dataclasses.asdict(store.stats()))
        await asyncio.gather(*(store.put(f"/k{i}", {"metadata": {"name": "k"}}, 0) for i in range(4)))
        with store.watch("", since=4):
            seen = samples(metrics)
        names = {metric.name for metric in telemetry.TABLE if metric.name.startswith("petset_store_")}
        assert {name: value for (name, _), value in seen.items() if name in names} == {
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
