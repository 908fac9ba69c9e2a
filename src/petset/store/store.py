"""What a store is: eight methods over (key, object) with one revision for all, which only ever grows.

Keys are `registry.Kind.key(namespace, name)`: "/<group or core>/<plural>/<namespace>/<name>" (cluster-scoped:
no namespace segment), so a prefix names a kind or a kind in a namespace. The store sets metadata.resourceVersion to
the write's revision and encodes the object once (orjson); lists, gets and watches hand out those bytes.

Invariants: a write is acknowledged (its future returns) and becomes visible to reads and watches only after its
commit; each change has a revision of its own, greater than those before (in a store of our own the next one; where a
cluster keeps the objects, other kinds take revisions between, and `revision` may grow without a change); conflicts are
judged against the newest accepted write, committed or not; a watch from revision r, be it in the future, yields every
change with a greater revision, in order, none twice, or raises Expired; a watcher whose buffer is full is ended with
Expired, never waited for.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from petset.objects import encoding, sharing
from petset.objects.meta import Object

WATCH_BUFFER_EVENTS_MAX = 4096  # A watcher that has this many changes waiting is ended with Expired,
WATCH_BUFFER_BYTES_MAX = 8 << 20  # and one whose changes hold more encoded objects than this.
WATCHES_BYTES_MAX = 64 << 20  # Of what waits for all watches, each change once; who is furthest behind is ended.
HISTORY_CHANGES_MAX = 20_000  # Older changes are compacted away; a watch from before answers Expired.
HISTORY_BYTES_MAX = 8 << 20  # Of encoded objects in the history, as they were and became; older changes go first.


OWN_REFERENCES = 2  # That sys.getrefcount counts of what one attribute alone holds.


class Conflict(Exception):
    """The key is not at the revision the write expected; `current` is where it is (0: absent)."""

    def __init__(self, key: str, expected: int, current: int):
        super().__init__(f"{key}: expected revision {expected}, is at {current}")
        self.key, self.expected, self.current = key, expected, current


class Expired(Exception):
    """The revision asked for is no longer in the history, or the watcher fell behind: list again."""


class Unavailable(Exception):
    """It could not be done (disk full, I/O error, a cluster that does not answer); of a write nothing is visible.

    `advice` is what who asked for it may do.
    """

    def __init__(self, why: str, advice: str = "free space in the state directory and retry"):
        super().__init__(why)
        self.advice = advice


class Unknown(Unavailable):
    """Whether the write was made, or will be, cannot be told; who cares reads again."""

    def __init__(self, why: str, advice: str = "it may have been done: read again"):
        super().__init__(why, advice)


class TooLarge(Exception):
    """The object is larger than what keeps it takes; the message says how large it may be."""


class CannotOpen(Exception):
    """The state file is in use, of a newer format, or damaged; the message says which and what to do."""


class Entry:
    """One object at one revision; `encoded` is its JSON with metadata.resourceVersion set; `object` the decoded tree.

    The tree is decoded when it is first asked for and kept until `forget`, so that what nobody looks into (most of
    what a start reads, most of the history) stays bytes. One that a cache in this process holds is kept with it: that
    costs nothing, and to decode it again would make a second one.
    """

    __slots__ = ("_object", "created_revision", "encoded", "key", "revision")

    def __init__(self, key: str, revision: int, created_revision: int, encoded: bytes, object: Object | None = None):
        self.key = key
        self.revision = revision  # Of this version.
        # Of the key's first version since it was last absent, or of the first one that was seen here of a cluster's.
        self.created_revision = created_revision
        self.encoded = encoded
        self._object = object

    @property
    def object(self) -> Object:
        tree = self._object
        if tree is None:
            tree = self._object = sharing.shared(encoding.loads_answer(self.encoded), len(self.encoded))
        return tree

    @property
    def is_decoded(self) -> bool:
        return self._object is not None

    def forget(self) -> None:
        """Drop the decoded tree unless somebody else holds it, too; it is decoded again when asked for."""
        if sys.getrefcount(self._object) <= OWN_REFERENCES:
            self._object = None

    def __repr__(self) -> str:
        return f"Entry({self.key!r}, revision={self.revision}, created_revision={self.created_revision})"


@dataclass(slots=True)  # Never changed; to freeze it would take longer than to make it.
class Change:
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    entry: Entry  # For DELETED: the last version, with resourceVersion = the deletion's revision.
    previous: Entry | None  # The version before, so that selectors can turn a change into ADDED or DELETED.

    @property
    def revision(self) -> int:
        return self.entry.revision

    @property
    def kept_bytes(self) -> int:
        """How much encoded data it keeps alive, at most: others may hold the same."""
        previous = self.previous
        return len(self.entry.encoded) + (len(previous.encoded) if previous is not None else 0)


Reading = Callable[[Object], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Interest:
    """What must be so of an object for a watch to want its change: before it or after it, one of these values is read.

    It may be less than the watch asks for, never more. Watches whose readings are equal share the reading.
    """

    reading: Reading
    values: tuple[str, ...]


Take = Callable[[Sequence[Change]], bool]


class Watch(Protocol):
    """An open watch; iterate it for changes. It must be closed (the context manager does)."""

    def __aiter__(self) -> AsyncIterator[Change]: ...

    async def __anext__(self) -> Change: ...

    def close(self) -> None:
        """It is to end: what waits can still be read, then the iteration is over."""
        ...

    async def changes(self) -> Sequence[Change] | None:
        """All changes that wait, as soon as there are any; () after a nudge, None at the end. Raises Expired."""
        ...

    async def handed(self, take: Take) -> bool:
        """Hand changes to `take` as they come, in order, in the loop; until it says False, which this returns.

        True: `changes` has something to tell, be it a nudge, more than is handed at once, or the end. `take` must be
        quick and may not raise.
        """
        ...

    def nudge(self) -> None:
        """Whoever awaits `changes` looks up once, with or without any."""
        ...

    @property
    def has_pending(self) -> bool:
        """Whether `pending` has something to tell."""
        ...

    def pending(self) -> Sequence[Change]:
        """Take at once all changes that wait, without awaiting; [] when none. Raises Expired like iterating does."""
        ...


class Store(Protocol):
    @property
    def revision(self) -> int:
        """The newest committed revision."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Of all writes that are accepted and not committed yet."""
        ...

    def get(self, key: str) -> Entry | None: ...

    def list(self, prefix: str) -> tuple[int, Sequence[Entry]]:
        """(revision, entries sorted by key)."""
        ...

    async def snapshot(self, prefix: str) -> tuple[int, Sequence[Entry]]:
        """The same, as it is when it is called; the loop goes on while what rests is unpacked."""
        ...

    def count(self, prefix: str) -> int: ...

    async def fresh(self, prefix: str) -> None:
        """Return when reads under the prefix show every write that was acknowledged to anybody before the call.

        At once, unless others write, too. Raises Unavailable.
        """
        ...

    async def put(self, key: str, obj: Object, expected: int | None) -> Entry:
        """Write. expected 0: must be absent; n: must be at n; None: whatever is there.

        Raises Conflict, Unavailable, Unknown, TooLarge.
        """
        ...

    async def delete(self, key: str, expected: int | None) -> Entry | None:
        """Remove; the last version with the deletion's revision, or None when it was absent.

        Raises Conflict, Unavailable, Unknown.
        """
        ...

    def watch(self, prefix: str, since: int, interest: Interest | None = None) -> AbstractContextManager[Watch]:
        """Every change under the prefix after `since`; with an interest at least those of interest.

        Raises Expired when that is compacted.
        """
        ...

    async def close(self) -> None:
        """Wait for the writes under way, refuse further ones (Unavailable) and end the watches."""
        ...
