"""Addresses of Services: what the rules are, and where real packets go by them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from petset import cluster
from petset.base import networks
from petset.base.networks import ClusterPlan, NodePlan
from petset.client.client import Client
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.node import NODES
from petset.kinds.service import SERVICES
from petset.net import dialer
from petset.node import linux
from petset.node.network import bridge, nftables, proxy, ruleset, services
from petset.objects.meta import Object
from petset.server import bootstrap
from petset.store import memory
from petset.wire import http
from tests import waiting
from tests.node import machine

CLUSTER = ClusterPlan("0a1b2c", "10.128.8.0/22")
PLACE = services.Place(
    CLUSTER, {"pets": NodePlan(CLUSTER, "10.128.0.0/22"), "pets-1": NodePlan(CLUSTER, "10.128.4.0/22", 1)}
)


def service(name: str = "web", address: str = "10.128.8.77", **spec: Any) -> dict[str, Any]:
    spec = {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], **spec}
    spec.setdefault("ports", [{"port": 80, "protocol": "TCP", "targetPort": 8080}])
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def endpoint(address: str, node: str = "pets", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions or {"ready": True}}


def slice_(*endpoints: Object, name: str = "web-1", of: str = "web", port: int = 8080, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "", "protocol": "TCP", "port": port}],
        **more,
    }


A, B, C = endpoint("10.128.0.2"), endpoint("10.128.0.3"), endpoint("10.128.4.2", "pets-1")
ENDING = endpoint("10.128.0.4", ready=False, serving=True, terminating=True)
UNREADY = endpoint("10.128.0.5", ready=False, serving=False, terminating=False)


def led(part: ruleset.Part, key: str, among: str = services.ADDRESSES) -> list[str]:
    """The rules of the chain that a key leads to."""
    verdict = part.elements[among, key]
    return list(part.chains[verdict.removeprefix("goto ")])


def keys(part: ruleset.Part, name: str) -> list[str]:
    return [key for one, key in part.elements if one == name]


def chosen(rules: list[str]) -> list[str]:
    """The endpoints of which one is chosen: each as likely as the others, by rules or by a map."""
    if rules and "{" in rules[-1]:
        return [one.split(" : ")[1].strip() for one in rules[-1].partition("{")[2].strip(" }").split(",")]
    chances = [int(rule.partition("random mod ")[2].split()[0]) for rule in rules[:-1]]
    assert chances == list(range(len(rules), 1, -1)) and all(" 0 " in rule for rule in rules[:-1])
    return [rule.partition("dnat to ")[2].replace(":", " . ") for rule in rules]


WAY = "10.128.8.77 . tcp . 80"


@pytest.mark.parametrize(
    "given, then",
    [
        ([A, B], ["10.128.0.2 . 8080", "10.128.0.3 . 8080"]),
        ([A, UNREADY, ENDING], ["10.128.0.2 . 8080"]),
        ([UNREADY, ENDING], ["10.128.0.4 . 8080"]),
        ([{"addresses": ["10.128.0.9"], "conditions": {}}], ["10.128.0.9 . 8080"]),
    ],
    ids=["ready", "not the others", "ending ones when none is ready", "nothing said is ready"],
)
def test_who_may_be_chosen(given: list[Object], then: list[str]):
    part = services.part(service(), [slice_(*given)], PLACE)
    assert chosen(led(part, WAY)) == then and not keys(part, services.REFUSED)


def test_a_service_without_endpoints_refuses():
    for slices in ([], [slice_()], [slice_(UNREADY)], [slice_(A, addressType="IPv6")]):
        part = services.part(service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]), slices, PLACE)
        assert (keys(part, services.REFUSED), keys(part, services.REFUSED_PORTS)) == ([WAY], ["tcp . 30080"])
        assert not part.chains


@pytest.mark.parametrize(
    "one",
    [
        None,
        service(clusterIP="None", clusterIPs=["None"]),
        service(type="ExternalName", clusterIP="", clusterIPs=[]),
        service(address=CLUSTER.kubernetes_address),
        service(address=CLUSTER.dns_address),
    ],
    ids=["gone", "headless", "external name", "kubernetes", "dns"],
)
def test_who_has_no_rules(one: Object | None):
    assert services.part(one, [slice_(A)], PLACE) is ruleset.NOTHING


def test_ports_are_found_by_their_names():
    """What a named target port is stands in the slices, which may say different numbers."""
    ports = [
        {"name": "http", "port": 80, "protocol": "TCP"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "sctp", "port": 53, "protocol": "SCTP"},
    ]
    slices = [
        slice_(A, ports=[{"name": "http", "port": 8080}, {"name": "dns", "protocol": "UDP", "port": 5353}]),
        slice_(B, ports=[{"name": "http", "port": 9090}, {"name": "sctp", "protocol": "SCTP", "port": 1}]),
    ]
    part = services.part(service(ports=ports), slices, PLACE)
    assert chosen(led(part, WAY)) == ["10.128.0.2 . 8080", "10.128.0.3 . 9090"]
    assert led(part, "10.128.8.77 . udp . 53") == ["meta l4proto udp dnat to 10.128.0.2:5353"]
    assert chosen(led(part, "10.128.8.77 . sctp . 53")) == ["10.128.0.3 . 1"]


def test_local_policies():
    inside = services.part(service(internalTrafficPolicy="Local"), [slice_(A, C)], PLACE)
    first, second, *last = led(inside, WAY)
    assert first.startswith("ip saddr 10.128.0.0/22 goto ") and second.startswith("ip saddr 10.128.4.0/22 goto ")
    assert chosen(list(inside.chains[second.split()[-1]])) == ["10.128.4.2 . 8080"]
    assert chosen(last) == ["10.128.0.2 . 8080", "10.128.4.2 . 8080"]  # The machine itself is on both.
    assert led(services.part(service(internalTrafficPolicy="Local"), [slice_(A)], PLACE), WAY)[1].endswith("drop")
    elsewhere = endpoint("192.0.2.9", "another")
    outside = service(type="NodePort", externalTrafficPolicy="Local", ports=[{"port": 80, "nodePort": 30080}])
    part = services.part(outside, [slice_(A, elsewhere)], PLACE)
    assert chosen(led(part, WAY)) == ["10.128.0.2 . 8080", "192.0.2.9 . 8080"]
    assert chosen(led(part, "tcp . 30080", services.PORTS)) == ["10.128.0.2 . 8080"]
    assert keys(part, services.OUTSIDE) == ["192.0.2.9 . tcp . 8080"]
    assert keys(part, services.HAIRPINS) == ["10.128.0.2 . 10.128.0.2"]


def hinted(one: Object) -> Object:
    return {**one, "hints": {"forNodes": [{"name": one["nodeName"]}]}}


def test_pods_are_led_to_their_own_node_where_all_endpoints_are_hinted_so():
    part = services.part(service(), [slice_(hinted(A), hinted(B), UNREADY)], PLACE)
    first, *last = led(part, WAY)
    assert first.startswith("ip saddr 10.128.0.0/22 goto ")
    near = ["10.128.0.2 . 8080", "10.128.0.3 . 8080"]
    assert chosen(list(part.chains[first.split()[-1]])) == chosen(last) == near
    both = led(services.part(service(), [slice_(hinted(A), hinted(C))], PLACE), WAY)
    assert len(both) == 4 and chosen(both[2:]) == ["10.128.0.2 . 8080", "10.128.4.2 . 8080"]
    assert chosen(led(services.part(service(), [slice_(hinted(A), C)], PLACE), WAY)) == [
        "10.128.0.2 . 8080",
        "10.128.4.2 . 8080",
    ]


def in_zones(one: Object, *zones: str) -> dict[str, Any]:
    return {**one, "hints": {**one.get("hints", {}), "forZones": [{"name": zone} for zone in zones]}}


def test_pods_are_led_to_their_zone_where_all_endpoints_are_hinted_so():
    place = dataclasses.replace(PLACE, zones={"pets": "east", "pets-1": "west"})

    def near(*given: Object) -> list[list[str]]:
        """Whom the pods of each node are led to, if not to any."""
        part = services.part(service(), [slice_(*given)], place)
        return [chosen(list(part.chains[one.split()[-1]])) for one in led(part, WAY) if one.startswith("ip saddr")]

    a, b, c = "10.128.0.2 . 8080", "10.128.0.3 . 8080", "10.128.4.2 . 8080"
    assert near(in_zones(A, "east"), in_zones(B, "west"), in_zones(C, "west"), UNREADY) == [[a], [b, c]]
    assert near(in_zones(A, "east"), in_zones(B, "east")) == [[a, b]]
    assert near(in_zones(A, "east", "west"), in_zones(C, "north")) == [[a], [a]]
    assert near(in_zones(A, "east"), C) == []
    # Its own node goes first; who has nobody there is led to its zone.
    assert near(in_zones(hinted(A), "west"), in_zones(hinted(B), "west")) == [[a, b], [a, b]]
    assert near(in_zones(hinted(A), "west"), in_zones(B, "east")) == [[b], [a]]


@machine.on_machine
async def test_each_node_tells_whether_it_has_pods_of_a_local_balancer(tmp_path: Path):
    async with an_instance(tmp_path / "s") as here:
        one = await here.pod("one", node=1)
        asked = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31999}
        await here.create("web", 50, one, **asked)

        async def told() -> list[int]:
            return [await status(f"http://{node.gateway}:31999") for node in here.plan.nodes]

        async def tell(*wanted: int) -> None:
            async with asyncio.timeout(20):
                while await told() != [*wanted]:  # noqa: ASYNC110  # It has no event to await.
                    await asyncio.sleep(0.01)

        await tell(503, 200)
        await here.change("web")
        await tell(503, 503)
        await here.client.delete(SERVICES, "web", "default")
        await tell(0, 0)


async def status(url: str) -> int:
    """Of an answer; 0 where nobody gives one."""
    try:
        return (await dialer.Dialer(url).send(http.Request("GET", "/"))).code
    except OSError:
        return 0


def test_addresses_outside_of_the_cluster():
    one = service(type="LoadBalancer", externalIPs=["198.51.100.1", CLUSTER.dns_address])
    one["status"] = {"loadBalancer": {"ingress": [{"ip": "10.128.0.1"}, {"hostname": "x"}]}}
    part = services.part(one, [slice_(A)], PLACE)
    expected = [f"{address} . tcp . 80" for address in ("10.128.8.77", "198.51.100.1", "10.128.0.1")]
    assert keys(part, services.ADDRESSES) == expected


def test_who_may_come_by_a_load_balancer_s_address():
    allowed = ["192.0.2.0/24", " 192.0.2.128/25", "10.0.0.1/32"]
    one = service(type="LoadBalancer", loadBalancerSourceRanges=allowed, ports=[{"port": 80, "nodePort": 30080}])
    one["status"] = {"loadBalancer": {"ingress": [{"ip": "10.128.0.1"}]}}
    part = services.part(one, [slice_(A)], PLACE)
    everybody = part.elements[services.PORTS, "tcp . 30080"]
    assert led(part, "10.128.0.1 . tcp . 80") == [
        f"ip saddr {{ 10.0.0.1, 192.0.2.0-192.0.2.255 }} {everybody}",
        "drop",
    ]


def test_a_client_stays_with_its_endpoint():
    sticky = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
    part = services.part(service(**sticky), [slice_(A, B)], PLACE)
    *known, chance, otherwise = led(part, WAY)
    steps = [rule.split()[-1] for rule in known]
    assert [rule.split()[2] for rule in known] == [f"@{name}" for name in part.sets]
    assert all("timeout 60s" in body for body in part.sets.values())
    assert part.chains[steps[1]][-1] == "meta l4proto tcp dnat to 10.128.0.3:8080"
    assert (chance, otherwise) == (f"numgen random mod 2 0 goto {steps[0]}", f"goto {steps[1]}")
    fewer = services.part(service(**sticky), [slice_(B)], PLACE)
    assert list(fewer.sets) == list(part.sets)[1:]  # Whom it remembers stays, whoever else goes.


@pytest.mark.parametrize("sticky", [{}, {"sessionAffinity": "ClientIP"}], ids=["any", "sticky"])
def test_many_endpoints_are_chosen_from_by_a_map(sticky: dict[str, str]):
    """A few by rules, since a map in a rule is a set of the table, and nft reads them all before it changes any."""
    many = [{"addresses": [f"10.128.1.{number}"]} for number in range(services.ONE_BY_ONE_MAX + 1)]
    for count, by_map in ((len(many) - 1, False), (len(many), True)):
        part = services.part(service(**sticky), [slice_(*many[:count])], PLACE)
        rules = led(part, WAY)
        assert ("map {" in rules[-1]) is by_map
        assert len([rule for rule in rules if "ip saddr @" not in rule]) == (1 if by_map else count)
        if not sticky:
            assert chosen(rules) == [f"10.128.1.{number} . 8080" for number in range(count)]


def test_which_datagrams_are_forgotten():
    ports = [{"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 53, "protocol": "TCP"}]
    one = service(type="NodePort", ports=ports)
    found = services.datagram_ways(one, [slice_(A, ports=[{"name": "", "port": 5, "protocol": "UDP"}])], PLACE)
    assert sorted(found) == [services.Way("", 30053, "10.128.0.2"), services.Way("10.128.8.77", 53, "10.128.0.2")]
    assert services.datagram_ways(service(), [slice_(A)], PLACE) == frozenset()


# ---- the table in the kernel


def listed(name: str) -> str:
    """What is in force, but for what a set remembers and the order of things."""
    lines = nftables.listed("-s", "list", "table", "ip", name).replace("\t", " ")
    kept, within = [], ""
    for line in lines.splitlines():
        if line.strip().startswith(("set", "map", "chain")):
            within = line.strip()
        kept.append(f"{within} {line.strip()}")
    return "\n".join(sorted(part for line in kept for part in line.replace("elements = {", "").split(",")))


SPECS: list[dict[str, Any]] = [
    {},
    {"externalIPs": ["198.51.100.1"]},
    {"sessionAffinity": "ClientIP"},
    {"internalTrafficPolicy": "Local"},
    {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"]},
]


@machine.needs_machine
def test_changes_lead_to_what_would_be_made_anew():
    """Whatever comes, goes and is claimed twice, one change after the other."""
    chance = random.Random(7)
    place = services.Place(ClusterPlan("c0ffee", "10.128.8.0/22"), PLACE.nodes)
    table, known = services.table(place), {}
    try:
        assert nftables.apply(table.whole()) == ""
        table.done()
        for _ in range(25):
            for _ in range(chance.randrange(1, 4)):
                name = f"s{chance.randrange(5)}"
                endpoints = chance.sample([A, B, C, ENDING], chance.randrange(4))
                more: dict[str, Any] = chance.choice(
                    [
                        {},
                        {"externalIPs": ["198.51.100.1"]},
                        {"sessionAffinity": "ClientIP"},
                        {"internalTrafficPolicy": "Local"},
                    ]
                )
                one = service(name, f"10.128.8.{20 + int(name[1])}", **more) if chance.random() < 0.8 else None
                if one is not None:
                    one["status"] = {"loadBalancer": {"ingress": [{"ip": "10.128.0.1"}]}}
                part = services.part(one, [slice_(*endpoints, of=name)], place)
                table.put(name, part)
                known[name] = part
            if script := table.changes():
                assert nftables.apply(script) == "", script
            table.done()
            assert table.changes() == ""
        in_force = listed(table.name)
        anew = services.table(place)
        for name, part in known.items():
            anew.put(name, part)
        assert nftables.apply(anew.whole()) == ""
        assert in_force == listed(table.name)
    finally:
        nftables.remove(table.name)


# ---- packets

ANSWER = """
import socket, sys, threading
name, address = sys.argv[1:]
def datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 8080))
        print("listens", flush=True)
        while True:
            _, whence = server.recvfrom(100)
            server.sendto(f"{name} {whence[0]}".encode(), whence)
