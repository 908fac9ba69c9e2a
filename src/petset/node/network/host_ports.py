"""Ports of this machine that lead to pods: a container's hostPort.

`ruleset` is pure: who has which port, and out comes one nftables table of the instance's own. `HostPorts` keeps who has
which, and puts the table in force as a whole at every change. Packets from elsewhere, from this machine (its
loopback address too) and from other pods are sent on to the pod; what comes from loopback, or from the pod itself, gets
the gateway as its source, so that the answer finds the way back.

A port is also bound here, at each of the machine's addresses, for as long as a pod has it, so that no program of the
machine takes it meanwhile, and a pod does not take one that a program has.

Invariants: without any such port there is no table; a killed petset leaves the table in force, and its pods reachable,
until the next start makes it anew.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Mapping, Sequence

from petset.base.networks import NetworkError, NodePlan
from petset.kinds.requests import ANY_ADDRESS, HostPort
from petset.node.network import nftables

Published = Mapping[str, tuple[str, Sequence[HostPort]]]  # Address and ports of pods, by uid.

_SOCKET_KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}


class HostPorts:
    """Blocking; used in the network's thread alone."""

    def __init__(self, plan: NodePlan):
        self._plan = plan
        self._published: dict[str, tuple[str, Sequence[HostPort]]] = {}
        self._held: dict[str, list[socket.socket]] = {}

    def publish(self, uid: str, address: str, ports: Sequence[HostPort], local: Sequence[str]) -> None:
        """Let the ports lead to a pod; `local` are this machine's addresses. Raises NetworkError, and none does."""
        if not ports or uid in self._published:
            return
        try:
            held = self._held.setdefault(uid, [])
            for port in ports:
                held += _hold(port, local)
            self._put_in_force({**self._published, uid: (address, ports)})
        except NetworkError:
            self._let_go(uid)
            raise

    def restore(self, found: Published, local: Sequence[str]) -> None:
        """The ports of pods that run already: they have them, whoever else has come meanwhile. Raises NetworkError."""
        published = {uid: one for uid, one in found.items() if one[1]}
        for uid, (_, ports) in published.items():
            held = self._held.setdefault(uid, [])
            for port in ports:
                with contextlib.suppress(NetworkError):
                    held += _hold(port, local)
        if published or nftables.listed("list", "table", "ip", table(self._plan)):
            self._put_in_force(published)

    def withdraw(self, uid: str) -> None:
        self._let_go(uid)
        if uid in self._published:
            self._put_in_force({key: value for key, value in self._published.items() if key != uid})

    def close(self) -> None:
        """Let go of the ports; the table stays in force."""
        for uid in list(self._held):
            self._let_go(uid)

    def _let_go(self, uid: str) -> None:
        for held in self._held.pop(uid, ()):
            held.close()

    def _put_in_force(self, published: dict[str, tuple[str, Sequence[HostPort]]]) -> None:
        if not published:
            nftables.remove(table(self._plan))
        else:
            if why := nftables.apply(ruleset(self._plan, published)):
                raise NetworkError(f"cannot publish host ports: {why}")
        self._published = published


def table(plan: NodePlan) -> str:
    return f"{plan.table}_ports"


def ruleset(plan: NodePlan, published: Published) -> str:
    """The whole table. A pod published later comes first: the one before it is on its way out."""
    # Of Services, though this machine has them too.
    not_ours = f"{{ {plan.cluster.kubernetes_address}, {plan.cluster.dns_address} }}"
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


def _hold(port: HostPort, local: Sequence[str]) -> list[socket.socket]:
    """Sockets that take the port, though no packet comes to them. Raises NetworkError when it is taken."""
    what = f"cannot take port {port.number}/{port.protocol} of this machine"
    if ipaddress.ip_address(port.address).version != 4:
        raise NetworkError(f"{what}: pods have IPv4 addresses only, and hostIP is {port.address}; leave hostIP out")
    if port.address not in (ANY_ADDRESS, *local) and not ipaddress.ip_address(port.address).is_loopback:
        raise NetworkError(f"{what}: it has no address {port.address}; leave hostIP out")
    kind = _SOCKET_KINDS.get(port.protocol)
    if kind is None:
        return []
    held: list[socket.socket] = []
    for address in local if port.address == ANY_ADDRESS else (port.address,):
        held.append(socket.socket(socket.AF_INET, kind))
        try:
            held[-1].bind((address, port.number))
        except OSError as error:
            for one in held:
                one.close()
            why = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
            raise NetworkError(f"{what}: {why}; stop what has it, or choose another hostPort") from None
    return held
