"""Ports of this machine that lead to pods: a container's hostPort.

`ruleset` is pure: who has which port, and out comes one nftables table of the instance's own. `HostPorts` keeps who has
which, and puts the table in force as a whole at every change. Packets from elsewhere, from this machine (its
loopback address too) and from other pods are sent on to the pod; what comes from loopback, or from the pod itself, gets
the gateway as its source, so that the answer finds the way back.

A port is also bound here, at each of the machine's addresses, for as long as a pod has it, so that no program of the
machine takes it meanwhile, and a pod does not take one that a program has. Nodes of one instance have an address each,
which is their gateway's, and a pod of each may have the port there; at the machine's other addresses it leads to the
pod that had it first.

Invariants: without any such port there is no table; a killed petset leaves the table in force, and its pods reachable,
until the next start makes it anew.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petset.base.networks import NetworkError, NodePlan
from petset.kinds.requests import ANY_ADDRESS, HostPort
from petset.node.network import nftables

Published = Mapping[str, tuple[str, Sequence[HostPort]]]  # Address and ports of pods, by uid.

_SOCKET_KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}


Holder = tuple[str, int]  # An instance and the number of a node.
_HOLDERS: dict[tuple[str, str, int], Holder] = {}  # Address, protocol and number of the ports that are bound here.


@dataclass(frozen=True, slots=True)
class Local:
    """This machine's addresses, as a node sees them."""

    own: Sequence[str]  # But for those of Services,
    others: Sequence[str] = ()  # and for these: each is that of another node of the instance.


class HostPorts:
    """Blocking; used in the network's thread alone."""

    def __init__(self, plan: NodePlan):
        self._plan = plan
        self._published: dict[str, tuple[str, Sequence[HostPort]]] = {}
        self._held: dict[str, list[tuple[tuple[str, str, int], socket.socket]]] = {}
        self._local = Local(())

    def publish(self, uid: str, address: str, ports: Sequence[HostPort], local: Local) -> None:
        """Let the ports lead to a pod. Raises NetworkError, and none does."""
        if not ports or uid in self._published:
            return
        try:
            had = [self._hold(uid, port, local) for port in ports]
            self._put_in_force({**self._published, uid: (address, had)}, local)
        except NetworkError:
            self._let_go(uid)
            raise

    def restore(self, found: Published, local: Local) -> None:
        """The ports of pods that run already: they have them, whoever else has come meanwhile. Raises NetworkError."""
        published: dict[str, tuple[str, Sequence[HostPort]]] = {}
        for uid, (address, ports) in found.items():
            if ports:
                published[uid] = address, [self._held_again(uid, port, local) for port in ports]
        if published or nftables.listed("list", "table", "ip", table(self._plan)):
            self._put_in_force(published, local)

    def withdraw(self, uid: str) -> None:
        self._let_go(uid)
        if uid in self._published:
            self._put_in_force({key: value for key, value in self._published.items() if key != uid}, self._local)

    def close(self) -> None:
        """Let go of the ports; the table stays in force."""
        for uid in list(self._held):
            self._let_go(uid)

    def _held_again(self, uid: str, port: HostPort, local: Local) -> HostPort:
        try:
            return self._hold(uid, port, local)
        except NetworkError:
            return port

    def _hold(self, uid: str, port: HostPort, local: Local) -> HostPort:
        """Take the port, though no packet comes to its sockets; as the pod has it. Raises NetworkError."""
        what = f"cannot take port {port.number}/{port.protocol} of this machine"
        _check_address(port, local, what)
        if port.protocol not in _SOCKET_KINDS:
            return port
        gateway, is_everywhere = self._plan.gateway, port.address == ANY_ADDRESS
        asked = local.own if is_everywhere else (port.address,)
        there = [self._bind(uid, address, port, what) for address in asked if address != gateway]
        if gateway in asked:
            there.append(self._bind(uid, gateway, port, what))
        if all(there):
            return port
        if not (is_everywhere and there[-1] and gateway in asked):
            raise NetworkError(f"{what}: a pod of another node has it; choose another hostPort")
        return HostPort(port.protocol, gateway, port.number, port.container_port)

    def _bind(self, uid: str, address: str, port: HostPort, what: str) -> bool:
        """False: another node of this instance has it there. Raises NetworkError when some other program has."""
        place, me = (address, port.protocol, port.number), (self._plan.cluster.instance, self._plan.number)
        holder = _HOLDERS.setdefault(place, me)
        if holder != me and holder[0] == me[0]:
            return False
        one = socket.socket(socket.AF_INET, _SOCKET_KINDS[port.protocol])
        try:
            one.bind((address, port.number))
        except OSError as error:
            one.close()
            if holder == me and not any(place == held for kept in self._held.values() for held, _ in kept):
                del _HOLDERS[place]
            why = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
            raise NetworkError(f"{what}: {why}; stop what has it, or choose another hostPort") from None
        self._held.setdefault(uid, []).append((place, one))
        return True

    def _let_go(self, uid: str) -> None:
        for place, held in self._held.pop(uid, ()):
            held.close()
            _HOLDERS.pop(place, None)

    def _put_in_force(self, published: dict[str, tuple[str, Sequence[HostPort]]], local: Local) -> None:
        if not published:
            nftables.remove(table(self._plan))
        else:
            if why := nftables.apply(ruleset(self._plan, published, local.others)):
                raise NetworkError(f"cannot publish host ports: {why}")
        self._published, self._local = published, local