threading.Thread(target=datagrams, daemon=True).start()
with socket.create_server((address, 8080)) as server:
    while True:
        client, whence = server.accept()
        def serve(client=client, whence=whence):
            while client.recv(100):
                client.sendall(f"{name} {whence[0]}".encode())
        threading.Thread(target=serve, daemon=True).start()
"""


ANSWER_SECONDS_MAX = 5.0
SILENCE_SECONDS = 0.4  # After which nobody answers, where that is what is expected.


@dataclass
class Pod:
    name: str
    address: str
    place: Path | None  # None: the machine itself.

    def opens(self, kind: int) -> socket.socket:
        """One of the pod's own."""
        with linux.in_pinned("net", self.place / "net") if self.place else contextlib.nullcontext():
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(ANSWER_SECONDS_MAX)
        return made

    def asks(self, address: str, port: int, kind: int = socket.SOCK_STREAM, seconds: float = ANSWER_SECONDS_MAX) -> str:
        """Who answered, and whom he saw: "web-0 10.0.0.2"; else "refused" or "silence"."""
        with self.opens(kind) as client:
            client.settimeout(seconds)
            try:
                client.connect((address, port))
                client.send(b"?")
                return client.recv(100).decode()
            except ConnectionRefusedError:
                return "refused"
            except TimeoutError:
                return "silence"

    async def reaches(self, address: str, port: int, *then: str, kind: int = socket.SOCK_STREAM) -> None:
        """Wait until one of these answers, or for "refused"; asked aside, as the answers may be slow."""
        async with asyncio.timeout(20):
            while True:
                said = await asyncio.to_thread(self.asks, address, port, kind, SILENCE_SECONDS)
                if said.split()[0] in then:
                    return


