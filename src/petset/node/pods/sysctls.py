"""Which sysctls a pod may set: the safe ones, those the node was told to allow, none of a namespace that is the host's.

A safe one belongs to the pod's own namespaces and touches no other pod. `refused` is pure.
Follows: "Using sysctls in a Kubernetes Cluster" of the Kubernetes documentation, and its list of safe ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from petset.objects import meta
from petset.objects.meta import Object

SAFE = dict.fromkeys(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_notsent_lowat",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node does not take a pod."""

    reason: str
    message: str


def refused(pod: Object, allowed: Sequence[str] = ()) -> Refusal | None:
    """`allowed`: unsafe ones by name, or by the beginning of it with a `*`."""
    for entry in meta.parts(pod, "spec", "securityContext", "sysctls"):
        name = normal(entry.get("name", ""))
        if name not in SAFE and not any(_matches(name, pattern) for pattern in allowed):
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
        for field, shown, is_of in (("hostNetwork", "net", _is_net), ("hostIPC", "ipc", _is_ipc)):
            if pod["spec"].get(field) and is_of(name):
                return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowed with host {shown} enabled')
    return None


def normal(name: str) -> str:
    """With dots between its parts: what comes first of dots and slashes is what separates them."""
    first = next((character for character in name if character in "./"), ".")
    return name if first == "." else name.translate(str.maketrans("/.", "./"))


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _is_net(name: str) -> bool:
    return name.startswith("net.")


def _is_ipc(name: str) -> bool:
    return not _is_net(name)
