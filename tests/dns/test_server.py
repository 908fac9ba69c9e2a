"""The server on loopback sockets, asked by dnspython: UDP, TCP, truncation, names outside, and bad packets."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from petset.dns import forwarder, records, server
from petset.wire import dns as wire

HERE = "127.53.0.1"  # Loopback, and nobody else's: no other program's passing connection holds a port here.


def zone_with(pets):
    zone = records.Zone("cluster.local", [HERE])
    zone.set_service("n/s", {"metadata": {"name": "s", "namespace": "n"}, "spec": {"clusterIP": "None"}})
    endpoints = [{"addresses": [f"10.0.{i // 250}.{i % 250}"], "hostname": f"pet-{i}"} for i in range(pets)]
    labels = {"kubernetes.io/service-name": "s"}
    zone.set_slice("n/s-x", {"metadata": {"name": "s-x", "namespace": "n", "labels": labels}, "endpoints": endpoints})
    alias = {"type": "ExternalName", "externalName": "example.org"}
    zone.set_service("n/alias", {"metadata": {"name": "alias", "namespace": "n"}, "spec": alias})
    return zone


@contextlib.asynccontextmanager
async def serving(zone, upstreams=()):
    """A server on a free port of loopback; the port."""
    async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as opened:
        served = server.Server(zone, forwarder.Forwarder(group, upstreams), group)
        yield await served.bind(opened, HERE, 0)


class Resolver(asyncio.DatagramProtocol):
    """Somebody else's resolver: answers every question with one address, or not at all."""

    def __init__(self, answer=True):
        self.answer, self.asked = answer, []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.asked.append(data)
        if self.answer:
            query = dns.message.from_wire(data)
            reply = dns.message.make_response(query)
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.1"))
            self.transport.sendto(reply.to_wire(), addr)


@contextlib.asynccontextmanager
async def resolver(**options):
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Resolver(**options), local_addr=(HERE, 0))
    try:
        yield protocol, f"{HERE}#{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


async def ask(port, name, type_="A", **options):
    query = dns.message.make_query(name, type_, **options)
    return await dns.asyncquery.udp(query, HERE, port=port, timeout=5)


def test_udp_and_tcp():
    async def main():
        async with serving(zone_with(3)) as port:
            answer = await ask(port, "pet-1.s.n.svc.cluster.local")
            assert answer.answer[0][0].address == "10.0.0.1"
            assert answer.flags & dns.flags.AA
            query = dns.message.make_query("pet-9.s.n.svc.cluster.local", "A")
            answer = await dns.asyncquery.tcp(query, HERE, port=port, timeout=5)
            assert answer.rcode() == dns.rcode.NXDOMAIN

    asyncio.run(main())


def test_a_long_answer_is_truncated_over_udp_and_whole_over_tcp():
    async def main():
        async with serving(zone_with(200)) as port:
            name = "s.n.svc.cluster.local"
            assert (await ask(port, name, "SRV")).flags & dns.flags.TC
            query = dns.message.make_query(name, "SRV")
            answer, by_tcp = await dns.asyncquery.udp_with_fallback(query, HERE, port=port, timeout=5)
            assert by_tcp and len(answer.answer[0]) == 200
            assert len((await ask(port, name, "A", use_edns=0, payload=4096)).answer[0]) == 200

    asyncio.run(main())


def test_many_questions_on_one_connection_cut_anywhere():
    async def main():
        async with serving(zone_with(3)) as port:
            reader, writer = await asyncio.open_connection(HERE, port)
            queries = [dns.message.make_query(f"pet-{i % 3}.s.n.svc.cluster.local", "A") for i in range(100)]
            packets = [query.to_wire() for query in queries]
            data = b"".join(len(packet).to_bytes(2) + packet for packet in packets)
            for at in range(0, len(data), 7):
                writer.write(data[at : at + 7])
                await writer.drain()
            for query in queries:
                length = int.from_bytes(await reader.readexactly(2))
                answer = dns.message.from_wire(await reader.readexactly(length))
                assert answer.id == query.id and answer.answer
            writer.close()

    asyncio.run(main())


def test_bad_packets_are_refused_or_dropped_and_the_next_question_is_answered():
    async def main():
        async with serving(zone_with(1)) as port:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for packet in (b"", b"x", b"\0" * 12, b"\xff" * 600, b"\0\7\1\0\0\1\0\0\0\0\0\0\x09cut"):
                    sender.sendto(packet, (HERE, port))
            _, writer = await asyncio.open_connection(HERE, port)
            writer.write(b"\0\2xx")
            writer.close()
            assert (await ask(port, "pet-0.s.n.svc.cluster.local")).answer

    asyncio.run(main())


def test_names_outside_without_a_resolver_fail_at_once():
    async def main():
        async with serving(zone_with(1)) as port:
            assert (await ask(port, "example.org")).rcode() == dns.rcode.NXDOMAIN

    asyncio.run(main())


def test_names_outside_are_asked_elsewhere():
    async def main():
        async with resolver() as (asked, upstream), serving(zone_with(1), [upstream]) as port:
            answer = await ask(port, "Example.org", use_edns=0)
            assert str(answer.answer[0].name).lower() == "example.org."
            assert answer.answer[0][0].address == "192.0.2.1"
            assert str(answer.question[0].name) == "Example.org."
            # A name without a dot is a search list's leftover and is not told to anybody.
            assert (await ask(port, "nobody")).rcode() == dns.rcode.NXDOMAIN
            assert len(asked.asked) == 1

    asyncio.run(main())


