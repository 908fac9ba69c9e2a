"""Ports of the machine that lead to pods: the table of rules, and real packets by every way they can come."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petset.base.networks import ClusterPlan, NetworkError, NodePlan
from petset.kinds.requests import HostPort
from petset.node.network import host_ports, nftables
from petset.node.runtime import RuntimeError_
from tests import waiting
from tests.node import machine

PLAN = NodePlan(ClusterPlan("0a1b2c", "10.128.4.0/22"), "10.128.0.0/22")
LOOPBACK = host_ports.Local(["127.0.0.1"])


def rules(published: Any) -> list[str]:
    text = host_ports.ruleset(PLAN, published)
    return [line.strip() for line in text.splitlines() if " dnat to " in line]


def test_a_rule_a_port_the_latest_pod_first():
    published = {
        "a": ("10.128.0.2", [HostPort("TCP", "0.0.0.0", 8080, 80), HostPort("UDP", "127.0.0.1", 53, 5353)]),
        "b": ("10.128.0.3", [HostPort("TCP", "0.0.0.0", 8080, 81)]),
    }
    assert rules(published) == [
        "ip daddr != { 10.128.4.1, 10.128.4.10 } tcp dport 8080 dnat to 10.128.0.3:81",
        "ip daddr != { 10.128.4.1, 10.128.4.10 } tcp dport 8080 dnat to 10.128.0.2:80",
        "ip daddr 127.0.0.1 udp dport 53 dnat to 10.128.0.2:5353",
    ]


@pytest.fixture
def in_force(monkeypatch) -> list[str]:
    """The scripts that nft would get."""
    scripts: list[str] = []
    monkeypatch.setattr(nftables, "apply", lambda script: scripts.append(script) or "")
    monkeypatch.setattr(nftables, "remove", lambda *tables: scripts.append(f"remove {tables}"))
    monkeypatch.setattr(nftables, "listed", lambda *what: "")
    return scripts


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_a_port_is_held_while_a_pod_has_it(in_force):
    ports, number = host_ports.HostPorts(PLAN), free_port()
    mine = [HostPort("TCP", "0.0.0.0", number, 80)]
    ports.publish("a", "10.128.0.2", mine, LOOPBACK)
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(("127.0.0.1", number))
    with pytest.raises(NetworkError, match=f"cannot take port {number}/TCP of this machine: another program has it"):
        ports.publish("b", "10.128.0.3", mine, LOOPBACK)
    ports.withdraw("a")
    assert in_force[1:] == ["remove ('petset_0a1b2c_ports',)"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", number))
        # What ran before a restart keeps its port.
        ports.restore({"a": ("10.128.0.2", mine)}, LOOPBACK)
    assert f"dport {number} dnat to 10.128.0.2:80" in in_force[-1]
    ports.close()


def test_nodes_of_one_instance_have_a_port_each(in_force):
    """Each at its own address; at the machine's others it is his who had it first."""
    cluster, number = ClusterPlan("0a1b2c", "127.9.8.0/22"), free_port()
    plans = [NodePlan(cluster, "127.9.0.0/22"), NodePlan(cluster, "127.9.4.0/22", 1)]
    first, second = map(host_ports.HostPorts, plans)
    at_first, at_second = (
        host_ports.Local(["127.0.0.1", mine.gateway], [other.gateway]) for mine, other in (plans, reversed(plans))
    )
    mine, here = [HostPort("TCP", "0.0.0.0", number, 80)], [HostPort("TCP", "127.0.0.1", number, 80)]
    first.publish("a", "127.9.0.2", mine, at_first)
    second.publish("b", "127.9.4.2", mine, at_second)
    everywhere, alone = (script for script in in_force if "dnat to" in script)
    assert f"ip daddr != {{ 127.9.8.1, 127.9.8.10, 127.9.4.1 }} tcp dport {number} dnat to 127.9.0.2:80" in everywhere
    assert f"ip daddr 127.9.4.1 tcp dport {number} dnat to 127.9.4.2:80" in alone
    with pytest.raises(NetworkError, match="a pod of another node has it"):
        second.publish("c", "127.9.4.3", here, at_second)
    first.withdraw("a")
    second.publish("c", "127.9.4.3", here, at_second)
    first.publish("a", "127.9.0.2", mine, at_first)
    assert f"ip daddr 127.9.0.1 tcp dport {number} dnat to 127.9.0.2:80" in in_force[-1]
    first.close()
    second.close()
    stranger = host_ports.HostPorts(NodePlan(ClusterPlan("0a1b2d", "127.9.8.0/22"), "127.9.0.0/22"))
    first.restore({"a": ("127.9.0.2", mine)}, at_first)
    with pytest.raises(NetworkError, match="another program has it"):
        stranger.publish("d", "127.9.0.9", mine, at_first)
    first.close()
    assert not host_ports._HOLDERS


