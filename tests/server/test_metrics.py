"""/metrics: requests counted in Kubernetes' own names and labels, for next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from petset.base import telemetry
from petset.server import meter
from petset.wire import http
from tests.server.conftest import ADMIN, JANE, Server, configmap, pod
from tests.steps import counted

SPACE = "/api/v1/namespaces/default"
CONFIGMAPS = f"{SPACE}/configmaps"
TOTAL, SECONDS = "apiserver_request_total", "apiserver_request_duration_seconds_count"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def metered() -> Iterator[Server]:
    server = Server(metrics=telemetry.Telemetry())
    yield server
    server.close()


Seen = dict[tuple[str, frozenset[tuple[str, str]]], float]


def seen(server: Server) -> Seen:
    answer = server("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def of(metric: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return metric, frozenset(labels.items())


def changes(before: Seen, after: Seen, name: str) -> dict[tuple[str, ...], float]:
    """What one metric has more than before, by the values of its labels in their order, without empty ones."""
    return {
        tuple(f"{label}={value}" for label, value in sorted(labels) if value and label != "component"): more
        for (metric, labels), value in after.items()
        if metric == name and (more := value - before.get((metric, labels), 0))
    }


CREATED = configmap("one", k="v")
REQUESTS: dict[str, tuple[tuple[Any, ...], str]] = {
    "create": (("POST", CONFIGMAPS, CREATED), "code=201 resource=configmaps scope=resource verb=POST version=v1"),
    "get": (("GET", f"{CONFIGMAPS}/one"), "code=200 resource=configmaps scope=resource verb=GET version=v1"),
    "list": (("GET", CONFIGMAPS), "code=200 resource=configmaps scope=namespace verb=LIST version=v1"),
    "list of all": (
        ("GET", "/api/v1/configmaps?watch=false&limit=5"),
        "code=200 resource=configmaps scope=cluster verb=LIST version=v1",
    ),
    "put": (("PUT", f"{CONFIGMAPS}/one", CREATED), "code=200 resource=configmaps scope=resource verb=PUT version=v1"),
    "patch": (
        ("PATCH", f"{CONFIGMAPS}/one", {"data": {"k": "w"}}, ADMIN, None, MERGE),
        "code=200 resource=configmaps scope=resource verb=PATCH version=v1",
    ),
    "apply": (
        ("PATCH", f"{CONFIGMAPS}/one?fieldManager=me&force=1", CREATED, ADMIN, None, APPLY),
        "code=200 resource=configmaps scope=resource verb=APPLY version=v1",
    ),
    "dry": (
        ("DELETE", f"{CONFIGMAPS}/one?dryRun=All"),
        "code=200 dry_run=All resource=configmaps scope=resource verb=DELETE version=v1",
    ),
    "of another group": (
        ("GET", "/apis/apps/v1/namespaces/default/statefulsets/web/status"),
        "code=404 group=apps resource=statefulsets scope=resource subresource=status verb=GET version=v1",
    ),
    "deletecollection": (
        ("DELETE", CONFIGMAPS),
        "code=200 resource=configmaps scope=namespace verb=DELETECOLLECTION version=v1",
    ),
    "forbidden": (
        ("GET", f"{SPACE}/secrets/s", None, JANE),
        "code=403 resource=secrets scope=resource verb=GET version=v1",
    ),
    "unauthorized": (
        ("GET", f"{SPACE}/secrets/s", None, None, {"authorization": "Bearer x"}),
        "code=401 resource=secrets scope=resource verb=GET version=v1",
    ),
    "exec": (
        ("GET", f"{SPACE}/pods/p/exec"),
        "code=404 resource=pods scope=resource subresource=exec verb=CONNECT version=v1",
    ),
    "no such kind": (("GET", "/api/v1/namespaces/default/strangers/one"), "code=404 verb=GET"),
    "no such path": (("GET", "/strange"), "code=404 verb=GET"),
    "no such method": (("BREW", f"{SPACE}/pods"), "code=405 resource=pods scope=namespace verb=OTHER version=v1"),
    "a probe": (("GET", "/livez?verbose"), "code=200 subresource=/livez verb=GET"),
    "a check of a probe": (("GET", "/livez/ping"), "code=200 verb=GET"),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_a_request_is_counted_once_as_upstream_would(metered: Server, what: str) -> None:
    request, labels = REQUESTS[what]
    before = seen(metered)
    metered(*request)
    after = seen(metered)
    scrape = ("code=200", "verb=GET")  # The first look.
    wanted = {tuple(labels.split()): 1.0}
    wanted[scrape] = wanted.get(scrape, 0) + 1
    assert changes(before, after, TOTAL) == wanted
    timed: dict[tuple[str, ...], float] = {}
    for key, number in wanted.items():
        without_code = tuple(one for one in key if not one.startswith("code="))
        timed[without_code] = timed.get(without_code, 0) + number
    assert changes(before, after, SECONDS) == timed
    is_read = "verb=GET " in f"{labels} " or "verb=LIST " in f"{labels} "
    sized = changes(before, after, "apiserver_response_sizes_count")
    assert sum(sized.values()) == 1 + is_read


def test_a_watch_runs_long_and_is_counted_at_its_end(metered: Server) -> None:
    labels = {"version": "v1", "resource": "configmaps", "scope": "namespace", "component": "apiserver", "group": ""}
    running = of("apiserver_longrunning_requests", verb="WATCH", subresource="", **labels)
    ended = of(TOTAL, verb="WATCH", subresource="", dry_run="", code="200", **labels)
    events = of("apiserver_watch_events_total", group="", version="v1", resource="configmaps")
    before = seen(metered)
    watch = metered.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={metered.store.revision}")
    for number in range(3):
        metered.create(configmap(f"w{number}", k="a\nb"))
    metered.create(pod("p"))
    assert [name for _, name in watch.take(3)] == ["w0", "w1", "w2"]
    during = seen(metered)
    assert (during[running], during.get(ended, 0)) == (before.get(running, 0) + 1, before.get(ended, 0))
    assert during[events] == before.get(events, 0) + 3
    watch.close()
    after = seen(metered)
    assert (after[running], after[ended]) == (before.get(running, 0), before.get(ended, 0) + 1)
    metered.ok("DELETE", CONFIGMAPS)


def test_what_is_stored_is_counted_by_kind(metered: Server) -> None:
    metered.create(configmap("stored"))
    found = seen(metered)
    assert found[of("apiserver_storage_objects", resource="configmaps")] == 1
    assert found[of("apiserver_resource_objects", group="", resource="configmaps")] == 1
    assert found[of("apiserver_storage_objects", resource="petsets.apps")] == 0
    assert found[of("apiserver_storage_objects", resource="namespaces")] == 4
    assert of("apiserver_storage_objects", resource="tokenreviews.authentication.k8s.io") not in found
    metered.ok("DELETE", f"{CONFIGMAPS}/stored")


def test_the_scrape_itself_is_in_flight_and_the_checks_are_told(metered: Server) -> None:
    found = seen(metered)
    assert found[of("apiserver_current_inflight_requests", request_kind="readOnly")] == 1
    assert found[of("apiserver_current_inflight_requests", request_kind="mutating")] == 0
    assert found[of("kubernetes_healthcheck", name="ping", type="livez")] == 1
    assert found[of("kubernetes_build_info", major="1", minor="37", git_version=metered.get("/version")["gitVersion"])]


def test_openmetrics_for_who_asks(metered: Server) -> None:
    answer = metered("GET", "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {one.name for one in openmetrics_parser.text_string_to_metric_families(answer.body.decode())}
    assert {"apiserver_request", "apiserver_request_duration_seconds", "process_cpu_seconds"} <= families


def test_only_who_may_sees_them(metered: Server) -> None:
    assert metered("GET", "/metrics", user=JANE).code == 403
    assert metered("POST", "/metrics").code == 405


def test_strangers_get_no_series_of_their_own(metered: Server) -> None:
    before = seen(metered)
    for number in range(40):
        metered("GET", f"/apis/g{number}/v1/things{number}/x?dryRun=All&watch={number}")
        metered(f"M{number}", f"/api/v1/nodes/n{number}/sub{number}")
    after = seen(metered)
    assert len(changes(before, after, TOTAL)) <= 4


def test_to_count_a_request_takes_few_steps(server: Server) -> None:
    """Measured against the same request uncounted, on one server."""
    server.create(configmap("c", k="v"))
    handler = meter.Meter(telemetry.Telemetry()).counted(server.api.handle)

    def steps(handle: http.Handler) -> int:
        request = http.Request("GET", f"{CONFIGMAPS}/c", (("accept", "application/json"),), user=ADMIN)
        with counted() as counting:
            assert server.run(handle(request)).code == 200
        return counting.count

    for handle in (server.api.handle, handler):
        steps(handle)  # What is looked up once is known then.
    assert steps(handler) - steps(server.api.handle) <= 50
