"""What an earlier petset left on this machine, made true: records say what is, and nothing is that no record speaks of.

`read_all` looks through the directories of all pods. What still runs is adopted; what ended meanwhile gets its end,
from conmon's file where there is one; what a crash left half-made, or half-removed, is taken away. After a reboot
nothing is alive, whatever the records say. All of it blocks.

Invariants: what is adopted runs under its own conmon; to look twice changes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from petset.base import tasks, user_ids
from petset.node import linux
from petset.node.containers import attempts, pause, records
from petset.node.containers.attempts import Tools
from petset.node.containers.records import ContainerRecord, SandboxRecord

# The sandbox, whether it is alive, and the attempts of its containers.
Found = tuple[SandboxRecord | None, bool, list[ContainerRecord]]


def read_all(node: Path, tools: Tools, boot_id: str) -> dict[str, Found]:
    """What is left of each pod, by its uid."""
    mounted = dict.fromkeys(linux.mount_points(str(node)))
    found: dict[str, Found] = {}
    for directory in sorted(_directories(node / "pods")):
        sandbox = records.read_sandbox(directory / "sandbox")
        alive = (
            sandbox is not None
            and sandbox.boot_id == boot_id
            and all(str(directory / "sandbox" / kind) in mounted for kind in sandbox.kinds)
            and (sandbox.pause is None or sandbox.pause.alive())
        )
        if sandbox is not None and alive and sandbox.users:
            user_ids.hold(sandbox.users, directory / "sandbox")
        tries = [
            record
            for name in sorted(_directories(directory / "containers"))
            for attempt in sorted(_directories(name), key=lambda one: int(one.name))
            if (record := adopted(tools, attempt, boot_id)) is not None
        ]
        if sandbox is None:
            pause.stop(tools, directory.name)
            attempts.unmount_and_remove(directory / "sandbox")  # petset ended while it was being made.
        if sandbox is not None or tries:
            found[directory.name] = (sandbox, alive, tries)
        else:
            attempts.remove_pod(directory)  # Or while it was being taken away.
    return found


def _directories(path: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        with os.scandir(path) as entries:
            yield from [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


def adopted(tools: Tools, directory: Path, boot_id: str) -> ContainerRecord | None:
    """One attempt as it is now; None when it never ran and is gone."""
    record = records.read_container(directory)
    if record is None:
        attempts.unmount_and_remove(directory)
        return None
    if record.state == "exited":
        if record.boot_id == boot_id:
            attempts.clean(tools, directory, record)  # petset may have ended before it could.
        return record
    if record.boot_id != boot_id:
        ended = attempts.end(tools, directory, record)
        ended = ended or attempts.lost(directory, record)
        attempts.clean(tools, directory, ended)
        return ended
    alive = record.conmon is not None and record.conmon.alive()
    if record.conmon is not None and not alive:
        linux.reap(record.conmon.pid)
    if alive and (record.state == "running" or attempts.has_started(tools, record)):
        adopted = dataclasses.replace(record, state="running", started_at=record.started_at or tasks.now())
        if adopted != record:
            records.write(directory, adopted)
        return adopted
    if record.state == "created":
        attempts.destroy(tools, directory, record)
        attempts.remove(directory, record)
        return None
    ended = attempts.end(tools, directory, record)
    ended = ended or attempts.abandon(tools, directory, record, attempts.EXIT_CODE_KILLED)
    attempts.clean(tools, directory, ended)
    return ended