HOST = Pod("machine", "", None)


@dataclass
class Instance:
    """A control plane, the networks of two nodes, and the rules; nothing runs in the pods but who answers."""

    plan: networks.Plan
    client: Client
    nets: list[bridge.PodNetwork]
    directory: Path
    stack: contextlib.AsyncExitStack
    pods: dict[str, Pod] = field(default_factory=dict[str, Pod])

    async def pod(self, name: str, node: int = 0) -> Pod:
        place, net = self.directory / f"pod-{name}", self.nets[node]
        place.mkdir()
        address = await net.join(place, f"default/{name}", name, name, {})
        self.stack.push_async_callback(net.leave, place, name)
        self.pods[name] = Pod(name, address, place)
        return self.pods[name]

    async def serving(self, name: str, node: int = 0) -> Pod:
        """A pod that answers at port 8080, by TCP and UDP."""
        pod = await self.pod(name, node)
        command = ["nsenter", f"--net={pod.place / 'net'}", sys.executable, "-c", ANSWER, name, pod.address]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        self.stack.push_async_callback(process.wait)
        self.stack.callback(process.kill)
        assert process.stdout is not None and await process.stdout.readline() == b"listens\n"
        return pod

    def address(self, number: int) -> str:
        return str(ipaddress.ip_network(self.plan.cluster.service_cidr)[number])

    async def create(self, name: str, number: int, *pods: Pod, protocol: str = "TCP", **spec: Any) -> str:
        """A Service at that address with these pods behind it, at its port 80; the address."""
        port = {"port": 80, "protocol": protocol, **spec.pop("port", {})}
        await self.client.create(service(name, self.address(number), ports=[port], **spec))
        await self.client.create(self.slice(name, *pods, protocol=protocol))
        return self.address(number)

    def slice(self, name: str, *pods: Pod, protocol: str = "TCP") -> dict[str, Any]:
        nodes = [self.plan.nodes[1 if pod.place and self._is_on(pod, 1) else 0].name("pets") for pod in pods]
        members = [endpoint(pod.address, node) for pod, node in zip(pods, nodes, strict=True)]
        return slice_(*members, name=name, of=name, ports=[{"name": "", "protocol": protocol, "port": 8080}])

    def _is_on(self, pod: Pod, number: int) -> bool:
        return ipaddress.ip_address(pod.address) in ipaddress.ip_network(self.plan.nodes[number].pod_cidr)

    async def change(self, name: str, *pods: Pod, protocol: str = "TCP") -> None:
        """Other pods are behind it."""
        old = await self.client.get(ENDPOINTSLICES, name, "default")
        await self.client.update({**self.slice(name, *pods, protocol=protocol), "metadata": old["metadata"]})


