"""The cluster's DNS server: UDP and TCP on given addresses, out of live copies of Services and EndpointSlices.

`run` follows both resources, waits until they are complete, binds, and answers: bytes > `wire.dns.parse_query` >
`records.Zone.answer` > `wire.dns.response`, all in the turn of the loop in which the packet came. Only names outside
the cluster, and aliases that point outside, wait for someone: `forwarder`. Each address is bound by itself, as a
wildcard socket would answer from the wrong one.

Invariants: a change of endpoints is answered from as soon as the cache has it; nothing is cached besides; no packet
raises; a TCP connection is bounded in number, idle time and questions under way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from petset.base import tasks
from petset.client import client as api
from petset.client import informer
from petset.dns import forwarder, records
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object
from petset.wire import dns

PORT = 53
CONNECTIONS_MAX = 256
CONNECTION_IDLE_SECONDS_MAX = 10.0
CONNECTION_QUESTIONS_MAX = 32  # Under way at once on one connection.
FREE_PORT_ATTEMPTS_MAX = 16  # A port that is free for UDP may be taken for TCP.
WAITING_MAX = 1024  # Questions for outside names that wait for a resolver.

Later = Coroutine[Any, Any, bytes]


async def run(
    client: api.Client,
    addresses: Sequence[str],
    port: int = PORT,
    domain: str = "cluster.local",
    upstreams: Sequence[str] = (),
    networks: Sequence[str] = (),
    ready: asyncio.Event | None = None,
) -> None:
    """Serve until cancelled. `networks` are the pods' and services' (unknown reverse names in them are ours to deny);
    `ready` is set once the sockets are bound."""
    zone = records.Zone(domain, addresses, networks)
    async with asyncio.TaskGroup() as group:
        await follow(client, zone, group)
        ourselves = [(address, port) for address in addresses]
        others = [text for text in upstreams if forwarder.address_and_port(text) not in ourselves]
        server = Server(zone, forwarder.Forwarder(group, others), group)
        async with contextlib.AsyncExitStack() as opened:
            for address in addresses:
                await server.bind(opened, address, port)
            if ready is not None:
                ready.set()
            await asyncio.get_running_loop().create_future()


async def follow(client: api.Client, zone: records.Zone, group: asyncio.TaskGroup) -> None:
    """Keep the zone as the cluster's services and endpoints are; returns when it is complete for the first time."""
    services, slices = informer.Informer(client, SERVICES), informer.Informer(client, ENDPOINTSLICES)
    services.on_change(_teller(zone.set_service))
    slices.on_change(_teller(zone.set_slice))
    tasks.spawn(group, services.run(), name="dns services")
    tasks.spawn(group, slices.run(), name="dns endpoints")
    await services.synced.wait()
    await slices.synced.wait()


def _teller(tell: Callable[[str, Object | None], None]) -> informer.Change:
    def changed(old: Object | None, new: Object | None) -> None:
        either = new or old
        if either is not None:
            tell(meta.key(either), new)

    return changed


