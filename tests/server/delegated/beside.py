"""A cluster in this process, and an extension beside it whose questions to the cluster are counted and may be lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from petset import cluster, extension
from petset.base import pki, telemetry
from petset.client.client import Client, InProcess
from petset.kinds import builtin
from petset.kinds.pet_set import PETSETS
from petset.objects.registry import Kinds
from petset.server.access import front_proxy
from petset.server.delegated import trust
from petset.store import memory
from petset.wire import http
from tests.server.conftest import Answer, whole

WITHOUT = Kinds(kind for kind in builtin.KINDS if kind is not PETSETS)
PETS = "/apis/apps/v1alpha1/namespaces/default/petsets"
ALL = "/apis/apps/v1alpha1/petsets"
SERVER = http.User("petset-server", ("system:masters",))  # As whom the extension asks; its rights are deploy/'s.
JANE = (("x-remote-user", "jane"), ("x-remote-group", "developers"))
AGGREGATOR = (("x-remote-user", "system:aggregator"), ("x-remote-group", "system:masters"))


def der(issued: pki.Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.certificate_pem())


class Line:
    """To the cluster."""

    def __init__(self, handle: http.Handler):
        self._there = InProcess(handle, SERVER)
        self.asked: list[tuple[str, str]] = []  # Method and path of each request that came there.
        self.is_cut = False  # Nothing comes there.
        self.is_silent = False  # Nothing is answered.

    def count(self, word: str) -> int:
        return sum(word in path for _, path in self.asked)

    async def send(self, request: http.Request) -> http.Response:
        if self.is_cut:
            raise ConnectionError("connection refused")
        self.asked.append((request.method, request.target.partition("?")[0]))
        if self.is_silent:
            await asyncio.get_running_loop().create_future()
        return await self._there.send(request)


class Beside:
    def __init__(self, directory: Path):
        for name in ("clients", "proxies", "strangers"):
            (directory / name).mkdir(exist_ok=True)
        self.clients = pki.authority(directory / "clients")
        self.proxies = pki.authority(directory / "proxies", "front-proxy-ca", "front-proxies")
        self.strangers = pki.authority(directory / "strangers", "ca", "strangers")
        self.proxy = self.proxies.client("front-proxy-client", front_proxy.ALLOWED)
        config = cluster.Config(
            ca_pem=self.clients.certificate_pem, front_proxy_ca_pem=self.proxies.certificate_pem, front_proxy=self.proxy
        )
        self.there = cluster.ControlPlane(memory.MemoryStore(), config, kinds=WITHOUT)
        self.admin = self.there.client(cluster.ADMINISTRATOR)
        self.line = Line(self.there.handle)
        self.believed: list[str] = []
        self.metrics = telemetry.Telemetry()
        self.here = extension.Extension(
            memory.MemoryStore(), Client(self.line, kinds=self.there.kinds), self.metrics, self.believed.append
        )

    @contextlib.asynccontextmanager
    async def running(self, until_ready: bool = True) -> AsyncGenerator[None]:
        await self.there.begin()
        async with self.here.running():
            if until_ready:
                await asyncio.wait_for(self.here.ready(), 10)
            yield

    async def __call__(
        self,
        method: str,
        target: str,
        body: Any = None,
        *headers: tuple[str, str],
        kind: str = "application/json",
        shows: pki.Issued | None = None,
        through: bool = True,
    ) -> Answer:
        """`through` the front proxy, in the name of whom the headers say, else system:masters."""
        data = b"" if body is None else json.dumps(body).encode()
        shown = shows or (self.proxy if through else None)
        peer = http.Peer("10.0.0.1", certificate=der(shown) if shown else b"")
        who = () if not through or any(name == "x-remote-user" for name, _ in headers) else AGGREGATOR
        given = (*who, *headers, *((("content-type", kind),) if data else ()))
        async with asyncio.timeout(30):
            answer = await self.here.handle(http.Request(method, target, given, data, peer))
            text = await whole(answer)
        is_json = answer.header("content-type").startswith("application/json")
        return Answer(answer.code, dict(answer.headers), json.loads(text) if is_json and text else text)

    async def config_map(self, **data: str | None) -> None:
        """Change what the cluster says of how it authenticates."""
        from petset.kinds.config_map import CONFIGMAPS

        await self.admin.patch(CONFIGMAPS, trust.NAME, trust.NAMESPACE, {"data": data})
