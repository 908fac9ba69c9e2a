"""Ports of nodes at the host's loopback: which, and what comes there is carried on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator

import pytest

from petset import cluster
from petset.base import process
from petset.client.client import Client
from petset.kinds.service import SERVICES
from petset.node.network import led_in
from petset.store import memory


def a_service(kind: str, *ports: dict) -> dict:
    return {"spec": {"type": kind, "ports": list(ports)}}


def a_pod(phase: str, *ports: dict, **spec: object) -> dict:
    return {"spec": {"containers": [{"name": "c", "ports": list(ports)}], **spec}, "status": {"phase": phase}}


def test_ports_of_nodes_of_balancers_and_of_pods_are_wanted() -> None:
    services = [
        a_service("ClusterIP", {"port": 80}),
        a_service("NodePort", {"port": 80, "nodePort": 30080}, {"port": 53, "nodePort": 30053, "protocol": "UDP"}),
        a_service("LoadBalancer", {"port": 8080, "nodePort": 30081}),
        {"spec": {"type": "ExternalName"}},
    ]
    pods = [
        a_pod("Running", {"containerPort": 1, "hostPort": 9001}, {"containerPort": 2}),
        a_pod("Running", {"containerPort": 1, "hostPort": 9002, "protocol": "UDP"}),
        a_pod("Succeeded", {"containerPort": 1, "hostPort": 9003}),
    ]
    assert led_in.wanted(services, pods) == {30080, 30081, 8080, 9001}


@contextlib.asynccontextmanager
async def leading_in(inside: int) -> AsyncGenerator[tuple[Client, int]]:
    """A Service "s" with a port of a node, and the host's port that leads there; the first that is wanted is taken."""
    borrowed: list[int] = []
    ready: asyncio.Queue[int] = asyncio.Queue()

    async def borrow(port: int) -> socket.socket:
        borrowed.append(port)
        if len(borrowed) == 1:
            raise OSError("somebody else has it")
        lent = socket.socket()
        lent.setblocking(False)
        lent.bind(("127.0.0.1", 0))
        lent.listen()
        ready.put_nowait(lent.getsockname()[1])
        return lent

    plane = cluster.ControlPlane(memory.MemoryStore())
    await plane.begin()
    client = plane.client(cluster.ADMINISTRATOR)
    is_node_port = 30000 <= inside <= 32767
    ports = [{"port": 80, "nodePort": inside}] if is_node_port else [{"port": inside}]
    kind = "NodePort" if is_node_port else "LoadBalancer"
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"}}
    program = cluster.Program(
        "ports", cluster.PROXY, lambda client: led_in.run(client, borrow, "127.0.0.2"), "kube-proxy"
    )
    async with plane.living(program):
        await client.create({**made, "spec": {"type": kind, "ports": ports}})
        while True:
            outside = await ready.get()
            if borrowed[-1] == inside:
                break
        yield client, outside


def test_what_comes_is_carried_to_the_node_and_a_port_that_is_wanted_no_more_is_closed() -> None:
    async def story() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"node: " + await reader.read())
            writer.close()

        node = await asyncio.start_server(echo, "127.0.0.2", 0)
        async with leading_in(node.sockets[0].getsockname()[1]) as (client, outside):
            reader, writer = await asyncio.open_connection("127.0.0.1", outside)
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"node: hello"
            writer.close()
            await client.delete(SERVICES, "s", "default")
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", outside)
                except ConnectionRefusedError:
                    break
                writer.close()
                await asyncio.sleep(0.01)
        node.close()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_who_goes_without_a_word_is_gone_for_the_node_too() -> None:
    """A client that was killed with something unread: a service that only waits for him would never know otherwise."""

    async def story() -> None:
        gone = asyncio.Event()

        async def subscribe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"subscribed")
            with contextlib.suppress(ConnectionError):
                await reader.read()
            gone.set()
            writer.close()

        node = await asyncio.start_server(subscribe, "127.0.0.2", 0)
        async with leading_in(node.sockets[0].getsockname()[1]) as (_, outside):
            reader, writer = await asyncio.open_connection("127.0.0.1", outside)
            assert await reader.readexactly(10) == b"subscribed"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await gone.wait()
        node.close()

    asyncio.run(asyncio.wait_for(story(), 20))


@pytest.mark.parametrize("said", [b"more", b""])
def test_what_has_gone_meanwhile_is_an_end_and_no_defect(said: bytes) -> None:
    """uvloop, which petset runs on, has another exception for it."""

    async def story() -> None:
        async def none(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(none, "127.0.0.1", 0)
        _, gone = await asyncio.open_connection(*server.sockets[0].getsockname())
        gone.transport.abort()
        await gone.wait_closed()
        reader = asyncio.StreamReader()
        reader.feed_data(said)
        reader.feed_eof()
        with pytest.raises(OSError, match="gone"):
            await led_in._pumped(reader, gone)
        server.close()

    with asyncio.Runner(loop_factory=process.loop) as runner:
        runner.run(asyncio.wait_for(story(), 20))
