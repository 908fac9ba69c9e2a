"""A prefix of the store, decoded and brought up to date without waiting, just before each look.

Access rules and the node's references are asked for in every request and change seldom. A `LiveView` keeps a store
watch that nobody awaits: `refresh` takes the changes that wait (usually none), so there is no task to own, and a
decision is never older than the newest committed write. When the watch has fallen behind, the view is read anew.
"""

from __future__ import annotations

import contextlib

from petset.objects.meta import Object
from petset.store import store as stores


class LiveView:
    def __init__(self, store: stores.Store, prefix: str):
        self.objects: dict[str, Object] = {}  # By key.
        self._store, self._prefix = store, prefix
        self._opened: contextlib.ExitStack | None = None
        self._watch: stores.Watch | None = None
        self._seen_revision = -1

    def refresh(self) -> bool:
        """Bring `objects` up to date; True when something changed."""
        if self._seen_revision == self._store.revision:
            return False
        if self._watch is None:
            return self._read_anew()
        try:
            self._seen_revision = self._store.revision
            changes = self._watch.pending()
        except stores.Expired:
            return self._read_anew()
        for change in changes:
            if change.type == "DELETED":
                self.objects.pop(change.entry.key, None)
            else:
                self.objects[change.entry.key] = change.entry.object
        return bool(changes)

    def _read_anew(self) -> bool:
        self.close()
        revision, entries = self._store.list(self._prefix)
        self.objects = {entry.key: entry.object for entry in entries}
        self._opened = contextlib.ExitStack()
        self._watch = self._opened.enter_context(self._store.watch(self._prefix, revision))
        self._seen_revision = revision
        return True

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = self._watch = None
            self._seen_revision = -1
