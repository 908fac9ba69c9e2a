"""HTTP/2 on real sockets, for who offers nothing else: requests at once, streams, windows, limits, its own end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from petset.base import pki
from petset.net import listener
from petset.objects import encoding
from petset.wire import http, http2
from tests.net.http2_client import Client
from tests.net.serving import Echo, serving
from tests.waiting import until

loops = pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.authority(tmp_path_factory.mktemp("pki"))


Check = Callable[[Echo, listener.Listener, Callable[..., Any]], Awaitable[None]]


def speaking(authority: pki.Authority, check: Check, runner: Any = asyncio.run, **options: Any) -> None:
    tls = pki.server_context(authority.server("server", ["127.0.0.1"]), authority.certificate_pem)
    dialing = pki.client_context(authority.certificate_pem, authority.client("jane", "jane", ["developers"]))
    dialing.set_alpn_protocols(["h2"])

    @contextlib.asynccontextmanager
    async def client(port: int, window: int = 0) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=dialing)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        made = Client(reader, writer, window)
        made.flush()
        try:
            yield made
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    serving(lambda echo, server: check(echo, server, client), runner, tls=tls, **options)


@loops
def test_many_requests_at_once_of_whom_the_certificate_names(authority: pki.Authority, runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port) as one:
            waits = one.ask("/wait")
            others = [one.ask(f"/{number}", "POST", b"hi", ("x-a", "b")) for number in range(50)]
            for number, stream in enumerate(others):
                assert await one.answer(stream) == ("200", b"POST /%dhi" % number)
            assert one.heads[others[0]]["content-length"] == "9" and one.heads[others[0]]["date"]
            echo.go_on.set()
            assert await one.answer(waits) == ("200", b"GET /wait")
            head = one.ask("/a", "HEAD")
            assert await one.answer(head) == ("200", b"") and one.heads[head]["content-length"] == "7"
            assert await one.answer(one.ask("/large")) == ("200", b"x" * 1_000_000)
            last = echo.requests[1]
            assert last.peer.certificate_user == http.User("jane", ("developers",))
            assert last.header("host") == "x" and last.header("x-a") == "b"
        await until(lambda: not server.connections)

    speaking(authority, check, runner)


@loops
def test_streams_come_as_they_are_made_and_are_closed_when_nobody_wants_them(
    authority: pki.Authority, runner: Any
) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port) as one:
            assert await one.answer(one.ask("/count")) == ("200", b"part 0\npart 2\n")
            watch, other = one.ask("/watch"), one.ask("/watch")
            while b"first\n" not in (one.bodies.get(watch), one.bodies.get(other)):
                await one.read()
            one.http2.reset_stream(watch, 8)
            one.flush()
            await until(lambda: echo.closed == ["/watch"])
            assert await one.answer(one.ask("/a")) == ("200", b"GET /a")
        await until(lambda: echo.closed == ["/watch"] * 2)
        await until(lambda: not server.connections)

    speaking(authority, check, runner)


@loops
def test_a_slow_reader_holds_up_nobody_else_and_is_given_up_in_the_end(authority: pki.Authority, runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port, window=20_000) as one:
            one.reads_bodies = False
            flood = one.ask("/flood")
            while len(one.bodies.get(flood, b"")) < 20_000:
                await one.read()
            assert echo.sent_parts < 5, "what does not fit is not made"
            assert await one.answer(one.ask("/a")) == ("200", b"GET /a")
            await until(lambda: echo.closed == ["/flood"])
            assert await one.answer(flood) == ("200", b"x" * 20_000) and one.ended[flood] != 0
        assert server.readers.bytes == 0

    speaking(authority, check, runner, limits=listener.Limits(stall_seconds_max=0.5))


def test_what_is_no_generator_is_closed_too_and_its_failure_is_nobodys(authority: pki.Authority) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port, window=20_000) as one:
            one.reads_bodies = False
            held = one.ask("/held")
            while len(one.bodies.get(held, b"")) < 20_000:
                await one.read()
            one.http2.reset_stream(held, 8)
            one.flush()
            await until(lambda: "held" in echo.closed)
            assert await one.answer(one.ask("/held", "HEAD")) == ("200", b"")
            await until(lambda: echo.closed.count("held") == 2)
            assert await one.answer(one.ask("/a")) == ("200", b"GET /a")

    speaking(authority, check)


def test_what_is_too_large_or_too_slow_is_told_so(authority: pki.Authority) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port) as one:
            code, body = await one.answer(one.ask("/a", "POST", b"x" * 1001))
            assert (code, encoding.loads(body)["reason"]) == ("413", "RequestEntityTooLarge")
            assert await one.answer(one.ask("/a", "POST", b"x" * 10)) == ("200", b"POST /a" + b"x" * 10)
            late = one.ask("/a", "POST", b"x", ends=False)
            code, body = await one.answer(late)
            assert (code, encoding.loads(body)["reason"]) == ("408", "Timeout")
            assert await one.answer(one.ask("nothing")) != ("200", b"")
        assert server.bodies.bytes == 0

    speaking(authority, check, limits=listener.Limits(body_bytes_max=1000, request_seconds_max=0.5))


def test_failures_are_answers_and_what_only_http_1_has_is_told_so(authority: pki.Authority, caplog: Any) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port) as one:
            assert (await one.answer(one.ask("/fail")))[0] == "500"
            assert (await one.answer(one.ask("/refuse")))[0] == "429"
            broken = one.ask("/break")
            assert await one.answer(broken) == ("200", b"begun") and one.ended[broken] == 2
            switch = one.ask("/switch")
            assert await one.answer(switch) == ("", b"") and one.ended[switch] == 13  # HTTP_1_1_REQUIRED

    speaking(authority, check)
    assert "a defect" in caplog.text


def test_who_leaves_all_that_he_asks_has_no_more_of_it_done_at_once(authority: pki.Authority) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port) as one:
            for _ in range(3 * http2.STREAMS_MAX):
                stream = one.ask("/wait")
                one.http2.reset_stream(stream, 8)
                one.flush()
            refused = one.ask("/a")
            await one.answer(refused)
            assert one.ended[refused] == 7 and len(echo.requests) <= http2.STREAMS_MAX
            echo.go_on.set()
            await until(lambda: len(server.connections) == 1)
        await until(lambda: not server.connections)

    speaking(authority, check)


def test_what_is_no_http_2_ends_the_connection(authority: pki.Authority) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port) as one:
            one._writer.write(b"\0" * 100)
            while await one._reader.read(65_536):
                pass
        await until(lambda: not server.connections)

    speaking(authority, check)


def test_an_idle_connection_is_closed(authority: pki.Authority) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port) as one:
            assert await one.answer(one.ask("/a")) == ("200", b"GET /a")
            while await one.read():
                pass

    speaking(authority, check, limits=listener.Limits(idle_seconds_max=0.3))


@loops
def test_the_listeners_end_ends_streams_whole_and_lets_requests_finish(
    authority: pki.Authority, runner: Any, tmp_path: Path
) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        async with client(server.port) as one:
            watch, waits = one.ask("/watch"), one.ask("/wait")
            while b"first\n" not in one.bodies.values():
                await one.read()
            await until(lambda: len(echo.requests) == 2)
            stopping = asyncio.get_running_loop().create_task(server.stop())
            assert await one.answer(watch) == ("200", b"first\n") and one.ended[watch] == 0
            echo.go_on.set()
            assert await one.answer(waits) == ("200", b"GET /wait")
            await stopping
            assert not server.connections

    speaking(authority, check, runner)


def test_who_speaks_both_is_answered_in_the_older(authority: pki.Authority) -> None:
    async def check(echo: Echo, server: listener.Listener, client: Any) -> None:
        dialing = pki.client_context(authority.certificate_pem)
        dialing.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=dialing)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.close()

    speaking(authority, check)
