"""healthCheckNodePort: whom each node answers, where, and when it stops."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from petset.net import dialer
from petset.node.network.health_ports import HealthPorts
from petset.wire import http
from tests import waiting

HERE, BESIDE = "127.0.0.1", "127.0.0.2"


async def asked(address: str, port: int) -> http.Response:
    return await dialer.Dialer(f"http://{address}:{port}").send(http.Request("GET", "/"))


async def answer(address: str, port: int) -> tuple[int, object]:
    response = await asked(address, port)
    return response.code, json.loads(response.body)  # type: ignore[arg-type]


def is_open(address: str, port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((address, port)) == 0


@pytest.fixture
def port() -> int:
    with socket.socket() as one:
        one.bind((HERE, 0))
        return one.getsockname()[1]


def test_each_node_answers_for_itself_until_nobody_asks(port):
    def told(count: int) -> object:
        service = {"namespace": "shop", "name": "web"}
        return {"service": service, "localEndpoints": count, "serviceProxyHealthy": True}

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            ports = HealthPorts(group, {"a": HERE, "b": BESIDE})
            ports.tell("shop/web", port, {"a": 2, "": 1})
            await waiting.until(lambda: is_open(HERE, port))
            await waiting.until(lambda: is_open(BESIDE, port))
            assert await answer(HERE, port) == (200, told(2))
            assert await answer(BESIDE, port) == (503, told(0))
            assert (await asked(HERE, port)).header("x-load-balancing-endpoint-weight") == "2"
            ports.tell("shop/web", port, {"b": 1})
            assert await answer(HERE, port) == (503, told(0))
            assert await answer(BESIDE, port) == (200, told(1))
            ports.tell("shop/web", None, {"b": 1})
            await waiting.until(lambda: not is_open(HERE, port))
            await waiting.until(lambda: not is_open(BESIDE, port))

    asyncio.run(story())


def test_a_port_that_somebody_has_is_tried_again(port):
    async def story() -> None:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((HERE, port))
            async with asyncio.TaskGroup() as group:
                ports = HealthPorts(group, {"a": HERE})
                ports.tell("shop/web", port, {"a": 1})
                await asyncio.sleep(0)
                other.close()
                await waiting.until(lambda: is_open(HERE, port))
                ports.tell("shop/web", None, {})

    asyncio.run(story())
