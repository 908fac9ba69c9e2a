"""What a pod asks of its node: amounts of resources, and ports of the node's own addresses.

The scheduler asks before it binds, the node once more before it starts: both by these functions, so a pod that one
takes the other takes too. Amounts are whole numbers: CPU in thousandths, everything else in units or bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from petset.objects import meta, quantity
from petset.objects.meta import Object

Amounts = dict[str, int]
PODS_PER_NODE_DEFAULT = 110
CRITICAL_PRIORITY = 2_000_000_000  # From here on a pod is critical to its node or its cluster.
ANY_ADDRESS = "0.0.0.0"
PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"


def of(pod: Object) -> Amounts:
    """The containers' requests together, or those of the largest init container; and the overhead."""
    spec = pod["spec"]
    together: Amounts = {}
    for container in meta.parts(spec, "containers"):
        _add(together, _of_container(container))
    kept: Amounts = {}  # Init containers that stay (restartPolicy Always) run beside all that follow.
    largest: Amounts = {}
    for container in meta.parts(spec, "initContainers"):
        asked = _of_container(container)
        if container.get("restartPolicy") == "Always":
            _add(kept, asked)
            asked = {}
        for name, amount in {**dict.fromkeys(kept, 0), **asked}.items():
            largest[name] = max(largest.get(name, 0), amount + kept.get(name, 0))
    _add(together, kept)
    result = {name: max(together.get(name, 0), largest.get(name, 0)) for name in (*together, *largest)}
    _add(result, amounts(meta.part(spec, "overhead")))
    return result


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _of_container(container: Object) -> Amounts:
    limits = meta.part(container, "resources", "limits")
    return amounts({**limits, **meta.part(container, "resources", "requests")})


def amounts(texts: Mapping[str, str]) -> Amounts:
    return {
        name: quantity.to_milli(str(text)) if name == "cpu" else quantity.to_bytes(str(text))
        for name, text in texts.items()
    }


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node that leads to a port of the pod."""

    protocol: str  # TCP, UDP, SCTP
    address: str  # Of the node; ANY_ADDRESS for all.
    number: int
    container_port: int

    def collides(self, other: HostPort) -> bool:
        same_address = self.address == other.address or ANY_ADDRESS in (self.address, other.address)
        return same_address and (self.protocol, self.number) == (other.protocol, other.number)


def host_ports(pod: Object) -> list[HostPort]:
    """The ports it takes on its node, its sidecars' too; on the host's network every port of a container is one."""
    spec = pod["spec"]
    sidecars = [one for one in meta.parts(spec, "initContainers") if one.get("restartPolicy") == "Always"]
    found: list[HostPort] = []
    for container in (*meta.parts(spec, "containers"), *sidecars):
        for port in meta.parts(container, "ports"):
            number = port.get("hostPort") or (port["containerPort"] if spec.get("hostNetwork") else 0)
            if number:
                address = port.get("hostIP") or ANY_ADDRESS
                found.append(HostPort(port.get("protocol") or "TCP", address, number, port["containerPort"]))
    return found
