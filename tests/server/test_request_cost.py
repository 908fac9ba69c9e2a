"""What a request takes from its bytes to those of its answer, over a connection as clients have it: counted, not timed.

It is what tests/server/test_write_cost.py counts and the connection, HTTP, flow control and the count of requests.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from petset.base import telemetry
from petset.net import listener
from petset.server import meter
from petset.wire import http, http1
from tests.server.conftest import ADMIN, Server, configmap
from tests.steps import counted

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
TURNS = 20  # More than any of these takes from its bytes to its answer's, over a store in memory.

# A request, and the most steps that it may take: a twentieth above what it takes.
MOST = {"GET": 490, "POST": 1_270, "PUT": 1_530}


class Wire(asyncio.Transport):
    """A connection's other end: what was written is here."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        pass


def _bytes(method: str, path: str, body: Any) -> bytes:
    data = json.dumps(body).encode() if body is not None else b""
    head = f"content-type: application/json\r\ncontent-length: {len(data)}\r\n" if data else ""
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{head}\r\n".encode() + data


def _of(method: str, number: int) -> bytes:
    if method == "POST":
        return _bytes(method, CONFIGMAPS, configmap(f"c{number}", k="v" * 900))
    return _bytes(method, f"{CONFIGMAPS}/one", configmap("one", k=str(number) * 900) if method == "PUT" else None)


@pytest.mark.parametrize("method", MOST)
def test_the_steps_of_a_request_from_its_bytes_to_those_of_its_answer(
    server: Server, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_peer", lambda *args: http.Peer("127.0.0.1", ADMIN))
    server.create(configmap("one"))

    async def main() -> int:
        async with asyncio.TaskGroup() as group:
            handler = meter.Meter(telemetry.Telemetry()).counted(server.plane.handle)
            served = listener.Listener(handler, group, listener.Limits(), "")
            connection, wire = listener._Connection(served), Wire()
            connection.connection_made(wire)
            for number in range(3):  # What is looked up once is known then.
                wire.written, asked = b"", _of(method, number)
                with counted() as counting:
                    connection.data_received(asked)
                    for _ in range(TURNS):
                        await asyncio.sleep(0)
                assert wire.written[9:11] == b"20", wire.written
            connection.connection_lost(None)
            await served.stop()
        return counting.count

    steps = server.run(main())
    assert steps <= MOST[method], f"a {method} takes {steps} steps"


def test_the_head_of_an_answer_is_made_once_for_all_that_have_its_headers() -> None:
    received = http1.Received(http.Request("GET", "/"))

    def whole(code: int, headers: http.Headers) -> tuple[bytes, int]:
        with counted() as counting:
            told = http1.whole(http.Response(code, headers), b"{}", received, True, "now")
        return told, counting.count

    usual = (("content-type", "application/json"), ("x-flow", "a"), ("x-level", "b"))
    first, again = whole(200, usual), whole(200, usual)
    assert first[0] == again[0] and again[0].startswith(b"HTTP/1.1 200 OK\r\n") and again[0].endswith(b"\r\n\r\n{}")
    for line in (b"content-type: application/json", b"x-flow: a", b"x-level: b", b"date: now", b"content-length: 2"):
        assert line in again[0].split(b"\r\n")
    assert again[1] <= 10 < first[1]
    assert b"201 Created" in whole(201, usual)[0] and b"x-level: c" in whole(200, (*usual[:2], ("x-level", "c")))[0]


def test_heads_that_are_long_or_many_are_not_kept() -> None:
    heads = http1._Heads()
    assert not heads.begun(200, (("x", "v" * 1_000),)) and not heads.begun(200, (("x" * 1_000, "v"),))
    assert not heads.begun(200, (("x", "v"),) * 100) and not heads.begun(304, (("x", "v"),))
    for number in range(10_000):
        assert heads.begun(200, (("x", str(number)),))
        assert len(heads._known) <= http1.USUAL_HEADERS_MAX
