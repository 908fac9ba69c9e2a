"""Addresses of Services: from Services and EndpointSlices to nftables.

`part` is pure: one Service and its slices, and out comes what it has in the instance's table of Services. Two maps lead
to a chain for each port: `addresses` (cluster IP, external IPs, a load balancer's) and `ports` (of nodes). A chain
chooses an endpoint by chance and translates the destination; with sessionAffinity each endpoint has a chain of its own
and a set of the clients that were led there, which forgets them after the timeout. The choice is made once a
connection; established ones go on whatever changes here. Who has no endpoints stands in `refused`, and is told so.

Endpoints are chosen as upstream does: those that are ready; if none is, those that end but still serve. A policy Local
chooses among those of the node that asks. All nodes of an instance are on this machine: who comes from outside may be
led to any of them. No source is translated but where an answer would not come back: a pod that reaches itself, the
machine's loopback, endpoints outside.
Follows: https://kubernetes.io/docs/reference/networking/virtual-ips/, KEP-1669 (terminating endpoints), KEP-3866.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from petset.base.networks import ClusterPlan, NodePlan
from petset.kinds import endpoint_slice
from petset.kinds import service as service_kind
from petset.node.network import blocks, ruleset
from petset.node.network.ruleset import Element, Part
from petset.objects import meta
from petset.objects.meta import Object

ADDRESSES, PORTS, HAIRPINS, OUTSIDE = "addresses", "ports", "hairpins", "outside"
REFUSED, REFUSED_PORTS = "refused", "refused_ports"
PROTOCOLS = ("TCP", "UDP", "SCTP")
# Endpoints of which rules choose; of more, a map. A rule's own map is a set of the table, and nft reads all there are
# before it changes any: with one a Service that is most of a change's time.
ONE_BY_ONE_MAX = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rules are in force."""

    cluster: ClusterPlan
    nodes: Mapping[str, NodePlan]  # By name.
    node_port_addresses: tuple[str, ...] = ()  # Networks of those of this machine's addresses that have node ports.
    zones: Mapping[str, str] = field(default_factory=dict[str, str])  # Of those nodes that are in one, by name.

    @property
    def bound(self) -> Sequence[str]:
        """The cluster IPs at which somebody of this process listens."""
        return self.cluster.kubernetes_address, self.cluster.dns_address


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint at one port."""

    address: str
    port: int
    node: str


def part(service: Object | None, slices: Iterable[Object], place: Place) -> Part:
    """What a Service has in the table; NOTHING where it has no address."""
    if service is None or not service_kind.cluster_ips(service) or not service_kind.has_address(service):
        return ruleset.NOTHING
    if service_kind.cluster_ips(service)[0] in place.bound:
        return ruleset.NOTHING
    chains: dict[str, tuple[str, ...]] = {}
    sets: dict[str, str] = {}
    elements: dict[Element, str] = {}
    slices = [one for one in slices if one.get("addressType") == "IPv4"]
    for port in meta.parts(service, "spec", "ports"):
        if (one := _port(service, port, slices, place)) is not None:
            chains.update(one.chains)
            sets.update(one.sets)
            elements.update(one.elements)
    return Part(sets, chains, elements)


def targets(slices: Iterable[Object], port: Object) -> list[Target]:
    """Who answers at a port of a Service: ready endpoints, else those that end and still serve. In a fixed order."""
    ready: dict[Target, None] = {}
    serving: dict[Target, None] = {}
    for one in slices:
        for found in meta.parts(one, "ports"):
            if (found.get("name") or "") != (port.get("name") or "") or not found.get("port"):
                continue
            if (found.get("protocol") or "TCP") != (port.get("protocol") or "TCP"):
                continue
            for endpoint in meta.parts(one, "endpoints"):
                conditions, addresses = meta.part(endpoint, "conditions"), meta.texts(endpoint, "addresses")
                target = Target(addresses[0], found["port"], endpoint.get("nodeName") or "")
                if endpoint_slice.is_ready(endpoint):
                    ready[target] = None
                elif conditions.get("serving") and conditions.get("terminating"):
                    serving[target] = None
    return sorted(ready or serving, key=lambda one: (ipaddress.ip_address(one.address), one.port))


def ready_on(slices: Iterable[Object]) -> dict[str, int]:
    """How many ready endpoints each node has."""
    ready = dict.fromkeys(
        (endpoint.get("nodeName") or "", address)
        for one in slices
        for endpoint in meta.parts(one, "endpoints")
        if endpoint_slice.is_ready(endpoint)
        for address in meta.texts(endpoint, "addresses")[:1]
    )
    return Counter(node for node, _ in ready)


def _port(service: Object, port: Object, slices: Sequence[Object], place: Place) -> Part | None:
    protocol, number = port.get("protocol") or "TCP", port["port"]
    if protocol not in PROTOCOLS:
        return None
    spec, layer4 = meta.part(service, "spec"), protocol.lower()
    mark = ruleset.mark(meta.key(service), protocol, str(number))
    choice = _Choice(service, layer4, mark)
    all_of_them = targets(slices, port)
    is_local = "Local" in (spec.get("internalTrafficPolicy"), spec.get("externalTrafficPolicy"))
    local = [_local(slices, port, name) for name in place.nodes] if is_local else []
    within = f"s_{mark}"
    if spec.get("internalTrafficPolicy") == "Local":
        rules: list[str] = []
        for name, near in zip(place.nodes, local, strict=True):
            cidr = place.nodes[name].pod_cidr
            chain = choice.chain(f"{within}_{place.nodes[name].number}", near) if near else ""
            rules.append(f"ip saddr {cidr} {f'goto {chain}' if chain else 'drop'}")
        here = _unique(local)
        inside = choice.chain(within, here, first=rules)
        internal = bool(here)
    else:
        inside = choice.chain(within, all_of_them, first=_nearer(choice, within, slices, port, place))
        internal = bool(all_of_them)
    outside, external = inside, bool(all_of_them)
    if is_local:
        chosen = _unique(local) if spec.get("externalTrafficPolicy") == "Local" else all_of_them
        outside, external = choice.chain(f"x_{mark}", chosen), bool(chosen)
    elements: dict[Element, str] = {}

    def lead(addresses: Iterable[str], chain: str, is_served: bool) -> None:
        for address in addresses:
            key = f"{address} . {layer4} . {number}"
            if is_served:
                elements[ADDRESSES, key] = f"goto {chain}"
            else:
                elements[REFUSED, key] = ""

    lead(_of_this_family(service_kind.cluster_ips(service)), inside, internal)
    lead(_external_ips(service, place), outside, external)
    if balanced := _balanced(service, place):
        allowed = meta.texts(spec, "loadBalancerSourceRanges")
        if allowed and external:
            outside_of_it = f"f_{mark}"
            found = blocks.ranges({"cidr": one.strip()} for one in allowed)
            let_in = (f"ip saddr {{ {', '.join(found)} }} goto {outside}",) if found else ()
            choice.chains[outside_of_it] = (*let_in, "drop")
            lead(balanced, outside_of_it, external)
        else:
            lead(balanced, outside, external)
    if service_kind.has_node_ports(service) and (node_port := port.get("nodePort")):
        key = f"{layer4} . {node_port}"
        if external:
            elements[PORTS, key] = f"goto {outside}"
        else:
            elements[REFUSED_PORTS, key] = ""
    for target in all_of_them:
        if _node_of(target.address, place) is not None:
            elements[HAIRPINS, f"{target.address} . {target.address}"] = ""
        else:
            elements[OUTSIDE, f"{target.address} . {layer4} . {target.port}"] = ""
    return Part(choice.sets, choice.chains, elements)


def _nearer(choice: _Choice, within: str, slices: Sequence[Object], port: Object, place: Place) -> Sequence[str]:
    """Rules for the pods of each node for which endpoints are hinted to be, its own before those of its zone; hints of
    a sort count if every ready endpoint has some of it."""
    ready = [one for found in slices for one in meta.parts(found, "endpoints") if endpoint_slice.is_ready(one)]
    counting = [sort for sort in ("forNodes", "forZones") if all(_hinted(one, sort) for one in ready)]
    rules: list[str] = []
    for name, node in place.nodes.items():
        places = {"forNodes": name, "forZones": place.zones.get(name, "")}
        for sort in counting:
            near = _among(slices, port, partial(_is_hinted, sort=sort, name=places[sort]))
            if near:
                rules.append(f"ip saddr {node.pod_cidr} goto {choice.chain(f'{within}_{node.number}', near)}")
                break
    return rules


def _is_hinted(endpoint: Object, sort: str, name: str) -> bool:
    return endpoint_slice.is_ready(endpoint) and name in _hinted(endpoint, sort)


def _hinted(endpoint: Object, sort: str) -> list[str]:
    """The nodes, or zones, that an endpoint is rather for than for others."""
    return [hint["name"] for hint in meta.parts(endpoint, "hints", sort)]


class _Choice:
    """The chains of one port: each leads to one of some endpoints."""

    def __init__(self, service: Object, layer4: str, mark: str):
        spec = meta.part(service, "spec")
        self._seconds = 0
        if spec.get("sessionAffinity") == "ClientIP":
            config = meta.part(spec, "sessionAffinityConfig", "clientIP")
            self._seconds = config.get("timeoutSeconds") or service_kind.SESSION_AFFINITY_SECONDS
        self._layer4, self._mark = layer4, mark
        self.sets: dict[str, str] = {}
        self.chains: dict[str, tuple[str, ...]] = {}

    def chain(self, name: str, among: Sequence[Target], first: Sequence[str] = ()) -> str:
        """Made under that name; its name."""
        rules = list(first)
        if among and self._seconds:
            steps = [self._step(target) for target in among]
            rules += [f"ip saddr @{_clients_of(step)} goto {step}" for step in steps]
            if len(among) <= ONE_BY_ONE_MAX:
                rules += _one_by_one([f"goto {step}" for step in steps])
            else:
                chances = ", ".join(f"{index} : goto {step}" for index, step in enumerate(steps))
                rules.append(f"numgen random mod {len(among)} vmap {{ {chances} }}")
        elif among and len(among) <= ONE_BY_ONE_MAX:
            steps = [f"dnat to {one.address}:{one.port}" for one in among]
            rules += [f"meta l4proto {self._layer4} {rule}" for rule in _one_by_one(steps)]
        elif among:
            chances = ", ".join(f"{index} : {one.address} . {one.port}" for index, one in enumerate(among))
            rules.append(f"meta l4proto {self._layer4} dnat ip to numgen random mod {len(among)} map {{ {chances} }}")
        if rules:
            self.chains[name] = tuple(rules)
        return name

    def _step(self, target: Target) -> str:
        """The chain of one endpoint, which remembers whom it led there."""
        # The timeout is a part of the name: a set cannot be told another.
        name = f"e_{ruleset.mark(self._mark, str(self._seconds), target.address, str(target.port))}"
        clients = _clients_of(name)
        self.sets[clients] = f"type ipv4_addr; flags dynamic,timeout; timeout {self._seconds}s;"
        self.chains[name] = (
            f"update @{clients} {{ ip saddr }}",
            f"meta l4proto {self._layer4} dnat to {target.address}:{target.port}",
        )
        return name


def _one_by_one(steps: Sequence[str]) -> list[str]:
    """Rules that take one of the steps, each as likely: the first by one chance in so many, then one of the others."""
    chances = range(len(steps), 1, -1)
    return [*(f"numgen random mod {chance} 0 {step}" for chance, step in zip(chances, steps)), steps[-1]]


def _clients_of(chain: str) -> str:
    return f"c{chain[1:]}"


def _local(slices: Iterable[Object], port: Object, node: str) -> list[Target]:
    """The same choice among the endpoints of one node alone."""
    return _among(slices, port, lambda one: one.get("nodeName") == node)


def _among(slices: Iterable[Object], port: Object, is_one: Callable[[Object], bool]) -> list[Target]:
    """The same choice among some of the endpoints."""
    return targets(({**one, "endpoints": [*filter(is_one, meta.parts(one, "endpoints"))]} for one in slices), port)


def _unique(lists: Iterable[Sequence[Target]]) -> list[Target]:
    return list(dict.fromkeys(one for found in lists for one in found))


def _of_this_family(addresses: Iterable[str]) -> list[str]:
    return [one for one in addresses if ":" not in one]


def _external_ips(service: Object, place: Place) -> list[str]:
    return _but_for_ours(meta.texts(service, "spec", "externalIPs"), place)


def _balanced(service: Object, place: Place) -> list[str]:
    """The addresses of a load balancer."""
    if meta.get(service, "spec", "type") != "LoadBalancer":
        return []
    ingress = meta.parts(service, "status", "loadBalancer", "ingress")
    return _but_for_ours([one.get("ip") or "" for one in ingress], place)


def _but_for_ours(given: Iterable[str], place: Place) -> list[str]:
    """Those of this family, without those at which the cluster itself is."""
    return [one for one in dict.fromkeys(given) if one and ":" not in one and one not in place.bound]


def _node_of(address: str, place: Place) -> NodePlan | None:
    parsed = ipaddress.ip_address(address)
    return next((one for one in place.nodes.values() if parsed in ipaddress.ip_network(one.pod_cidr)), None)


# ---- the table


def table(place: Place) -> ruleset.Table:
    return ruleset.Table(place.cluster.services_table, _base(place))


def _base(place: Place) -> str:
    """Hooks, sets and maps: what is there whoever has an address."""
    bound = f"{{ {', '.join(place.bound)} }}"
    at_nodes = f"fib daddr type local ip daddr != {bound}"
    if place.node_port_addresses:
        at_nodes += f" ip daddr {{ {', '.join(place.node_port_addresses)} }}"
    ways_back = [
        line
        for one in place.nodes.values()
        for line in (
            f"ip daddr {one.pod_cidr} ip saddr 127.0.0.0/8 snat to {one.gateway}",
            f"ip daddr {one.pod_cidr} ip saddr . ip daddr @{HAIRPINS} snat to {one.gateway}",
            # Pods that are on the bridge answer each other there: their answers come back by the gateway's address.
            f'oifname "{one.bridge}" ip saddr {one.pod_cidr} snat to {one.gateway}',
        )
    ]
    return "\n".join(
        (
            f"map {ADDRESSES} {{ type ipv4_addr . inet_proto . inet_service : verdict; }}",
            f"map {PORTS} {{ type inet_proto . inet_service : verdict; }}",
            f"set {REFUSED} {{ type ipv4_addr . inet_proto . inet_service; }}",
            f"set {REFUSED_PORTS} {{ type inet_proto . inet_service; }}",
            f"set {HAIRPINS} {{ type ipv4_addr . ipv4_addr; }}",
            f"set {OUTSIDE} {{ type ipv4_addr . inet_proto . inet_service; }}",
            "chain services {",
            f"ip daddr . meta l4proto . th dport vmap @{ADDRESSES}",
            f"{at_nodes} meta l4proto . th dport vmap @{PORTS}",
            "}",
            "chain from_elsewhere {",
            "type nat hook prerouting priority -100; policy accept;",
            "jump services",
            "}",
            "chain from_here {",
            "type nat hook output priority -100; policy accept;",
            "jump services",
            "}",
            "chain ways_back {",
            *ways_back,
            f"ip daddr . meta l4proto . th dport @{OUTSIDE} masquerade",
            "}",
            "chain way_back {",
            "type nat hook postrouting priority 99; policy accept;",
            "ct status dnat jump ways_back",
            "}",
            "chain no_one {",
            "meta l4proto tcp reject with tcp reset",
            "reject",
            "}",
            "chain refuse {",
            f"ip daddr . meta l4proto . th dport @{REFUSED} goto no_one",
            f"{at_nodes} meta l4proto . th dport @{REFUSED_PORTS} goto no_one",
            f"ip daddr {place.cluster.service_cidr} ip daddr != {bound} goto no_one",
            "}",
            *(
                line
                for hook in ("input", "forward", "output")
                for line in (
                    f"chain refuse_{hook} {{",
                    f"type filter hook {hook} priority -1; policy accept;",
                    "ct state new jump refuse",
                    "}",
                )
            ),
        )
    )


# ---- connections that lead to nobody


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """What the kernel remembers of a translated datagram: for whom it was sent, and who gets it."""

    address: str  # "" of a node's port.
    port: int
    target: str


def datagram_ways(service: Object | None, slices: Iterable[Object], place: Place) -> frozenset[Way]:
    """Those of UDP, which has no end: the next datagram of a client would go where the last one went."""
    if service is None or not any(port.get("protocol") == "UDP" for port in meta.parts(service, "spec", "ports")):
        return frozenset()
    slices = list(slices)
    addresses = [*_of_this_family(service_kind.cluster_ips(service)), *_external_ips(service, place)]
    addresses += _balanced(service, place)
    return frozenset(
        Way(address, number, target.address)
        for port in meta.parts(service, "spec", "ports")
        if port.get("protocol") == "UDP"
        for target in targets(slices, port)
        for address, number in (*((one, port["port"]) for one in addresses), ("", port.get("nodePort") or 0))
        if number
    )