def test_an_alias_that_points_outside_is_followed():
    async def main():
        async with resolver() as (_, upstream), serving(zone_with(1), [upstream]) as port:
            answer = await ask(port, "alias.n.svc.cluster.local")
            assert [rrset.rdtype for rrset in answer.answer] == [wire.CNAME, wire.A]

    asyncio.run(main())


def test_a_silent_resolver_is_passed_over(monkeypatch):
    monkeypatch.setattr(forwarder, "RESOLVER_SECONDS_MAX", 0.05)

    async def main():
        async with resolver(answer=False) as (silent, first), resolver() as (_, second):
            async with serving(zone_with(1), [first, second]) as port:
                assert (await ask(port, "example.org")).answer
                assert silent.asked
            async with serving(zone_with(1), [first]) as port:
                assert (await ask(port, "example.org")).rcode() == dns.rcode.SERVFAIL

    asyncio.run(main())


def test_a_question_that_comes_back_does_not_go_round(monkeypatch):
    monkeypatch.setattr(forwarder, "RESOLVER_SECONDS_MAX", 0.2)

    async def main():
        asked = []
        async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as opened:
            upstreams = []
            forward = forwarder.Forwarder(group, upstreams)
            served = server.Server(zone_with(1), forward, group)
            port = await served.bind(opened, HERE, 0)
            forward._upstreams = [(HERE, port)]
            answer_one = served.answer
            served.answer = lambda data, tcp: (asked.append(data), answer_one(data, tcp))[1]
            assert (await ask(port, "example.org")).rcode() == dns.rcode.SERVFAIL
            assert len(asked) == 2  # The client's question, and ours once.

    asyncio.run(main())


def test_resolvers_of_the_host():
    text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 192.0.2.1\nnameserver\nnameserver 10.7.0.10\nnameserver x\n"
    assert forwarder.resolvers_of(text, ["10.7.0.10"]) == ["192.0.2.1"]


def test_a_free_port_is_free_for_both():
    """The kernel's choice for UDP may be taken for TCP: nothing of that attempt stays, and another port is found."""

    async def main():
        loop, taken = asyncio.get_running_loop(), []
        create_server = loop.create_server

        async def too_late(protocol, address, port):
            if not taken:
                taken.append(opened.enter_context(socket.create_server((address, port))))
            return await create_server(protocol, address, port)

        loop.create_server = too_late
        async with asyncio.TaskGroup() as group:
            async with contextlib.AsyncExitStack() as serving:
                served = server.Server(zone_with(1), forwarder.Forwarder(group, ()), group)
                port = await served.bind(serving, HERE, 0)
                lost = taken[0].getsockname()[1]
                assert port != lost
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as given_back:
                    given_back.bind((HERE, lost))
                assert (await ask(port, "pet-0.s.n.svc.cluster.local")).rcode() == dns.rcode.NOERROR
                with pytest.raises(OSError, match=f"cannot serve DNS on {HERE} port {lost}: "):
                    await served.bind(serving, HERE, lost)

    with contextlib.ExitStack() as opened:
        asyncio.run(main())


class Live:
    """Stands in for the client: lists and watches of two resources, fed by the test."""

    def __init__(self):
        self.feeds = {}

    async def pieces(self, resource, namespace="", *selectors):
        yield [], "1"

    async def watch(self, resource, namespace="", since="", *selectors, opened=None):
        feed = self._feed(resource.plural)
        while True:
            yield await feed.get()

    def tell(self, plural, type_, obj):
        self._feed(plural).put_nowait((type_, obj))

    def _feed(self, plural):
        return self.feeds.setdefault(plural, asyncio.Queue())


def test_the_live_cache_is_what_is_answered_from():
    async def main():
        live, ready = Live(), asyncio.Event()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
            taken.bind((HERE, 0))
            port = taken.getsockname()[1]
        running = server.run(live, [HERE], port, upstreams=[f"{HERE}#{port}"], ready=ready)
        service = {"metadata": {"name": "s", "namespace": "n", "resourceVersion": "2"}, "spec": {"clusterIP": "None"}}
        metadata = {"name": "s-x", "namespace": "n", "resourceVersion": "3"}
        slice_ = {
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "s"}},
            "endpoints": [{"addresses": ["10.0.0.1"], "hostname": "a"}],
        }

        async def until(code):
            async with asyncio.timeout(5):
                while (await ask(port, "a.s.n.svc.cluster.local")).rcode() != code:
                    pass

        async with asyncio.TaskGroup() as group:
            task = group.create_task(running)
            await ready.wait()
            await until(dns.rcode.NXDOMAIN)
            live.tell("services", "ADDED", service)
            live.tell("endpointslices", "ADDED", slice_)
            await until(dns.rcode.NOERROR)
            live.tell("endpointslices", "DELETED", slice_)
            await until(dns.rcode.NXDOMAIN)
            # Itself is no resolver to ask.
            assert (await ask(port, "example.org")).rcode() == dns.rcode.NXDOMAIN
            task.cancel()

    asyncio.run(main())
