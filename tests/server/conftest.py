"""The API server in this process, on the store in memory, with a loop of its own that runs as far as a test asks."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from petset import cluster
from petset.base import pki, tasks
from petset.server import bootstrap
from petset.store import memory
from petset.wire import http

ADMIN = http.User("petset-admin", ("system:masters",))
JANE = http.User("jane", ("developers",))
NODE = http.User("system:node:n1", ("system:nodes",))
STEP_SECONDS_MAX = 5.0
TOKEN_KEY = pki.SigningKey()


@dataclass
class Answer:
    code: int
    headers: dict[str, str]
    body: Any  # The JSON tree, or bytes.

    @property
    def message(self) -> str:
        return self.body["message"]


async def whole(response: http.Response) -> bytes:
    """The body of an answer that ends, also of one that comes in pieces."""
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([piece async for piece in response.body])


class Watch:
    def __init__(self, server: Server, response: http.Response):
        self._server, self._frames = server, response.body
        self._lines: list[bytes] = []

    def next(self) -> dict[str, Any]:
        """The next event; fails when none comes."""
        while not self._lines:
            piece = self._server.run(anext(self._frames))  # type: ignore[arg-type]
            self._lines += piece.splitlines()
        return json.loads(self._lines.pop(0))

    def take(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next events."""
        return [
            (event["type"], event["object"]["metadata"].get("name", ""))
            for event in (self.next() for _ in range(count))
        ]

    def is_over(self) -> bool:
        try:
            self._server.run(anext(self._frames))  # type: ignore[arg-type]
        except StopAsyncIteration:
            return True
        return False

    def close(self) -> None:
        self._server.run(self._frames.aclose())  # type: ignore[union-attr]


@functools.cache
def _begun() -> memory.MemoryStore:
    """What a cluster begins with, made once: each server begins with a store of its own that has it already."""
    server = Server(like=memory.MemoryStore())
    server.close()
    return server.store


class Server:
    def __init__(
        self, streams: Any = None, checks: Any = None, metrics: Any = None, like: memory.MemoryStore | None = None
    ):
        self.loop = asyncio.new_event_loop()
        self.store = memory.MemoryStore(like or _begun())
        services = bootstrap.Plan("10.96.0.1", "10.96.0.10", "10.0.0.1", 6443)
        config = cluster.Config(TOKEN_KEY, services=services, checks=checks or {}, metrics=metrics)
        plane = cluster.ControlPlane(self.store, config, (lambda node: streams) if streams else None)
        self.plane, self.api, self.kinds = plane, plane.api, plane.kinds
        self.run(plane.begin())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, STEP_SECONDS_MAX))

    def send(self, request: http.Request) -> http.Response:
        return self.run(self.plane.handle(request))

    def __call__(
        self,
        method: str,
        target: str,
        body: Any = None,
        user: http.User | None = ADMIN,
        headers: dict[str, str] | None = None,
        kind: str = "application/json",
    ) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {**({"content-type": kind} if data else {}), **(headers or {})}
        response = self.send(http.Request(method, target, tuple(given.items()), data, user=user))
        content = self.run(whole(response))
        is_json = response.header("content-type").startswith("application/json")
        return Answer(response.code, dict(response.headers), json.loads(content) if is_json else content)

    def get(self, target: str, **options: Any) -> Any:
        return self.ok("GET", target, **options)

    def ok(self, method: str, target: str, body: Any = None, **options: Any) -> Any:
        """The body of an answer that is a success."""
        answer = self(method, target, body, **options)
        assert answer.code < 300, answer
        return answer.body

    def create(self, obj: Any, namespace: str = "default", **options: Any) -> Any:
        return self.ok("POST", collection(obj["apiVersion"], obj["kind"], namespace), obj, **options)

    def watch(self, target: str, user: http.User = ADMIN, headers: dict[str, str] | None = None) -> Watch:
        response = self.send(http.Request("GET", target, tuple((headers or {}).items()), user=user))
        assert response.code == 200, response
        return Watch(self, response)

    def close(self) -> None:
        self.run(self.store.close())
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()


@contextlib.contextmanager
def with_pod(node: Any) -> Generator[Server]:
    """A server that has pod p bound to a node with these streams."""
    server = Server(node)
    server.create(pod("p"))
    binding = {"target": {"name": "n1"}, "metadata": {"name": "p"}}
    server.ok("POST", f"{collection('v1', 'Pod')}/p/binding", binding)
    yield server
    server.close()


def collection(api_version: str, kind: str, namespace: str = "default") -> str:
    from petset.kinds import builtin

    resource = builtin.KINDS.named(api_version, kind)
    assert resource is not None
    return resource.path(namespace)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def configmap(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def petset(name: str, replicas: int = 2, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"serviceName": "s", "replicas": replicas, "template": template, **spec}
    return {"apiVersion": "apps/v1alpha1", "kind": "PetSet", "metadata": {"name": name}, "spec": spec}


def now() -> str:
    return tasks.rfc3339(tasks.now())
