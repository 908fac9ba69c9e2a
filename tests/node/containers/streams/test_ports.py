"""Connections to ports inside pods: from the pod's own loopback, whatever this machine's says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest

from petset.node.containers.streams import ports
from petset.wire.streaming import StreamError
from tests.node import machine


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


def listening(family: socket.AddressFamily, address: str) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind((address, 0))
    made.listen()
    return made


@pytest.mark.parametrize(("family", "address"), ports.LOOPBACKS)
def test_either_loopback_is_found(family, address):
    async def check() -> None:
        with listening(family, address) as there:
            connection = await ports.connect(None, there.getsockname()[1])
            other, _ = there.accept()
            with other:
                await connection.write(b"hello")
                assert other.recv(100) == b"hello"
                other.sendall(b"bye")
                assert await connection.read() == b"bye"
                connection.end_input()
                assert other.recv(100) == b""
                await connection.write(b"dropped")
            assert await connection.read() == b""
            await connection.close()

    asyncio.run(check())


def test_a_pod_that_resets_the_connection_ends_it():
    async def check() -> None:
        with listening(*ports.LOOPBACKS[0]) as there:
            connection = await ports.connect(None, there.getsockname()[1])
            other, _ = there.accept()
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
            other.close()
            assert await connection.read() == b""
            for _ in range(3):
                await connection.write(b"nobody reads this")
            await connection.close()

    asyncio.run(check())


def test_a_port_that_nobody_listens_on():
    async def check() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(StreamError, match=r"127\.0\.0\.1: connection refused; ::1: "):
                await ports.connect(None, unused.getsockname()[1])

    asyncio.run(check())


@machine.on_machine
async def test_a_port_inside_a_pod(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        await here.run(pod, "nc", "-ll", "-p", "7777", "-e", "cat")
        own = [os.stat(f"/proc/self/task/{task}/ns/net").st_ino for task in os.listdir("/proc/self/task")]
        connection = None
        async with asyncio.timeout(machine.SECONDS_MAX):
            while connection is None:
                with contextlib.suppress(StreamError):  # Until nc listens.
                    connection = await here.runtime.streams.connect("uid-web-0", 7777)
        sent, received = os.urandom(1 << 20), b""

        async def feed() -> None:
            await connection.write(sent)
            connection.end_input()

        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            while data := await connection.read():
                received += data
        assert received == sent
        await connection.close()
        now = [os.stat(f"/proc/self/task/{task}/ns/net").st_ino for task in os.listdir("/proc/self/task")]
        assert set(now) == set(own), "every thread is back where it was"
        with pytest.raises(StreamError, match="its sandbox does not run"):
            await here.runtime.streams.connect("uid-other", 7777)
