"""When probes are due, what their results mean, and attempts against real sockets."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from petset.node.pods import probes
from petset.node.pods.probes import Outcome
from petset.wire import streaming

POD = {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {}}


def times(kind: probes.Kind, probe: Any, results: list[bool], passed: bool = False) -> list[tuple[float, bool, bool]]:
    """(when, does it count, passed afterwards) of a container started at 0 whose attempts take no time."""
    progress, found = probes.begin(kind, probe, 0.0, 0.0, passed), []
    for ok in results:
        at = probes.next_at(progress)
        progress, counts = probes.after(progress, probe, ok, at, at)
        found.append((round(at, 3), counts, progress.passed))
    return found


def test_a_container_that_was_never_ready_is_looked_at_early():
    assert times("readiness", {"periodSeconds": 1}, [False] * 6 + [True, True, False]) == [
        (0, False, False),
        (0.05, False, False),
        (0.15, False, False),
        (0.35, False, False),
        (0.75, False, False),
        (1, True, False),
        (1.55, False, True),
        (2, True, True),
        (3, True, True),
    ]


def test_not_before_its_initial_delay():
    assert [at for at, _, _ in times("readiness", {"initialDelaySeconds": 15}, [False, False])] == [15, 15.05]
    assert [at for at, _, _ in times("liveness", {"initialDelaySeconds": 15}, [True, True])] == [15, 25]


def test_gaps_grow_up_to_the_period_and_early_failures_never_fail_a_probe():
    found = times("startup", {"periodSeconds": 2, "failureThreshold": 3}, [False] * 12)
    gaps = [round(later[0] - earlier[0], 3) for earlier, later in itertools.pairwise(found)]
    assert max(gaps) <= 2
    assert [at for at, counts, _ in found if counts][:3] == [2, 4, 6]


def test_thresholds_count_runs():
    probe = {"failureThreshold": 2, "successThreshold": 2}
    found = times("readiness", probe, [False, True, True, False, True, False, False, True, True], passed=True)
    assert [passed for _, _, passed in found] == [True, True, True, True, True, True, False, False, True]


def test_a_slow_attempt_leaves_out_the_times_it_missed():
    progress = probes.begin("liveness", {"periodSeconds": 1}, 0.0, 0.0)
    progress, _ = probes.after(progress, {"periodSeconds": 1}, True, 0.0, 2.5)
    assert probes.next_at(progress) == 3


class Streams:
    """One command's output and end."""

    def __init__(self, output: bytes = b"", code: int = 0, seconds: float = 0.0):
        self.output_bytes, self.code, self.seconds, self.closed = output, code, seconds, False
        self.asked: list[Any] = []

    async def exec(self, pod_uid: str, container: str, options: streaming.ExecOptions) -> Any:
        self.asked.append((pod_uid, container, options.command))
        return self

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        await asyncio.sleep(self.seconds)
        yield streaming.STDOUT, self.output_bytes

    async def exit_code(self) -> int:
        return self.code

    async def close(self) -> None:
        self.closed = True


def attempt(probe: Any, streams: Any = None, ports: Any = ()) -> Outcome:
    prober = probes.Prober(streams or Streams())
    return asyncio.run(prober.probe(POD, {"name": "c", "ports": list(ports)}, probe, "127.0.0.1"))


def test_commands():
    streams = Streams(b"PONG\n")
    probe = {"exec": {"command": ["sh", "-c", "redis-cli -h $(hostname) ping"]}}
    assert attempt(probe, streams) == Outcome(True, "PONG\n")
    assert streams.asked == [("u", "c", ("sh", "-c", "redis-cli -h $(hostname) ping"))] and streams.closed
    assert attempt(probe, Streams(b"no route", 1)) == Outcome(False, "no route")
    assert attempt(probe, Streams(b"", 7)) == Outcome(False, "command exited with 7")
    slow = Streams(seconds=30)
    assert attempt({**probe, "timeoutSeconds": 0.05}, slow) == Outcome(False, "no answer within 0.05s")
    assert slow.closed


