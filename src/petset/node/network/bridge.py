"""The pods' network of one node: a bridge, a veth pair a pod, addresses, and a way out.

`setup` makes the bridge with the gateway's and the fixed service addresses, lets the kernel forward, and makes an
nftables table of the node's own that masquerades what pods send elsewhere and drops what other instances' pods send
here. Pods of one instance reach each other through the machine, which forwards between the bridges of its nodes. `join`
makes a pod's namespaces, pins them by bind mounts, and gives it eth0 with an address; `leave` undoes that. `teardown`
leaves nothing on the machine. The addresses of services are on every node's bridge, so that each may go.

All netlink work and every change of namespace happens in one dedicated thread, since a namespace belongs to a thread
and pyroute2's synchronous IPRoute must stay in one. Every step may be repeated after a crash. A MAC address follows
from its IP address, so nobody's ARP cache is wrong when a pet comes back with its old address.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from petset.base import networks, state, tasks
from petset.base.networks import NetworkError, NodePlan
from petset.kinds.requests import HostPort
from petset.node import linux
from petset.node.network import addresses, host_ports, nftables
from petset.objects import encoding, package_data

FORWARDING = "/proc/sys/net/ipv4/ip_forward"
POD_INTERFACE = "eth0"
NO_WAY_OUT = "pods reach nothing beyond this machine"


class PodNetwork:
    """One node's network on this machine. `await setup()` first; `await close()` at the end of the process."""

    def __init__(self, plan: NodePlan, directory: Path):
        """`directory` is the node's."""
        self.plan = plan
        self._file = directory / "addresses.json"
        self._thread = tasks.Thread("petset-network")
        self._netlink: Any = None
        self._bridge_index = 0
        self._mtu = 1500
        self._addresses = addresses.restore(plan.pod_cidr, _read(self._file))
        self._host_ports = host_ports.HostPorts(plan)

    async def setup(self, service_addresses: Sequence[str] | None = None) -> list[str]:
        """Make the bridge, its addresses and the way out. Returns what pods will lack. Raises NetworkError."""
        if service_addresses is None:
            service_addresses = (self.plan.cluster.kubernetes_address, self.plan.cluster.dns_address)
        return await self._thread.call(self._setup, tuple(service_addresses))

    async def teardown(self) -> None:
        """Remove bridge, veths and table; the forwarding switch goes back when no other instance is left."""
        await self._thread.call(self._teardown)

    async def join(
        self,
        directory: Path,
        pod: str,
        uid: str,
        hostname: str,
        sysctls: Mapping[str, str],
        kinds: Sequence[str] = ("net", "uts", "ipc"),
    ) -> str:
        """New namespaces of these kinds, pinned at directory/<kind>, and eth0's address in them ("" without net)."""
        return await self._thread.call(self._join, directory, pod, uid, hostname, dict(sysctls), tuple(kinds))

    async def leave(self, directory: Path, uid: str) -> None:
        """Let the namespaces go, the interface with them, and give the address back."""
        await self._thread.call(self._leave, directory, uid)

    def hold(self, pod: str, uid: str, address: str) -> None:
        """Say, before the first join, that a sandbox found at the start has this address."""
        self._addresses.hold(pod, uid, address)

    async def publish(self, uid: str, address: str, ports: Sequence[HostPort]) -> None:
        """Let ports of this machine lead to a pod until it leaves. Raises NetworkError."""
        if ports:
            await self._thread.call(self._publish, uid, address, ports)

    async def restore_ports(self, found: host_ports.Published) -> None:
        """The same of all pods found at a start. Raises NetworkError."""
        await self._thread.call(lambda: self._host_ports.restore(found, self._local_addresses()))

    async def close(self) -> None:
        """Let go; the network stays."""
        await self._thread.call(self._close)
        self._thread.close()

    # ---- everything below runs in the network's thread

    def _setup(self, service_addresses: tuple[str, ...]) -> list[str]:
        lacking: list[str] = []
        plan = self.plan
        try:
            netlink = self._netlink_of_this_thread()
            self._mtu = _mtu_outside(netlink)
            index = _index(netlink, plan.bridge)
            if index is None:
                # No learning delay: a port forwards at once, since a bridge of veths cannot loop. An address of its
                # own: else it takes one of its ports', changes it when that pod goes, and nobody finds DNS for a while.
                own = mac_address(plan.gateway)
                netlink.link("add", ifname=plan.bridge, kind="bridge", address=own, br_forward_delay=0, br_stp_state=0)
                index = _index(netlink, plan.bridge)
            netlink.link("set", index=index, state="up", mtu=self._mtu)
            self._bridge_index = int(index or 0)
            wanted = [(plan.gateway, plan.prefix_length), *((address, 32) for address in service_addresses)]
            present = [(entry.get("address"), entry["prefixlen"]) for entry in netlink.get_addr(index=index, family=2)]
            for address, length in wanted:
                if (address, length) not in present:
                    netlink.addr("add", index=index, address=address, prefixlen=length)
            for link in self._own_veths():  # Of pods that still run, when somebody took the bridge away.
                if link.get("master") != index:
                    netlink.link("set", index=link["index"], master=index, state="up")
        except Exception as error:  # pyroute2's NetlinkError is not an OSError.
            raise _explained(f"make the bridge {plan.bridge}", error) from error
        with networks.machine_lock():
            before = networks.RESERVATIONS / "ip_forward.before"
            try:
                if Path(FORWARDING).read_text().strip() != "1":
                    before.write_text("0\n")
                    Path(FORWARDING).write_text("1\n")
            except OSError as error:
                lacking.append(f"{NO_WAY_OUT}: cannot switch {FORWARDING} on: {error.strerror}")
        if why := nftables.apply(_table(plan)):
            lacking.append(f"{NO_WAY_OUT}, but other instances' pods: cannot set up nftables: {why}")
        elif drops_forwarded(nftables.listed("list", "chain", "ip", "filter", "FORWARD")):
            lacking.append(
                f"{NO_WAY_OUT}, nor perhaps each other: a firewall here drops what is forwarded; allow the bridge: "
                f"iptables -I FORWARD -i {plan.bridge} -j ACCEPT; iptables -I FORWARD -o {plan.bridge} -j ACCEPT"
            )
        return lacking

    def _own_veths(self) -> list[Any]:
        return [
            link
            for link in self._netlink_of_this_thread().get_links()
            if str(link.get("ifname")).startswith(self.plan.veth_prefix)
        ]

    def _publish(self, uid: str, address: str, ports: Sequence[HostPort]) -> None:
        self._host_ports.publish(uid, address, ports, self._local_addresses())
        # A pod that asks for its own port gets its packet back by the way it came.
        with contextlib.suppress(OSError):
            Path(f"/sys/class/net/{self._host_end(address)}/brport/hairpin_mode").write_text("1\n")

    def _local_addresses(self) -> list[str]:
        """This machine's addresses, but for those of Services."""
        found = [str(entry.get("address")) for entry in self._netlink_of_this_thread().get_addr(family=2)]
        of_services = (self.plan.cluster.kubernetes_address, self.plan.cluster.dns_address)
        return [one for one in found if one not in of_services]

    def _teardown(self) -> None:
        netlink = self._netlink_of_this_thread()
        for link in self._own_veths():
            _ignoring_absence(netlink.link, "del", index=link["index"])
        if (index := _index(netlink, self.plan.bridge)) is not None:
            _ignoring_absence(netlink.link, "del", index=index)
        nftables.remove(self.plan.table, host_ports.table(self.plan))
        with networks.machine_lock():
            before = networks.RESERVATIONS / "ip_forward.before"
            if networks.forget_reservation(self.plan) and before.exists():
                Path(FORWARDING).write_text(before.read_text())
                before.unlink()
        self._bridge_index = 0

    def _join(
        self, directory: Path, pod: str, uid: str, hostname: str, sysctls: dict[str, str], kinds: tuple[str, ...]
    ) -> str:
        self._unpin(directory)
        if not kinds:
            return ""
        address, inside = "", None
        try:
            netlink = self._netlink_of_this_thread()
            if "net" in kinds:
                address = self._addresses.allocate(pod, uid)
                self._save()
            with linux.in_namespaces(kinds):
                if "uts" in kinds:
                    socket.sethostname(hostname)
                for name, value in sysctls.items():
                    _set_sysctl(name, value)
                if "net" in kinds:
                    inside = _iproute()
                for kind in kinds:
                    (directory / kind).touch()
                    linux.mount(f"/proc/thread-self/ns/{kind}", str(directory / kind), "", linux.MS_BIND)
            if inside is not None:
                self._connect(netlink, inside, str(directory / "net"), address)
        except BaseException as error:
            self._leave(directory, uid)
            if isinstance(error, addresses.NoAddress):
                raise NetworkError(f"cannot give the pod an address: {error}") from None
            if isinstance(error, (NetworkError, OSError)) or not isinstance(error, Exception):
                raise
            raise _explained(f"connect the pod to the bridge {self.plan.bridge}", error) from error
        finally:
            if inside is not None:
                inside.close()
        return address

    def _connect(self, netlink: Any, inside: Any, namespace: str, address: str) -> None:
        host_end = self._host_end(address)
        if (stale := _index(netlink, host_end)) is not None:
            _ignoring_absence(netlink.link, "del", index=stale)
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            netlink.link(
                "add",
                ifname=host_end,
                kind="veth",
                master=self._bridge_index,
                state="up",
                mtu=self._mtu,
                peer={
                    "ifname": POD_INTERFACE,
                    "net_ns_fd": descriptor,
                    "address": mac_address(address),
                    "mtu": self._mtu,
                },
            )
        finally:
            os.close(descriptor)
        index = _index(inside, POD_INTERFACE)
        inside.link("set", index=1, state="up")
        inside.addr("add", index=index, address=address, prefixlen=self.plan.prefix_length)
        inside.link("set", index=index, state="up")
        inside.route("add", dst="default", gateway=self.plan.gateway)

    def _leave(self, directory: Path, uid: str) -> None:
        """The kernel removes the veth pair with its namespace in its own time; deleting it would wait for that."""
        self._unpin(directory)
        self._host_ports.withdraw(uid)
        self._addresses.release(uid)
        self._save()

    def _unpin(self, directory: Path) -> None:
        for kind in ("net", "uts", "ipc"):
            linux.unmount(str(directory / kind))

    def _host_end(self, address: str) -> str:
        return f"{self.plan.veth_prefix}{int(ipaddress.ip_address(address)) & 0xFFFF:04x}"

    def _save(self) -> None:
        state.replace_whole(self._file, encoding.dumps(self._addresses.record()))

    def _netlink_of_this_thread(self) -> Any:
        if self._netlink is None:
            self._netlink = _iproute()
        return self._netlink

    def _close(self) -> None:
        self._host_ports.close()
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None


