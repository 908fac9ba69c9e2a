"""Which names and networks an instance uses on this machine: chosen once, free here, remembered in the state directory.

`choose_networks(state)` gives the instance's Plan: a ClusterPlan (the network of services, with the addresses of the
API and of DNS) and a NodePlan for each of its nodes (network of pods, names of bridge, veths, cgroup parent and
nftables tables, directory). The first node, which every instance has, is named after the instance alone and lives in
the state directory itself; others have their number in their names, and a directory below nodes/.

Several instances run side by side: a choice is made under a machine-wide lock, looks at all addresses and routes, and
is reserved in /run/petset, node by node, until `teardown`, so instances that start at the same moment differ too. The
search starts at a place that depends on the directory's path, which keeps choices stable and apart.
Invariant: a remembered network is kept as long as nothing else on the machine uses it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from petset.base import state

OWNER = "PETSET_OWNER"  # In a user namespace, where everybody looks like root: who it is outside (rootless.py).
# Who is not root has networks of his own, or simulates a node; they are chosen and reserved all the same. Whether the
# directory can be written is seen when it is: `petset serve`, which reserves nothing, may have none.
_USER = os.environ.get(OWNER) or str(os.geteuid())
RESERVATIONS = (
    Path("/run/petset")
    if _USER == "0"
    else Path(os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp", f"petset-{_USER}")
)
BLOCKS = ("10.128.0.0/9", "10.0.0.0/9", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
BRIDGE_PREFIX = "petset"  # Of every instance's; nothing else on the machine is named so.
BLOCK_PREFIX = 22  # Of a node's pods (1,021 of them), and of the services.
NODES_MAX = 100  # Of one instance: an interface's name has 15 characters, and two of them are left.
SIMULATED_NODES_MAX = 1000
NAME_CHARACTERS_MAX = 60  # Of a node's name, before its number: a label has 63.

Block = ipaddress.IPv4Network


class NetworkError(Exception):
    """The node's network cannot be made: the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What all nodes of an instance share."""

    instance: str  # Six hexadecimal digits, of the state directory's path.
    service_cidr: str

    @property
    def kubernetes_address(self) -> str:
        return _address(self.service_cidr, 1)

    @property
    def dns_address(self) -> str:
        return _address(self.service_cidr, 10)

    @property
    def services_table(self) -> str:
        """The nftables table of Services' addresses."""
        return f"petset_{self.instance}_services"

    @property
    def policies_table(self) -> str:
        """That of NetworkPolicies."""
        return f"petset_{self.instance}_policies"

    @property
    def bridges(self) -> str:
        """What the names of all its nodes' bridges begin with, and of no other instance's."""
        return f"{BRIDGE_PREFIX}{self.instance}"

    @property
    def veths(self) -> str:
        """The same of the machine's ends of its pods' veth pairs."""
        return f"ps{self.instance}"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """The names and networks of one node."""

    cluster: ClusterPlan
    pod_cidr: str
    number: int = 0

    def _named(self, before: str = "", between: str = "", after: str = "") -> str:
        return before + self.cluster.instance + (f"{between}{self.number}" if self.number else "") + after

    @property
    def bridge(self) -> str:
        return self._named(BRIDGE_PREFIX, "-")

    @property
    def veth_prefix(self) -> str:
        return self._named("ps", "", "-")

    @property
    def table(self) -> str:
        """The nftables table."""
        return self._named("petset_", "_")

    @property
    def cgroup(self) -> str:
        return self._named("/petset_", "_")

    @property
    def reservation(self) -> Path:
        return RESERVATIONS / self._named("", "-", ".json")

    @property
    def gateway(self) -> str:
        """The bridge's own address, and the node's."""
        return _address(self.pod_cidr, 1)

    @property
    def prefix_length(self) -> int:
        return ipaddress.ip_network(self.pod_cidr).prefixlen

    def name(self, first: str) -> str:
        """The node's, where the instance's first node is named `first`."""
        return f"{first[:NAME_CHARACTERS_MAX]}-{self.number}" if self.number else first

    def directory(self, state: Path) -> Path:
        """Where the node keeps its pods, in the instance's state directory."""
        return state / "nodes" / str(self.number) if self.number else state


def simulated(cluster: ClusterPlan, number: int) -> NodePlan:
    """The network of a node, from 1 on, that is in the imagination only: others may have the same."""
    last = ipaddress.IPv4Network(BLOCKS[-1]).broadcast_address
    size = 1 << (32 - BLOCK_PREFIX)
    return NodePlan(cluster, f"{last + 1 - number * size}/{BLOCK_PREFIX}", NODES_MAX + number)


@dataclass(frozen=True, slots=True)
class Plan:
    """The names and networks of one instance; nodes[n] is the one with the number n."""

    cluster: ClusterPlan
    nodes: tuple[NodePlan, ...]

    def parted(self, nodes: int) -> tuple[Plan, tuple[NodePlan, ...]]:
        """The plan of so many nodes, and those that it has no more."""
        return replace(self, nodes=self.nodes[:nodes]), self.nodes[nodes:]


def _address(network: str, number: int) -> str:
    return str(ipaddress.ip_network(network)[number])


def plan_of(record: Mapping[str, Any] | None) -> Plan | None:
    """The plan that a network.json tells; None where it tells none. It has named one node's network only, once."""
    if not record:
        return None
    try:
        cluster = ClusterPlan(record["instance"], record["service_cidr"])
        pod_cidrs = record.get("pod_cidrs") or [record["pod_cidr"]]
        for network in (*pod_cidrs, cluster.service_cidr):
            ipaddress.IPv4Network(network)
    except (KeyError, TypeError, ValueError):
        return None
    return _plan(cluster, pod_cidrs)