def http(answer: bytes, probe: Any) -> tuple[Outcome, bytes]:
    """A probe against a server that gives this answer to everything; what it was asked first."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async def main() -> Outcome:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            container = {"name": "c", "ports": [{"name": "web", "containerPort": port}]}
            return await probes.Prober(Streams()).probe(POD, container, probe, "127.0.0.1")

    return asyncio.run(main()), asked[0] if asked else b""


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nfine", Outcome(True, "fine")),
        (b"HTTP/1.1 399 Odd\r\n\r\n", Outcome(True, "")),
        (b"HTTP/1.1 500 Oops\r\n\r\n", Outcome(False, "HTTP probe failed with statuscode: 500")),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\n\r\n",
            Outcome(True, "it redirects to another host, which is not followed: http://example.com/"),
        ),
    ],
)
def test_http(answer: bytes, outcome: Outcome):
    headers = [{"name": "Host", "value": "pet"}, {"name": "X-A", "value": "b"}]
    found, asked = http(answer, {"httpGet": {"port": "web", "path": "/ready?x=1", "httpHeaders": headers}})
    assert found == outcome
    assert asked.startswith(b"GET /ready?x=1 HTTP/1.1\r\nHost: pet\r\nX-A: b\r\nUser-Agent: kube-probe/")


def test_http_to_the_end():
    assert http(b"nonsense\r\n\r\n", {"httpGet": {"port": "web"}})[0].ok is False
    assert http(b"", {"httpGet": {"port": "web"}})[0].ok is False
    loop = http(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n", {"httpGet": {"port": "web"}})[0]
    assert loop.message.endswith("stopped after 10 redirects")


def test_sockets():
    async def main() -> tuple[Outcome, Outcome]:
        async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            prober = probes.Prober(Streams())
            open_ = await prober.probe(POD, {"name": "c"}, {"tcpSocket": {"port": port}}, "127.0.0.1")
        return open_, await prober.probe(POD, {"name": "c"}, {"tcpSocket": {"port": port}}, "127.0.0.1")

    open_, closed = asyncio.run(main())
    assert open_ == Outcome(True)
    assert not closed.ok and "connection refused" in closed.message


class Health:
    """A gRPC server with the health service, as grpcio serves it: a status for each service; others are not found."""

    def __init__(self, statuses: dict[str, int]):
        self.statuses, self.agents = statuses, []
        self.is_slow = threading.Event()

    def check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.agents.append(dict(context.invocation_metadata())["user-agent"])
        if self.is_slow.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "later: 50 %, pétit à petit")
        name = request[2:].decode()
        if name not in self.statuses:
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {name}")
        status = self.statuses[name]
        return bytes((0x08, status)) if status else b""


@pytest.fixture
def health():
    """(the service, its port)"""
    service = Health({"": 1, "db": 1, "sick": 2, "unknown": 0, "lost": 3})
    server = grpc.server(futures.ThreadPoolExecutor(2))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(service.check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, port
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("service", "outcome"),
    [
        (None, Outcome(True, "service healthy")),
        ("", Outcome(True, "service healthy")),
        ("db", Outcome(True, "service healthy")),
        ("sick", Outcome(False, 'service unhealthy (responded with "NOT_SERVING")')),
        ("unknown", Outcome(False, 'service unhealthy (responded with "UNKNOWN")')),
        ("lost", Outcome(False, 'service unhealthy (responded with "SERVICE_UNKNOWN")')),
        ("n" * 300, Outcome(False, f"error: health rpc probe failed: code 5: unknown service {'n' * 299}")),
    ],
)
def test_grpc(health, service, outcome):
    _, port = health
    found = attempt({"grpc": {"port": port, **({"service": service} if service is not None else {})}})
    if service and len(service) > 127:
        assert not found.ok and found.message.startswith("error: health rpc probe failed: code 5: unknown service")
    else:
        assert found == outcome
    assert health[0].agents[0].startswith(probes.USER_AGENT)


def test_grpc_that_fails_says_why(health):
    service, port = health
    service.is_slow.set()
    assert attempt({"grpc": {"port": port}}).message == (
        "error: health rpc probe failed: code 14: later: 50 %, pétit à petit"
    )
    other = grpc.server(futures.ThreadPoolExecutor(1))
    other_port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    found = attempt({"grpc": {"port": other_port}})
    other.stop(None).wait()
    assert not found.ok and "does not implement the grpc health protocol (grpc.health.v1.Health)" in found.message
    assert "connection refused" in attempt({"grpc": {"port": other_port}}).message


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\0" * 100_000])
def test_a_server_without_grpc_is_unhealthy(answer):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async def main() -> Outcome:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await probes.Prober(Streams()).probe(POD, {"name": "c"}, {"grpc": {"port": port}}, "127.0.0.1")

    found = asyncio.run(main())
    assert not found.ok and found.message.startswith("error: health rpc probe failed: "), found


def test_what_cannot_be_probed_says_so():
    assert "couldn't find port" in attempt({"httpGet": {"port": "nosuch"}}).message
    assert not attempt({}).ok
