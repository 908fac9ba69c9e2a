"""NetworkPolicies: from policies, pods and namespaces to nftables.

A policy is a chain for each direction, with a rule (or two) for each of its rules and sets of the pods that those are
about; a pod that policies select has a chain for each direction, which asks theirs and drops what none allows. Two maps
lead to it by its address. `read` and `pod_part` are pure: the former depends on one policy, the latter on one pod, the
labels of namespaces and all policies, so that a pod that comes costs as much as there are policies, and no more.

Rules look at packets that the machine forwards, after Services' addresses are translated: at each side's own address.
What is established passes, so do a pod's packets to itself; what the machine itself sends (probes) or gets (the API and
DNS of the cluster are here) is not forwarded, and always allowed.
Follows: https://kubernetes.io/docs/concepts/services-networking/network-policies/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petset.base.networks import ClusterPlan
from petset.kinds import pod_phase
from petset.kinds.pod_spec import pod_containers
from petset.node.network import blocks, ruleset
from petset.node.network.ruleset import Element, Part
from petset.objects import meta, selectors
from petset.objects.meta import Object

INGRESS, EGRESS = "ingress", "egress"
DIRECTIONS = {"Ingress": INGRESS, "Egress": EGRESS}  # By policyTypes.
_PEERS = {INGRESS: "from", EGRESS: "to"}
_ADDRESS = {INGRESS: "ip saddr", EGRESS: "ip daddr"}  # The other side's.
_THEN = {INGRESS: "accept", EGRESS: "goto to_pods"}  # Whoever may send must be let in, too.


@dataclass(frozen=True, slots=True)
class Peer:
    """Pods that a rule is about."""

    namespaces: selectors.Selector | None  # None: the policy's own.
    pods: selectors.Selector


@dataclass(frozen=True, slots=True)
class Rule:
    members: str  # The set of the pods that it is about; "" where it names none.
    peers: tuple[Peer, ...]
    named: tuple[tuple[str, str, str], ...]  # (set, protocol, name) of its ports that have names.
    of_anybody: bool  # It is about everybody, or about networks: any pod may have its named ports.


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy, read."""

    namespace: str
    selected: selectors.Selector
    rules: Mapping[str, tuple[Rule, ...]]  # By direction; a direction that it does not isolate is not in it.
    chains: Mapping[str, str]  # The chain of a direction.
    part: Part


def read(policy: Object) -> Policy:
    """What a policy says, and what it has in the table."""
    spec, key = meta.part(policy, "spec"), meta.key(policy)
    chains: dict[str, tuple[str, ...]] = {}
    sets: dict[str, str] = {}
    rules: dict[str, tuple[Rule, ...]] = {}
    names: dict[str, str] = {}
    for kind in meta.texts(spec, "policyTypes"):
        direction = DIRECTIONS[kind]
        mark = ruleset.mark(key, direction)
        read_rules: list[Rule] = []
        lines: list[str] = []
        for index, given in enumerate(meta.parts(spec, direction)):
            one, texts = _rule(given, direction, f"{mark}_{index}")
            read_rules.append(one)
            lines += texts
            if one.members:
                sets[one.members] = "type ipv4_addr;"
            sets.update(dict.fromkeys((name for name, _, _ in one.named), "type ipv4_addr . inet_service;"))
        names[direction] = f"p_{mark}"
        chains[f"p_{mark}"] = tuple(lines)
        rules[direction] = tuple(read_rules)
    selected = selectors.from_object(spec.get("podSelector") or {})
    return Policy(meta.namespace(policy), selected, rules, names, Part(sets, chains, {}))


def _rule(given: Object, direction: str, mark: str) -> tuple[Rule, list[str]]:
    """One rule, and what it is in its policy's chain."""
    peers = meta.parts(given, _PEERS[direction])
    networks = [one["ipBlock"] for one in peers if one.get("ipBlock")]
    pods = tuple(
        Peer(
            selectors.from_object(one["namespaceSelector"]) if one.get("namespaceSelector") is not None else None,
            selectors.from_object(one.get("podSelector") or {}),  # All of them.
        )
        for one in peers
        if not one.get("ipBlock")
    )
    members, who = f"m_{mark}" if pods else "", list[str]()
    if pods:
        who.append(f"{_ADDRESS[direction]} @m_{mark} ")
    if found := blocks.ranges(networks):
        who.append(f"{_ADDRESS[direction]} {{ {', '.join(found)} }} ")
    if not peers:
        who.append("")
    which, named = _ports(meta.parts(given, "ports"), mark)
    lines = [f"{one}{port}{_THEN[direction]}" for one in who for port in which]
    return Rule(members, pods, named, bool(networks) or not peers), lines


