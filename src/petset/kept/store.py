"""A store of PetSets that a cluster keeps: any number of replicas serve what its API has, and none has a disk.

`keep` follows the StoredPetSets (following.py) for as long as the store lives; what it is told becomes visible as in
any store, at the cluster's own revisions, so that every replica answers every client's resourceVersion. A write is a
request that names the version it expects; it is acknowledged when the cluster has answered *and* this replica was
told of it. `fresh` reads where the objects are, for their metadata alone, and waits until this replica is there, too:
what it shows then is no older than the call, whichever replica wrote. Why so: docs/decisions/kept-in-a-cluster.md.

Invariants: nothing is shown that the cluster has not told in its order; a lost answer is never guessed (outcome.py);
what cannot be told in time is Unavailable or Unknown, never an old answer. After a list in the place of a watch (410)
the history begins anew and open watches are Expired.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from petset.base import tasks
from petset.base.turns import Turns
from petset.client.client import Client
from petset.kept import following, outcome
from petset.kept.past import Past
from petset.kept.rounds import Rounds
from petset.kinds import stored_pet_set
from petset.kinds.stored_pet_set import STORED_PETSETS, Kept, Place
from petset.objects import encoding, errors, meta, sharing
from petset.objects.meta import Object
from petset.store import store as stores
from petset.store import visible
from petset.store.feed import Watch
from petset.store.store import Change, Conflict, Entry, Interest, TooLarge, Unavailable, Unknown

log = logging.getLogger("petset.kept")

ETCD_BYTES_MAX = 1_572_864  # Of a request to etcd by default, which an object is written by.
WRAPPING_BYTES_MAX = 16 << 10  # What a StoredPetSet has beside the PetSet: its own metadata.
OBJECT_BYTES_MAX = ETCD_BYTES_MAX - WRAPPING_BYTES_MAX
ASK_SECONDS_MAX = 10.0  # For an answer of the cluster.
SEEN_SECONDS_MAX = 10.0  # Until the stream has told what is known to be there;
OWED_SECONDS_MAX = 3.0  # after so long the watch is begun anew: its connection may be dead.
LOST_SECONDS_MAX = 10.0  # Without a watch, until a replica says that it is not well.
SENDS_MAX = 6
LOOKS_MAX = 6
Answer = TypeVar("Answer")

ADVICE = "the cluster's API server keeps PetSets: see that it answers, and retry"


@dataclass(frozen=True, slots=True)
class Stats(visible.Stats):
    """Counts are since its opening."""

    writes: int
    failed_writes: int
    unknown_writes: int
    watch_restarts: int
    lists: int
    unreadable_objects: int
    silent_seconds: float


class Attempt:
    """A write on its way, and what the stream has told of it."""

    def __init__(self, sent: outcome.Sent, mark: str, lists: int):
        self.sent, self.mark = sent, mark
        self.lists = lists  # How often all was listed before it.
        self.told: Entry | None = None

    def hear(self, type_: str, kept: Kept, entry: Entry, previous: Entry | None) -> None:
        """Of a change to its object."""
        if self.told is not None:
            return
        if type_ != "DELETED":
            is_own = kept.write == self.mark
        else:
            is_own = (
                self.sent.operation == "delete" and previous is not None and previous.revision == self.sent.expected
            )
        if is_own:
            self.told = entry


class KeptStore(visible.Visible):
    """A store of PetSets and of nothing else; `keep` must run while it is used."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        history_changes_max: int = stores.HISTORY_CHANGES_MAX,
        history_bytes_max: int = stores.HISTORY_BYTES_MAX,
        **watch_limits: int,
    ):
        """The StoredPetSets of a namespace."""
        self._history = Past(history_changes_max, history_bytes_max)
        super().__init__(self._history, **watch_limits)
        self._client, self._home = client, namespace
        self._following = following.Following(client, namespace, self)
        self._turns, self._rounds = Turns(), Rounds()
        self._under_way: dict[str, Attempt] = {}  # By key.
        self._writing = 0
        self._writes = self._failed_writes = self._unknown_writes = self._unreadable = 0
        self._listed = asyncio.Event()

    async def keep(self) -> None:
        """Follow the cluster until cancelled."""
        await self._following.run()

    async def ready(self) -> None:
        """Return when everything is listed, however long that takes."""
        await self._listed.wait()

    @property
    def trouble(self) -> str:
        """Why it cannot serve, or serves what may be old; "" when it is well."""
        follows = self._following
        if not follows.lists:
            return follows.trouble
        lost = follows.trouble and asyncio.get_running_loop().time() - follows.lost_at > LOST_SECONDS_MAX
        return follows.trouble if lost else ""

    # Reading

    def get(self, key: str) -> Entry | None:
        self._require_listed()
        return super().get(key)

    def list(self, prefix: str) -> tuple[int, Sequence[Entry]]:
        self._require_listed()
        return super().list(prefix)

    def watch(
        self, prefix: str, since: int, interest: Interest | None = None
    ) -> contextlib.AbstractContextManager[Watch]:
        self._require_listed()
        return super().watch(prefix, since, interest)

    async def fresh(self, prefix: str) -> None:
        place = stored_pet_set.place(prefix)
        if place is not None:
            self._require_listed()
            await self._rounds.asked(prefix, lambda: self._caught_up(prefix, place))

    def stats(self) -> Stats:
        follows, now = self._following, asyncio.get_running_loop().time()
        return Stats(
            *self._counts(),
            writes=self._writes,
            failed_writes=self._failed_writes,
            unknown_writes=self._unknown_writes,
            watch_restarts=max(0, follows.watches - 1),
            lists=follows.lists,
            unreadable_objects=self._unreadable,
            silent_seconds=now - follows.heard if follows.heard else 0.0,
        )

    def _require_listed(self) -> None:
        if not self._following.lists:
            raise Unavailable(self._following.trouble, ADVICE)

    async def _caught_up(self, prefix: str, place: Place) -> None:
        """Return when this replica shows what the cluster has. Raises Unavailable."""
        try:
            if place.name:
                await self._caught_up_with_one(prefix, place.name)
            else:
                await self._caught_up_with_all(prefix, place)
        except errors.ApiError as error:
            if error.reason != "NotFound" or not place.name:
                raise Unavailable(error.message, ADVICE) from None
            await self._gone(prefix)
        except OSError as error:
            raise Unavailable(_said(error), ADVICE) from None

    async def _caught_up_with_one(self, key: str, name: str) -> None:
        before = self._index.get(key)  # The watch may tell more while the answer is on its way.
        version = int(await self._asked(self._client.version(STORED_PETSETS, name, self._home)))
        if before is not None and version < before.revision:
            await self._listed_anew(version, before.revision)
        else:
            await self._shown(version)

    async def _caught_up_with_all(self, prefix: str, place: Place) -> None:
        before = self._revision
        question = self._client.versions(STORED_PETSETS, self._home, place.label_selector)
        versions, revision = await self._asked(question)
        if int(revision) < before:
            await self._listed_anew(int(revision), before)
            return
        await self._shown(max(map(int, versions.values()), default=0))
        there = {stored_pet_set.key_of(name.partition("/")[2]) for name in versions}
        for entry in self._index.under(prefix):
            if entry.key not in there and entry.revision <= int(revision):
                await self._gone(entry.key)

    async def _listed_anew(self, revision: int, before: int) -> None:
        """A cluster whose revisions have gone back, as they do only where it began anew from a backup, is another."""
        log.warning("the cluster is at revision %s, and was at %s: all is listed anew", revision, before)
        lists = self._following.lists
        self._following.begin_list_anew()
        await self._until(lambda: self._following.lists > lists)

    # What the cluster tells

    def begun(self, stored: Sequence[Object], revision: int) -> None:
        entries: list[Entry] = []
        for one in stored:
            kept = self._read(one)
            if kept is not None:
                entry = self._entry(kept, self._index.get(kept.key))
                entries.append(entry)
                self._tell("ADDED", kept, entry, None)
        self._index.fill(entries)
        self._decoded.clear()
        self._history.begin_anew(revision)
        self._revision = revision
        self._feed.expire()
        self._listed.set()

    def changed(self, type_: str, stored: Object) -> None:
        kept = self._read(stored)
        revision = meta.revision(stored)
        key = kept.key if kept is not None else stored_pet_set.key_of(meta.name(stored))
        previous = self._index.get(key)
        if kept is None and previous is not None:  # Somebody has made it unreadable.
            kept, type_ = Kept(key, revision, "", _at(previous.object, revision)), "DELETED"
        if kept is None or (type_ == "DELETED" and previous is None):
            self.reached(revision)
            return
        entry = self._entry(kept, previous)
        self._tell(type_, kept, entry, previous)
        if type_ == "DELETED":
            self._show(Change("DELETED", entry, previous))
        else:
            self._show(Change("MODIFIED" if previous else "ADDED", entry, previous))

    def reached(self, revision: int) -> None:
        self._revision = revision

    def _read(self, stored: Object) -> Kept | None:
        kept = stored_pet_set.read(stored)
        if kept is None:
            self._unreadable += 1
            log.warning("cannot read StoredPetSet %s: it is none of petset's; delete it", meta.name(stored))
        return kept

    def _entry(self, kept: Kept, previous: Entry | None) -> Entry:
        encoded = encoding.dumps(kept.obj)
        tree = sharing.shared(kept.obj, len(encoded), previous.object if previous and previous.is_decoded else None)
        is_same = previous is not None and meta.uid(previous.object) == meta.uid(kept.obj)
        created = previous.created_revision if previous is not None and is_same else kept.revision
        return Entry(kept.key, kept.revision, created, encoded, tree)

    def _tell(self, type_: str, kept: Kept, entry: Entry, previous: Entry | None) -> None:
        attempt = self._under_way.get(kept.key)
        if attempt is not None:
            attempt.hear(type_, kept, entry, previous)

    # Writing

    async def put(self, key: str, obj: Object, expected: int | None) -> Entry:
        size = len(encoding.dumps(obj))
        if size > OBJECT_BYTES_MAX:
            why = (
                f"the object would have {size} bytes, and the cluster's etcd takes {OBJECT_BYTES_MAX} of one; split it"
            )
            raise TooLarge(why)
        with self._counting(key, size):
            async with self._turns.of(key):
                made = await self._made(key, obj, expected)
                assert made is not None  # Only what was to go may be absent.
                return made

    async def delete(self, key: str, expected: int | None) -> Entry | None:
        with self._counting(key, 0):
            async with self._turns.of(key):
                if not expected:
                    await self.fresh(key)
                if expected == 0:
                    if (found := self._index.get(key)) is not None:
                        raise Conflict(key, 0, found.revision)
                    return None
                return await self._made(key, None, expected)

    def _is_writing(self) -> bool:
        return bool(self._writing)

    @contextlib.contextmanager
    def _counting(self, key: str, size: int) -> Generator[None]:
        if self._closed:
            raise Unavailable(f"cannot write {key}: the store is closed", ADVICE)
        if not stored_pet_set.is_key(key):
            raise ValueError(f"{key} is no PetSet's")
        self._require_listed()
        self._writing += 1
        self._waiting_bytes += size
        try:
            yield
            self._writes += 1
        except Unavailable as error:
            self._failed_writes += not isinstance(error, Unknown)
            self._unknown_writes += isinstance(error, Unknown)
            raise
        finally:
            self._waiting_bytes -= size
            self._writing -= 1
            if not self._writing:
                self._all_written()

    async def _made(self, key: str, obj: Object | None, expected: int | None) -> Entry | None:
        """The version that a write has made; where any version may be replaced, of the newest one.

        None: there was none to delete.
        """
        if expected is not None:
            return await self._written(key, obj, expected)
        for left in reversed(range(SENDS_MAX)):
            newest = self._index.get(key)
            if newest is None and obj is None:
                return None
            try:
                return await self._written(key, obj, newest.revision if newest is not None else 0)
            except Conflict:
                if not left:
                    raise
        raise AssertionError

    async def _written(self, key: str, obj: Object | None, expected: int) -> Entry:
        newest = self._index.get(key)
        if expected and newest is not None and newest.revision > expected:  # It was there, and is not any more.
            raise Conflict(key, expected, newest.revision)
        operation: outcome.Operation = "delete" if obj is None else "change" if expected else "create"
        attempt = Attempt(outcome.Sent(operation, expected), tasks.new_uid(), self._following.lists)
        self._under_way[key] = attempt
        try:
            revision = await self._carried_through(key, obj, attempt)
            await self._shown(revision, Unknown)
        finally:
            del self._under_way[key]
        if attempt.told is not None and attempt.told.revision == revision:
            return attempt.told
        tree = _at(obj if obj is not None else newest.object if newest is not None else {}, revision)
        created = newest.created_revision if newest is not None else revision
        return Entry(key, revision, created, encoding.dumps(tree), tree)

    async def _carried_through(self, key: str, obj: Object | None, attempt: Attempt) -> int:
        """The revision that the write has in the cluster. Raises Conflict, Unavailable, Unknown, TooLarge."""
        backoff = tasks.Backoff(first=0.02, most=1.0)
        for _ in range(SENDS_MAX):
            step = await self._step(key, obj, attempt)
            if isinstance(step, outcome.Done):
                return step.revision
            if isinstance(step, outcome.Conflicts):
                raise Conflict(key, attempt.sent.expected, step.current)
            if isinstance(step, outcome.Unclear):
                raise Unknown(step.why)
            await asyncio.sleep(backoff.next())
        if attempt.sent.is_lost:
            raise Unknown(f"the cluster gave no answer to it, {SENDS_MAX} times")
        raise Unavailable(f"others were quicker {SENDS_MAX} times", ADVICE)

    async def _step(self, key: str, obj: Object | None, attempt: Attempt) -> outcome.Step:
        """Send it, and find out what has become of it."""
        try:
            return await self._sent(key, obj, attempt)
        except (errors.ApiError, OSError) as error:
            if not outcome.is_stale(error):
                if not attempt.sent.is_lost and outcome.is_refusal(error):
                    raise _refused(error) from None
                attempt.sent = replace(attempt.sent, is_lost=attempt.sent.is_lost or not outcome.is_refusal(error))
            log.info("looking what a write of %s has come to: %s", key, _said(error))
        revision, mark = await self._looked(key, attempt)
        told = attempt.told.revision if attempt.told is not None else 0
        is_unbroken = attempt.lists == self._following.lists
        return outcome.decided(attempt.sent, outcome.Seen(revision, mark == attempt.mark, told, is_unbroken))

    async def _sent(self, key: str, obj: Object | None, attempt: Attempt) -> outcome.Done:
        name, expected, client = stored_pet_set.name_of(key), attempt.sent.expected, self._client
        if obj is None:
            left = await self._asked(client.delete(STORED_PETSETS, name, self._home, resource_version=str(expected)))
            if held := meta.texts(left, "metadata", "finalizers"):
                why = f"StoredPetSet {name} is kept from going by the finalizers {', '.join(held)}"
                raise errors.ApiError(409, "Held", why)
            await self._until(lambda: attempt.told is not None or self._is_elsewhere(key, expected), Unknown)
            # Of one that a list came in the place of, nobody knows more than that it was before that.
            return outcome.Done(attempt.told.revision if attempt.told is not None else self._revision)
        if expected:
            body = stored_pet_set.replaced(obj, expected, attempt.mark)
            stored = await self._asked(client.patch(STORED_PETSETS, name, self._home, body, "json"))
        else:
            body = stored_pet_set.created(obj, self._home, attempt.mark)
            stored = await self._asked(client.create(body, STORED_PETSETS))
        return outcome.Done(meta.revision(stored))

    async def _looked(self, key: str, attempt: Attempt) -> tuple[int, str]:
        """(where the object is, the mark of the write that made that version); 0 when it is gone."""
        name, backoff, lost = stored_pet_set.name_of(key), tasks.Backoff(first=0.05, most=2.0), attempt.sent.is_lost
        failure: type[Unavailable] = Unknown if lost else Unavailable
        for left in reversed(range(LOOKS_MAX)):
            try:
                stored = await self._asked(self._client.get(STORED_PETSETS, name, self._home))
            except (errors.ApiError, OSError) as error:
                if isinstance(error, errors.ApiError) and error.reason == "NotFound":
                    await self._gone(key, failure)
                    return 0, ""
                if attempt.told is not None:
                    return attempt.told.revision, attempt.mark
                if not left:
                    raise _failure(failure, _said(error)) from None
                await asyncio.sleep(backoff.next())
                continue
            await self._shown(meta.revision(stored), failure)
            kept = stored_pet_set.read(stored)
            return meta.revision(stored), kept.write if kept is not None else ""
        raise AssertionError

    async def _asked(self, question: Awaitable[Answer]) -> Answer:
        """Raises ApiError, OSError (TimeoutError is one)."""
        async with asyncio.timeout(ASK_SECONDS_MAX):
            return await question

    # Waiting for the stream

    def _is_elsewhere(self, key: str, revision: int) -> bool:
        found = self._index.get(key)
        return found is None or found.revision != revision

    async def _gone(self, key: str, failure: type[Unavailable] = Unavailable) -> None:
        """Wait until what is shown of a key that the cluster does not have any more is not shown any more."""
        found = self._index.get(key)
        if found is not None:
            await self._until(lambda: self._is_elsewhere(key, found.revision), failure)

    async def _shown(self, revision: int, failure: type[Unavailable] = Unavailable) -> None:
        await self._until(lambda: self._revision >= revision, failure)

    async def _until(self, holds: Callable[[], bool], failure: type[Unavailable] = Unavailable) -> None:
        """Wait until something holds of what the cluster has told. Raises the failure when it takes too long."""
        if holds():
            return
        owed = asyncio.get_running_loop().call_later(OWED_SECONDS_MAX, self._following.begin_watch_anew)
        try:
            async with asyncio.timeout(SEEN_SECONDS_MAX):
                await self._following.until(holds)
        except TimeoutError:
            why = f"the cluster's watch of StoredPetSets does not tell what is there: {self._following.trouble}"
            raise _failure(failure, why.removesuffix(": ")) from None
        finally:
            owed.cancel()


def _failure(kind: type[Unavailable], why: str) -> Unavailable:
    return Unknown(why) if kind is Unknown else Unavailable(why, ADVICE)


def _at(obj: Object, revision: int) -> Object:
    return meta.changed(obj, ("metadata", "resourceVersion"), str(revision))


def _said(error: Exception) -> str:
    if isinstance(error, errors.ApiError):
        return error.message
    return str(error) or "the cluster did not answer in time"


def _refused(error: Exception) -> Exception:
    """What is raised for a write that the cluster has refused."""
    if isinstance(error, errors.ApiError):
        if outcome.is_too_large(error):
            return TooLarge(f"the cluster does not take it: {error.message}")
        return Unavailable(f"the cluster refuses it: {error.message}", "see that petset has its rights there and retry")
    return Unavailable(_said(error), ADVICE)
