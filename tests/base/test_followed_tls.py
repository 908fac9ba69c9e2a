"""A listener's TLS that goes on as its certificate is renewed and as the authorities of clients change."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import uvloop

from petset.base import followed_tls, pki
from petset.net import dialer, listener
from petset.wire import http

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Authorities:
    def __init__(self, directory: Path):
        made = {}
        for name in ("server", "other", "clients", "strangers"):
            (directory / name).mkdir()
            made[name] = pki.authority(directory / name, "ca", name)
        self.server, self.other = made["server"], made["other"]
        self.clients, self.strangers = made["clients"], made["strangers"]


async def shown(request: http.Request) -> http.Response:
    return http.Response(200, (), b"a certificate" if request.peer.certificate else b"none")


@contextlib.asynccontextmanager
async def served(tls: followed_tls.FollowedTls) -> AsyncGenerator[int]:
    async with listener.serve(shown, tls=tls.context, front_proxies=None) as listening:
        yield listening.port


async def asked(port: int, host: str, authority: pki.Authority, client: pki.Issued | None = None) -> str:
    """What is answered over a new connection; "" where there is none."""
    context = pki.client_context(authority.certificate_pem, client)
    try:
        async with dialer.Dialer(f"https://{host}:{port}", context, address=("127.0.0.1", port)) as dialing:
            return (await dialing.send(http.Request("GET", "/"))).body.decode()
    except (ConnectionError, ssl.SSLError):
        return ""


def put(files: pki.Issued, certificate: Path, key: Path) -> None:
    for source, to in ((certificate, files.certificate), (key, files.key)):
        shutil.copy(source, to.with_suffix(".new"))
        to.with_suffix(".new").rename(to)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])  # With the name of a server in the hello, and without.
def test_who_may_connect_changes_while_it_listens(tmp_path: Path, host: str, loop: Callable) -> None:
    async def main() -> None:
        has = Authorities(tmp_path)
        tls = followed_tls.FollowedTls(has.server.server("api", ["localhost", "127.0.0.1"]))
        client, stranger = has.clients.client("jane", "jane"), has.strangers.client("jane", "jane")
        async with served(tls) as port:
            assert await asked(port, host, has.server) == "none"
            assert await asked(port, host, has.server, client) == ""
            tls.believe(has.clients.certificate_pem)
            assert await asked(port, host, has.server, client) == "a certificate"
            assert await asked(port, host, has.server, stranger) == ""
            tls.believe(f"{has.strangers.certificate_pem}\n{has.server.certificate_pem}")
            assert await asked(port, host, has.server, client) == ""
            assert await asked(port, host, has.server, stranger) == "a certificate"
            assert await asked(port, host, has.server) == "none"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_a_renewed_certificate_is_shown_from_the_next_connection_on(tmp_path: Path) -> None:
    async def main() -> None:
        has = Authorities(tmp_path)
        first, second = (one.server("api", ["localhost"]) for one in (has.server, has.other))
        files = pki.Issued(tmp_path / "tls.crt", tmp_path / "tls.key")
        put(files, first.certificate, first.key)
        tls = followed_tls.FollowedTls(files)
        tls.believe(has.clients.certificate_pem)
        async with served(tls) as port:
            assert await asked(port, "localhost", has.server) == "none"
            put(files, second.certificate, first.key)  # Half of it: what was goes on.
            assert await asked(port, "localhost", has.server) == "none"
            files.key.unlink()
            assert await asked(port, "localhost", has.server) == "none"
            put(files, second.certificate, second.key)
            assert await asked(port, "localhost", has.server) == ""
            client = has.clients.client("jane", "jane")
            assert await asked(port, "localhost", has.other, client) == "a certificate"

    asyncio.run(main())


def test_who_may_connect_changes_while_half_of_a_new_certificate_is_there(tmp_path: Path) -> None:
    async def main() -> None:
        has = Authorities(tmp_path)
        first, second = (one.server("api", ["localhost"]) for one in (has.server, has.other))
        files = pki.Issued(tmp_path / "tls.crt", tmp_path / "tls.key")
        put(files, first.certificate, first.key)
        tls = followed_tls.FollowedTls(files)
        async with served(tls) as port:
            put(files, second.certificate, first.key)
            tls.believe(has.clients.certificate_pem)
            assert await asked(port, "localhost", has.server) == "none"
            put(files, second.certificate, second.key)
            client = has.clients.client("jane", "jane")
            assert await asked(port, "localhost", has.other, client) == "a certificate"

    asyncio.run(main())


def test_a_pair_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("none")
    with pytest.raises(OSError):
        followed_tls.FollowedTls(pki.Issued(tmp_path / "tls.crt", tmp_path / "tls.key"))
