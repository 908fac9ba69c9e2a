"""A client that lives long: tokens, certificates and authorities are renewed in their files while it is at work."""

from __future__ import annotations

import base64
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from petset.base import pki
from petset.client.reaching import lasting
from petset.net import listener
from petset.objects import documents
from petset.wire import http
from tests.net.serving import Echo, serving

GET = http.Request("GET", "/a")


class Files:
    """A kubeconfig and what it names, beside it; each is put in place whole, as who renews them does."""

    def __init__(self, folder: Path, server: str):
        self.folder = folder
        self.path = folder / "kubeconfig"
        self.server = server

    def put(self, name: str, content: bytes) -> None:
        new = self.folder / f"{name}.new"
        new.write_bytes(content)
        os.replace(new, self.folder / name)

    def configure(self, cluster: dict[str, str], user: dict[str, str]) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.server, **cluster}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.put("kubeconfig", documents.dump(config))

    def source(self) -> lasting.Source:
        return lasting.of_kubeconfig(self.path)


def plain(check: Callable[[Echo, listener.Listener, Files], Awaitable[None]], folder: Path) -> None:
    async def begun(echo: Echo, server: listener.Listener) -> None:
        await check(echo, server, Files(folder, f"http://127.0.0.1:{server.port}"))

    serving(begun)


def test_a_token_that_is_renewed_goes_into_the_next_request(tmp_path: Path) -> None:
    async def check(echo: Echo, server: listener.Listener, files: Files) -> None:
        files.put("token", b"first\n")
        files.configure({}, {"tokenFile": "token"})
        async with lasting.Lasting(files.source()) as way:
            for token in (b"first", b"second", b"third"):
                files.put("token", token)
                await way.send(GET)
                assert echo.requests[-1].header("authorization") == f"Bearer {token.decode()}"
            assert len(server.connections) == 1, "over the same connection"

    plain(check, tmp_path)


def test_nothing_is_read_while_nothing_changes(tmp_path: Path) -> None:
    async def check(echo: Echo, server: listener.Listener, files: Files) -> None:
        files.configure({}, {"token": "t"})
        source, reads = files.source(), []
        counting = lasting.Source(lambda: (reads.append(1), source.read())[1])
        async with lasting.Lasting(counting) as way:
            for _ in range(20):
                await way.send(GET)
            assert len(reads) == 1
            files.configure({}, {"token": "u"})
            await way.send(GET)
            assert len(reads) == 2 and echo.requests[-1].header("authorization") == "Bearer u"

    plain(check, tmp_path)


def test_files_that_cannot_be_read_leave_what_was_and_are_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(echo: Echo, server: listener.Listener, files: Files) -> None:
        files.put("token", b"first")
        files.configure({}, {"tokenFile": "token"})
        async with lasting.Lasting(files.source()) as way:
            (tmp_path / "token").unlink()
            with caplog.at_level(logging.WARNING, "petset.client"):
                for _ in range(3):
                    await way.send(GET)
            assert echo.requests[-1].header("authorization") == "Bearer first"
            assert len(caplog.records) == 1 and "goes on as before" in caplog.text
            files.put("token", b"second")
            await way.send(GET)
            assert echo.requests[-1].header("authorization") == "Bearer second"

    plain(check, tmp_path)


def test_what_is_no_kubeconfig_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("kind: Something")
    with pytest.raises(ValueError, match="no kubeconfig"):
        lasting.Lasting(lasting.of_kubeconfig(tmp_path / "kubeconfig"))
    with pytest.raises(FileNotFoundError):
        lasting.Lasting(lasting.of_kubeconfig(tmp_path / "none"))


