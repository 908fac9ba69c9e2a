"""What a watch is asked about: never less than its selector wants, and nothing that a mark of the object rules out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.kinds.pod import PODS
from petset.objects import selectors
from petset.server import lists
from petset.store import feed, store
from petset.store.store import Change, Entry, Interest

PREFIX = "/core/pods/default/"
PAIRS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["a", "b", "1"]), max_size=2)
LABELS = st.lists(
    st.sampled_from(["app", "!tier", "app=a", "tier!=b", "app in (a,b)", "tier notin (a)", "app>0", "tier<9"]),
    max_size=3,
)
FIELDS = st.lists(
    st.sampled_from(["metadata.name=p0", "metadata.name!=p0", "spec.nodeName=n1", "spec.nodeName=", "status.phase!=x"]),
    max_size=2,
)


def pod(number: int, labels: dict[str, str], node: str) -> dict[str, Any]:
    return {"metadata": {"name": f"p{number}", "namespace": "default", "labels": labels}, "spec": {"nodeName": node}}


PODS_OF_ANY_KIND = st.builds(pod, st.integers(0, 1), PAIRS, st.sampled_from(["", "n1", "n2"]))


def selection(labels: str = "", fields: str = "") -> lists.Selection:
    return lists.Selection(PREFIX, selectors.parse_labels(labels), PODS.field_selector(fields))


def entry(obj: Any, revision: int) -> Entry:
    return Entry(PREFIX + obj["metadata"]["name"], revision, 1, b"{}", obj)


@given(LABELS, FIELDS, PODS_OF_ANY_KIND, PAIRS, st.sampled_from(["ADDED", "MODIFIED", "DELETED"]))
def test_a_watch_hears_of_all_that_its_selector_wants(labels, fields, before, changed, kind):
    wanted = selection(",".join(labels), ",".join(fields))
    after = {**before, "metadata": {**before["metadata"], "labels": changed}}
    change = Change(kind, entry(after, 2), None if kind == "ADDED" else entry(before, 1))
    watches = feed.Feed(10, 1000, 10_000)
    watch = watches.subscribe(PREFIX, 0, (), wanted.interest)
    watches.offer(change)
    heard = list(watch.pending())
    if wanted.matches(after) or (kind != "ADDED" and wanted.matches(before)):
        assert heard == [change]
    watches.unsubscribe(watch)
    assert len(watches) == 0 and watches._groups == {}


@pytest.mark.parametrize(
    ("labels", "fields", "values"),
    [
        ("", "", None),
        ("!app", "status.phase!=x", None),
        ("app=web", "", ("app=web",)),
        ("tier in (a,b),app=web", "", ("app=web",)),
        ("app", "", ("app",)),
        ("app=web", "spec.nodeName=n1", ("n1",)),
        ("", "spec.nodeName=n1,metadata.name=p", ("p",)),
    ],
)
def test_the_interest_is_the_narrowest_mark(labels, fields, values):
    interest = selection(labels, fields).interest
    assert (interest and interest.values) == values


@pytest.mark.parametrize("others", [10, 5000])
def test_a_change_costs_the_same_however_many_watch_something_else(others):
    offered: list[object] = []
    readings: list[object] = []

    class Counted(feed.Watch):
        def offer(self, change: Change) -> bool:
            offered.append(self)
            return super().offer(change)

    class CountedReading:
        def __call__(self, obj: Any) -> list[str]:
            readings.append(obj)
            return selectors.label_marks(obj)

    reading = CountedReading()
    watches = feed.Feed(10, 1000, 10_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "Watch", Counted)
        for number in range(others):
            watches.subscribe(PREFIX, 0, (), Interest(reading, (f"app=other-{number}",)))
            watches.subscribe(f"/core/pods/space-{number % 50}/", 0, (), None)
            watches.subscribe(PREFIX, 0, (), selection("", f"metadata.name=other-{number}").interest)
        mine = watches.subscribe(PREFIX, 0, (), Interest(reading, ("app=web", "app")))
    watches.offer(Change("MODIFIED", entry(pod(1, {"app": "web"}, ""), 2), entry(pod(1, {}, ""), 1)))
    assert (offered, len(readings)) == ([mine], 2)
    watches.end()
    assert len(watches) == 0


def test_who_is_interested_falls_behind_as_anybody_does():
    watches = feed.Feed(1, 1000, 10_000)
    watch = watches.subscribe(PREFIX, 0, (), selection("app=web").interest)
    for revision in (1, 2):
        watches.offer(Change("ADDED", entry(pod(1, {"app": "web"}, ""), revision), None))
    assert len(watches) == 0
    with pytest.raises(store.Expired):
        watch.pending()