class Server:
    """Answers packets of any number of sockets; `answer` is all there is to one."""

    def __init__(self, zone: records.Zone, forward: forwarder.Forwarder, group: asyncio.TaskGroup):
        self.zone, self.forward, self.group = zone, forward, group
        self.connections = 0
        self.waiting = 0

    async def bind(self, opened: contextlib.AsyncExitStack, address: str, port: int) -> int:
        """Listen on UDP and TCP; closed with the stack. The port (when it was 0, one that is free for both)."""
        attempts = 1 if port else FREE_PORT_ATTEMPTS_MAX
        while True:
            attempts -= 1
            try:
                return await self._bind(opened, address, port)
            except OSError as error:
                if not attempts:
                    why = f"{error.strerror or error}; is another server there?"
                    raise OSError(f"cannot serve DNS on {address} port {port}: {why}") from error

    async def _bind(self, opened: contextlib.AsyncExitStack, address: str, port: int) -> int:
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as both:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(address, port))
            both.callback(transport.close)
            port = transport.get_extra_info("sockname")[1]
            listening = await loop.create_server(lambda: _Tcp(self), address, port)
            both.callback(listening.close)
            opened.push_async_exit(both.pop_all())
        return port

    def answer(self, data: bytes, tcp: bool) -> bytes | Later | None:
        """The answer to one packet, or what to await for it, or None when it gets none."""
        try:
            query = dns.parse_query(data)
        except dns.Dropped:
            return None
        except dns.Refused as error:
            return dns.refusal(error)
        if query.klass not in (dns.INTERNET, dns.ANY_CLASS):
            return dns.response(query, dns.REFUSED, authoritative=False)
        limit = dns.TCP_BYTES_MAX if tcp else dns.udp_limit(query)
        found = self.zone.answer(query.name, query.type, query.id)
        if found is None:
            return self.forward.resolve(query, tcp)
        if found.outside and query.type in (dns.A, dns.AAAA):
            return self._beyond(query, found, limit)
        return dns.response(query, found.code, found.answers, found.authorities, found.additionals, limit=limit)

    async def _beyond(self, query: dns.Query, found: records.Answer, limit: int) -> bytes:
        """Our aliases, and the addresses that their last target has outside."""
        more = await self.forward.addresses(found.outside, query.type)
        return dns.response(query, dns.NOERROR, [*found.answers, *more], limit=limit)

    def reply(self, data: bytes, send: Callable[[bytes], None], done: Callable[[], None], tcp: bool) -> None:
        """Send the answer to one packet, now or when it is known; `done` follows in any case."""
        answer = self.answer(data, tcp)
        if isinstance(answer, Coroutine):
            if self.waiting >= WAITING_MAX:
                answer.close()
                done()
            else:
                tasks.spawn(self.group, self._reply_later(answer, send, done), name="dns answer")
            return
        if answer is not None:
            send(answer)
        done()

    async def _reply_later(self, answer: Later, send: Callable[[bytes], None], done: Callable[[], None]) -> None:
        self.waiting += 1
        try:
            send(await answer)
        finally:
            self.waiting -= 1
            done()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: Server):
        self.server = server
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # A Base by name only.

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.server.reply(data, lambda answer: self._send(answer, addr), _nothing, tcp=False)

    def _send(self, answer: bytes, addr: tuple[str, int]) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.sendto(answer, addr)


def _nothing() -> None:
    pass


class _Tcp(asyncio.Protocol):
    """Questions and answers, each after its two bytes of length, answered in any order (RFC 7766)."""

    def __init__(self, server: Server):
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.under_way = 0
        self.taking = False
        self.unread = False  # The client does not read its answers.
        self.idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server.connections += 1
        self.transport = transport  # type: ignore[assignment]  # A Base by name only.
        if self.server.connections > CONNECTIONS_MAX:
            self._close()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections -= 1
        self.transport = None
        if self.idle is not None:
            self.idle.cancel()

    def pause_writing(self) -> None:
        self.unread = True

    def resume_writing(self) -> None:
        self.unread = False
        self._take()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._wait()
        self._take()

    def _take(self) -> None:
        """Answer the complete questions, as long as there is room for the answers."""
        if self.taking:
            return  # An immediate answer brought us here again.
        self.taking = True
        while self.transport is not None and self._has_room() and len(self.buffer) >= 2:
            end = 2 + int.from_bytes(self.buffer[:2])
            if len(self.buffer) < end:
                break
            question, self.buffer = self.buffer[2:end], self.buffer[end:]
            self.under_way += 1
            self.server.reply(question, self._send, self._done, tcp=True)
        self.taking = False
        if self.transport is not None and not self.transport.is_closing():
            (self.transport.resume_reading if self._has_room() else self.transport.pause_reading)()

    def _has_room(self) -> bool:
        return self.under_way < CONNECTION_QUESTIONS_MAX and not self.unread

    def _done(self) -> None:
        self.under_way -= 1
        self._take()

    def _send(self, answer: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(len(answer).to_bytes(2) + answer)

    def _wait(self) -> None:
        if self.idle is not None:
            self.idle.cancel()
        self.idle = asyncio.get_running_loop().call_later(CONNECTION_IDLE_SECONDS_MAX, self._close)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.abort()
