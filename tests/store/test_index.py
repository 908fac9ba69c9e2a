"""The index: keys in order for whoever asks, and nothing done for the order while nobody does."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.store import index
from petset.store.store import Entry

KEYS = st.sampled_from([f"/core/{plural}/{name}" for plural in ("a", "b") for name in "abcdefghijkl"])


def _entry(key: str, revision: int = 1) -> Entry:
    return Entry(key, revision, revision, b"{}", {})


@given(st.lists(st.tuples(st.sampled_from(("set", "remove", "under", "count")), KEYS), max_size=60))
def test_what_is_under_a_prefix_is_in_order_whatever_came_and_went(steps: list[tuple[str, str]]) -> None:
    kept, expected = index.Index(), dict[str, Entry]()
    for revision, (step, key) in enumerate(steps):
        prefix = key[: key.rfind("/") + 1]
        if step == "set":
            expected[key] = _entry(key, revision)
            kept.set(expected[key])
        elif step == "remove":
            expected.pop(key, None)
            kept.remove(key)
        elif step == "under":
            assert kept.under(prefix) == [expected[one] for one in sorted(expected) if one.startswith(prefix)]
        else:
            assert kept.count(prefix) == sum(one.startswith(prefix) for one in expected)
    assert [entry.key for entry in kept.under("")] == sorted(expected)


def test_many_keys_that_come_are_sorted_once_and_few_find_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[str] = []
    monkeypatch.setattr(index, "insort", lambda keys, key: placed.append(key) or bisect.insort(keys, key))
    kept = index.Index()
    for number in range(1_000):
        kept.set(_entry(f"/core/a/{number * 7919 % 1_000:04}"))
    assert len(kept.under("/core/a/")) == 1_000 and not placed
    kept.set(_entry("/core/a/0500x"))
    assert [entry.key for entry in kept.under("/core/a/05")][:2] == ["/core/a/0500", "/core/a/0500x"]
    assert placed == ["/core/a/0500x"]
