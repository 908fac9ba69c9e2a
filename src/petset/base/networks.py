"""Which names and networks an instance uses on this machine: chosen once, free here, remembered in the state directory.

`choose_networks(state)` gives the instance's Plan: bridge, veth names, cgroup parent, nftables table, pod and service
networks. Several instances run side by side: a choice is made under a machine-wide lock, looks at all addresses and
routes, and is reserved in /run/petset until `teardown`, so instances that start at the same moment differ too. The
search starts at a place that depends on the directory's path, which keeps choices stable and apart.

Pods and services share one block, each a half of it. Invariant: an instance's remembered plan is kept as long as
nothing else on the machine uses it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Who is not root can only simulate a node, but its networks are chosen and reserved all the same.
RESERVATIONS = (
    Path("/run/petset")
    if os.geteuid() == 0
    else Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), f"petset-{os.geteuid()}")
)
BLOCKS = ("10.128.0.0/9", "10.0.0.0/9", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
BRIDGE_PREFIX = "petset"  # Of every instance's; nothing else on the machine is named so.
BLOCK_PREFIX = 21  # A /22 for pods (1,021 of them) and a /22 for services.

Block = ipaddress.IPv4Network


class NetworkError(Exception):
    """The node's network cannot be made: the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The names and networks of one instance."""

    instance: str
    pod_cidr: str
    service_cidr: str

    @property
    def bridge(self) -> str:
        return f"{BRIDGE_PREFIX}{self.instance}"

    @property
    def veth_prefix(self) -> str:
        return f"ps{self.instance}-"

    @property
    def table(self) -> str:
        """The nftables table."""
        return f"petset_{self.instance}"

    @property
    def cgroup(self) -> str:
        return f"/petset_{self.instance}"

    @property
    def gateway(self) -> str:
        """The bridge's own address, and the node's."""
        return _address(self.pod_cidr, 1)

    @property
    def kubernetes_address(self) -> str:
        return _address(self.service_cidr, 1)

    @property
    def dns_address(self) -> str:
        return _address(self.service_cidr, 10)

    @property
    def prefix_length(self) -> int:
        return ipaddress.ip_network(self.pod_cidr).prefixlen


def _address(network: str, number: int) -> str:
    return str(ipaddress.ip_network(network)[number])


def choose_networks(state: Path) -> Plan:
    """The instance's plan, the same at every call while it is free here. Raises NetworkError. Blocks briefly."""
    path = Path(os.path.realpath(state))
    remembered = _read(path / "network.json")
    instance = hashlib.sha256(os.fsencode(path)).hexdigest()[:6]
    with machine_lock():
        taken = used_networks(
            Path("/proc/net/route").read_text(), but_for=Plan(instance, "10.0.0.0/8", "10.0.0.0/8").bridge
        )
        for other in sorted(RESERVATIONS.glob("*.json")):
            reserved = _read(other)
            if other.stem != instance and reserved is not None and Path(reserved.get("state", "")).is_dir():
                taken += [ipaddress.IPv4Network(reserved["pod_cidr"]), ipaddress.IPv4Network(reserved["service_cidr"])]
            elif other.stem != instance:
                other.unlink(missing_ok=True)  # Its state directory is gone.
        plan = None
        if remembered and remembered.get("instance") == instance:
            kept = Plan(instance, remembered["pod_cidr"], remembered["service_cidr"])
            mine = [ipaddress.IPv4Network(kept.pod_cidr), ipaddress.IPv4Network(kept.service_cidr)]
            if not any(network.overlaps(other) for network in mine for other in taken):
                plan = kept
        if plan is None:
            block = free_block(taken, int(instance, 16))
            pods, services = block.subnets(1)
            plan = Plan(instance, str(pods), str(services))
        _write(RESERVATIONS / f"{instance}.json", {**asdict(plan), "state": str(path)})
    _write(path / "network.json", asdict(plan))
    return plan


def forget_reservation(plan: Plan) -> bool:
    """Give the plan's place on the machine back; whether no other instance is left. Call it under the lock."""
    (RESERVATIONS / f"{plan.instance}.json").unlink(missing_ok=True)
    return not any(RESERVATIONS.glob("*.json"))


def forget(plan: Plan) -> None:
    """Give the plan's place on the machine back, where nothing was ever made of it."""
    with machine_lock():
        forget_reservation(plan)


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """One instance at a time changes what instances share. Waits for milliseconds at most."""
    RESERVATIONS.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(RESERVATIONS / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def used_networks(route_table: str, but_for: str = "") -> list[Block]:
    """Every network in a /proc/net/route text that is narrower than everything, but for one interface's own."""
    found = []
    for line in route_table.splitlines()[1:]:
        columns = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(columns[i]), "little") for i in (1, 7))
        if mask and columns[0] != but_for:
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
    raise NetworkError("cannot choose a pod network: every private network is in use here; free a /21 of 10.0.0.0/8")


def _read(path: Path) -> dict[str, str] | None:
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _write(path: Path, record: dict[str, str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(temporary, path)