# ---- small leaves


def mac_address(address: str) -> str:
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in ipaddress.ip_address(address).packed)


def _table(plan: NodePlan) -> str:
    """A way out by source translation, and no way in for the pods of other instances, whose bridges are here too."""
    own, ours = f"{{ {plan.pod_cidr}, {plan.cluster.service_cidr} }}", f'"{plan.cluster.bridges}*"'
    others = f'iifname "{networks.BRIDGE_PREFIX}*" iifname != {ours}'
    return (
        f"add table ip {plan.table}\n"
        f"delete table ip {plan.table}\n"
        f"table ip {plan.table} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority 100; policy accept;\n"
        f"    ip saddr {plan.pod_cidr} ip daddr != {plan.pod_cidr} oifname != {ours} masquerade\n"
        "  }\n"
        "  chain to_our_addresses {\n"
        "    type filter hook input priority 0; policy accept;\n"
        f"    {others} ip daddr {own} drop\n"
        "  }\n"
        "  chain to_our_pods {\n"
        "    type filter hook forward priority 0; policy accept;\n"
        f'    {others} oifname "{plan.bridge}" drop\n'
        "  }\n"
        "}\n"
    )


def _set_sysctl(name: str, value: str) -> None:
    try:
        Path("/proc/sys", name.replace(".", "/")).write_text(value)
    except OSError as error:
        raise NetworkError(f"cannot set sysctl {name} to {value!r}: {error.strerror}") from None


