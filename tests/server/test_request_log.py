"""The request log: a line a request when it is on, slow ones always, and no stranger writes more than his word."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from petset.base import telemetry
from petset.server import meter, request_log
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def told() -> Iterator[Server]:
    server = Server()
    server.plane.handle = meter.Meter(telemetry.Telemetry(), tells_all=True).counted(server.api.handle)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "petset.requests")
    return caplog


def words(caplog: pytest.LogCaptureFixture) -> list[list[str]]:
    return [record.getMessage().split(" ") for record in caplog.records if record.name == "petset.requests"]


def test_a_line_a_request(told: Server, caplog: pytest.LogCaptureFixture) -> None:
    told.create(configmap("c", k="v"))
    told("GET", f"{CONFIGMAPS}/absent?x=1")
    answer = told("GET", "/version", user=None, headers={"authorization": "Bearer nonsense"})
    made, absent, refused = words(caplog)
    assert made[:4] == ["POST", CONFIGMAPS, ADMIN.name, "201"] and made[5] == "ms" and made[7] == "bytes"
    assert int(made[4]) >= 0 and int(made[6]) > 100
    assert absent[:4] == ["GET", f"{CONFIGMAPS}/absent?x=1", ADMIN.name, "404"]
    assert refused[:4] == ["GET", "/version", "-", "401"] and answer.code == 401


def test_a_watch_has_its_line_when_it_ends(told: Server, caplog: pytest.LogCaptureFixture) -> None:
    watch = told.watch(f"{CONFIGMAPS}?watch=1")
    assert not words(caplog)
    watch.close()
    assert [line[:4] + line[6:7] for line in words(caplog)] == [
        ["GET", f"{CONFIGMAPS}?watch=1", ADMIN.name, "200", "-"]
    ]


def test_what_a_stranger_writes_stays_one_word(told: Server, caplog: pytest.LogCaptureFixture) -> None:
    told("GET", "/a\n2026 error b \x1b[31m" + "x" * 5000, user=http.User("e\nv il"))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "petset.requests"]
    assert "\n" not in line and "\x1b" not in line and len(line) < 1500
    assert "'e\\nv il'" in line


def test_slow_ones_are_told_anyway_and_streams_are_not(caplog: pytest.LogCaptureFixture) -> None:
    one = meter.Meter(telemetry.Telemetry())
    request = http.Request("GET", CONFIGMAPS)
    for seconds, streamed in ((0.9, False), (1.5, False), (3600.0, True)):
        one.ended(request, 200, seconds, 10, streamed)
    messages = [record.getMessage() for record in caplog.records if record.name == "petset.requests"]
    assert messages == [f"slow: GET {CONFIGMAPS} of - took 1.5 s (200)"]
    assert request_log.SLOW_SECONDS == 1.0
