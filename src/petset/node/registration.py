"""The Node object and its Lease: what this machine offers, that it is ready, and that it lives.

`register` makes the Node or brings an old one up to date and keeps what others wrote there (cordon, taints, labels);
`set_ready` turns its Ready condition; `renew_lease` is the node's only clock-driven write. A Node that somebody
deletes is registered again: then it is another one of that name, and the Lease follows it.
Follows: the page "Nodes" of the Kubernetes documentation; condition reasons are those kubectl's users know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import petset
from petset.base import tasks, well_known
from petset.client.client import Client
from petset.kinds.lease import LEASES
from petset.kinds.namespace import NODE_LEASES
from petset.kinds.node import NODES
from petset.objects import errors, meta
from petset.objects.meta import Object

log = logging.getLogger("petset.node")

LEASE_SECONDS = 40
LEASE_RENEW_SECONDS = 10.0
IMAGES_MAX, IMAGE_NAMES_MAX = 50, 5  # In a node's status.
IMAGES_REST_SECONDS = 10.0  # Between two looks at them.
PODS_MAX = 1010  # Of a /22 of addresses.

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
_INFO_FIELDS = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
)


class NodeConfig(Protocol):
    """What registration reads of agent.Config."""

    @property
    def node_name(self) -> str: ...
    @property
    def host_ip(self) -> str: ...
    @property
    def pod_cidr(self) -> str: ...
    @property
    def capacity(self) -> Mapping[str, str]: ...
    @property
    def allocatable(self) -> Mapping[str, str] | None: ...
    @property
    def node_info(self) -> Mapping[str, str]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def handlers(self) -> Mapping[str, bool]: ...
    @property
    def taints(self) -> Sequence[Object]: ...
    @property
    def promise(self) -> Promise: ...


def capacity_of_machine(pods: int = PODS_MAX) -> dict[str, str]:
    """cpu, memory and ephemeral storage of this machine, and how many pods it takes."""
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    disk = os.statvfs("/")
    return {
        "cpu": str(len(os.sched_getaffinity(0))),
        "memory": f"{page * pages // 1024}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "pods": str(pods),
    }


def architecture() -> str:
    return _ARCHITECTURES.get(os.uname().machine, os.uname().machine)


def node_labels(config: NodeConfig, arch: str) -> dict[str, str]:
    return {
        well_known.HOSTNAME_LABEL: config.node_name,
        well_known.OS_LABEL: "linux",
        well_known.ARCH_LABEL: arch,
        **config.labels,
    }


def node_status(
    config: NodeConfig, arch: str, ready: bool, old: Object, now: float, pressures: Sequence[str] = ()
) -> dict[str, Any]:
    """The NodeStatus; conditions of others and transition times are kept. `pressures` are the types that are true."""
    conditions: list[Object] = list(old.get("conditions") or ())
    stamp = tasks.rfc3339(now)
    for type_, status, reason, message in (
        *(_pressure(type_, type_ in pressures) for type_ in _PRESSURES),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        (
            "Ready",
            "True" if ready else "False",
            "KubeletReady" if ready else "KubeletNotReady",
            "petset is ready for pods" if ready else "petset is starting",
        ),
    ):
        condition = {"type": type_, "status": status, "reason": reason, "message": message}
        condition |= {"lastHeartbeatTime": stamp, "lastTransitionTime": stamp}
        conditions = meta.with_condition(conditions, condition)
    return {
        **old,
        "capacity": dict(config.capacity),
        "allocatable": dict(config.allocatable or config.capacity),
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": config.host_ip},
            {"type": "Hostname", "address": config.node_name},
        ],
        "nodeInfo": {
            **{name: config.node_info.get(name, "") for name in _INFO_FIELDS},
            "kernelVersion": config.node_info.get("kernelVersion") or os.uname().release,
            "kubeletVersion": config.node_info.get("kubeletVersion")
            or f"v{'.'.join(petset.KUBERNETES_VERSION)}.0+petset-{petset.__version__}",
            "operatingSystem": "linux",
            "architecture": arch,
        },
        "features": {"supplementalGroupsPolicy": True},
        "runtimeHandlers": [_handler(name, own_users) for name, own_users in config.handlers.items()],
    }


def images(found: Iterable[tuple[Sequence[str], int]]) -> list[dict[str, Any]]:
    """The largest, as a node's status names them."""
    largest = sorted(((-size, list(names)) for names, size in found if names))[:IMAGES_MAX]
    return [{"names": names[:IMAGE_NAMES_MAX], "sizeBytes": -size} for size, names in largest]


def _handler(name: str, own_users: bool) -> dict[str, Any]:
    """A runtime by the name that RuntimeClasses have for it; "" is the usual one."""
    named = {"name": name} if name else {}
    return {**named, "features": {"recursiveReadOnlyMounts": True, "userNamespaces": own_users}}


