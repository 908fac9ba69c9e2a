"""The store's model: the same behaviour with nothing kept.

The simulation runs on it, tests use it, and the one on disk is tested against it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from petset.store import core


class MemoryStore(core.Core):
    """A store in memory alone; every batch is committed at once. It may begin with what another one has."""

    def __init__(self, like: core.Core | None = None, **limits: int):
        super().__init__(**limits)
        if like is not None:
            revision, entries = like.list("")
            self._restore(entries, revision)

    def _commit(self, batch: Sequence[core.Write]) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done
