"""Writes one pod's status to the API, always the newest wanted, one write at a time.

`want` is told every status that is worked out; what changes while a write is under way is written together after it.
A conflict means that somebody else wrote the pod: it is read again, handed to the owner, and the owner's next turn
works the status out anew from it.

Invariants: a slow API never holds up the pod's containers; nothing is written that the API already has; a pod of the
same name but another uid is never written.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

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


class Reporter:
    def __init__(self, client: Client, owner: Owner):
        self._client, self._owner = client, owner
        self._uid = meta.uid(owner.pod)
        self._due = asyncio.Event()
        self._written: Object | None = None  # By this process; None: whatever the API has.
        self.wanted: Object | None = None

    def want(self, status: Object) -> None:
        self.wanted = status
        if status != (self._written if self._written is not None else self._owner.pod.get("status")):
            self._due.set()

    def forget(self) -> None:
        """The API's status is no longer what was written last."""
        self._written = None

    async def run(self) -> None:
        backoff = tasks.Backoff(first=0.05, most=RETRY_SECONDS_MAX)
        while True:
            await self._due.wait()
            self._due.clear()
            if self.wanted is None or self.wanted == self._written:
                continue
            try:
                await self.write(self.wanted)
                backoff.reset()
            except (errors.ApiError, OSError) as error:
                if isinstance(error, errors.ApiError) and error.code == 404:
                    continue  # The watch will say that it is gone.
                log.info("cannot report the status of pod %s: %s", meta.key(self._owner.pod), error)
                await asyncio.sleep(backoff.next())
                self._due.set()

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
        self._written = status if is_latest else None
