"""Carries out the copies of volumes: takes and removes snapshots, restores and clones, tells how far a long one is.

What takes long runs in a program of its own (`Directories`, which node/volumes/hostpath.py is); here its outcome is
written: a content's status, events of the claim. A failure is in the content's status, and tried again after the
key's back-off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from petset.base import tasks
from petset.client.client import Client
from petset.client.events import Recorder
from petset.controllers.runner import Perform
from petset.controllers.storage import snapshots, sources
from petset.objects import meta
from petset.objects.meta import Object

Told = Callable[[int], Awaitable[None]]  # How many bytes are copied.


class Directories(Protocol):
    """Copies of directories below the instance's own. Each raises OSError, and may be asked for again at any time."""

    async def take_snapshot(self, path: str, handle: str, restore_bytes: int, pods: Sequence[str], told: Told) -> None:
        """Keep a volume's directory under a handle, while these pods stand still; one that is there stays as it is."""
        ...

    async def snapshot(self, handle: str) -> tuple[int, int]:
        """(nanoseconds since 1970 when it was taken, the bytes that a volume of it must have)."""
        ...

    async def remove_snapshot(self, handle: str) -> None: ...

    async def restore(self, handle: str, path: str, wanted_bytes: int, told: Told) -> None:
        """Make a volume's directory, for so many bytes, of a snapshot."""
        ...

    async def clone(self, source: str, path: str, wanted_bytes: int, pods: Sequence[str], told: Told) -> None: ...


def performing(client: Client, directories: Directories) -> Mapping[type, Perform]:
    recorder = Recorder(client, "persistentvolume-controller")

    def telling(about: Object, reason: str, what: str) -> Told:
        async def told(done: int) -> None:
            await recorder.record(about, "Normal", reason, f"{what}: {done / 2**20:.0f}Mi are copied")

        return told

    async def take(action: snapshots.TakeSnapshot) -> None:
        handle = snapshots.handle_of(action.content)
        told = telling(action.content, "SnapshotProgress", f"Taking {meta.name(action.content)}")
        work = directories.take_snapshot(action.path, handle, action.restore_bytes, action.pods, told)
        await _say_error(client, action.content, work)
        await _say_ready(client, action.content, handle, await directories.snapshot(handle))

    async def find(action: snapshots.FindSnapshot) -> None:
        handle = snapshots.handle_of(action.content)
        found = await _say_error(client, action.content, directories.snapshot(handle))
        await _say_ready(client, action.content, handle, found)

    async def remove(action: snapshots.RemoveSnapshot) -> None:
        await directories.remove_snapshot(action.handle)

    async def copy(action: sources.CopyVolume) -> None:
        told = telling(action.claim, "ProvisioningProgress", f"Copying into {action.path.rpartition('/')[2]}")
        if action.from_snapshot:
            await directories.restore(action.from_snapshot, action.path, action.wanted_bytes, told)
        else:
            await directories.clone(action.from_path, action.path, action.wanted_bytes, action.pods, told)

    return {
        snapshots.TakeSnapshot: take,
        snapshots.FindSnapshot: find,
        snapshots.RemoveSnapshot: remove,
        sources.CopyVolume: copy,
    }


async def _say_ready(client: Client, content: Object, handle: str, found: tuple[int, int]) -> None:
    created, size = found
    status = {"snapshotHandle": handle, "creationTime": created, "restoreSize": size, "readyToUse": True}
    await client.update({**content, "status": status}, "status")


async def _say_error(client: Client, content: Object, work: Awaitable[Any]) -> Any:
    try:
        return await work
    except OSError as error:
        why = f"Failed to check and update snapshot content: {error}"
        said = meta.get(content, "status", "error", "message")
        if said != why:
            failed = {"message": why, "time": tasks.rfc3339(tasks.now())}
            status = {**meta.part(content, "status"), "readyToUse": False, "error": failed}
            await client.update({**content, "status": status}, "status")
        raise