def _plan(cluster: ClusterPlan, pod_cidrs: Iterable[str]) -> Plan:
    return Plan(cluster, tuple(NodePlan(cluster, network, number) for number, network in enumerate(pod_cidrs)))


def choose_networks(state: Path, nodes: int = 1) -> Plan:
    """The instance's plan, with so many nodes or as many as it had, whichever are more; the same at every call while
    it is free here. Nodes that are to go stay in it until `remember` is told that nothing of them is left.

    Raises NetworkError. Blocks briefly.
    """
    if nodes > NODES_MAX:
        raise NetworkError(f"cannot have {nodes} nodes: an instance has {NODES_MAX} at most")
    path = Path(os.path.realpath(state))
    instance = hashlib.sha256(os.fsencode(path)).hexdigest()[:6]
    had = plan_of(_read(path / "network.json"))
    if had is not None and had.cluster.instance != instance:
        had = None  # Of the directory that this one was copied from.
    kept = [had.cluster.service_cidr, *(node.pod_cidr for node in had.nodes)] if had else []
    kept += [""] * (1 + nodes - len(kept))
    with machine_lock():
        own = ClusterPlan(instance, "")
        routes = Path("/proc/net/route").read_text()
        taken = used_networks(routes, but_for=(own.bridges, own.veths)) + _reserved(but_for=instance)
        blocks = [ipaddress.IPv4Network(text) if text else None for text in kept]
        blocks = [block if block and not any(block.overlaps(other) for other in taken) else None for block in blocks]
        taken += [block for block in blocks if block]
        chosen: list[str] = []
        for block in blocks:
            found = block or free_block(taken, int(instance, 16))
            taken.append(found)
            chosen.append(str(found))
        service_cidr, *pod_cidrs = chosen
        plan = _plan(ClusterPlan(instance, service_cidr), pod_cidrs)
        for node in plan.nodes:
            record = {"instance": instance, "pod_cidr": node.pod_cidr, "service_cidr": service_cidr}
            _write(node.reservation, {**record, "state": str(path)})
    remember(path, plan)
    return plan


def remember(state: Path, plan: Plan) -> None:
    """Keep the plan in the state directory."""
    shared, pod_cidrs = plan.cluster, [node.pod_cidr for node in plan.nodes]
    record = {"instance": shared.instance, "service_cidr": shared.service_cidr, "pod_cidrs": pod_cidrs}
    _write(state / "network.json", record)


def instances() -> list[str]:
    """The state directories of the instances that have a place on this machine."""
    found = (str((_read(path) or {}).get("state", "")) for path in sorted(RESERVATIONS.glob("*.json")))
    return list(dict.fromkeys(one for one in found if one))


def _reserved(but_for: str) -> list[Block]:
    """The networks of all other instances, up or not yet; reservations whose state directory is gone end here."""
    found: list[Block] = []
    for path in sorted(RESERVATIONS.glob("*.json")):
        if path.stem.partition("-")[0] == but_for:
            continue
        plan, state = plan_of(record := _read(path)), (record or {}).get("state", "")
        if plan is None or not Path(state).is_dir():
            path.unlink(missing_ok=True)
        else:
            networks = (plan.cluster.service_cidr, *(node.pod_cidr for node in plan.nodes))
            found += map(ipaddress.IPv4Network, networks)
    return found


def forget_reservation(node: NodePlan) -> bool:
    """Give the node's place on the machine back; whether no other is left, of any instance. Call it under the lock."""
    node.reservation.unlink(missing_ok=True)
    return not any(RESERVATIONS.glob("*.json"))


def is_reserved(cluster: ClusterPlan) -> bool:
    """Whether any node of the instance has a place on the machine. Call it under the lock."""
    return any(path.stem.partition("-")[0] == cluster.instance for path in RESERVATIONS.glob("*.json"))


def forget(nodes: Iterable[NodePlan]) -> None:
    """Give their places on the machine back, where nothing was ever made of them."""
    with machine_lock():
        for node in nodes:
            forget_reservation(node)


@contextlib.contextmanager
def machine_lock() -> Generator[None]:
    """One instance at a time changes what instances share. Waits for milliseconds at most."""
    RESERVATIONS.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(RESERVATIONS / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def used_networks(route_table: str, but_for: tuple[str, ...] = ()) -> list[Block]:
    """Every network in a /proc/net/route text that is narrower than everything, but for interfaces that begin so."""
    found: list[Block] = []
    for line in route_table.splitlines()[1:]:
        columns = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(columns[i]), "little") for i in (1, 7))
        if mask and not columns[0].startswith(but_for):
            found.append(ipaddress.IPv4Network((destination, mask.bit_count())))
    return found


def free_block(taken: Sequence[Block], start: int) -> Block:
    """A block that overlaps nothing taken; if all do, one that only wide routes (a VPN's 10.0.0.0/8) cover."""
    for widest in (0, 16):
        avoided = [network for network in taken if network.prefixlen >= widest]
        for text in BLOCKS:
            region = ipaddress.IPv4Network(text)
            count = 1 << (BLOCK_PREFIX - region.prefixlen)
            for step in range(count):
                number = (start + step) % count
                block = ipaddress.IPv4Network(
                    (int(region.network_address) + (number << (32 - BLOCK_PREFIX)), BLOCK_PREFIX)
                )
                if not any(block.overlaps(network) for network in avoided):
                    return block
    raise NetworkError("cannot choose a pod network: every private network is in use here; free a /22 of 10.0.0.0/8")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] | None = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _write(path: Path, record: dict[str, Any]) -> None:
    state.replace_whole(path, json.dumps(record, indent=1).encode() + b"\n")
