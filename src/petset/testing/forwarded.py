"""Ports of pods as ports of this machine, while a context lasts.

`find` chooses the pod and its port: of a pod itself, of a ready one behind a Service (whose port is then the
Service's), or of a ready one that a workload's selector matches. `to` listens on loopback; every connection is one of
its own into the pod, and what goes wrong with the last one is kept to be told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from petset.client import forwarding
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import errors, meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.testing.failures import ClusterError
from petset.testing.ways import Way

if TYPE_CHECKING:
    from petset.testing.verbs import Verbs


@dataclass(slots=True)
class Forwarded:
    """Where the port is on this machine."""

    port: int
    host: str = "127.0.0.1"
    failures: list[str] = field(default_factory=list[str])  # The last of the connections that failed: why.

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port


def find(verbs: Verbs, kind: Kind, name: str, namespace: str, port: int | str) -> tuple[str, int]:
    """(pod, its port). Raises ClusterError when no pod is ready."""
    one = verbs.get(f"{kind.plural}.{kind.group}" if kind.group else kind.plural, name, namespace=namespace)
    if kind is PODS:
        return name, _number(one, port)
    wanted: int | str = port
    selector = meta.part(one, "spec", "selector")
    if kind is SERVICES:
        chosen = selectors.from_map({str(key): str(value) for key, value in selector.items()})
        for each in meta.parts(one, "spec", "ports"):
            if port in (each.get("port"), each.get("name")):
                wanted = each.get("targetPort") or each["port"]
    else:
        chosen = selectors.from_object(selector)
    pods = [pod for pod in verbs.list("pods", namespace=namespace) if selector and chosen.matches(meta.labels(pod))]
    ready = [pod for pod in pods if meta.is_pod_ready(pod) and not meta.is_deleting(pod)]
    if not ready:
        raise ClusterError(f"cannot forward to {kind.singular}/{name}: none of its pods is ready; wait_for them first")
    return meta.name(ready[0]), _number(ready[0], wanted)


def _number(pod: Object, port: int | str) -> int:
    if isinstance(port, int):
        return port
    for container in meta.parts(pod, "spec", "containers"):
        for each in meta.parts(container, "ports"):
            if each.get("name") == port:
                return int(each["containerPort"])
    if port.isdigit():
        return int(port)
    raise ClusterError(
        f"cannot forward to {meta.name(pod)}: no container of it has a port named {port!r}; say a number"
    )


@contextlib.contextmanager
def to(way: Way, namespace: str, pod: str, port: int, local_port: int) -> Generator[Forwarded]:
    listening = _Listening(way, namespace, pod, port)
    found = way.run(listening.begin(local_port))
    try:
        yield found
    finally:
        way.run(listening.end())


class _Listening:
    def __init__(self, way: Way, namespace: str, pod: str, port: int):
        self._way, self._namespace, self._pod, self._port = way, namespace, pod, port
        self._server: asyncio.Server
        self._connections: dict[asyncio.Task[None], None] = {}
        self._forwarded: Forwarded

    async def begin(self, local_port: int) -> Forwarded:
        self._dialer = self._way.reached.dialer()
        try:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", local_port)
        except OSError as error:
            raise ClusterError(f"cannot listen on 127.0.0.1:{local_port}: {error.strerror}; choose another") from None
        self._forwarded = Forwarded(self._server.sockets[0].getsockname()[1])
        return self._forwarded

    async def end(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = None
        try:
            await forwarding.connect(self._dialer, self._namespace, self._pod, self._port, reader, writer)
        except (errors.ApiError, ConnectionError) as error:
            self._forwarded.failures = [str(error)]
        finally:
            writer.close()
            self._connections.pop(task, None)