@contextlib.asynccontextmanager
async def an_instance(directory: Path) -> AsyncIterator[Instance]:
    directory.mkdir()
    plan = networks.choose_networks(directory, 2)
    at = bootstrap.Plan(
        plan.cluster.kubernetes_address,
        plan.cluster.dns_address,
        plan.nodes[0].gateway,
        6443,
        plan.cluster.service_cidr,
    )
    plane = cluster.ControlPlane(memory.MemoryStore(), cluster.Config(services=at))
    await plane.begin()
    nets = [bridge.PodNetwork(node, one) for number, node in enumerate(plan.nodes) if (one := directory / str(number))]
    async with contextlib.AsyncExitStack() as stack:
        for number, net in enumerate(nets):
            (directory / str(number)).mkdir()
            stack.push_async_callback(net.close)
            stack.push_async_callback(net.teardown)
            assert await net.setup() == []
        ready = asyncio.Event()
        client = plane.client(cluster.ADMINISTRATOR)
        nodes = {node.name("pets"): node for node in plan.nodes}
        work = proxy.run(plane.client(cluster.PROXY), services.Place(plan.cluster, nodes), ready)
        await stack.enter_async_context(cluster.together(("proxy", work)))
        await ready.wait()
        yield Instance(plan, client, nets, directory, stack)
    assert not nftables.listed("list", "table", "ip", plan.cluster.services_table)


