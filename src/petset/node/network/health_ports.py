"""What a balancer of loads outside asks a node: whether it has pods of a Service, at the Service's healthCheckNodePort.

A Service of type LoadBalancer whose externalTrafficPolicy is Local has such a port. Each node listens there at its own
address, and answers 200 where endpoints of the Service are on it that take connections, 503 where none is; the body
says how many. A port that somebody else has is tried again.
Follows: https://kubernetes.io/docs/reference/networking/virtual-ips/#external-traffic-policy, KEP-1669.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from petset.base import tasks
from petset.net import listener
from petset.objects import encoding, meta
from petset.wire import http

LIMITS = listener.Limits(connections_max=100, body_bytes_max=1 << 10)


class HealthPorts:
    def __init__(self, group: asyncio.TaskGroup, addresses: Mapping[str, str]):
        """`addresses` are those of this process's nodes, by their names."""
        self._group, self._addresses = group, addresses
        self._open: dict[str, Mapping[str, _Port]] = {}  # By the Service's namespace/name, and the node's name.

    def tell(self, service: str, port: int | None, local: Mapping[str, int]) -> None:
        """At which port a Service's health is now asked, None: nowhere; and how many endpoints each node has of it."""
        there = self._open.get(service)
        if there is not None and any(one.number != port for one in there.values()):
            for one in there.values():
                one.close()
            del self._open[service]
            there = None
        if port is None:
            return
        if there is None:
            there = {node: _Port(service, address, port) for node, address in self._addresses.items()}
            self._open[service] = there
            for one in there.values():
                one.open(self._group)
        for node, one in there.items():
            one.local = local.get(node, 0)


class _Port:
    def __init__(self, service: str, address: str, number: int):
        self.number, self.local = number, 0
        self._service, self._address = service, address
        self._task: asyncio.Task[None] | None = None

    def open(self, group: asyncio.TaskGroup) -> None:
        self._task = tasks.spawn(group, self._serve(), f"health of service {self._service}")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        async def attempt() -> None:
            async with listener.serve(self._answer, self._address, self.number, limits=LIMITS):
                await asyncio.Event().wait()  # Until it is closed.

        where = f"{self._address}:{self.number}"
        await tasks.retrying(f"tell the health of service {self._service} at {where}", attempt, OSError)

    async def _answer(self, request: http.Request) -> http.Response:
        namespace, name = meta.split_key(self._service)
        told = {
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": self.local,
            "serviceProxyHealthy": True,
        }
        headers = (
            ("content-type", "application/json"),
            ("x-content-type-options", "nosniff"),
            ("x-load-balancing-endpoint-weight", str(self.local)),
        )
        return http.Response(200 if self.local else 503, headers, encoding.dumps(told))
