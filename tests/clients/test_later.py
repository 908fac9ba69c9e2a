"""Real clients that are told 429 with Retry-After wait and ask again; nobody sees a failure."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from petset import cluster
from petset.base import pki
from petset.net import listener
from petset.server import backends, bootstrap, flow
from petset.server.routes import Call
from petset.store import memory
from petset.wire import http
from tests import kubectl as kubectls
from tests.clients.serve import kubeconfig

KUBECTLS = 6
SECONDS_MAX = 120


class Kept:
    """A backend whose lists wait."""

    def __init__(self, backend: backends.Backend, until: asyncio.Event):
        self._backend, self._until = backend, until
        self.route = backend.route

    async def answer(self, call: Call) -> http.Response:
        if call.verb == "list":
            await self._until.wait()
        return await self._backend.answer(call)


class Busy:
    """A server that lets one user have one request under way, and keeps each until somebody was refused."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.refused = asyncio.Event()
        self.stop = threading.Event()

    async def serve(self, directory: Path) -> None:
        authority = pki.authority(directory)
        store = memory.MemoryStore()
        services = bootstrap.Plan("10.96.0.1", "10.96.0.10", "127.0.0.1", 6443)
        plane = cluster.ControlPlane(store, cluster.Config(services=services))
        await plane.begin()
        served = plane.api
        served.backends = dataclasses.replace(served.backends, kinds=Kept(served.backends.kinds, self.refused))

        async def handle(request: http.Request) -> http.Response:
            response = await served.handle(request)
            self.codes.append(response.code)
            if response.code == 429:
                self.refused.set()
            return response

        tls = pki.server_context(authority.server("server", ["127.0.0.1"]), authority.certificate_pem)
        async with listener.serve(handle, "127.0.0.1", 0, tls) as listening:
            issued = authority.client("kubeconfig", "petset-admin", ["system:masters"])
            text = kubeconfig(authority, issued, listening.port)
            (directory / "writing").write_text(text)
            (directory / "writing").rename(directory / "kubeconfig")
            await asyncio.to_thread(self.stop.wait)


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    monkeypatch.setattr(flow, "REQUESTS_IN_FLIGHT_MAX", 1)
    monkeypatch.setattr(flow, "ADMINISTRATORS_FACTOR", 1)
    server = Busy()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(tmp_path)))
    thread.start()
    deadline = time.monotonic() + SECONDS_MAX
    while not (tmp_path / "kubeconfig").exists():
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)
    yield server
    server.stop.set()
    thread.join(SECONDS_MAX)


def test_a_burst_of_kubectl_beyond_the_limit_waits_and_succeeds(busy: Busy, tmp_path: Path):
    kubectl = kubectls.Kubectl(tmp_path / "kubeconfig", tmp_path / "cache")
    with ThreadPoolExecutor(KUBECTLS) as pool:
        done = list(
            pool.map(lambda _: kubectl.run("get", "--raw", "/api/v1/namespaces", timeout=SECONDS_MAX), range(KUBECTLS))
        )
    assert [(each.returncode, '"NamespaceList"' in each.stdout) for each in done] == [(0, True)] * KUBECTLS, done
    assert 429 in busy.codes
