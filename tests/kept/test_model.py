"""Laws of the store that a cluster keeps: but for the revisions' numbers it cannot be told from the model."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from petset.store import memory
from petset.store.store import Conflict, Entry, Expired, Store
from tests.kept.clusters import Cluster, key, pet_set

NAMES = st.sampled_from(["a", "ab", "b"])
NAMESPACES = st.sampled_from(["default", "other"])
OBJECTS = st.tuples(NAMES, NAMESPACES)
EXPECTED = st.one_of(st.none(), st.just(0), st.just("current"), st.integers(1, 30))
LIMITS = {"history_changes_max": 12, "watch_buffer_events_max": 8}
NOWHERE = 10**9  # A revision that nothing is at.


def in_one_order(operations: list[Any]) -> list[Any]:
    """Without what expects something of an object that another of them writes: either store may judge it first."""
    written: set[Any] = set()
    kept: list[Any] = []
    for operation in operations:
        _, place, expected = operation
        if expected is None or place not in written:
            kept.append(operation)
        written.add(place)
    return kept


class StoreAndModel(RuleBasedStateMachine):
    """Each rule does one thing to both stores and compares what they answer; `same` pairs their revisions."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.opened = contextlib.AsyncExitStack()
        self.model = memory.MemoryStore(**LIMITS)
        self.cluster = self.run(self.opened.enter_async_context(Cluster().running()))
        self.way = self.cluster.way()
        self.replicas = contextlib.AsyncExitStack()
        self.begin()
        self.same: dict[int, int] = {}  # A revision here -> the model's.
        self.since = (0, 0)  # Here, and in the model.
        self.restarted = False

    def begin(self) -> None:
        self.real = self.run(self.replicas.enter_async_context(self.cluster.replica(self.way, **LIMITS)))
        self.begun = self.real.revision

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.replicas.aclose())
        self.run(self.opened.aclose())
        self.loop.close()

    async def outcome(self, store: Store, operations: list[Any], at: dict[int, int]) -> list[Any]:
        works = []
        for number, (kind, (name, namespace), expected) in enumerate(operations):
            target = key(name, namespace)
            if expected == "current":
                current = store.get(target)
                expected = current.revision if current else 0
            elif expected:
                expected = at.get(expected, NOWHERE)
            if kind == "put":
                works.append(store.put(target, pet_set(name, namespace, f"{number} {len(self.same)}"), expected))
            else:
                works.append(store.delete(target, expected))
        results = await asyncio.gather(*works, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Conflict):
                raise result
        return results

    @rule(operations=st.lists(st.tuples(st.sampled_from(["put", "put", "delete"]), OBJECTS, EXPECTED), max_size=5))
    def write(self, operations: list[Any]) -> None:
        operations = in_one_order(operations)
        there = {model: real for real, model in self.same.items()}
        before = self.real.revision
        model = self.run(self.outcome(self.model, operations, {revision: revision for revision in there}))
        real = self.run(self.outcome(self.real, operations, there))
        for own, wanted in zip(real, model, strict=True):
            if isinstance(own, Entry):
                assert isinstance(wanted, Entry)
                assert before < own.revision <= self.real.revision and own.revision not in self.same
                self.same[own.revision] = wanted.revision
        for own, wanted in zip(real, model, strict=True):
            if isinstance(wanted, Conflict):
                assert isinstance(own, Conflict)
                assert self.same.get(own.current, 0) == wanted.current
            else:
                assert self.plain(own) == self.plain(wanted, is_model=True)

    @rule()
    def others_write(self) -> None:
        self.run(self.cluster.other_kind())

    @rule()
    def the_watch_breaks(self) -> None:
        self.way.cut_watches()

    @rule()
    def restart(self) -> None:
        self.run(self.replicas.aclose())
        self.begin()
        self.restarted = True

    @rule()
    def remember_the_revision(self) -> None:
        self.since = self.real.revision, self.model.revision

    @rule(prefix=st.sampled_from(["", "/apps/petsets/", "/apps/petsets/default/", "/apps/petsets/default/a"]))
    @precondition(lambda self: self.since[0] >= self.begun)
    def watch_from_the_remembered_revision(self, prefix: str) -> None:
        real, model = self.watched(self.real, prefix, self.since[0]), self.watched(self.model, prefix, self.since[1])
        if isinstance(model, str) or isinstance(real, str):
            assert real == model
            return
        assert [change.revision for change in real] == sorted(change.revision for change in real)
        changes = [(change.type, self.plain(change.entry), self.plain(change.previous)) for change in real]
        assert sorted(changes, key=repr) == sorted(
            ((change.type, self.plain(change.entry, True), self.plain(change.previous, True)) for change in model),
            key=repr,
        )

    def watched(self, store: Store, prefix: str, since: int) -> Any:
        try:
            with store.watch(prefix, since) as watch:
                return watch.pending()
        except Expired:
            return "expired"

    def plain(self, entry: Entry | None, is_model: bool = False) -> Any:
        """An entry with the model's revisions."""
        if entry is None:
            return None
        at = {model: model for model in self.same.values()} if is_model else self.same
        metadata = dict(entry.object["metadata"])
        told = at[int(metadata.pop("resourceVersion"))]
        created = 0 if self.restarted else at[entry.created_revision]
        return entry.key, told, at[entry.revision], created, sorted(metadata.items(), key=str)

    @invariant()
    def they_hold_the_same(self) -> None:
        for prefix in ("", "/apps/petsets/default/", "/apps/petsets/other/a", "/none/"):
            (revision, entries), (_, wanted) = self.real.list(prefix), self.model.list(prefix)
            assert revision == self.real.revision
            assert list(map(self.plain, entries)) == [self.plain(entry, True) for entry in wanted]
            assert self.real.count(prefix) == self.model.count(prefix) == len(entries)
            self.run(self.real.fresh(prefix))
            assert self.real.list(prefix)[1] == entries


StoreAndModel.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestStoreAndModel = StoreAndModel.TestCase
