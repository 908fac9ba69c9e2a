"""The stream of StoredPetSets, as client/informer.py lists and watches; whoever keeps a picture of them is told.

A watch that is silent for longer than the cluster's bookmarks are apart, or of which somebody knows that it owes him a
change, is begun anew like one that has ended. After a new list what was between is not known, and the picture begins
anew with it.

Invariants: between two lists every change is told, in the order of revisions, none twice; `revision` never says more
than was told; nothing polls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from petset.base import tasks
from petset.client.client import Client
from petset.client.informer import Reflector
from petset.kinds.stored_pet_set import STORED_PETSETS
from petset.objects import meta
from petset.objects.meta import Object

log = logging.getLogger("petset.kept")

LIST_SECONDS_MAX = 60.0
SILENT_SECONDS_MAX = 150.0  # Bookmarks come every minute: without one for so long the connection may be dead.


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


class Following(Reflector):
    def __init__(self, client: Client, namespace: str, picture: Picture):
        super().__init__(client, STORED_PETSETS, namespace)
        self._picture = picture
        self._silence: asyncio.Timeout | None = None  # Of the watch that is open.
        self.heard = 0.0  # When the cluster last said something, by the loop's clock.
        self.trouble = "the cluster has not listed its StoredPetSets yet"  # "" while a watch is open,
        self.lost_at = 0.0  # else since when.
        self.lists = self.watches = 0

    def begin_list_anew(self) -> None:
        """The cluster's revisions have gone back: it is not the one that it was."""
        self.revision = ""
        self.begin_watch_anew()

    def begin_watch_anew(self) -> None:
        """Somebody knows of a change that it should have told long ago."""
        if self._silence is not None and not self._silence.expired():  # It is about to.
            self._silence.reschedule(asyncio.get_running_loop().time())

    async def _read_all(self) -> None:
        async with asyncio.timeout(LIST_SECONDS_MAX):
            items, revision = await self._client.list(STORED_PETSETS, self._namespace)
        self.lists += 1
        self._hear()
        self._picture.begun(items, int(revision))
        self.revision = revision

    async def _follow(self, backoff: tasks.Backoff) -> None:
        self.watches += 1
        async with asyncio.timeout(SILENT_SECONDS_MAX) as self._silence:
            try:
                await super()._follow(backoff)
            finally:
                self._silence = None
        self._say("the cluster ended the watch of StoredPetSets")

    def _told(self, type_: str, obj: Object) -> None:
        if self._silence is not None:
            self._silence.reschedule(asyncio.get_running_loop().time() + SILENT_SECONDS_MAX)
        self._hear()
        revision = meta.revision(obj)
        if not self.revision or revision <= int(self.revision):  # One that was resumed may tell the last one again.
            return
        if type_ == "BOOKMARK":
            self._picture.reached(revision)
        else:
            self._picture.changed(type_, obj)
        self.revision = str(revision)

    def _opened(self) -> None:
        self.trouble = ""
        self._hear()

    def _lose(self, why: str) -> None:
        self._say(f"cannot follow StoredPetSets: {why or 'the cluster said nothing for too long'}")

    def _say(self, trouble: str) -> None:
        if not self.trouble:
            self.lost_at = asyncio.get_running_loop().time()
        self.trouble = trouble
        log.info("%s", trouble)

    def _hear(self) -> None:
        self.heard = asyncio.get_running_loop().time()
