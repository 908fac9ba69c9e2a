"""The latest changes of a store whose revisions have gaps, for watches that begin in the past."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from petset.store.history import DECODED_PAST_BYTES_MAX, Decoded
from petset.store.store import Change, Expired


class Past:
    """It is complete after `begin`, and bounded by number and by bytes."""

    def __init__(self, changes_max: int, bytes_max: int):
        self._changes: deque[Change] = deque()
        self._changes_max, self._bytes_max, self._bytes = changes_max, bytes_max, 0
        self._decoded = Decoded(DECODED_PAST_BYTES_MAX)  # Who watches with a selector asks what they were before.
        self.begin = 0

    def __len__(self) -> int:
        return len(self._changes)

    def begin_anew(self, revision: int) -> None:
        """Nothing is known of what was between."""
        self._changes.clear()
        self._decoded.clear()
        self._bytes, self.begin = 0, revision

    def append(self, change: Change) -> None:
        self._changes.append(change)
        self._bytes += change.kept_bytes
        while len(self._changes) > self._changes_max or self._bytes > self._bytes_max:
            oldest = self._changes.popleft()
            self._bytes -= oldest.kept_bytes
            self.begin = oldest.revision
        if change.previous is not None:
            self._decoded.keep(change.previous)
        if change.type == "DELETED":
            self._decoded.keep(change.entry)

    def after(self, since: int, newest: int) -> Sequence[Change]:
        """The changes with a greater revision: none yet when it lies in the future. Raises Expired."""
        if since < self.begin:
            raise Expired(f"revision {since} was compacted: the history begins after {self.begin}; list again")
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.revision <= since:
                break
            found.append(change)
        return found[::-1]
