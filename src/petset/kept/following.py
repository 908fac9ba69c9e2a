"""The stream of StoredPetSets: a list, then a watch from there for ever; whoever keeps a picture of them is told.

A watch that ends or breaks is resumed from the last revision that it told; one that is silent for longer than the
cluster's bookmarks are apart, or of which somebody knows that it owes him a change, is begun anew as well. One that
answers 410 leads to a new list: what was between is not known, and the picture begins anew with it.

Invariants: between two lists every change is told, in the order of revisions, none twice; `revision` never says more
than was told; nothing polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Protocol

from petset.base import tasks
from petset.client.client import Client
from petset.kinds.stored_pet_set import STORED_PETSETS
from petset.objects import errors
from petset.objects.meta import Object

log = logging.getLogger("petset.kept")

LIST_SECONDS_MAX = 60.0
SILENT_SECONDS_MAX = 150.0  # Bookmarks come every minute: without one for so long the connection may be dead.
RECONNECT_SECONDS_MAX = 5.0


class Picture(Protocol):
    """Who is told."""

    def begun(self, stored: Sequence[Object], revision: int) -> None:
        """These are all there are at this revision."""
        ...

    def changed(self, type_: str, stored: Object) -> None:
        """ADDED, MODIFIED or DELETED; the object's resourceVersion is the change's."""
        ...

    def reached(self, revision: int) -> None:
        """Everything up to here was told."""
        ...


class Following:
    def __init__(self, client: Client, namespace: str, picture: Picture):
        self._client, self._namespace, self._picture = client, namespace, picture
        self._silence: asyncio.Timeout | None = None  # Of the watch that is open.
        self.revision = 0  # Up to which everything was told; 0: nothing was.
        self.heard = 0.0  # When the cluster last said something, by the loop's clock.
        self.trouble = "the cluster has not listed its StoredPetSets yet"  # "" while a watch is open,
        self.lost_at = 0.0  # else since when.
        self.lists = self.watches = 0

    async def run(self) -> None:
        """Tell the picture until cancelled."""
        backoff = tasks.Backoff(first=0.05, most=RECONNECT_SECONDS_MAX)
        while True:
            try:
                if not self.revision:
                    await self._list()
                await self._watch(backoff)
                self._lose("the cluster ended the watch of StoredPetSets")
            except errors.ApiError as error:
                if error.code == 410:
                    self.revision = 0
                self._lose(f"cannot follow StoredPetSets: {error.message}")
            except OSError as error:  # TimeoutError is one.
                self._lose(f"cannot follow StoredPetSets: {error or 'the cluster said nothing for too long'}")
            log.info("%s", self.trouble)
            await asyncio.sleep(backoff.next())

    def _lose(self, why: str) -> None:
        if not self.trouble:
            self.lost_at = asyncio.get_running_loop().time()
        self.trouble = why

    def _open(self) -> None:
        self.trouble = ""
        self._hear()

    def begin_list_anew(self) -> None:
        """The cluster's revisions have gone back: it is not the one that it was."""
        self.revision = 0
        self.begin_watch_anew()

    def begin_watch_anew(self) -> None:
        """Somebody knows of a change that it should have told long ago."""
        if self._silence is not None and not self._silence.expired():  # It is about to.
            self._silence.reschedule(asyncio.get_running_loop().time())

    async def _list(self) -> None:
        async with asyncio.timeout(LIST_SECONDS_MAX):
            items, revision = await self._client.list(STORED_PETSETS, self._namespace)
        self.lists += 1
        self._hear()
        self._picture.begun(items, int(revision))
        self.revision = int(revision)

    async def _watch(self, backoff: tasks.Backoff) -> None:
        self.watches += 1
        stream = self._client.watch(STORED_PETSETS, self._namespace, str(self.revision), opened=self._open)
        loop = asyncio.get_running_loop()
        async with contextlib.aclosing(stream) as events, asyncio.timeout(SILENT_SECONDS_MAX) as silence:
            self._silence = silence
            try:
                async for type_, obj in events:
                    silence.reschedule(loop.time() + SILENT_SECONDS_MAX)
                    backoff.reset()
                    self._hear()
                    revision = int(obj["metadata"]["resourceVersion"])
                    if (
                        revision <= self.revision or not self.revision
                    ):  # A watch that was resumed may tell the last one again.
                        continue
                    if type_ == "BOOKMARK":
                        self._picture.reached(revision)
                    else:
                        self._picture.changed(type_, obj)
                    self.revision = revision
                    del obj  # While it waits for the next one.
            finally:
                self._silence = None

    def _hear(self) -> None:
        self.heard = asyncio.get_running_loop().time()