def _pressure(type_: str, is_there: bool) -> tuple[str, str, str, str]:
    return (type_, "True" if is_there else "False", *_PRESSURES[type_][is_there])


_PRESSURES = {  # (reason, message) when there is none, and when there is some.
    "MemoryPressure": (
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    ),
    "DiskPressure": (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    ),
}


async def register(client: Client, config: NodeConfig) -> Object:
    """The Node, made or brought up to date, not ready yet."""
    arch = architecture()
    labels = node_labels(config, arch)
    spec = {"podCIDR": config.pod_cidr, "podCIDRs": [config.pod_cidr]}
    metadata = {"name": config.node_name, "labels": labels}
    new = {**spec, "taints": list(config.taints)} if config.taints else spec
    try:
        node = await client.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": new})
    except errors.ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        node = await client.get(NODES, config.node_name)
        lacking = {key: value for key, value in labels.items() if meta.labels(node).get(key) != value}
        patch: dict[str, Any] = {"metadata": {"labels": lacking}} if lacking else {}
        if meta.get(node, "spec", "podCIDR") != config.pod_cidr:
            patch["spec"] = spec
        if patch:
            node = await client.patch(NODES, config.node_name, "", patch)
    return await _write_status(client, config, node, False, ())


async def set_ready(client: Client, config: NodeConfig, node: Object, pressures: Sequence[str] = ()) -> Object:
    return await _write_status(client, config, node, True, pressures)


async def _write_status(
    client: Client, config: NodeConfig, node: Object, ready: bool, pressures: Sequence[str]
) -> Object:
    backoff = tasks.Backoff()
    while True:
        wanted = node_status(config, architecture(), ready, node.get("status") or {}, tasks.now(), pressures)
        try:
            return await client.update({**node, "status": wanted}, "status")
        except errors.ApiError as error:
            if error.code != 409:
                raise
        await asyncio.sleep(backoff.next())
        node = await client.get(NODES, config.node_name)


def renewed(lease: Object | None, node: Object, now: float) -> dict[str, Any]:
    """The node's Lease, new or renewed; it goes with the Node as it is now."""
    name = meta.name(node)
    new: Object = lease or {
        "apiVersion": LEASES.api_version,
        "kind": "Lease",
        "metadata": {"name": name, "namespace": NODE_LEASES},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS},
    }
    owner = meta.owner_reference(node, controller=False, block=False)
    new = meta.changed(new, ("metadata", "ownerReferences"), [owner])
    return meta.changed(new, ("spec", "renewTime"), tasks.rfc3339_micro(now))


class Promise:
    """For how long a node's Lease is renewed: from now on as usual, or until when somebody answers for the node."""

    def __init__(self) -> None:
        self._until = 0.0  # Seconds since 1970.
        self._pause: asyncio.Timeout | None = None

    def give(self, until: float) -> None:
        """The node lives until then: the lease says so at once, and is not renewed before."""
        self._until = until
        if self._pause is not None:
            self._pause.reschedule(asyncio.get_running_loop().time())

    def moment(self) -> float:
        """What the lease is renewed for."""
        return max(self._until, tasks.now())

    @contextlib.asynccontextmanager
    async def pause(self, said: float) -> AsyncGenerator[None]:
        """What waits inside ends when the lease, by which the node lives until `said`, is to be renewed."""
        seconds = 0.0 if self._until > said else max(LEASE_RENEW_SECONDS, self._until - tasks.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds) as self._pause:
                try:
                    yield
                finally:
                    self._pause = None


async def renew_lease(
    client: Client,
    config: NodeConfig,
    current: Callable[[], Awaitable[Object]],
    gone: Callable[[Object], Awaitable[None]],
) -> None:
    """Say that the node lives, until cancelled; `current` gives its Node, and waits while there is none.

    `gone` returns when a Lease that was written is there no more: it is made anew at once.
    """
    lease: Object | None = None
    while True:
        node, moment = await current(), config.promise.moment()
        try:
            lease = lease or await _found_lease(client, node)
            write = client.create if lease is None else client.update
            lease = await write(renewed(lease, node, moment))
        except (errors.ApiError, OSError) as error:
            log.warning("cannot renew the lease of node %s: %s", config.node_name, error)
            lease = None
            await asyncio.sleep(LEASE_RENEW_SECONDS)
            continue
        async with config.promise.pause(moment):
            await gone(lease)
            lease = None


async def _found_lease(client: Client, node: Object) -> Object | None:
    try:
        return await client.get(LEASES, meta.name(node), NODE_LEASES)
    except errors.ApiError as error:
        if error.code != 404:
            raise
    return None
