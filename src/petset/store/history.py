"""The latest changes, for watches that begin in the past. Bounded by number and by bytes.

What rests of it is packed (packed.py): oldest first there are `_oldest`, some that were unpacked to go, then the
stretches that rest, then the newest. Who begins to watch within a stretch unpacks it and what is newer.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

from petset.store.packed import Stretches
from petset.store.store import Change, Entry, Expired

DECODED_PAST_BYTES_MAX = 512 << 10  # Of superseded versions, encoded, that keep their decoded tree, for selectors.


class Decoded:
    """Entries that keep their decoded trees for now: the latest, by their encoded bytes."""

    def __init__(self, bytes_max: int):
        self._entries: deque[Entry] = deque()
        self._bytes_max, self._bytes = bytes_max, 0

    def keep(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._bytes += len(entry.encoded)
        while self._bytes > self._bytes_max:
            oldest = self._entries.popleft()
            self._bytes -= len(oldest.encoded)
            oldest.forget()

    def clear(self) -> None:
        for entry in self._entries:
            entry.forget()
        self._entries, self._bytes = deque(), 0


class History:
    def __init__(self, changes_max: int, bytes_max: int):
        self._oldest: deque[Change] = deque()
        self._stretches: deque[Stretches] = deque()  # Of each rest.
        self._newest: deque[Change] = deque()
        self._resting = 0  # Changes in the stretches.
        self._decoded = Decoded(DECODED_PAST_BYTES_MAX)  # Who watches with a selector asks what they were before.
        self._changes_max, self._bytes_max, self._bytes = changes_max, bytes_max, 0

    def __len__(self) -> int:
        return len(self._oldest) + self._resting + len(self._newest)

    def append(self, change: Change) -> None:
        self._newest.append(change)
        self._bytes += change.kept_bytes
        while len(self) > self._changes_max or (self._bytes > self._bytes_max and len(self)):
            self._drop_first()
        if change.previous is not None:
            self._decoded.keep(change.previous)
        if change.type == "DELETED":
            self._decoded.keep(change.entry)

    def forget(self, until: int, newest: int) -> None:
        """Compact away the changes up to a revision."""
        for _ in range(len(self) - (newest - until)):
            self._drop_first()

    def after(self, since: int, newest: int) -> Sequence[Change]:
        """The changes with a greater revision: none yet when it lies in the future. Raises Expired."""
        oldest = newest - len(self)  # Revisions are gap-free.
        if since < oldest:
            raise Expired(f"revision {since} was compacted: the history begins after {oldest}; list again")
        if since >= newest:
            return ()
        while self._stretches and newest - len(self._newest) > since:
            self._unpack(self._stretches[-1].take_last(), self._newest)
        begin = newest - len(self._newest)
        if since >= begin:
            return list(itertools.islice(self._newest, since - begin, None))
        return [*itertools.islice(self._oldest, since - oldest, None), *self._newest]

    def resting(self) -> Sequence[Change]:
        """Those to be packed in stretches."""
        self._decoded.clear()
        return list(self._newest)

    def settle(self, stretches: Stretches) -> None:
        """What was to be packed is, and takes its place, but for what has gone since."""
        kept = 0
        for first, count in stretches:
            oldest = self._newest[0].revision if self._newest else first + count
            if first + count <= oldest:
                stretches.skip()
            elif first < oldest:  # Nothing older is left.
                self._oldest.extend(self._newest.popleft() for _ in range(first + count - oldest))
                stretches.skip()
            elif first == oldest:
                kept += count
                for _ in range(count):
                    self._newest.popleft()
            else:  # Somebody began to watch before it: it is not the oldest any more.
                return
        if kept:
            self._stretches.append(stretches)
            self._resting += kept
            self._newest = deque(self._newest)

    def _drop_first(self) -> None:
        if not self._oldest and self._stretches:
            self._unpack(self._stretches[0].take_first(), self._oldest)
        self._bytes -= (self._oldest or self._newest).popleft().kept_bytes

    def _unpack(self, changes: Sequence[Change], before: deque[Change]) -> None:
        before.extendleft(reversed(changes))
        self._resting -= len(changes)
        self._stretches = deque(one for one in self._stretches if len(one))
