"""Writes one pod's status to the API, always the newest wanted, one write at a time.

`want` is told every status that is worked out; what changes while a write is under way is written together after it.
There is a task only while something is to be written: most pods rest most of the time, and there are many of them.
A conflict means that somebody else wrote the pod: it is read again, handed to the owner, and the owner's next turn
works the status out anew from it.

Invariants: a slow API never holds up the pod's containers; nothing is written that the API already has; a pod of the
same name but another uid is never written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from petset.base import tasks
from petset.client.client import Client
from petset.kinds.pod import PODS
from petset.objects import errors, meta
from petset.objects.meta import Object

log = logging.getLogger("petset.node")

RETRY_SECONDS_MAX = 10.0


class Owner(Protocol):
    pod: Object

    def update(self, pod: Object) -> None: ...

    def set_gone(self) -> None: ...


Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


class Reporter:
    def __init__(self, client: Client, owner: Owner, spawn: Spawn, writing: asyncio.Semaphore):
        """`writing`: of all pods of the node, so many write at once."""
        self._client, self._owner, self._spawn, self._writing = client, owner, spawn, writing
        self._uid = meta.uid(owner.pod)
        self._is_due = False
        self._task: asyncio.Task[None] | None = None
        self._written: Object | None = None  # By this process; None: whatever the API has.
        self.wanted: Object | None = None

    def want(self, status: Object) -> None:
        if status != self.wanted:
            self.wanted = status
        if status != (self._written if self._written is not None else self._owner.pod.get("status")):
            self._is_due = True
            if self._task is None:
                self._task = self._spawn(self._report(), f"report {meta.key(self._owner.pod)}")

    def forget(self) -> None:
        """The API's status is no longer what was written last."""
        self._written = None

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _report(self) -> None:
        backoff = tasks.Backoff(first=0.05, most=RETRY_SECONDS_MAX)
        try:
            while self._is_due:
                try:
                    async with self._writing:
                        self._is_due = False
                        if self.wanted is not None and self.wanted != self._written:
                            await self.write(self.wanted)
                            backoff.reset()
                except (errors.ApiError, OSError) as error:
                    if isinstance(error, errors.ApiError) and error.code == 404:
                        continue  # The watch will say that it is gone.
                    log.info("cannot report the status of pod %s: %s", meta.key(self._owner.pod), error)
                    await asyncio.sleep(backoff.next())
                    self._is_due = True
        finally:
            self._task = None

    async def write(self, status: Object) -> None:
        """Once, now. Raises ApiError, OSError; a conflict is not an error but a reason to look again."""
        pod = self._owner.pod
        try:
            answer = await self._client.update({**pod, "status": status}, "status")
        except errors.ApiError as error:
            if error.code != 409:
                raise
            fresh = await self._client.get(PODS, meta.name(pod), meta.namespace(pod))
            self._written = None
            if meta.uid(fresh) == self._uid:
                self._owner.update(fresh)
            else:
                self._owner.set_gone()
            return
        # An answer that comes late says nothing about what somebody else has written since.
        is_latest = meta.revision(answer) >= meta.revision(self._owner.pod)
        self._owner.update(answer)
        if answer.get("status") == status:  # The same, and one for both.
            status = answer["status"]
            self.wanted = status if self.wanted == status else self.wanted
        self._written = status if is_latest else None
