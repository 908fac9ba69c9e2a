"""Names outside the cluster: ask the host's resolvers, each once, and give back what the first one says.

`resolve(query, tcp)` sends the client's question on under an id and a port of our own and returns the answer's bytes
fit for that client. Equal questions that are on their way at the same time are asked once. That is also the protection
against loops: a question that comes back to us waits for itself and ends as SERVFAIL at the deadline, once, instead
of going round for ever.

Invariants: an answer is taken only from the address asked, for the id and the question sent; without resolvers the
answer is NXDOMAIN at once (docs/decisions/dns.md says why not SERVFAIL); everything ends within TOTAL_SECONDS_MAX.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from petset.base import tasks
from petset.wire import dns

log = logging.getLogger("petset.dns")

RESOLVER_SECONDS_MAX = 2.0
TOTAL_SECONDS_MAX = 4.5  # Less than the 5 s after which resolver libraries ask again.
FORWARDS_MAX = 512  # On their way at once; more get SERVFAIL.
PORT = 53


class Forwarder:
    """`upstreams` are "address" or "address#port" (the port for tests and resolvers on this machine)."""

    def __init__(self, group: asyncio.TaskGroup, upstreams: Sequence[str]):
        self._group = group
        self._upstreams = [address_and_port(text) for text in upstreams]
        self._under_way: dict[tuple[dns.Same, bool], asyncio.Task[bytes | None]] = {}

    async def resolve(self, query: dns.Query, tcp: bool) -> bytes:
        """The answer for this client; SERVFAIL when no resolver gave one."""
        if not self._upstreams or ("." not in query.name and query.type in (dns.A, dns.AAAA)):
            return dns.response(query, dns.NXDOMAIN, authoritative=False)
        same = (query.same, tcp)
        asking = self._under_way.get(same)
        if asking is None:
            if len(self._under_way) >= FORWARDS_MAX:
                return dns.response(query, dns.SERVFAIL, authoritative=False)
            asking = tasks.spawn(self._group, self._ask(query, tcp), name=f"dns forward {query.name}")
            self._under_way[same] = asking
            asking.add_done_callback(lambda _: self._under_way.pop(same, None))
        answer = await asyncio.shield(asking)
        fitting = None if answer is None else dns.readdressed(answer, query)
        return fitting or dns.response(query, dns.SERVFAIL, authoritative=False)

    async def addresses(self, name: str, type_: int) -> list[dns.Record]:
        """The A or AAAA records, and CNAMEs on the way, of a name that one of our aliases points to."""
        question = dns.query_bytes(0, name, type_)
        answer = await self.resolve(dns.parse_query(question), tcp=False)
        return dns.parse_addresses(answer)

    async def _ask(self, query: dns.Query, tcp: bool) -> bytes | None:
        truncated: bytes | None = None
        try:
            async with asyncio.timeout(TOTAL_SECONDS_MAX):
                for address, port in self._upstreams:
                    answer = await self._ask_one(query, tcp, address, port)
                    if answer is not None and dns.response_code(answer) not in (dns.SERVFAIL, dns.REFUSED):
                        return answer
                    truncated = answer or truncated
        except TimeoutError:
            pass
        return truncated

    async def _ask_one(self, query: dns.Query, tcp: bool, address: str, port: int) -> bytes | None:
        id_ = tasks.rng().getrandbits(16)
        packet = dns.forwarded(query, id_)
        try:
            async with asyncio.timeout(RESOLVER_SECONDS_MAX):
                if tcp:
                    answer = await _ask_over_tcp(packet, address, port)
                    return answer if answer[:2] == packet[:2] else None
                return await _ask_over_udp(packet, query, address, port)
        except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is an OSError.
            log.info("cannot resolve %s at %s: %s", query.name, address, error or "no answer in time")
            return None


class _Asking(asyncio.DatagramProtocol):
    """One question over a connected socket; packets that answer something else are passed over."""

    def __init__(self, packet: bytes, query: dns.Query):
        self.packet, self.query = packet, query
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.sendto(self.packet)  # type: ignore[attr-defined]  # A Base by name only.

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self.packet[:2] and dns.readdressed(data, self.query) and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask_over_udp(packet: bytes, query: dns.Query, address: str, port: int) -> bytes:
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(lambda: _Asking(packet, query), remote_addr=(address, port))
    try:
        return await asking.answer
    finally:
        transport.close()


async def _ask_over_tcp(packet: bytes, address: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(len(packet).to_bytes(2) + packet)
        length = int.from_bytes(await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()


def address_and_port(text: str) -> tuple[str, int]:
    address, _, port = text.partition("#")
    return address, int(port or PORT)


def resolvers_of(resolv_conf: str, own_addresses: Sequence[str]) -> list[str]:
    """The nameservers a resolv.conf names, without ourselves."""
    lines = [line.split() for line in resolv_conf.splitlines()]
    named = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    usable = [text for text in named if dns.packed_address(text.partition("%")[0]) is not None]
    return [text for text in dict.fromkeys(usable) if text not in own_addresses]
