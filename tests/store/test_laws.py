"""Laws of the store on disk: it cannot be told from its model, whatever is done to it, restarts included."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from petset.store import core, index, memory, sqlite
from petset.store.store import Conflict, Entry, Expired
from tests.store.objects import config_map, key

NAMES = st.sampled_from(["a", "ab", "b", "c"])
NAMESPACES = st.sampled_from(["default", "kube-system"])
KEYS = st.builds(key, NAMES, NAMESPACES)
EXPECTED = st.one_of(st.none(), st.just(0), st.just("current"), st.integers(1, 30))
LIMITS = {"history_changes_max": 12, "watch_buffer_events_max": 8}


def plain(entry: Entry | None) -> Any:
    return entry and (entry.key, entry.revision, entry.created_revision, entry.encoded, entry.object)


class StoreAndModel(RuleBasedStateMachine):
    """Each rule does one thing to both stores and compares what they answer."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(index, "RESTING_MIN", 1)
        self.directory = Path(tempfile.mkdtemp())
        self.model: core.Core = memory.MemoryStore(**LIMITS)
        self.real = self.run(sqlite.SqliteStore.open(self.directory / "store.db", **LIMITS))
        self.since = 0
        self.begun = 0  # The real store's history begins here: at its last opening.

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.real.close())
        self.loop.close()
        self.patched.undo()
        shutil.rmtree(self.directory)

    async def outcome(self, store: core.Core, operations: list[tuple[str, str, Any]]) -> list[Any]:
        """What a batch of writes of one loop turn comes to."""
        works = []
        for kind, target, expected in operations:
            if expected == "current":
                current = store.get(target)
                expected = current.revision if current else 0
            if kind == "put":
                works.append(store.put(target, config_map("x", f"{kind} {expected}"), expected))
            else:
                works.append(store.delete(target, expected))
        results = await asyncio.gather(*works, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Conflict):
                raise result
        return [
            ("conflict", result.current) if isinstance(result, Conflict) else plain(result)  # type: ignore[arg-type]
            for result in results
        ]

    @rule(operations=st.lists(st.tuples(st.sampled_from(["put", "put", "delete"]), KEYS, EXPECTED), max_size=6))
    def write(self, operations: list[tuple[str, str, Any]]) -> None:
        model = self.run(self.outcome(self.model, operations))
        assert self.run(self.outcome(self.real, operations)) == model

    @rule()
    def restart(self) -> None:
        self.run(self.real.close())
        self.real = self.run(sqlite.SqliteStore.open(self.directory / "store.db", **LIMITS))
        self.begun = self.real.revision

    @rule()
    def rest(self) -> None:
        self.real._rest()

    @rule()
    def remember_the_revision(self) -> None:
        self.since = self.real.revision

    @rule(prefix=st.sampled_from(["", "/core/", "/core/configmaps/default/", "/core/configmaps/default/a"]))
    @precondition(lambda self: self.since >= self.begun)
    def watch_from_the_remembered_revision(self, prefix: str) -> None:
        assert self.watched(self.real, prefix) == self.watched(self.model, prefix)

    def watched(self, store: core.Core, prefix: str) -> Any:
        try:
            with store.watch(prefix, self.since) as watch:
                return [(change.type, plain(change.entry), plain(change.previous)) for change in watch.pending()]
        except Expired:
            return "expired"

    @invariant()
    def they_hold_the_same(self) -> None:
        assert self.real.revision == self.model.revision
        for prefix in ("", "/core/configmaps/default/", "/core/configmaps/kube-system/a", "/none/"):
            (revision, entries), (model_revision, model_entries) = self.real.list(prefix), self.model.list(prefix)
            assert revision == model_revision
            assert list(map(plain, entries)) == list(map(plain, model_entries))
            assert self.real.count(prefix) == self.model.count(prefix) == len(entries)


StoreAndModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestStoreAndModel = StoreAndModel.TestCase
