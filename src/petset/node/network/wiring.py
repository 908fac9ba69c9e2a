"""How a pod is wired: a veth pair whose one end is the pod's eth0, and a route of the machine to its address.

The pod has its address alone (a /32) and sends everything to the gateway, whose hardware address it is told; there is
no network that pods share. So each packet, also one to the pod beside it, passes the machine's routes and nftables on
the way there and on the way back (docs/decisions/pod-wiring.md). All machine ends of pairs are of one GROUP, whatever
instance they are of, and are named after node and address.

Blocking; in the network's thread. A `Wire` is made in three steps, since interfaces are found by their names in the
thread's namespace: `clear` outside, `make` inside the pod's, `lead` outside again.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petset.base.networks import NodePlan

POD_INTERFACE = "eth0"
GROUP = 0x706574  # Of interfaces: the machine ends of all petsets' pods.
ONLINK = 4  # rtnetlink(7), RTNH_F_ONLINK: the gateway is there though no network says so.


@dataclass(frozen=True, slots=True)
class Wire:
    plan: NodePlan
    address: str
    mtu: int

    @property
    def host_end(self) -> str:
        return f"{self.plan.veth_prefix}{int(ipaddress.ip_address(self.address)) & 0xFFFF:04x}"

    def clear(self, netlink: Any) -> None:
        """Away with the pair of the pod that had the address before, if the kernel has not come to it yet."""
        if (stale := index(self.host_end)) is not None:
            ignoring_absence(netlink.link, "del", index=stale)

    def make(self, netlink: Any, inside: Any) -> None:
        """The pair and what the pod knows; `netlink` is of the machine, `inside` of the thread's namespace."""
        gateway = mac_address(self.plan.gateway)
        descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            netlink.link(
                "add",
                ifname=self.host_end,
                kind="veth",
                state="up",
                address=gateway,
                group=GROUP,
                mtu=self.mtu,
                peer={
                    "ifname": POD_INTERFACE,
                    "net_ns_fd": descriptor,
                    "address": mac_address(self.address),
                    "mtu": self.mtu,
                },
            )
        finally:
            os.close(descriptor)
        number = socket.if_nametoindex(POD_INTERFACE)
        inside.link("set", index=1, state="up")
        inside.addr("add", index=number, address=self.address, prefixlen=32)
        inside.link("set", index=number, state="up")
        inside.neigh("add", dst=self.plan.gateway, lladdr=gateway, ifindex=number, state="permanent")
        inside.route("add", dst="default", gateway=self.plan.gateway, oif=number, flags=ONLINK)

    def lead(self, netlink: Any, loopback: bool) -> None:
        """The machine's route to the pod; packets of its loopback address to it, too: ports of 127.0.0.1."""
        if loopback:
            set_interface(self.host_end, "route_localnet")
        route(netlink, self.plan, socket.if_nametoindex(self.host_end), self.address)


def route(netlink: Any, plan: NodePlan, number: int, address: str) -> None:
    """To a pod, by the interface of that number. The machine itself asks a pod as the gateway."""
    netlink.route("replace", dst=f"{address}/32", oif=number, scope="link", prefsrc=plan.gateway)


def routed(route_table: str) -> AbstractSet[str]:
    """The interfaces that a /proc/net/route text has a route by."""
    return {line.split()[0] for line in route_table.splitlines()[1:]}


def address_of(plan: NodePlan, host_end: str) -> str:
    """Of the pod that the machine's end of a pair is named after."""
    low = int(host_end.removeprefix(plan.veth_prefix), 16)
    network = int(ipaddress.ip_network(plan.pod_cidr).network_address)
    return str(ipaddress.ip_address(network & ~0xFFFF | low))


def set_interface(name: str, switch: str) -> None:
    """Switch something of IPv4 on for one interface; where it cannot be had, nothing but its own use is missing."""
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/ipv4/conf/{name}/{switch}").write_text("1\n")


def answer_for_others(name: str) -> None:
    """Let the machine answer ARP on an interface for who is behind its routes: at once, not within 0.8 s by chance."""
    set_interface(name, "proxy_arp")
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/ipv4/neigh/{name}/proxy_delay").write_text("0\n")


def mac_address(address: str) -> str:
    """One that follows from the IP address: nobody's ARP cache is wrong when a pet comes back with its old one."""
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in ipaddress.ip_address(address).packed)


def index(name: str) -> int | None:
    """Of an interface in the thread's namespace."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def ignoring_absence(function: Any, *args: Any, **kwargs: Any) -> None:
    try:
        function(*args, **kwargs)
    except Exception as error:
        if getattr(error, "code", getattr(error, "errno", None)) not in (errno.ENODEV, errno.ENOENT):
            raise
