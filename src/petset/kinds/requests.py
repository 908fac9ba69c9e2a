"""What a pod asks of its node: amounts of resources, and ports of the node's own addresses.

The scheduler asks before it binds, the node once more before it starts: both by these functions, so a pod that one
takes the other takes too. Amounts are whole numbers: CPU in thousandths, everything else in units or bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from petset.kinds.pod_spec import pod_containers
from petset.objects import meta, quantity
from petset.objects.meta import Object

Amounts = dict[str, int]
PODS_PER_NODE_DEFAULT = 110
IN_THOUSANDTHS = ("cpu", "requests.cpu", "limits.cpu")
OF_BYTES = ("memory", "storage", "hugepages-")  # In the name of a resource.
HUGE_PAGES = "hugepages-"
POD_LEVEL = ("cpu", "memory")  # And huge pages: what a pod may ask for as a whole.
CRITICAL_PRIORITY = 2_000_000_000  # From here on a pod is critical to its node or its cluster.
ANY_ADDRESS = "0.0.0.0"
PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"


def of(pod: Object) -> Amounts:
    """What a pod asks for: the containers' requests together, or the pod's own; and the overhead."""
    result = requested(pod["spec"])
    _add(result, amounts(meta.part(pod["spec"], "overhead")))
    return result


def held(pod: Object) -> Amounts:
    """What a pod holds on its node: while its node has not agreed to a resize, the larger of what it asks for and has;
    where the node never will, what it has."""
    reason = _resize_reason(pod)
    if not reason:
        return of(pod)
    spec, statuses = pod["spec"], meta.part(pod, "status")
    for field, told in (("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")):
        had = {one.get("name"): meta.part(one, "allocatedResources") for one in meta.parts(statuses, told)}
        spec = {**spec, field: [_holding(one, had.get(one["name"]), reason) for one in meta.parts(spec, field)]}
    return of({**pod, "spec": spec})


def _resize_reason(pod: Object) -> str:
    for condition in meta.parts(pod, "status", "conditions"):
        if condition.get("type") in ("PodResizePending", "PodResizeInProgress"):
            return condition.get("reason") or "InProgress"
    return ""


def _holding(container: Object, had: Mapping[str, str] | None, reason: str) -> Object:
    if not had:
        return container
    asked = dict(_requests(container))
    for name, amount_ in had.items():
        asked[name] = amount_ if reason == "Infeasible" else _larger(name, amount_, asked.get(name, "0"))
    return {**container, "resources": {**meta.part(container, "resources"), "requests": asked}}


def _larger(name: str, one: str, other: str) -> str:
    return one if amount(name, one) >= amount(name, other) else other


def limits_of(pod: Object) -> Amounts:
    """What a pod may take; its overhead counts where there is a limit at all."""
    result = limited(pod["spec"])
    overhead = amounts(meta.part(pod["spec"], "overhead"))
    _add(result, {name: amount for name, amount in overhead.items() if result.get(name)})
    return result


def requested(spec: Object) -> Amounts:
    """The containers' requests together, or those of the largest init container, or what the pod says as a whole."""
    result = _together(spec, _requests)
    limits, requests = _of_the_pod(spec, "limits"), _of_the_pod(spec, "requests")
    return {**limits, **result, **requests} if limits or requests else result


def limited(spec: Object) -> Amounts:
    result = _together(spec, _limits)
    of_the_pod = _of_the_pod(spec, "limits")
    return {**result, **of_the_pod} if of_the_pod else result


def _of_the_pod(spec: Object, field: str) -> Amounts:
    """What spec.resources says of the resources that it may speak of."""
    given = meta.part(spec, "resources", field)
    return amounts({name: given[name] for name in given if name in POD_LEVEL or name.startswith(HUGE_PAGES)})


def _together(spec: Object, of_container: Callable[[Object], Mapping[str, str]]) -> Amounts:
    together: Amounts = {}
    for container in meta.parts(spec, "containers"):
        _add(together, amounts(of_container(container)))
    kept: Amounts = {}  # Init containers that stay (restartPolicy Always) run beside all that follow.
    largest: Amounts = {}
    for container in meta.parts(spec, "initContainers"):
        asked = amounts(of_container(container))
        if pod_containers.is_sidecar(container):
            _add(kept, asked)
            asked = {}
        for name, amount in {**dict.fromkeys(kept, 0), **asked}.items():
            largest[name] = max(largest.get(name, 0), amount + kept.get(name, 0))
    _add(together, kept)
    return {name: max(together.get(name, 0), largest.get(name, 0)) for name in (*together, *largest)}


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _requests(container: Object) -> Mapping[str, str]:
    limits = meta.part(container, "resources", "limits")
    return {**limits, **meta.part(container, "resources", "requests")}


def _limits(container: Object) -> Mapping[str, str]:
    return meta.part(container, "resources", "limits")


def amounts(texts: Mapping[str, str]) -> Amounts:
    return {name: amount(name, str(text)) for name, text in texts.items()}


def amount(name: str, text: str) -> int:
    return quantity.to_milli(text) if name in IN_THOUSANDTHS else quantity.to_bytes(text)


def text(name: str, amount: int) -> str:
    """As a quantity; of bytes in the powers of two where that is shorter."""
    if name in IN_THOUSANDTHS:
        return str(quantity.Quantity(Fraction(amount, 1000), "decimal"))
    is_binary = amount % 1024 == 0 and any(word in name for word in OF_BYTES)
    return str(quantity.Quantity(Fraction(amount), "binary" if is_binary else "decimal"))


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
    found: list[HostPort] = []
    for container in (*meta.parts(spec, "containers"), *pod_containers.sidecars(spec)):
        for port in meta.parts(container, "ports"):
            number = port.get("hostPort") or (port["containerPort"] if spec.get("hostNetwork") else 0)
            if number:
                address = port.get("hostIP") or ANY_ADDRESS
                found.append(HostPort(port.get("protocol") or "TCP", address, number, port["containerPort"]))
    return found
