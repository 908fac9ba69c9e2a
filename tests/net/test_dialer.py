"""The dialer against our own listener, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from petset.base import pki
from petset.net import dialer, listener
from petset.wire import http
from tests.net.serving import Echo, serving
from tests.waiting import until

loops = pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


def url(server: listener.Listener, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.port}"


async def parts(body: bytes | AsyncIterator[bytes]) -> list[bytes]:
    assert not isinstance(body, bytes)
    return [part async for part in body]


@loops
def test_requests_share_a_connection_and_carry_the_dialers_headers(runner: object) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server) + "/prefix/", headers=(("authorization", "Bearer t"),)) as client:
            for i in range(3):
                response = await client.send(http.Request("POST", f"/a?b={i}", (("accept", "x"),), b"hi"))
                assert (response.code, response.body) == (200, b"POST /prefix/a?b=%dhi" % i)
                assert response.header("content-type") == "text/plain"
            assert len(server.connections) == 1
        assert echo.requests[0].header("authorization") == "Bearer t"
        assert echo.requests[0].header("host") == f"127.0.0.1:{server.port}"

    serving(check, runner)


@loops
def test_a_connection_notices_that_the_other_end_has_gone_without_a_word(runner: object) -> None:
    """A machine that is switched off sends no end: the kernel asks for it, and a watch breaks after half a minute."""

    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server)) as client:
            await client.send(http.Request("GET", "/a"))
            [connection] = client._kept
            connected = connection._transport.get_extra_info("socket")
            assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            assert [connected.getsockopt(socket.IPPROTO_TCP, one) for one in options] == [15, 5, 3, 30_000]

    serving(check, runner)


def test_what_is_under_way_in_a_retired_dialer_goes_on_and_nothing_is_kept() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server)) as client:
            await client.send(http.Request("GET", "/a"))
            watch = await client.send(http.Request("GET", "/watch"))
            assert not isinstance(watch.body, bytes)
            client.retire()
            assert await anext(watch.body) == b"first\n" and not client.is_empty
            await watch.body.aclose()  # type: ignore[attr-defined]
            assert (await client.send(http.Request("GET", "/b"))).body == b"GET /b"
            await until(lambda: client.is_empty)

    serving(check)


def test_concurrent_requests_have_a_connection_each_and_these_are_kept() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server)) as client:
            for _ in range(3):
                answers = await asyncio.gather(*(client.send(http.Request("GET", f"/{i}")) for i in range(5)))
                assert [answer.body for answer in answers] == [b"GET /%d" % i for i in range(5)]
            assert len(server.connections) == 5
        await until(lambda: not server.connections)

    serving(check)


@loops
def test_a_stream_is_an_iterator_and_closing_it_closes_the_connection(runner: object) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server)) as client:
            finished = await client.send(http.Request("GET", "/count"))
            assert b"".join(await parts(finished.body)) == b"part 0\npart 2\n"
            watch = await client.send(http.Request("GET", "/watch"))
            assert not isinstance(watch.body, bytes)
            assert await anext(watch.body) == b"first\n"
            assert echo.closed == []
            await watch.body.aclose()  # type: ignore[attr-defined]
            await until(lambda: echo.closed == ["/watch"])
            assert (await client.send(http.Request("GET", "/a"))).body == b"GET /a"

    serving(check, runner)


@loops
def test_a_stream_is_read_no_faster_than_it_is_consumed(runner: object) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server)) as client:
            response = await client.send(http.Request("GET", "/flood"))
            sent = 0
            while echo.sent_parts != sent or not sent:  # Until nothing moves any more.
                sent = echo.sent_parts
                await asyncio.sleep(0.05)
            assert sent < 2000
            body = response.body
            assert not isinstance(body, bytes)
            received = 0
            while received < sent * 10_000 * 2:
                received += len(await anext(body))

    serving(check, runner)


@loops
def test_an_upgrade_gives_the_stream_of_bytes(runner: object) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server)) as client:
            headers = (("connection", "Upgrade"), ("upgrade", "shout"))
            response, stream = await client.open(http.Request("GET", "/up", headers))
            assert stream is not None
            assert (response.code, response.header("upgrade")) == (101, "shout")
            stream.write(b"hello")
            assert await stream.read() == b"HELLO"
            stream.write(b"x" * 300_000)
            await stream.drain()
            received = b""
            while len(received) < 300_000:
                received += await stream.read()
            stream.write(b"bye")
            assert await stream.read() == b"BYE"
            assert await stream.read() == b""
            response, stream = await client.open(http.Request("GET", "/a", (("upgrade", "h2c"), *headers[:1])))
            assert (response.body, stream) == (b"GET /a", None)

    serving(check, runner)


@loops
def test_a_client_certificate_is_presented_and_the_servers_is_verified(tmp_path: Path, runner: object) -> None:
    authority = pki.authority(tmp_path)
    tls = pki.server_context(authority.server("server", ["localhost", "127.0.0.1"]), authority.certificate_pem)

    async def check(echo: Echo, server: listener.Listener) -> None:
        issued = authority.client("node", "system:node:n1", ["system:nodes"])
        async with dialer.Dialer(url(server, "https"), pki.client_context(authority.certificate_pem, issued)) as client:
            assert (await client.send(http.Request("GET", "/a"))).body == b"GET /a"
            assert len((await client.send(http.Request("GET", "/large"))).body) == 1_000_000  # type: ignore[arg-type]
            peer = echo.requests[0].peer
            assert peer.certificate_user == http.User("system:node:n1", ("system:nodes",))
        async with dialer.Dialer(url(server, "https")) as stranger:
            with pytest.raises(ConnectionError, match="its certificate is not trusted"):
                await stranger.send(http.Request("GET", "/a"))
        wrong_name = f"https://localhost.localdomain:{server.port}"
        context = pki.client_context(authority.certificate_pem)
        async with dialer.Dialer(wrong_name.replace("localhost.localdomain", "127.0.0.2"), context) as mistaken:
            with pytest.raises(ConnectionError):
                await mistaken.send(http.Request("GET", "/a"))

    serving(check, runner, tls=tls)


@loops
@pytest.mark.parametrize("end", ["dialer", "listener"])
def test_a_connection_may_be_ended_and_used_again_in_any_order(tmp_path: Path, runner: object, end: str) -> None:
    """Two owners end it, a reader has not heard of it yet; over TLS asyncio tolerates less than other transports do."""
    authority = pki.authority(tmp_path)
    tls = pki.server_context(authority.server("server", ["127.0.0.1"]), authority.certificate_pem)
    uses = ("close", "abort", "write", "pause_reading", "resume_reading")

    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server, "https"), pki.client_context(authority.certificate_pem)) as client:
            for order in itertools.permutations(uses, 4):
                watch = await client.send(http.Request("GET", "/watch"))
                ours, theirs = next(reversed(client._open)), next(reversed(server.connections))
                connection = ours if end == "dialer" else theirs
                for use in order:
                    getattr(connection, use)(*((b"x",) if use == "write" else ()))
                ours.abort(), theirs.abort()
                await watch.body.aclose()  # type: ignore[union-attr]
                await until(lambda: not client._open and not server.connections)

    serving(check, runner, tls=tls)


@loops
def test_a_dialer_closes_right_after_its_last_stream(tmp_path: Path, runner: object) -> None:
    authority = pki.authority(tmp_path)
    tls = pki.server_context(authority.server("server", ["127.0.0.1"]), authority.certificate_pem)

    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server, "https"), pki.client_context(authority.certificate_pem)) as client:
            watch = await client.send(http.Request("GET", "/watch"))
            await watch.body.aclose()  # type: ignore[union-attr]

    serving(check, runner, tls=tls)


def test_a_unix_socket_is_dialled_by_its_path(tmp_path: Path) -> None:
    import socket

    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "api.sock"))

    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(f"unix://{tmp_path}/api.sock") as client:
            assert (await client.send(http.Request("GET", "/a"))).body == b"GET /a"

    serving(check, socket=bound)


# Servers that misbehave

Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def against(session: Session, test: Callable[[dialer.Dialer], Awaitable[None]], **options: float) -> None:
    """Run a test of a dialer against a server whose every connection is that session."""

    async def main() -> None:
        async with asyncio.timeout(10):
            server = await asyncio.start_server(session, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            async with server, dialer.Dialer(f"http://127.0.0.1:{port}", **options) as client:
                await test(client)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "closed before the answer was whole"),
        (b"nonsense\r\n", "cannot reach"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed before the answer was whole"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed before the answer was whole"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "an upgrade nobody asked"),
    ],
)
def test_a_broken_answer_is_a_connection_error(said: bytes, why: str) -> None:
    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async def check(client: dialer.Dialer) -> None:
        with pytest.raises(ConnectionError, match=why):
            await client.send(http.Request("GET", "/"))

    against(session, check)


def test_a_stream_that_is_cut_off_says_so_and_a_stream_until_the_end_is_whole() -> None:
    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = b"cut" in await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n" if cut else b"HTTP/1.0 200 OK\r\n\r\nhi"
        )
        writer.close()

    async def check(client: dialer.Dialer) -> None:
        response = await client.send(http.Request("GET", "/cut"))
        with pytest.raises(ConnectionError, match="the answer was cut off"):
            await parts(response.body)
        response = await client.send(http.Request("GET", "/"))
        assert b"".join(await parts(response.body)) == b"hi"

    against(session, check)


def test_no_answer_in_time_is_a_connection_error() -> None:
    done = asyncio.Event()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        done.set()

    async def check(client: dialer.Dialer) -> None:
        with pytest.raises(ConnectionError, match=r"none came within 0.1 seconds"):
            await client.send(http.Request("GET", "/"))
        await done.wait()  # The connection is not kept: its late answer would be another request's.

    against(session, check, answer_seconds_max=0.1)


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("POST", 1)])
def test_only_what_changes_nothing_is_sent_again_when_a_kept_connection_was_closed(method: str, tries: int) -> None:
    heard: list[bytes] = []

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if len(heard) == 1:
            heard.append(await reader.readuntil(b"\r\n\r\n"))  # The second request finds it closing.
        writer.close()

    async def check(client: dialer.Dialer) -> None:
        await client.send(http.Request("GET", "/"))
        if tries == 2:
            assert (await client.send(http.Request(method, "/"))).body == b"ok"
        else:
            with pytest.raises(ConnectionError, match="closed the connection"):
                await client.send(http.Request(method, "/"))
        assert len(heard) == 1 + tries

    against(session, check)


def test_nobody_there_and_nowhere_to_dial_are_said_clearly() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with dialer.Dialer(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(ConnectionError, match=f"cannot reach http://127.0.0.1:{port}: .*refused"):
                await client.send(http.Request("GET", "/"))

    asyncio.run(main())
    for wrong in ("ftp://x", "127.0.0.1:80", "http://"):
        with pytest.raises(ValueError, match="cannot dial"):
            dialer.Dialer(wrong)


def test_a_send_that_is_cancelled_closes_its_connection() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        async with dialer.Dialer(url(server)) as client:
            waiting = asyncio.ensure_future(client.send(http.Request("GET", "/wait")))
            await until(lambda: echo.requests)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            echo.go_on.set()
            await until(lambda: not server.connections)
            assert (await client.send(http.Request("GET", "/a"))).body == b"GET /a"

    serving(check)


def test_closing_the_dialer_ends_its_streams() -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        client = dialer.Dialer(url(server))
        response = await client.send(http.Request("GET", "/watch"))
        await client.close()
        with pytest.raises(ConnectionError):
            await parts(response.body)
        with pytest.raises(ConnectionError, match="the dialer is closed"):
            await client.send(http.Request("GET", "/a"))
        await until(lambda: echo.closed == ["/watch"])

    serving(check)


def test_a_default_tls_context_trusts_the_systems_authorities() -> None:
    context = dialer.Dialer("https://localhost")._tls
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