def _ports(ports: Sequence[Object], mark: str) -> tuple[list[str], tuple[tuple[str, str, str], ...]]:
    """What a packet is asked for the ports' sake, one of these; and the sets of those that have names."""
    if not ports:
        return [""], ()
    lines: list[str] = []
    numbers: dict[str, list[tuple[int, int]]] = {}
    named: list[tuple[str, str, str]] = []
    for port in ports:
        protocol, number = port.get("protocol") or "TCP", port.get("port")
        if number is None:
            lines.append(f"meta l4proto {protocol.lower()} ")
        elif isinstance(number, str):
            name = f"n_{mark}_{len(named)}"
            named.append((name, protocol, number))
            lines.append(f"meta l4proto {protocol.lower()} ip daddr . th dport @{name} ")
        else:
            numbers.setdefault(protocol.lower(), []).append((number, port.get("endPort") or number))
    for layer4, given in numbers.items():
        texts = [f"{first}-{last}" if last > first else str(first) for first, last in blocks.joined(given)]
        lines.append(f"meta l4proto {layer4} th dport {{ {', '.join(texts)} }} ")
    return lines, tuple(named)


# ---- pods


def pod_part(pod: Object | None, namespaces: Mapping[str, Mapping[str, str]], policies: Mapping[str, Policy]) -> Part:
    """What a pod has in the table: who isolates it, and which rules are about it.

    `namespaces` are their labels by name, `policies` all by key."""
    address = meta.get(pod, "status", "podIP", default="") if pod is not None else ""
    if pod is None or not address or ":" in address or pod_phase.has_ended(pod) or meta.get(pod, "spec", "hostNetwork"):
        return ruleset.NOTHING
    labels, namespace = meta.labels(pod), meta.namespace(pod)
    around = namespaces.get(namespace, {})
    elements: dict[Element, str] = {}
    asked: dict[str, list[str]] = {}
    for policy in policies.values():
        is_selected = policy.namespace == namespace and policy.selected.matches(labels)
        for direction, rules in policy.rules.items():
            if is_selected:
                asked.setdefault(direction, []).append(policy.chains[direction])
            for rule in rules:
                is_meant = any(_means(peer, policy, namespace, around, labels) for peer in rule.peers)
                if is_meant:
                    elements[rule.members, address] = ""
                is_asked = is_selected if direction == INGRESS else is_meant or rule.of_anybody
                if rule.named and is_asked:
                    for name, protocol, port in rule.named:
                        for number in _numbers(pod, protocol, port):
                            elements[name, f"{address} . {number}"] = ""
    chains: dict[str, tuple[str, ...]] = {}
    for direction, names in asked.items():
        name = f"{direction[0]}_{ruleset.mark(meta.key(pod), meta.uid(pod))}"
        chains[name] = (f"{_ADDRESS[direction]} {address} accept", *(f"jump {one}" for one in names), "drop")
        elements[direction, address] = f"goto {name}"
    return Part({}, chains, elements)


def _means(peer: Peer, policy: Policy, namespace: str, around: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    is_there = policy.namespace == namespace if peer.namespaces is None else peer.namespaces.matches(around)
    return is_there and peer.pods.matches(labels)


def _numbers(pod: Object, protocol: str, name: str) -> list[int]:
    """The ports of that name that a pod's containers have; sidecars among them."""
    spec = meta.part(pod, "spec")
    return [
        port["containerPort"]
        for container in pod_containers.own(spec)
        for port in meta.parts(container, "ports")
        if port.get("name") == name and (port.get("protocol") or "TCP") == protocol
    ]


def what_counts(pod: Object | None) -> object:
    """What of a pod its part depends on: whatever else changes concerns nobody."""
    if pod is None:
        return None
    return meta.uid(pod), meta.get(pod, "status", "podIP"), pod_phase.has_ended(pod), meta.labels(pod)


# ---- the table


def table(plan: ClusterPlan) -> ruleset.Table:
    return ruleset.Table(plan.policies_table, _BASE)


_BASE = "\n".join(
    (
        f"map {INGRESS} {{ type ipv4_addr : verdict; }}",
        f"map {EGRESS} {{ type ipv4_addr : verdict; }}",
        "chain to_pods {",
        f"ip daddr vmap @{INGRESS}",
        "accept",
        "}",
        "chain forwarded {",
        "type filter hook forward priority 1; policy accept;",
        "ct state established,related accept",
        f"ip saddr vmap @{EGRESS}",
        "goto to_pods",
        "}",
    )
)