def test_new_certificates_make_new_connections_and_a_watch_goes_on(tmp_path: Path) -> None:
    """The server's authority is replaced, and the client's certificate: as both are renewed, one after the other."""
    for name in ("old", "new", "files"):
        (tmp_path / name).mkdir()
    old, new = pki.authority(tmp_path / "old"), pki.authority(tmp_path / "new")
    both = tmp_path / "both.pem"
    both.write_text(old.certificate_pem + new.certificate_pem)

    async def check(echo: Echo, server: listener.Listener) -> None:
        files = Files(tmp_path / "files", f"https://127.0.0.1:{server.port}")

        async def renew(
            authority: pki.Authority, authorities: str, user: str, between: Callable[[], Awaitable[None]]
        ) -> None:
            issued = authority.client(user, user)
            files.put("ca", authorities.encode())
            files.put("certificate", issued.certificate.read_bytes())
            await between()
            files.put("key", issued.key.read_bytes())

        async def nothing() -> None: ...

        await renew(old, old.certificate_pem, "ann", nothing)
        user = {"client-certificate": "certificate", "client-key": "key"}
        files.configure({"certificate-authority": "ca"}, user)
        async with lasting.Lasting(files.source()) as way:
            watch = await way.send(http.Request("GET", "/watch"))
            assert not isinstance(watch.body, bytes)
            assert await anext(watch.body) == b"first\n"
            await way.send(GET)
            first = echo.requests[-1].peer.certificate_user

            async def still_ann() -> None:
                """A certificate whose key has not come yet is none."""
                await way.send(GET)
                assert echo.requests[-1].peer.certificate_user == first

            await renew(new, both.read_text(), "bob", still_ann)
            await way.send(GET)
            second = echo.requests[-1].peer.certificate_user
            assert (first and first.name, second and second.name) == ("ann", "bob")
            assert echo.closed == [], "what was under way goes on"
            await watch.body.aclose()  # type: ignore[attr-defined]

    issued = old.server("server", ["127.0.0.1"])
    serving(check, tls=pki.server_context(issued, both.read_text()))


# -- In a pod


def account(folder: Path, token: bytes, authority: pki.Authority) -> None:
    (folder / "token").write_bytes(token)
    (folder / "ca.crt").write_text(authority.certificate_pem)


def test_a_pod_asks_as_its_service_account_and_its_token_is_renewed(tmp_path: Path) -> None:
    authority = pki.authority(tmp_path)

    async def check(echo: Echo, server: listener.Listener) -> None:
        account(tmp_path, b"first", authority)
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        async with lasting.Lasting(lasting.of_pod(environment, tmp_path)) as way:
            for token in (b"first", b"second\n"):
                account(tmp_path, token, authority)
                await way.send(GET)
                assert echo.requests[-1].header("authorization") == f"Bearer {token.decode().strip()}"

    serving(check, tls=pki.server_context(authority.server("server", ["127.0.0.1"])))


def test_a_pod_that_may_write_nowhere_asks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only root file system leaves no temporary directory."""
    authority = pki.authority(tmp_path)
    account(tmp_path, b"t", authority)
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))

    async def check(echo: Echo, server: listener.Listener) -> None:
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        async with lasting.Lasting(lasting.of_pod(environment, tmp_path)) as way:
            await way.send(GET)
        assert echo.requests[-1].header("authorization") == "Bearer t"

    serving(check, tls=pki.server_context(authority.server("server", ["127.0.0.1"])))


def test_an_address_of_six_is_in_brackets_and_who_is_in_no_pod_is_told(tmp_path: Path) -> None:
    account(tmp_path, b"t", pki.authority(tmp_path))
    six = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert lasting.of_pod(six, tmp_path).read()[0].server == "https://[fd00::1]:443"
    with pytest.raises(ValueError, match="KUBERNETES_SERVICE_HOST"):
        lasting.of_pod({}, tmp_path).read()
    with pytest.raises(ValueError, match="token is empty"):
        (tmp_path / "token").write_bytes(b"\n")
        lasting.of_pod(six, tmp_path).read()


def test_inline_certificates_are_followed_in_the_kubeconfig_itself(tmp_path: Path) -> None:
    authority = pki.authority(tmp_path)

    async def check(echo: Echo, server: listener.Listener) -> None:
        files = Files(tmp_path, f"https://127.0.0.1:{server.port}")
        cluster = {"certificate-authority-data": base64.b64encode(authority.certificate_pem.encode()).decode()}
        for name in ("ann", "bob"):
            issued = authority.client(name, name)
            data = {
                f"client-{part}-data": base64.b64encode(path.read_bytes()).decode()
                for part, path in (("certificate", issued.certificate), ("key", issued.key))
            }
            files.configure(cluster, data)
            if name == "ann":
                way = lasting.Lasting(files.source())
            await way.send(GET)
            found = echo.requests[-1].peer.certificate_user
            assert found is not None and found.name == name
        async with way:
            pass

    serving(check, tls=pki.server_context(authority.server("server", ["127.0.0.1"]), authority.certificate_pem))