def drops_forwarded(chain: str) -> bool:
    """Whether a chain, as nft lists it, drops what no rule of it accepts."""
    return "hook forward" in chain and "policy drop" in chain


def _iproute() -> Any:
    """Imported here because it takes longer to import than everything else a node does at its start.

    The package itself imports all that it can do, which is twice as much (6 MiB more): so it is entered without.
    """
    if "pyroute2" not in sys.modules:
        package = ModuleType("pyroute2")
        package.__path__ = package_data.folders("pyroute2")
        sys.modules["pyroute2"] = package
    from pyroute2.iproute.linux import IPRoute  # pyright: ignore[reportMissingTypeStubs]  # It has none.

    return IPRoute()


def _index(netlink: Any, name: str) -> int | None:
    found = netlink.link_lookup(ifname=name)
    return int(found[0]) if found else None


def _mtu_outside(netlink: Any) -> int:
    """Of the interface the default route leaves by: a larger packet of a pod would be lost on the way."""
    for route in netlink.get_default_routes(family=2):
        if (index := route.get("oif")) is not None:
            return int(netlink.get_links(index)[0].get("mtu") or 1500)
    return 1500


def _ignoring_absence(function: Any, *args: Any, **kwargs: Any) -> None:
    try:
        function(*args, **kwargs)
    except Exception as error:
        if getattr(error, "code", getattr(error, "errno", None)) not in (errno.ENODEV, errno.ENOENT):
            raise


def _explained(doing: str, error: Exception) -> NetworkError:
    code = getattr(error, "code", getattr(error, "errno", None))
    if code in (errno.EPERM, errno.EACCES):
        return NetworkError(f"cannot {doing}: it needs CAP_NET_ADMIN; run petset as root")
    if code == errno.EOPNOTSUPP:
        return NetworkError(f"cannot {doing}: this kernel lacks it; load the modules with `modprobe bridge veth`")
    return NetworkError(f"cannot {doing}: {error}")


def _read(path: Path) -> Any:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return encoding.loads(path.read_bytes())
    return None