@machine.on_machine
async def test_where_packets_go(tmp_path: Path):
    async with an_instance(tmp_path / "s") as here:
        asking, one, two = await here.pod("asking"), await here.serving("one"), await here.serving("two", node=1)
        alone, both = await here.create("alone", 50, one), await here.create("both", 51, one, two)
        none = await here.create("none", 52)
        await asking.reaches(alone, 80, "one")
        # From a pod beside it, from the machine, from a pod of the other node, and to itself; whom it sees.
        assert asking.asks(alone, 80) == f"one {asking.address}"
        assert two.asks(alone, 80) == f"one {two.address}"
        assert HOST.asks(alone, 80) == f"one {here.plan.nodes[0].gateway}"
        assert one.asks(alone, 80) == f"one {here.plan.nodes[0].gateway}"
        assert {asking.asks(both, 80).split()[0] for _ in range(20)} == {"one", "two"}
        await asking.reaches(none, 80, "refused")
        assert HOST.asks(none, 80) == HOST.asks(here.address(99), 80) == asking.asks(alone, 81) == "refused"
        # What is established goes on when its endpoint is none any more; the next one goes elsewhere.
        with asking.opens(socket.SOCK_STREAM) as client:
            client.connect((alone, 80))
            await here.change("alone", two)
            await asking.reaches(alone, 80, "two")
            client.send(b"?")
            assert client.recv(100).startswith(b"one")
        await here.change("alone")
        await asking.reaches(alone, 80, "refused")
        await here.client.delete(SERVICES, "both", "default")
        await asking.reaches(both, 80, "refused")


