"""The latest entries by key, and the keys in order, so that a prefix is a slice; what rests is packed.

An entry is at one place at a time: among the live ones, or in one of the runs (packed.py). Who asks for a key that
rests wakes it; a list reads what rests without waking it. `Rest` is how entries come to rest: it is begun on the loop,
packs in a thread what nobody looks into, and each run then takes the place of those of its entries that are still the
latest.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from petset.store.packed import RUN_ROWS_MAX, Building, Run, Span
from petset.store.store import Entry

INSERTED_MAX = 8  # Keys that came and find their places one by one; to sort all again is quicker for more.
RESTING_MIN = 256  # Fewer are not worth a run.
SLICE_ENTRIES_MAX = 2000  # Unpacked before the loop goes on.

_by_key = operator.attrgetter("key")
Member = tuple[Entry, Run | None, int]  # An entry that comes to rest, and the run and row where it rested before.


class Index:
    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}  # Those that do not rest.
        self._sorted: list[str] = []  # Their keys, but for
        self._came: list[str] = []  # those that came since somebody wanted them in order.
        self._runs: list[Run] = []

    @property
    def _keys(self) -> list[str]:
        """In order. Who only writes never comes here: a place among many for each of his keys would cost him more."""
        if self._came:
            if len(self._came) <= INSERTED_MAX:
                for key in self._came:
                    insort(self._sorted, key)
            else:
                self._sorted += self._came
                self._sorted.sort()
            self._came = []
        return self._sorted

    def __len__(self) -> int:
        return len(self.entries) + sum(run.left for run in self._runs)

    def fill(self, entries: Sequence[Entry]) -> None:
        self.entries = {entry.key: entry for entry in entries}
        self._sorted, self._came = sorted(self.entries), []
        self._runs = []

    def get(self, key: str) -> Entry | None:
        found = self.entries.get(key)
        if found is None and self._runs:
            found = self._taken(key)
            if found is not None:
                self._came.append(key)
                self.entries[key] = found
        return found

    def set(self, entry: Entry) -> None:
        if entry.key not in self.entries:
            if self._runs:
                self._taken(entry.key)
            self._came.append(entry.key)
        self.entries[entry.key] = entry

    def remove(self, key: str) -> None:
        if key in self.entries:
            del self.entries[key]
            keys = self._keys
            del keys[bisect_left(keys, key)]
        else:
            self._taken(key)

    def under(self, prefix: str) -> Sequence[Entry]:
        live = self._live(prefix)
        resting = [entry for span in self._spans(prefix) for entry in span.entries()]
        return sorted(live + resting, key=_by_key) if resting else live

    def slices(self, prefix: str) -> Iterator[list[Entry]]:
        """What is under the prefix at the first step, in slices that are each soon made, and in no order."""
        live, spans = self._live(prefix), self._spans(prefix)
        yield live
        entries: list[Entry] = []
        for span in spans:
            for entry in span.entries():
                entries.append(entry)
                if len(entries) >= SLICE_ENTRIES_MAX:
                    yield entries
                    entries = []
        yield entries

    def count(self, prefix: str) -> int:
        first, end = self._range(prefix)
        return end - first + sum(run.count(prefix, _after(prefix)) for run in self._runs)

    @property
    def anything_rests(self) -> bool:
        return bool(self._runs)

    def rest(self) -> Rest:
        return Rest(self._keys, self.entries, self._runs)

    def settle(self, members: Sequence[Member], run: Run) -> None:
        """The run takes the place of its members, but for those that were changed since."""
        entries = self.entries
        for row, (entry, before, at) in enumerate(members):
            if before is None and entries.get(entry.key) is entry:
                del entries[entry.key]
            elif before is not None and not before.is_gone(at):
                before.drop(at)
            else:
                run.drop(row)
        self._runs = [one for one in (*self._runs, run) if one.left]
        self._sorted = [key for key in self._keys if key in entries]
        self.entries = dict(entries)  # A dict stays as large as it ever was.

    def _taken(self, key: str) -> Entry | None:
        for run in self._runs:
            if (found := run.take(key)) is not None:
                return found
        return None

    def _live(self, prefix: str) -> list[Entry]:
        first, end = self._range(prefix)
        return list(map(self.entries.__getitem__, self._sorted[first:end]))

    def _spans(self, prefix: str) -> list[Span]:
        following = _after(prefix)
        return [run.span(prefix, following) for run in self._runs]

    def _range(self, prefix: str) -> tuple[int, int]:
        keys = self._keys
        if not prefix:
            return 0, len(keys)
        first = bisect_left(keys, prefix)
        return first, bisect_left(keys, _after(prefix), first)


def _after(prefix: str) -> str:
    """The first text after all that begin with the prefix; "" when there is none."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else ""  # Keys are names: none holds the last code point.


class Rest:
    """Entries on their way to rest: made on the loop, packed in any thread; then `packed` are settled on the loop."""

    def __init__(self, keys: Sequence[str], entries: dict[str, Entry], runs: Sequence[Run]):
        self._keys, self._entries, self._runs = list(keys), dict(entries), list(runs)
        self.packed: list[tuple[Sequence[Member], Run]] = []

    def pack(self) -> None:
        """Trees that others hold stay, and their entries with them; the rest can be read again."""
        for entry in self._entries.values():
            entry.forget()
        live = [entry for entry in map(self._entries.__getitem__, self._keys) if not entry.is_decoded]
        members: list[Member] = [(entry, None, 0) for entry in live]
        if len(members) >= RESTING_MIN:
            for run in sorted(self._runs, key=lambda run: run.left):
                if run.left <= 2 * len(members) or run.is_sparse:  # So there are never many.
                    members += [(entry, run, row) for row, entry in run.rows() if not run.is_gone(row)]
            members.sort(key=lambda member: member[0].key)
            for begin in range(0, len(members), RUN_ROWS_MAX):
                some = members[begin : begin + RUN_ROWS_MAX]
                self.packed.append((some, _run(some)))
        self._keys, self._entries, self._runs = [], {}, []


def _run(members: Sequence[Member]) -> Run:
    building = Building()
    for entry, _, _ in members:
        building.add(entry)
    return building.done()