def table(plan: NodePlan) -> str:
    return f"{plan.table}_ports"


def ruleset(plan: NodePlan, published: Published, others: Sequence[str] = ()) -> str:
    """The whole table. A pod published later comes first: the one before it is on its way out."""
    # Of Services and of other nodes, though this machine has them too.
    not_ours = f"{{ {', '.join((plan.cluster.kubernetes_address, plan.cluster.dns_address, *others))} }}"
    lines = [
        f"    {_rule(port, address, not_ours)}"
        for address, ports in reversed(list(published.values()))
        for port in ports
        if ipaddress.ip_address(port.address).version == 4
    ]
    name, ours = table(plan), f"ip daddr {plan.pod_cidr} ct status dnat"
    themselves = ", ".join(dict.fromkeys(f"{address} . {address}" for address, _ in published.values()))
    return "\n".join(
        (
            f"add table ip {name}",
            f"delete table ip {name}",
            f"table ip {name} {{",
            "  chain ports {",
            *lines,
            "  }",
            "  chain from_elsewhere {",
            "    type nat hook prerouting priority -100; policy accept;",
            "    fib daddr type local jump ports",
            "  }",
            "  chain from_here {",
            "    type nat hook output priority -100; policy accept;",
            "    fib daddr type local jump ports",
            "  }",
            "  chain way_back {",
            "    type nat hook postrouting priority 100; policy accept;",
            f"    {ours} ip saddr 127.0.0.0/8 snat to {plan.gateway}",
            f"    {ours} ip saddr . ip daddr {{ {themselves} }} snat to {plan.gateway}",
            # Pods that are on the bridge would answer each other there.
            f'    oifname "{plan.bridge}" ct status dnat ip saddr {plan.pod_cidr} snat to {plan.gateway}',
            "  }",
            "}",
            "",
        )
    )


def _rule(port: HostPort, address: str, not_ours: str) -> str:
    of = f"ip daddr != {not_ours}" if port.address == ANY_ADDRESS else f"ip daddr {port.address}"
    return f"{of} {port.protocol.lower()} dport {port.number} dnat to {address}:{port.container_port}"


def _check_address(port: HostPort, local: Local, what: str) -> None:
    if ipaddress.ip_address(port.address).version != 4:
        raise NetworkError(f"{what}: pods have IPv4 addresses only, and hostIP is {port.address}; leave hostIP out")
    if port.address not in (ANY_ADDRESS, *local.own) and not ipaddress.ip_address(port.address).is_loopback:
        raise NetworkError(f"{what}: it has no address {port.address}; leave hostIP out")