@machine.on_machine
async def test_where_packets_go_by_zones(tmp_path: Path):
    async with an_instance(tmp_path / "s") as here:
        asking, one, two = await here.pod("asking"), await here.serving("one"), await here.serving("two", node=1)
        address = await here.create("both", 51, one, two)
        found = await here.client.get(ENDPOINTSLICES, "both", "default")
        hints = [in_zones(each, zone) for each, zone in zip(found["endpoints"], ("east", "west"), strict=True)]
        await here.client.update({**found, "endpoints": hints})

        async def label(name: str, zone: str) -> None:
            await here.client.patch(NODES, name, "", {"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}})

        def answering() -> set[str]:
            return {asking.asks(address, 80).split()[0] for _ in range(12)}

        for node in here.plan.nodes:
            await here.client.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name("pets")}})
        await waiting.until(lambda: answering() == {"one", "two"})
        for zone, then in (("west", "two"), ("east", "one")):
            await label("pets", zone)
            await waiting.until(lambda then=then: answering() == {then})
        await label("pets", "north")
        await waiting.until(lambda: answering() == {"one", "two"})


@machine.on_machine
async def test_ports_of_the_machine_and_addresses_outside(tmp_path: Path):
    async with an_instance(tmp_path / "s") as here:
        asking, one, two = await here.pod("asking"), await here.serving("one"), await here.serving("two", node=1)
        external, gateway = "198.51.100.77", here.plan.nodes[0].gateway
        await here.create("open", 50, one, type="NodePort", port={"nodePort": 30777}, externalIPs=[external])
        await here.create("shut", 51, type="NodePort", port={"nodePort": 30778})
        for address in ("127.0.0.1", gateway, here.plan.nodes[1].gateway):
            await HOST.reaches(address, 30777, "one")
            await HOST.reaches(address, 30778, "refused")
        assert HOST.asks("127.0.0.1", 30777) == f"one {gateway}"
        assert asking.asks(gateway, 30777) == asking.asks(external, 80) == f"one {asking.address}"
        assert one.asks(gateway, 30777) == f"one {gateway}"
        sticky = await here.create("sticky", 52, one, two, sessionAffinity="ClientIP")
        await asking.reaches(sticky, 80, "one", "two")
        assert len({asking.asks(sticky, 80) for _ in range(12)}) == 1
        near = await here.create("near", 53, one, two, internalTrafficPolicy="Local")
        await asking.reaches(near, 80, "one")
        assert {asking.asks(near, 80).split()[0] for _ in range(8)} == {"one"}
        assert {two.asks(near, 80).split()[0] for _ in range(4)} == {"two"}
        # Datagrams of one client to an endpoint that is gone go elsewhere: nothing is remembered of them.
        with asking.opens(socket.SOCK_DGRAM) as client:
            name = await here.create("names", 54, one, protocol="UDP")
            await asking.reaches(name, 80, "one", kind=socket.SOCK_DGRAM)
            client.connect((name, 80))
            client.send(b"?")
            assert client.recv(100) == f"one {asking.address}".encode()
            await here.change("names", two, protocol="UDP")
            await asking.reaches(name, 80, "two", kind=socket.SOCK_DGRAM)
            client.settimeout(SILENCE_SECONDS)
            await waiting.until(lambda: _says_at_last(client, b"two"))


@machine.on_machine
async def test_what_a_killed_petset_left_is_made_right(tmp_path: Path):
    async with an_instance(tmp_path / "s") as here:
        table = here.plan.cluster.services_table
        assert nftables.apply(f"add element ip {table} {services.REFUSED} {{ 192.0.2.1 . tcp . 1 }}\n") == ""
        nodes = {node.name("pets"): node for node in here.plan.nodes}
        ready = asyncio.Event()
        async with cluster.together(("again", proxy.run(here.client, services.Place(here.plan.cluster, nodes), ready))):
            await ready.wait()
            assert "192.0.2.1" not in nftables.listed("list", "table", "ip", table)
        # Somebody takes everything away: the next change brings all of it back.
        one = await here.serving("one")
        kept = await here.create("kept", 50, one)
        await one.reaches(kept, 80, "one")
        nftables.remove(table)
        await here.create("next", 51, one)
        await one.reaches(kept, 80, "one")


def _says_at_last(client: socket.socket, name: bytes) -> bool:
    """What is still answered by the endpoint that was has no connection any more, and does not come back."""
    client.send(b"?")
    try:
        return client.recv(100).startswith(name)
    except TimeoutError:
        return False
