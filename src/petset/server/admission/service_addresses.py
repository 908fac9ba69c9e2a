"""What is given to Services: addresses of the cluster's networks of services, and ports of the nodes.

    with addresses.giving(write):
        obj = addresses.given(write, obj, old)     # Raises ApiError 422 where what it asks for is not to be had.
        ... put ...

Whether an address is free is decided, and the address taken, in one step of the loop, and what a write was given is
nobody else's until it is in the store or has failed: no two Services ever have one. What the store has is followed,
and written nowhere else: after a start the Services themselves say what is taken. The networks are those of the
ServiceCIDRs that stay; an IPAddress that somebody made for something else keeps its address from being given.

Who names no address gets one by chance from a network's upper part, so that the lower is free for who names his; ports
likewise.
Follows: KEP-3070 (reserved range of cluster IPs), KEP-3668 (of node ports), KEP-1880 (ServiceCIDR, IPAddress).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence

from petset.base import tasks
from petset.kinds import service as services
from petset.kinds.networking import addresses
from petset.kinds.networking.addresses import IPADDRESSES, SERVICECIDRS
from petset.kinds.service import SERVICES
from petset.objects import errors, meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.server.live import LiveView
from petset.server.writes import Write
from petset.store import store as stores

NODE_PORTS = range(30_000, 32_768)
CHANCES = 16  # Tries by chance before the next free one is looked for.
LATE_SECONDS = 60.0  # No commit takes longer but on a disk that is given up.
ALLOCATED = "provided {} is already allocated"

Block = ipaddress.IPv4Network


def reserved_of_network(size: int) -> int:
    """How many of a network's first addresses are given only to those that name them."""
    return min(max(16, size // 16), 256) if size > 16 else 0


def reserved_of_ports(size: int) -> int:
    return min(max(16, size // 32), 128) if size > 16 else 0


def free_of(numbers: range, reserved: int, is_taken: Callable[[int], bool]) -> int | None:
    """One of the numbers that is not taken, of those that are not reserved while there are any; None: all are taken."""
    for part in (numbers[reserved:], numbers[:reserved]):
        if not part:
            continue
        for _ in range(CHANCES):
            if not is_taken(found := part[tasks.rng().randrange(len(part))]):
                return found
        start = tasks.rng().randrange(len(part))
        for found in itertools.chain(part[start:], part[:start]):  # No more than are taken, and one.
            if not is_taken(found):
                return found
    return None


@functools.lru_cache(maxsize=64)
def numbers_of(network: Block) -> range:
    """The addresses that may be given: neither the network's own nor its broadcast address."""
    first, last = int(network.network_address), int(network.broadcast_address)
    return range(first + 1, last) if last - first > 1 else range(first, last + 1)


class _Refused(Exception):
    def __init__(self, path: str, value: object, why: str):
        self.why = FieldError.invalid(path, value, why)


class _Taken:
    """Who has which number: objects in the store, by their keys, and writes on their way."""

    def __init__(self) -> None:
        self._numbers: dict[str, frozenset[int]] = {}
        self._keys: dict[int, str] = {}
        self._writes: dict[int, Write] = {}

    def told(self, key: str, numbers: Iterable[int]) -> None:
        """What the object of this key has now."""
        for number in self._numbers.pop(key, ()):
            if self._keys.get(number) == key:
                del self._keys[number]
        if found := frozenset(numbers):
            self._numbers[key] = found
            self._keys.update(dict.fromkeys(found, key))

    def by_other(self, number: int, write: Write, key: str) -> bool:
        """Whether somebody has it but this write and the object of this key, which it changes."""
        return self._writes.get(number, write) is not write or self._keys.get(number, key) != key

    def has(self, number: int, key: str) -> bool:
        return self._keys.get(number) == key

    def hold(self, number: int, write: Write) -> None:
        self._writes[number] = write

    def let_go(self, number: int) -> None:
        self._writes.pop(number, None)


class _Gift:
    """What one write was given, by what it is for: asked again, it is given the same."""

    def __init__(self) -> None:
        self.address: int | None = None
        self.ports: dict[object, int] = {}
        self.held: list[tuple[_Taken, int]] = []

    def let_go(self) -> None:
        for taken, number in self.held:
            taken.let_go(number)


class Addresses:
    def __init__(self, store: stores.Store):
        self._addresses, self._ports = _Taken(), _Taken()
        self._spoken_for: dict[int, None] = {}  # By IPAddresses that somebody else made.
        self._networks: dict[str, Sequence[Block]] = {}  # By the ServiceCIDR's key.
        self._views = (
            LiveView(store, SERVICECIDRS.key(), self._network_told),
            LiveView(store, SERVICES.key(), self._service_told),
            LiveView(store, IPADDRESSES.key(), self._address_told),
        )
        self._gifts: dict[Write, _Gift] = {}
        self._late: deque[tuple[float, _Gift]] = deque()  # Of writes that were cancelled, and until when.

    async def catch_up(self) -> None:
        """Read what is stored in slices, before anybody asks."""
        for view in self._views:
            await view.catch_up()

    def given(self, write: Write, obj: Object, old: Object | None) -> Object:
        """The Service with all that one of its type has. Raises ApiError 422."""
        for view in self._views:
            view.refresh()
        self._let_go_of_late()
        if old is not None:
            obj = services.kept(obj, old)
        key = SERVICES.key(meta.namespace(obj), meta.name(obj)) if old is not None else ""
        try:
            spec = self._spec_given(_Asking(write, key, self._gifts.setdefault(write, _Gift())), obj)
        except _Refused as refused:
            raise errors.invalid(SERVICES.kind, meta.name(obj), [refused.why]) from None
        return obj if spec == obj.get("spec") else {**obj, "spec": spec}

    @contextlib.contextmanager
    def giving(self, write: Write) -> Generator[None]:
        """The write's way; after it, it is in the store, or has failed. One that was cancelled may be stored yet, and
        keeps for a while what it was given."""
        try:
            yield
        except asyncio.CancelledError:
            if (gift := self._gifts.pop(write, None)) is not None:
                self._late.append((tasks.monotonic() + LATE_SECONDS, gift))
            raise
        finally:
            if (gift := self._gifts.pop(write, None)) is not None:
                gift.let_go()

    def _let_go_of_late(self) -> None:
        while self._late and self._late[0][0] <= tasks.monotonic():
            self._late.popleft()[1].let_go()

    def _spec_given(self, asking: _Asking, obj: Object) -> Object:
        spec = dict(meta.part(obj, "spec"))
        if services.has_address(obj):
            given = services.cluster_ips(obj)
            for text in given:
                self._require_address(asking, text, list(given))
            if not given:
                address = str(ipaddress.IPv4Address(self._address(asking)))
                spec["clusterIP"], spec["clusterIPs"] = address, [address]
        if services.has_node_ports(obj):
            is_wanted = services.wants_node_ports(obj)
            shared: dict[tuple[object, object], int] = {}
            spec["ports"] = [
                self._port_given(asking, port, f"spec.ports[{index}].nodePort", is_wanted, shared)
                for index, port in enumerate(meta.parts(spec, "ports"))
            ]
        if services.has_health_port(obj):
            asked = spec.get("healthCheckNodePort")
            spec["healthCheckNodePort"] = self._port(asking, "health", asked, "spec.healthCheckNodePort")
        return spec

    def _port_given(
        self, asking: _Asking, port: Object, path: str, is_wanted: bool, shared: dict[tuple[object, object], int]
    ) -> Object:
        """One number of TCP and of UDP have one port of the nodes, too, where neither names another."""
        asked = port.get("nodePort")
        if not asked and not is_wanted:
            return port
        protocol, number = port.get("protocol"), port.get("port")
        if not asked:
            others = [found for (other, same), found in shared.items() if same == number and other != protocol]
            asked = others[0] if others else None
        found = self._port(asking, (protocol, number), asked, path)
        shared[protocol, number] = found
        return port if port.get("nodePort") == found else {**port, "nodePort": found}

    def _port(self, asking: _Asking, purpose: object, asked: int | None, path: str) -> int:
        """A port of the nodes: the one that is asked for, or any. Raises _Refused."""
        number = asked or asking.gift.ports.get(purpose)
        if number is None:
            number = free_of(NODE_PORTS, reserved_of_ports(len(NODE_PORTS)), lambda one: asking.lacks(self._ports, one))
        if number is None:
            raise _Refused(path, 0, "failed to allocate a nodePort: range is full")
        if not self._ports.has(number, asking.key):
            if number not in NODE_PORTS:
                shown = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
                raise _Refused(
                    path, number, f"provided port is not in the valid range. The range of valid ports is {shown}"
                )
            if asking.lacks(self._ports, number):
                raise _Refused(path, number, ALLOCATED.format("port"))
            asking.hold(self._ports, number)
        asking.gift.ports[purpose] = number
        return number

    def _require_address(self, asking: _Asking, text: str, given: list[str]) -> None:
        """Raises _Refused. What is no IPv4 address is left for validation."""
        number = addresses.number_of(text)
        if number is None or self._addresses.has(number, asking.key):
            return
        why = ""
        if not any(number in numbers_of(block) for block in self._blocks()):
            shown = ", ".join(map(str, self._blocks())) or "empty"
            why = f"the provided IP ({text}) is not in the valid range. The range of valid IPs is {shown}"
        elif self._is_taken(asking, number):
            why = ALLOCATED.format("IP")
        if why:
            raise _Refused("spec.clusterIPs", given, f"failed to allocate IP {text}: {why}")
        asking.hold(self._addresses, number)
        asking.gift.address = number

    def _address(self, asking: _Asking) -> int:
        """One that is free. Raises _Refused."""
        number = asking.gift.address
        if number is not None:
            return number
        for block in self._blocks():
            numbers = numbers_of(block)
            number = free_of(numbers, reserved_of_network(len(numbers)), lambda one: self._is_taken(asking, one))
            if number is not None:
                asking.hold(self._addresses, number)
                asking.gift.address = number
                return number
        raise _Refused("spec.clusterIPs", [], "failed to allocate a serviceIP: range is full")

    def _is_taken(self, asking: _Asking, number: int) -> bool:
        return number in self._spoken_for or asking.lacks(self._addresses, number)

    def _blocks(self) -> list[Block]:
        return [block for key in sorted(self._networks) for block in self._networks[key]]

    def _network_told(self, key: str, obj: Object | None) -> None:
        self._networks.pop(key, None)
        if obj is not None and not meta.is_deleting(obj):
            self._networks[key] = addresses.networks_of(obj)

    def _service_told(self, key: str, obj: Object | None) -> None:
        texts = services.cluster_ips(obj) if obj is not None else ()
        self._addresses.told(key, [number for text in texts if (number := addresses.number_of(text)) is not None])
        self._ports.told(key, services.node_ports(obj) if obj is not None else ())

    def _address_told(self, key: str, obj: Object | None) -> None:
        number = addresses.number_of(key.removeprefix(IPADDRESSES.key()))
        if number is not None:
            self._spoken_for.pop(number, None)
            if obj is not None and not addresses.is_managed(obj):
                self._spoken_for[number] = None


class _Asking:
    """One write that asks, and what the object that it changes has already."""

    def __init__(self, write: Write, key: str, gift: _Gift):
        self.write, self.key, self.gift = write, key, gift

    def lacks(self, taken: _Taken, number: int) -> bool:
        """Whether it is somebody else's."""
        return taken.by_other(number, self.write, self.key)

    def hold(self, taken: _Taken, number: int) -> None:
        taken.hold(number, self.write)
        self.gift.held.append((taken, number))