def test_what_cannot_be_published_says_why(in_force, monkeypatch):
    ports = host_ports.HostPorts(PLAN)
    for address, why in (("fd00::1", "pods have IPv4 addresses only"), ("192.0.2.1", "it has no address 192.0.2.1")):
        with pytest.raises(NetworkError, match=why):
            ports.publish("a", "10.128.0.2", [HostPort("TCP", address, 8080, 80)], LOOPBACK)
    number = free_port()
    monkeypatch.setattr(nftables, "apply", lambda script: "no such kernel")
    with pytest.raises(NetworkError, match="cannot publish host ports: no such kernel"):
        ports.publish("a", "10.128.0.2", [HostPort("TCP", "0.0.0.0", number, 80)], LOOPBACK)
    with socket.socket() as other:
        other.bind(("127.0.0.1", number))  # Nothing is held after a failure.


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


def answers(address: str, port: int) -> str:
    """What a listening container says to who connects."""
    try:
        with socket.create_connection((address, port), timeout=5) as client:
            return client.makefile().readline().strip()
    except OSError:
        return ""


ECHO = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("0.0.0.0", int(sys.argv[1])))
    print("listens", flush=True)
    while True:
        data, whence = server.recvfrom(100)
        server.sendto(data, whence)
"""


@contextlib.contextmanager
def an_echo_in(namespace: Path, port: int) -> Iterator[None]:
    """A UDP server in a pod's network; busybox has none."""
    command = ["nsenter", f"--net={namespace}", sys.executable, "-c", ECHO, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == "listens\n"
            yield
        finally:
            server.kill()


@machine.on_machine
async def test_a_port_of_the_machine_leads_to_the_pod(tmp_path: Path, root: Path):
    async with machine.running(tmp_path / "s", root) as here:
        number, other = free_port(), free_port()
        listening = {
            "name": "main",
            "image": "busybox",
            "ports": [
                {"containerPort": 80, "hostPort": number, "protocol": "TCP"},
                {"containerPort": 81, "hostPort": other, "hostIP": "127.0.0.1", "protocol": "TCP"},
                {"containerPort": 82, "hostPort": number, "protocol": "UDP"},
            ],
        }
        pod = await here.sandbox("web-0", containers=[listening])
        serve = "nc -ll -p 80 -e hostname & nc -ll -p 81 -e hostname & wait"
        await here.run(pod, "sh", "-c", serve)
        await waiting.until(lambda: answers("127.0.0.1", number) == "web-0")
        await waiting.until(lambda: answers("127.0.0.1", other) == "web-0")
        gateway = here.plan.gateway
        assert answers(gateway, number) == "web-0"
        assert answers(gateway, other) == ""  # That one is for 127.0.0.1 alone.
        assert (
            answers(here.plan.cluster.kubernetes_address, number) == ""
        )  # Services keep their addresses to themselves.
        with an_echo_in(here.state / "pods" / "uid-web-0" / "sandbox" / "net", 82):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(5)
                client.sendto(b"echo", ("127.0.0.1", number))
                assert client.recv(100) == b"echo"

        neighbour = await here.sandbox("web-1")
        assert await here.output(neighbour, "nc", "-w", "5", gateway, str(number)) == "web-0\n"
        assert await here.exec(pod, "nc", "-w", "5", gateway, str(number)) == "web-0\n"
        await here.restart()
        assert answers("127.0.0.1", number) == "web-0"
        same = await here.sandbox("web-2", containers=[listening | {"ports": []}])
        with pytest.raises(RuntimeError_, match=f"cannot take port {number}/TCP of this machine"):
            await here.sandbox("web-3", containers=[listening])
        await here.runtime.remove_sandbox("uid-web-0")
        assert answers("127.0.0.1", number) == ""
        await here.sandbox("web-3", containers=[listening])
        assert same["metadata"]["uid"] in here.runtime.observe()


@machine.on_machine
async def test_no_pod_comes_to_what_listens_on_the_machine_s_loopback(tmp_path: Path, root: Path):
    """Packets of it may pass to pods for the sake of host ports; those that a pod makes up may not."""
    with socket.create_server(("127.0.0.1", 0)) as secret:
        number = secret.getsockname()[1]
        async with machine.running(tmp_path / "s", root) as here:
            ports = [{"containerPort": 80, "hostPort": free_port(), "protocol": "TCP"}]
            await here.sandbox("web-0", containers=[{"name": "main", "image": "busybox", "ports": ports}])
            pretends = {"sysctls": [{"name": "net.ipv4.conf.all.route_localnet", "value": "1"}]}
            liar = await here.sandbox("web-1", securityContext=pretends)
            script = (
                "ip addr flush dev lo; ip route flush table local dev lo;"
                f"ip route add 127.0.0.1/32 via {here.plan.gateway} dev eth0 onlink &&"
                f"nc -w 2 127.0.0.1 {number} 2>/dev/null; echo $?"
            )
            said = await here.output(liar, "sh", "-c", script, container={"securityContext": {"privileged": True}})
            assert said.splitlines()[-1] == "1"
            secret.settimeout(0)
            with pytest.raises(BlockingIOError):
                secret.accept()
