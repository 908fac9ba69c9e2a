"""The pods' network of one node: a veth pair and a route a pod, addresses, and a way out.

`setup` makes a bridge that holds the gateway's and the fixed service addresses and has no ports, lets the kernel
forward, and makes an nftables table of the node's own that masquerades what pods send elsewhere and drops what other
instances' pods send here, and what a pod sends under another's address. `join` makes a pod's namespaces, pins them by
bind mounts, and wires it (wiring.py): all that it sends passes the machine's routes and rules, also to a pod beside it;
`leave` undoes that. `teardown` leaves nothing on the machine. The addresses of services are on every node's bridge, so
that each may go. Pods that an older petset has put on the bridge itself stay there until they are made anew.

All netlink work and every change of namespace happens in one dedicated thread, since a namespace belongs to a thread
and pyroute2's synchronous IPRoute must stay in one. Every step may be repeated after a crash.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from petset.base import networks, state, tasks
from petset.base.networks import NetworkError, NodePlan
from petset.kinds.requests import HostPort
from petset.node import linux, user_namespaces
from petset.node.network import addresses, host_ports, nftables, severing, wiring
from petset.objects import encoding, package_data

FORWARDING = "/proc/sys/net/ipv4/ip_forward"
LOOPBACK = 1  # Its index, in every network namespace.
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
        self._guarded = False  # The table is in force.
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
        users: int = 0,
    ) -> str:
        """New namespaces of these kinds, pinned at directory/<kind>, and eth0's address in them ("" without net).

        `users` is the machine's id of the root of a user namespace that owns them; 0: there is none.
        """
        return await self._thread.call(self._join, directory, pod, uid, hostname, dict(sysctls), tuple(kinds), users)

    async def leave(self, directory: Path, uid: str) -> None:
        """Let the namespaces go, the interface with them, and give the address back."""
        await self._thread.call(self._leave, directory, uid)

    async def sever(self, cut: bool) -> None:
        """Let nothing pass between the node's pods and anybody else, or again. Raises NetworkError."""
        await self._thread.call(self._sever, cut)

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
            netlink.link("set", index=LOOPBACK, state="up")  # In a network namespace of petset's own it is not.
            self._mtu = _mtu_outside(netlink)
            index = wiring.index(plan.bridge)
            if index is None:
                own = wiring.mac_address(plan.gateway)
                netlink.link("add", ifname=plan.bridge, kind="bridge", address=own, br_forward_delay=0, br_stp_state=0)
                index = wiring.index(plan.bridge)
            netlink.link("set", index=index, state="up", mtu=self._mtu)
            self._bridge_index = int(index or 0)
            wanted = [(plan.gateway, plan.prefix_length), *((address, 32) for address in service_addresses)]
            present = [(entry.get("address"), entry["prefixlen"]) for entry in netlink.get_addr(index=index, family=2)]
            for address, length in wanted:
                if (address, length) not in present:
                    netlink.addr("add", index=index, address=address, prefixlen=length)
            # So that what the machine itself sends to Services has a source that can be answered.
            netlink.route(
                "replace", dst=plan.cluster.service_cidr, oif=index, prefsrc=plan.gateway, priority=plan.number + 1
            )
            self._rewire(netlink)
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
        why = nftables.apply(table(plan))
        self._guarded = not why
        if why:
            lacking.append(f"{NO_WAY_OUT}, but other instances' pods: cannot set up nftables: {why}")
        ours = plan.cluster.veths
        if not why and drops_forwarded(nftables.listed("list", "chain", "ip", "filter", "FORWARD")):
            lacking.append(
                f"{NO_WAY_OUT}, nor perhaps each other: a firewall here drops what is forwarded; allow the pods: "
                f"iptables -I FORWARD -i {ours}+ -j ACCEPT; iptables -I FORWARD -o {ours}+ -j ACCEPT"
            )
        return lacking

    def _sever(self, cut: bool) -> None:
        if not cut:
            nftables.remove(severing.table(self.plan))
        elif why := nftables.apply(severing.ruleset(self.plan)):
            raise NetworkError(f"cannot cut the node off: {why}")

    def _own_veths(self) -> list[Any]:
        return [
            link
            for link in self._netlink_of_this_thread().get_links()
            if str(link.get("ifname")).startswith(self.plan.veth_prefix)
        ]

    def _rewire(self, netlink: Any) -> None:
        """Pods that still run, when somebody took away the bridge, and their routes or their place with it."""
        routed = wiring.routed(Path("/proc/net/route").read_text())
        older = False
        for link in self._own_veths():
            name, number = str(link.get("ifname")), int(link["index"])
            if link.get("group") == wiring.GROUP:
                if name not in routed:
                    wiring.route(netlink, self.plan, number, wiring.address_of(self.plan, name))
            else:
                older = True
                if link.get("master") != self._bridge_index:
                    netlink.link("set", index=number, master=self._bridge_index, state="up")
        if older:  # They look for all of the network beside them: the machine answers for those behind a route.
            wiring.answer_for_others(self.plan.bridge)

    def _publish(self, uid: str, address: str, ports: Sequence[HostPort]) -> None:
        self._host_ports.publish(uid, address, ports, self._local_addresses())

    def _local_addresses(self) -> host_ports.Local:
        of_services = (self.plan.cluster.kubernetes_address, self.plan.cluster.dns_address)
        own: list[str] = []
        others: list[str] = []
        for entry in self._netlink_of_this_thread().get_addr(family=2):
            address, interface = str(entry.get("address")), str(entry.get("label"))
            if address not in of_services:
                is_another_node = interface.startswith(self.plan.cluster.bridges) and interface != self.plan.bridge
                (others if is_another_node else own).append(address)
        return host_ports.Local(own, others)

    def _teardown(self) -> None:
        netlink = self._netlink_of_this_thread()
        for link in self._own_veths():
            wiring.ignoring_absence(netlink.link, "del", index=link["index"])
        if (index := wiring.index(self.plan.bridge)) is not None:
            wiring.ignoring_absence(netlink.link, "del", index=index)
        cluster = self.plan.cluster
        nftables.remove(self.plan.table, host_ports.table(self.plan), severing.table(self.plan))
        with networks.machine_lock():
            before = networks.RESERVATIONS / "ip_forward.before"
            if networks.forget_reservation(self.plan) and before.exists():
                Path(FORWARDING).write_text(before.read_text())
                before.unlink()
            if not networks.is_reserved(cluster):  # The other nodes' pods go on by what all share.
                nftables.remove(cluster.services_table, cluster.policies_table)
        self._bridge_index = 0

    def _join(
        self,
        directory: Path,
        pod: str,
        uid: str,
        hostname: str,
        sysctls: dict[str, str],
        kinds: tuple[str, ...],
        users: int,
    ) -> str:
        self._unpin(directory)
        if not kinds:
            return ""
        address, wired = "", None
        try:
            netlink = self._netlink_of_this_thread()
            if "net" in kinds:
                address = self._addresses.allocate(pod, uid)
                self._save()
                wired = wiring.Wire(self.plan, address, self._mtu)
                wired.clear(netlink)
            with _made(directory, kinds, users):
                if "uts" in kinds:
                    socket.sethostname(hostname)
                for name, value in sysctls.items():
                    _set_sysctl(name, value, directory if users else None)
                if wired is not None:
                    with contextlib.closing(_iproute()) as inside:
                        wired.make(netlink, inside)
            if wired is not None:
                wired.lead(netlink, loopback=self._guarded)
        except BaseException as error:
            self._leave(directory, uid)
            if isinstance(error, addresses.NoAddress):
                raise NetworkError(f"cannot give the pod an address: {error}") from None
            if isinstance(error, user_namespaces.UserNamespaceError):
                raise NetworkError(str(error)) from None
            if isinstance(error, (NetworkError, OSError)) or not isinstance(error, Exception):
                raise
            raise _explained("connect the pod", error) from error
        return address

    def _leave(self, directory: Path, uid: str) -> None:
        """The kernel removes the veth pair with its namespace in its own time; deleting it would wait for that."""
        self._unpin(directory)
        self._host_ports.withdraw(uid)
        self._addresses.release(uid)
        self._save()

    def _unpin(self, directory: Path) -> None:
        for kind in ("net", "uts", "ipc", user_namespaces.KIND):
            linux.unmount(str(directory / kind))

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


