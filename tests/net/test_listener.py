"""The listener on real sockets: keep-alive, streams, upgrades, limits, slow and rude clients, its own end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
import uvloop

from petset.base import pki
from petset.net import listener
from petset.objects import encoding
from petset.wire import http
from tests.net.serving import Echo, Raw, get, raw, serving
from tests.waiting import until

loops = pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@loops
def test_a_connection_is_used_again_and_pipelined_requests_wait_their_turn(runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(
                get("/a") + b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" + get("/wait") + get("/c")
            )
            assert await client.answer() == (200, b"GET /a")
            assert await client.answer() == (200, b"POST /bhi")
            await until(lambda: len(echo.requests) == 3)
            echo.go_on.set()
            assert await client.answer() == (200, b"GET /wait")
            assert await client.answer() == (200, b"GET /c")
            client.send(get("/d", "Connection: close"))
            assert (await client.rest()).endswith(b"GET /d")

    serving(check, runner)


def test_head_has_the_length_and_no_body() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + get("/b"))
            assert b"content-length: 7\r\n" in await client.until(b"\r\n\r\n")
            assert await client.answer() == (200, b"GET /b")

    serving(check)


def test_leave_to_continue_comes_before_the_body() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"hi")
            assert await client.answer() == (200, b"PUT /ahi")

    serving(check)


@loops
def test_a_stream_is_sent_in_chunks_and_the_connection_used_again(runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/count") + get("/a"))
            assert b"transfer-encoding: chunked" in await client.until(b"\r\n\r\n")
            assert await client.until(b"\r\n0\r\n\r\n") == b"7\r\npart 0\n\r\n7\r\npart 2\n\r\n0\r\n\r\n"
            assert await client.answer() == (200, b"GET /a")

    serving(check, runner)


def test_an_http_1_0_client_gets_a_stream_raw() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(b"GET /count HTTP/1.0\r\n\r\n")
            assert (await client.rest()).endswith(b"\r\n\r\npart 0\npart 2\n")

    serving(check)


@loops
def test_a_streams_iterator_is_closed_when_the_client_goes(runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/watch"))
            await client.until(b"first\n\r\n")
            assert echo.closed == []
        await until(lambda: echo.closed == ["/watch"])
        await until(lambda: not server.connections)

    serving(check, runner)


@loops
def test_a_slow_reader_is_waited_for_and_released_when_it_goes(runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/flood"))
            await client.until(b"\r\n\r\n")
            parts = 0
            while echo.sent_parts != parts or not parts:  # Until nothing moves any more.
                parts = echo.sent_parts
                await asyncio.sleep(0.05)
            assert parts < 2000  # Buffers are some megabytes; without waiting it would never stop.
            assert echo.closed == []
            client.writer.transport.abort()
        await until(lambda: echo.closed == ["/flood"])

    serving(check, runner)


def test_a_reader_that_takes_nothing_is_given_up() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/flood"))
            await until(lambda: echo.closed == ["/flood"])
            with contextlib.suppress(ConnectionError):
                await client.rest()

    serving(check, limits=listener.Limits(stall_seconds_max=0.3))


def test_a_stream_that_fails_is_cut_off_not_ended(caplog: pytest.LogCaptureFixture) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/break"))
            data = b""
            with contextlib.suppress(ConnectionError):
                data = await client.rest()
            assert not data.endswith(b"0\r\n\r\n")

    serving(check)
    assert "cannot go on answering GET /break" in caplog.text


def test_a_handlers_defect_is_a_500_status_and_a_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/fail") + get("/refuse") + get("/a"))
            code, body = await client.answer()
            assert (code, encoding.loads(body)["reason"]) == (500, "InternalError")
            assert b"Traceback" not in body and b"defect" not in body
            code, body = await client.answer()
            assert (code, encoding.loads(body)["reason"]) == (429, "TooManyRequests")
            assert await client.answer() == (200, b"GET /a")

    serving(check)
    assert "ValueError: a defect" in caplog.text


@loops
def test_an_upgraded_connection_is_a_stream_of_bytes_from_the_first_one_on(runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/up", "Connection: Upgrade", "Upgrade: shout") + b"hello")
            assert b"101 Switching Protocols" in await client.until(b"\r\n\r\n")
            assert await client.reader.readexactly(5) == b"HELLO"
            client.send(b"x" * 300_000)
            assert await client.reader.readexactly(300_000) == b"X" * 300_000
            client.send(b"bye")
            assert await client.rest() == b"BYE"
        async with raw(server.port) as client:
            client.send(get("/up", "Connection: Upgrade", "Upgrade: shout"))
            await client.until(b"\r\n\r\n")
        await until(lambda: echo.closed == ["shout", "shout"])

    serving(check, runner)


@loops
def test_several_wait_for_one_client_that_reads_late(runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/up", "Connection: Upgrade", "Upgrade: crowd"))
            await client.until(b"\r\n\r\n")
            assert len(await client.rest()) == len(echo.huge)
            assert echo.closed == ["0", "1", "2"]

    serving(check, runner)


def test_an_upgrade_that_the_handler_ignores_is_a_plain_request() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/a", "Connection: Upgrade", "Upgrade: h2c") + get("/b"))
            assert await client.answer() == (200, b"GET /a")
            assert await client.answer() == (200, b"GET /b")

    serving(check)


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "BadRequest"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 431, "RequestHeaderFieldsTooLarge"),
        (
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000,
            413,
            "RequestEntityTooLarge",
        ),
        (
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"10000\r\n%b\r\n" % (b"x" * 65536) * 100,
            413,
            "RequestEntityTooLarge",
        ),
    ],
)
@loops
def test_what_is_refused_can_read_why_although_it_was_still_sending(
    sent: bytes, code: int, reason: str, runner: Any
) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(sent)
            answered, body = await client.answer()
            assert (answered, encoding.loads(body)["reason"]) == (code, reason)
        assert echo.requests == []

    serving(check, runner)


def test_a_body_that_is_just_small_enough_arrives() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3145728\r\n\r\n" + b"x" * (3 << 20))
            await client.answer()
        assert len(echo.requests[0].body) == 3 << 20

    serving(check)


def test_a_request_that_is_not_complete_in_time_is_told_so() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as slow, raw(server.port) as silent:
            slow.send(b"GET / HT")
            code, body = await slow.answer()
            assert (code, encoding.loads(body)["reason"]) == (408, "Timeout")
            assert await slow.rest() == b""
            assert await silent.rest() == b""

    serving(check, limits=listener.Limits(request_seconds_max=0.3))


def test_an_idle_connection_is_closed_and_a_stream_is_not() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as idle, raw(server.port) as watching:
            idle.send(get("/a"))
            watching.send(get("/watch"))
            await idle.answer()
            assert await idle.rest() == b""
            await watching.until(b"first\n\r\n")
            await asyncio.sleep(0.7)
            assert echo.closed == []
            assert len(server.connections) == 1

    serving(check, limits=listener.Limits(idle_seconds_max=0.3, request_seconds_max=0.4))


def test_a_connection_too_many_is_told_so() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as first, raw(server.port) as second:
            for client in (first, second):
                client.send(get("/a"))
                await client.answer()
            async with raw(server.port) as third:
                code, body = await third.answer()
                assert (code, encoding.loads(body)["reason"]) == (503, "ServiceUnavailable")
                assert await third.rest() == b""
            first.send(get("/b"))
            assert await first.answer() == (200, b"GET /b")

    serving(check, limits=listener.Limits(connections_max=2))


def test_a_client_that_leaves_does_not_stop_a_plain_handler() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        finished: list[str] = []
        handle = echo.handle

        async def slow(request: http.Request) -> http.Response:
            response = await handle(request)
            finished.append(request.path)
            return response

        server.handler = slow
        async with raw(server.port) as client:
            client.send(get("/wait"))
            await until(lambda: echo.requests)
            # A reset, since a mere end of its side could also be a client that still listens.
            connected = client.writer.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()
            await until(lambda: not server.connections)
        echo.go_on.set()
        await until(lambda: finished == ["/wait"])

    serving(check)


def test_a_client_that_has_closed_its_side_still_gets_its_answer() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with raw(server.port) as client:
            client.send(get("/wait"))
            client.writer.write_eof()
            await until(lambda: echo.requests)
            echo.go_on.set()
            assert (await client.rest()).endswith(b"GET /wait")

    serving(check)


@loops
def test_the_listeners_end_ends_streams_whole_and_lets_requests_finish(runner: Any) -> None:
    async def main() -> None:
        echo = Echo()
        async with asyncio.timeout(20), contextlib.AsyncExitStack() as clients:
            async with listener.serve(echo.handle) as server:
                idle, watching, waiting, shouting = [
                    await clients.enter_async_context(raw(server.port)) for _ in range(4)
                ]
                watching.send(get("/watch"))
                waiting.send(get("/wait"))
                shouting.send(get("/up", "Connection: Upgrade", "Upgrade: shout") + b"hi")
                await watching.until(b"first\n\r\n")
                await shouting.until(b"HI")
                await until(lambda: len(server.connections) == 4 and len(echo.requests) == 3)
                asyncio.get_running_loop().call_later(0.1, echo.go_on.set)
            assert await watching.rest() == b"0\r\n\r\n"
            assert (await waiting.rest()).endswith(b"GET /wait")
            assert await shouting.rest() == b""
            assert await idle.rest() == b""
            assert echo.closed == ["/watch"]
            with pytest.raises(OSError):
                await Raw.open(server.port)

    runner(main())


def test_what_fails_inside_is_raised_as_it_is() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        raise LookupError("the test's own")

    with pytest.raises(LookupError):
        serving(check)


def test_the_listeners_end_does_not_wait_for_ever() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        client = await Raw.open(server.port)
        client.send(get("/wait"))
        await until(lambda: echo.requests)

    serving(check, limits=listener.Limits(stop_seconds_max=0.2))


def test_a_socket_that_is_bound_already_is_served(tmp_path: Path) -> None:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "api.sock"))

    async def main() -> None:
        echo = Echo()
        async with asyncio.timeout(10), listener.serve(echo.handle, socket=bound):
            client = Raw(*await asyncio.open_unix_connection(tmp_path / "api.sock"))
            client.send(get("/a"))
            assert await client.answer() == (200, b"GET /a")
            assert echo.requests[0].peer == http.Peer()
            client.close()

    asyncio.run(main())


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.authority(tmp_path_factory.mktemp("pki"))


def server_tls(authority: pki.Authority) -> ssl.SSLContext:
    return pki.server_context(authority.server("server", ["localhost", "127.0.0.1"]), authority.certificate_pem)


@loops
def test_a_verified_client_certificate_says_who_asks(authority: pki.Authority, runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        admin = authority.client("admin", "petset-admin", ["system:masters", "team"])
        for issued in (None, admin):
            async with raw(server.port, pki.client_context(authority.certificate_pem, issued)) as client:
                client.send(get("/count") + get("/a"))
                await client.until(b"\r\n0\r\n\r\n")
                assert await client.answer() == (200, b"GET /a")
        assert [request.peer.certificate_user for request in echo.requests[1::2]] == [
            None,
            http.User("petset-admin", ("system:masters", "team")),
        ]
        assert echo.requests[0].peer.address == "127.0.0.1"

    serving(check, runner, tls=server_tls(authority))


@loops
def test_another_authoritys_certificate_and_plain_http_do_not_get_in(
    authority: pki.Authority, tmp_path: Path, runner: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        stranger = pki.authority(tmp_path).client("stranger", "petset-admin", ["system:masters"])
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with raw(server.port, pki.client_context(authority.certificate_pem, stranger)) as client:
                client.send(get("/a"))
                await client.answer()
        async with raw(server.port) as plain:
            plain.send(get("/a"))
            with contextlib.suppress(ConnectionError):
                assert b"GET /a" not in await plain.rest()
        async with raw(server.port) as scanner:
            scanner.send(b"\x16\x03\x01garbage" * 100)
            with contextlib.suppress(ConnectionError):
                await scanner.rest()
        async with raw(server.port):
            pass
        assert echo.requests == []

    serving(check, runner, tls=server_tls(authority))
    assert caplog.text == ""  # Strangers do not fill the log.


@loops
def test_streams_upgrades_and_refusals_work_over_tls(authority: pki.Authority, runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        tls = pki.client_context(authority.certificate_pem)
        async with raw(server.port, tls) as client:
            client.send(get("/up", "Connection: Upgrade", "Upgrade: shout") + b"hello")
            await client.until(b"HELLO")
            client.send(b"x" * 300_000)
            assert await client.reader.readexactly(300_000) == b"X" * 300_000
        async with raw(server.port, tls) as client:
            client.send(get("/watch"))
            await client.until(b"first\n\r\n")
        await until(lambda: sorted(echo.closed) == ["/watch", "shout"])
        async with raw(server.port, tls) as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 1_000_000)
            assert (await client.answer())[0] == 413

    serving(check, runner, tls=server_tls(authority))


def resident_kib() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@loops
def test_a_thousand_idle_watches_are_cheap_and_all_let_go(runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        before = resident_kib()
        clients = [await Raw.open(server.port) for _ in range(1000)]
        for client in clients:
            client.send(get("/watch"))
        for client in clients:
            await client.until(b"first\n\r\n")
        assert len(server.connections) == 1000
        # Both ends are in this process; the limit is far above what it takes, and far below a thread each.
        assert resident_kib() - before < 100 * 1000
        for client in clients:
            client.writer.transport.abort()
        await until(lambda: len(echo.closed) == 1000 and not server.connections)

    serving(check, runner)
