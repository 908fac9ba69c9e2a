"""Which pod has which address: never two pods the same one, and a pet gets its old one back when it is free.

Pure: a table from pod (`namespace/name`) to its last address, who holds it now, and when it was given back. A new pod
takes an address that nobody ever had; when there is none, the one that has been free for longest. network.py keeps the
table in a small file; the sandboxes' own records decide, at a start, which addresses are held.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class NoAddress(Exception):
    """Every address of the pod network is held."""


@dataclass(slots=True)
class Addresses:
    network: str
    last: dict[str, str] = field(default_factory=dict[str, str])  # pod -> address, the longest unused first
    held: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])  # address -> (pod uid, pod)

    def allocate(self, pod: str, uid: str) -> str:
        """The address of this pod: the same for the same uid, the old one for the same name. Raises NoAddress."""
        for address, (holder, _) in self.held.items():
            if holder == uid:
                return address
        address = self.last.get(pod)
        if address is None or address in self.held or not self._is_ours(address):
            address = self._free()
        for other in [name for name, old in self.last.items() if old == address and name != pod]:
            del self.last[other]
        self.last.pop(pod, None)
        self.last[pod] = address
        self.held[address] = (uid, pod)
        return address

    def hold(self, pod: str, uid: str, address: str) -> None:
        """Say that a sandbox found at the start has this address."""
        self.last.pop(pod, None)
        self.last[pod] = address
        self.held[address] = (uid, pod)

    def release(self, uid: str) -> None:
        for address in [address for address, (holder, _) in self.held.items() if holder == uid]:
            _, pod = self.held.pop(address)
            if pod in self.last:
                self.last[pod] = self.last.pop(pod)  # To the end: free for the shortest time.

    def _is_ours(self, address: str) -> bool:
        return ipaddress.ip_address(address) in ipaddress.ip_network(self.network)

    def _free(self) -> str:
        network = ipaddress.ip_network(self.network)
        remembered = dict.fromkeys(self.last.values())
        first = int(network.network_address) + 2  # .1 is the bridge.
        last = int(network.broadcast_address) - 1
        for number in range(first, last + 1):
            address = str(ipaddress.ip_address(number))
            if address not in remembered and address not in self.held:
                return address
        for address in remembered:
            if address not in self.held and self._is_ours(address):
                return address
        raise NoAddress(f"all {last - first + 1} addresses of the pod network {self.network} are taken; delete pods")

    def record(self) -> dict[str, Any]:
        return {"network": self.network, "last": self.last}


def restore(network: str, record: Mapping[str, Any] | None) -> Addresses:
    """The table as it was written, with no address held; empty when the pod network is another now."""
    if not record or record.get("network") != network:
        return Addresses(network)
    return Addresses(network, dict(record.get("last") or {}))
