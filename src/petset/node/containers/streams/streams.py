"""Exec, attach, logs and ports of this node's containers: NodeStreams on real processes.

Back-pressure is the kernel's: a descriptor is read only when somebody waits for output, so a slow client makes the
process wait.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from petset.node.containers import attempts, logs
from petset.node.containers.records import ContainerRecord
from petset.node.containers.streams import ports
from petset.node.containers.streams.attach import Attach
from petset.node.containers.streams.exec import Exec
from petset.wire.streaming import ExecOptions, LogOptions, PortConnection, Session, StreamError


@dataclass(frozen=True, slots=True)
class Found:
    record: ContainerRecord
    directory: Path


class Streams:
    """NodeStreams over what `find` knows: (pod uid, container, previous) -> the attempt, or None."""

    def __init__(
        self,
        tools: Callable[[], attempts.Tools],
        find: Callable[[str, str, bool], Found | None],
        watcher: logs.Watcher,
        network_of: Callable[[str], Path | None],
    ):
        """`network_of` a pod's uid: where its network namespace is pinned; raises StreamError."""
        self._tools, self._find, self._watcher, self._network_of = tools, find, watcher, network_of
        self._count = 0

    async def exec(self, pod_uid: str, container: str, options: ExecOptions) -> Session:
        found = self._running(pod_uid, container)
        if not options.command:
            raise StreamError(400, "cannot run a command: none was given; name it after --")
        self._count += 1
        session = Exec(found.directory, f"exec-{os.getpid()}-{self._count}", options, found.record.users)
        await session.start(self._tools().of(found.record), found.record.id)
        return session

    async def attach(self, pod_uid: str, container: str, options: ExecOptions) -> Session:
        found = self._running(pod_uid, container)
        session = Attach(found.directory, options, found.record)
        session.start()
        return session

    async def logs(self, pod_uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        found = self._find(pod_uid, container, options.previous)
        if found is None:
            if options.previous:
                raise StreamError(400, f'previous terminated container "{container}" in pod "{pod_uid}" not found')
            raise StreamError(400, f'container "{container}" in pod "{pod_uid}" is waiting to start')
        attempt = found.record.attempt

        def has_ended() -> bool:
            now = self._find(pod_uid, container, options.previous)
            return now is None or now.record.attempt != attempt or now.record.state == "exited"

        try:
            async with contextlib.aclosing(
                logs.read(found.record.log_path, options, self._watcher, has_ended)
            ) as pieces:
                async for piece in pieces:
                    yield piece
        except FileNotFoundError:
            raise StreamError(404, f'the log of container "{container}" is no longer there') from None
        except ValueError as error:
            raise StreamError(400, f"cannot read the log: {error}") from None

    async def connect(self, pod_uid: str, port: int) -> PortConnection:
        return await ports.connect(self._network_of(pod_uid), port)

    def _running(self, pod_uid: str, container: str) -> Found:
        found = self._find(pod_uid, container, False)
        if found is None:
            raise StreamError(404, f'container not found ("{container}")')
        if found.record.state != "running":
            raise StreamError(500, f'cannot reach container "{container}": it is not running')
        return found
