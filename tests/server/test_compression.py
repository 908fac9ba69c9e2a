"""Long answers are compressed for who accepts gzip; they say the same as the others."""

from __future__ import annotations

import gzip

import pytest

from petset.server import compression, weight
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap, whole

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
LONG = "x" * 1000


def read(server: Server, target: str, accepts: str) -> tuple[bytes, dict[str, str]]:
    headers = (("accept-encoding", accepts),) if accepts else ()
    response = server.send(http.Request("GET", target, headers, user=ADMIN))
    return server.run(whole(response)), dict(response.headers)


def filled(server: Server, count: int) -> None:
    for number in range(count):
        server.create(configmap(f"c{number:04}", text=LONG))


@pytest.mark.parametrize("target", [CONFIGMAPS, f"{CONFIGMAPS}?limit=150", f"{CONFIGMAPS}/large"])
@pytest.mark.parametrize("run_objects", [200, 20])  # In one piece, and made as it is read.
def test_a_long_answer_says_the_same_in_fewer_bytes(server: Server, monkeypatch, target, run_objects) -> None:
    monkeypatch.setattr(weight, "RUN_OBJECTS_MAX", run_objects)
    monkeypatch.setattr(weight, "RUN_BYTES_MAX", run_objects * 2000)
    filled(server, 150)
    server.create(configmap("large", text=LONG * 200))
    plain, without = read(server, target, "")
    short, headers = read(server, target, "gzip, deflate;q=0.5")
    assert "content-encoding" not in without
    assert headers["content-encoding"] == "gzip" and headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(short) == plain and len(short) < len(plain) / 5


@pytest.mark.parametrize("run_objects", [200, 2])
def test_a_short_answer_is_left_alone(server: Server, monkeypatch, run_objects) -> None:
    monkeypatch.setattr(weight, "RUN_OBJECTS_MAX", run_objects)
    monkeypatch.setattr(weight, "RUN_BYTES_MAX", run_objects * 2000)
    filled(server, 10)
    plain, _ = read(server, CONFIGMAPS, "")
    same, headers = read(server, CONFIGMAPS, "gzip")
    assert same == plain and "content-encoding" not in headers


@pytest.mark.parametrize(
    ("accepts", "wanted"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip", True),
        ("gzip;q=0.1", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000", False),
        ("deflate", False),
        ("x-gzip", False),
        ("identity", False),
    ],
)
def test_who_accepts_it_gets_it(server: Server, monkeypatch, accepts: str, wanted: bool) -> None:
    monkeypatch.setattr(compression, "ANSWER_BYTES_MIN", 10)
    _, headers = read(server, "/api/v1", accepts)
    assert (headers.get("content-encoding") == "gzip") is wanted


def test_watches_and_refusals_are_never_compressed(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(compression, "ANSWER_BYTES_MIN", 10)
    watch = server.send(http.Request("GET", f"{CONFIGMAPS}?watch=1", (("accept-encoding", "gzip"),), user=ADMIN))
    assert not watch.header("content-encoding")
    server.run(watch.body.aclose())  # type: ignore[union-attr]
    _, headers = read(server, f"{CONFIGMAPS}/nobody", "gzip")
    assert "content-encoding" not in headers


def test_who_stops_reading_ends_what_makes_the_answer(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(weight, "RUN_OBJECTS_MAX", 20)
    monkeypatch.setattr(weight, "RUN_BYTES_MAX", 40_000)
    filled(server, 300)
    response = server.send(http.Request("GET", CONFIGMAPS, (("accept-encoding", "gzip"),), user=ADMIN))
    pieces = response.body
    assert not isinstance(pieces, bytes)
    server.run(anext(pieces))
    server.run(pieces.aclose())  # type: ignore[attr-defined]
    with pytest.raises(StopAsyncIteration):
        server.run(anext(pieces))