def table(plan: NodePlan) -> str:
    """A way out by source translation, and no way in for other instances' pods, nor for who pretends to be another."""
    own, ours = f"{{ {plan.pod_cidr}, {plan.cluster.service_cidr} }}", f'"{plan.cluster.veths}*"'
    old = f'"{plan.cluster.bridges}*"'  # Pods that an older petset has put on the bridge of a node.
    mine = f'"{plan.veth_prefix}*"'
    return (
        f"add table ip {plan.table}\n"
        f"delete table ip {plan.table}\n"
        f"table ip {plan.table} {{\n"
        "  chain from_pods {\n"
        "    type filter hook prerouting priority -300; policy accept;\n"
        f"    iifname {mine} fib saddr . iif oif missing drop\n"
        # These links may carry what belongs to loopback: no pod may send any there.
        f'    iifname {{ {mine}, "{plan.bridge}" }} ip daddr 127.0.0.0/8 drop\n'
        "  }\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority 100; policy accept;\n"
        f"    ip saddr {plan.pod_cidr} ip daddr != {plan.pod_cidr} oifname != {ours} oifname != {old} masquerade\n"
        "  }\n"
        "  chain others {\n"
        f"    iifname {ours} accept\n"
        f"    iifname {old} accept\n"
        f"    iifgroup {wiring.GROUP} drop\n"
        f'    iifname "{networks.BRIDGE_PREFIX}*" drop\n'
        "  }\n"
        "  chain to_our_addresses {\n"
        "    type filter hook input priority 0; policy accept;\n"
        f"    ip daddr {own} jump others\n"
        "  }\n"
        "  chain to_our_pods {\n"
        "    type filter hook forward priority 0; policy accept;\n"
        f"    ip daddr {plan.pod_cidr} jump others\n"
        "  }\n"
        "}\n"
    )


