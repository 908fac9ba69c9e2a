"""Ports of nodes at the host's loopback, for a petset that is in a network namespace of its own.

A Service's node ports, the ports of its load balancer and the hostPorts of pods are those that a user of a petset of
root's reaches at 127.0.0.1. Here a socket of the host's is borrowed for each (net/lending.py), and what comes there is
carried to the node, where the rules for Services take it on as if it came from there. TCP only. A port that somebody
else has is tried again, and told once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable

from petset.base import tasks
from petset.client.client import Client
from petset.client.views import Informers
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import pod_containers
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object

PIECE_BYTES_MAX = 64 << 10
CONNECTIONS_MAX = 256  # Of one port; more wait until one ends.
CONNECT_SECONDS_MAX = 10.0
Borrow = Callable[[int], Awaitable[socket.socket]]  # Raises OSError.


def wanted(services: Iterable[Object], pods: Iterable[Object]) -> frozenset[int]:
    """The TCP ports that are to be reached."""
    found: set[int] = set()
    for service in services:
        balances = meta.get(service, "spec", "type") == "LoadBalancer"
        for port in meta.parts(service, "spec", "ports"):
            if port.get("protocol", "TCP") == "TCP":
                found |= {port.get("nodePort") or 0, port["port"] if balances else 0}
    for pod in pods:
        if meta.get(pod, "spec", "hostNetwork") or meta.get(pod, "status", "phase") in ("Succeeded", "Failed"):
            continue
        for container in pod_containers.own(pod["spec"]):
            for port in meta.parts(container, "ports"):
                found.add((port.get("hostPort") or 0) if port.get("protocol", "TCP") == "TCP" else 0)
    return frozenset(found - {0})


async def run(client: Client, borrow: Borrow, address: str) -> None:
    """Until cancelled. `address` is the node's, where the ports are inside."""
    view, changed = Informers(client), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for kind in (SERVICES, PODS):
            view.of(kind).on_change(lambda old, new: changed.set())
        tasks.spawn(group, view.run(), "informers of ports")
        await view.synced()
        open_: dict[int, asyncio.Task[None]] = {}
        while True:
            changed.clear()
            ports = wanted(view.of(SERVICES).list(), view.of(PODS).list())
            for port in [port for port in open_ if port not in ports]:
                open_.pop(port).cancel()
            for port in sorted(ports - open_.keys()):
                open_[port] = tasks.spawn(group, _led_in(borrow, address, port), f"port {port} of the host")
            await changed.wait()


async def _led_in(borrow: Borrow, address: str, port: int) -> None:
    async def attempt() -> None:
        with await borrow(port) as listening:
            await _serve(listening, address, port)

    await tasks.retrying(f"listen on port {port} of the host's loopback", attempt, OSError)


async def _serve(listening: socket.socket, address: str, port: int) -> None:
    room = asyncio.Semaphore(CONNECTIONS_MAX)
    async with asyncio.TaskGroup() as group:

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.closing(writer), contextlib.suppress(OSError, TimeoutError):
                async with room:
                    await _carried(reader, writer, address, port)

        def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.spawn(group, carry(reader, writer), f"a connection to port {port}")

        server = await asyncio.start_server(come, sock=listening)
        async with server:
            await server.serve_forever()


async def _carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, port: int) -> None:
    async with asyncio.timeout(CONNECT_SECONDS_MAX):
        there, to_there = await asyncio.open_connection(address, port)
    with contextlib.closing(to_there):
        try:
            async with asyncio.TaskGroup() as group:
                tasks.spawn(group, _pumped(reader, to_there), "to the node")
                tasks.spawn(group, _pumped(there, writer), "from the node")
        except* OSError:
            pass  # One of the ends has gone: the other need not wait for it.


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To the end of what one side says, which the other is told. Raises OSError."""
    while data := await reader.read(PIECE_BYTES_MAX):
        _still_open(writer).write(data)
        await writer.drain()
    _still_open(writer).write_eof()


def _still_open(writer: asyncio.StreamWriter) -> asyncio.StreamWriter:
    """Raises OSError, where uvloop would raise what looks like a defect."""
    if writer.is_closing():
        raise ConnectionResetError("it has gone")
    return writer
