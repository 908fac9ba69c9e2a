"""All controllers in one task group over one set of caches.

`run_controllers` makes the table, one informer a kind and one runner a row; it ends when it is cancelled, or when one
of them fails. Each runner waits until all caches are filled before its first look.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from petset.base import pki, tasks, telemetry, well_known
from petset.client.client import Client
from petset.client.views import Informers
from petset.controllers import (
    actions,
    aggregation,
    certificates,
    ephemeral_volumes,
    flow_control,
    garbage,
    namespaces,
    nodes,
    policies,
    quotas,
    runner,
    serviceaccounts,
)
from petset.controllers.autoscaling import autoscaler, looking
from petset.controllers.disruptions import budget, targets
from petset.controllers.jobs import cron_job, job, leftovers
from petset.controllers.pets import petset
from petset.controllers.services import addresses, endpoints, load_balancers, mirroring, slices
from petset.controllers.storage import (
    copying,
    provisioning,
    reclaim,
    snapshot_kinds,
    snapshots,
    sources,
    volumes,
)
from petset.controllers.workloads import daemons, deployment, replicas
from petset.kinds import builtin, storage_class, volume_snapshots
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kinds

log = logging.getLogger("petset.controllers")


class HostPath(copying.Directories, Protocol):
    """Makes and removes the directories of volumes; cluster.py hands it in."""

    async def begin(self) -> None: ...

    async def make(self, path: str, wanted_bytes: int) -> None: ...

    async def remove(self, path: str) -> None: ...

    async def resize(self, path: str, wanted_bytes: int) -> None: ...

    async def free_bytes(self) -> int: ...


def table(
    settings: provisioning.Settings,
    ca_pem: str,
    started: float,
    signs: bool,
    silence: float = nodes.NODE_LEASE_SECONDS_MAX,
) -> tuple[runner.Controller, ...]:
    """Every controller there is."""
    return (
        *petset.CONTROLLERS,
        *replicas.CONTROLLERS,
        *deployment.CONTROLLERS,
        *daemons.CONTROLLERS,
        *job.CONTROLLERS,
        *cron_job.CONTROLLERS,
        *leftovers.CONTROLLERS,
        *endpoints.CONTROLLERS,
        *slices.CONTROLLERS,
        *mirroring.CONTROLLERS,
        *addresses.CONTROLLERS,
        *load_balancers.CONTROLLERS,
        *volumes.controllers(settings),
        *ephemeral_volumes.CONTROLLERS,
        *reclaim.controllers(settings),
        *sources.controllers(settings),
        *snapshots.controllers(settings),
        *aggregation.CONTROLLERS,
        *garbage.controllers(),
        *namespaces.CONTROLLERS,
        *serviceaccounts.controllers(ca_pem),
        *nodes.controllers(started, silence),
        *quotas.CONTROLLERS,
        *certificates.controllers(signs),
        *policies.CONTROLLERS,
        *budget.CONTROLLERS,
        *targets.CONTROLLERS,
        *flow_control.CONTROLLERS,
        *autoscaler.controllers(),
    )


async def run_controllers(
    client: Client,
    *,
    hostpath: HostPath | None,
    volumes_directory: str,
    ca_pem: str,
    authority: pki.Authority | None = None,
    informers: Informers | None = None,
    metrics: telemetry.Telemetry | None = None,
    silence: float | None = None,
    snapshots_too: bool = False,
    but: Sequence[str] = (),
) -> None:
    """Run them all until cancelled. Without `hostpath` the hostPath provisioner is off, without `authority` signing.

    `snapshots_too`: make the kinds of snapshots, where they are not there. `but`: those that run elsewhere, by name.
    """
    settings = provisioning.Settings(volumes_directory, provisions=hostpath is not None)
    caches = informers or Informers(client)
    perform: dict[type, runner.Perform] = {
        **certificates.performing(client, authority),
        **policies.performing(client),
        **looking.performing(client),
    }
    if hostpath is not None:
        perform |= {**_directories(hostpath), **copying.performing(client, hostpath)}
        await hostpath.begin()
    rows = table(
        settings, ca_pem, tasks.now(), signs=authority is not None, silence=silence or nodes.NODE_LEASE_SECONDS_MAX
    )
    off = [kind for kind in builtin.KINDS if kind not in client.kinds.now]  # What this cluster has not.
    rows = [row for row in rows if row.name not in but and not any(kind in off for kind, _ in row.watches)]
    runners = [runner.Runner(client, caches, row, perform) for row in rows]
    if metrics is not None:
        metrics.source(lambda: itertools.chain.from_iterable(one.samples() for one in runners))
    async with asyncio.TaskGroup() as group:
        tasks.spawn(group, caches.run(), "informers")
        for one in runners:
            tasks.spawn(group, one.run(), f"controller {one.name}")
        if settings.provisions:
            tasks.spawn(group, _ensure_standard_class(client), "the standard storage class")
        if snapshots_too and settings.provisions:
            tasks.spawn(group, _ensure_snapshots(client), "the kinds of snapshots")


def _directories(hostpath: HostPath) -> dict[type, runner.Perform]:
    async def make(action: actions.MakeDirectory) -> actions.EmitEvent | None:
        await hostpath.make(action.path, action.wanted_bytes)
        event = action.on_little_room
        if event is None or (free := await hostpath.free_bytes()) >= action.wanted_bytes:
            return None
        return replace(event, message=event.message.replace("{room}", f"{free / 2**30:.1f}Gi"))

    async def remove(action: actions.RemoveDirectory) -> None:
        await hostpath.remove(action.path)

    async def resize(action: actions.Resize) -> None:
        await hostpath.resize(action.path, action.wanted_bytes)

    return {actions.MakeDirectory: make, actions.RemoveDirectory: remove, actions.Resize: resize}


async def _ensure_standard_class(client: Client) -> None:
    """Make the default class, once; whoever deletes or changes it meanwhile is right."""

    async def once() -> None:
        try:
            if not await _create_once(client, provisioning.standard_class()):
                await _let_it_grow(client)
        except errors.ApiError as error:  # Of a class that was deleted meanwhile, it is right.
            if error.is_temporary or error.reason == "Conflict":
                raise ConnectionError(error.message) from error
            log.info("cannot let the standard storage class grow: %s", error.message)

    await tasks.retrying("create the standard storage class", once, OSError)


async def _ensure_snapshots(client: Client) -> None:
    """Make the kinds of snapshots and, with them, their class; those that somebody brought are left as they are."""

    async def once() -> None:
        made = [await _create_once(client, one) for one in volume_snapshots.definitions()]
        is_served = asyncio.Event()

        def look(kinds: Kinds) -> None:
            if snapshot_kinds.of(kinds, volume_snapshots.CLASSES) is not None:
                is_served.set()

        with client.kinds.following(look):
            look(client.kinds.now)
            await is_served.wait()
        if any(made):
            await _create_once(client, snapshot_kinds.standard_class())

    await tasks.retrying("create the kinds of snapshots", once, OSError)


async def _create_once(client: Client, obj: Object) -> bool:
    """Whether it was made now. Raises ConnectionError when it is to be tried again."""
    try:
        await client.create(obj)
    except errors.ApiError as error:
        if error.is_temporary:
            raise ConnectionError(error.message) from error
        if error.reason != "AlreadyExists":
            log.warning("cannot create the %s %s: %s", obj["kind"], meta.name(obj), error.message)
        return False
    return True


async def _let_it_grow(client: Client) -> None:
    """The class that an earlier petset made said nothing of growth, and its volumes grew."""
    made = await client.get(STORAGECLASSES, storage_class.STANDARD)
    is_ours = made.get("provisioner") == well_known.HOST_PATH_PROVISIONER
    if is_ours and made.get("allowVolumeExpansion") is None:
        await client.patch(STORAGECLASSES, meta.name(made), "", {"allowVolumeExpansion": True})