@contextlib.contextmanager
def _made(directory: Path, kinds: Sequence[str], users: int) -> Generator[None]:
    """New namespaces of these kinds, pinned at directory/<kind>, for this thread until the end of the block."""
    with contextlib.ExitStack() as entered:
        if users:
            user_namespaces.make(directory, kinds, users)
            for kind in kinds:
                entered.enter_context(linux.in_pinned(kind, directory / kind))
        else:
            entered.enter_context(linux.in_namespaces(kinds))
            linux.pin(kinds, directory)
        yield


def _set_sysctl(name: str, value: str, owned: Path | None) -> None:
    """In this thread's namespaces, which are `owned` by the user namespace that is pinned in a directory, if any."""
    try:
        if owned is not None and not name.startswith("net."):
            user_namespaces.set_sysctl(owned, name, value)
        else:
            Path("/proc/sys", name.replace(".", "/")).write_text(value)
    except OSError as error:
        raise NetworkError(f"cannot set sysctl {name} to {value!r}: {error.strerror}") from None


def drops_forwarded(chain: str) -> bool:
    """Whether a chain, as nft lists it, drops what no rule of it accepts."""
    return "hook forward" in chain and "policy drop" in chain


def why_no_link(kind: str) -> str:
    """Why this kernel makes no link of a kind; "" when it does. It is made, in the network namespace of this thread."""
    try:
        with _iproute() as netlink:
            netlink.link("add", ifname="petset-doctor", kind=kind)
    except Exception as error:  # Whatever pyroute2 raises.
        return str(getattr(error, "strerror", "") or error)
    return ""


def enter_pyroute2() -> None:
    """Make parts of the package importable without it: it imports all that it can do, twice as much (6 MiB more)."""
    if "pyroute2" not in sys.modules:
        package = ModuleType("pyroute2")
        package.__path__ = package_data.folders("pyroute2")
        sys.modules["pyroute2"] = package


def _iproute() -> Any:
    """Imported here because it takes longer to import than everything else a node does at its start."""
    enter_pyroute2()
    with _without_unittest():
        from pyroute2.iproute.linux import IPRoute  # pyright: ignore[reportMissingTypeStubs]  # It has none.

    return IPRoute()


@contextlib.contextmanager
def _without_unittest() -> Generator[None]:
    """While it is imported: it takes a stand-in of its queue from unittest.mock, a MiB more, for its own tests."""
    if "unittest" in sys.modules:
        yield
        return
    package = ModuleType("unittest")
    vars(package)["mock"] = SimpleNamespace(Mock=object)
    sys.modules["unittest"] = package
    try:
        yield
    finally:
        del sys.modules["unittest"]


def _mtu_outside(netlink: Any) -> int:
    """Of the interface the default route leaves by: a larger packet of a pod would be lost on the way."""
    for route in netlink.get_default_routes(family=2):
        if (index := route.get("oif")) is not None:
            return int(netlink.get_links(index)[0].get("mtu") or 1500)
    return 1500


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
