"""What is kept of pods for those that come: always what it would be made anew, and no more of it than its limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.client.views import Snapshot
from petset.kinds.namespace import NAMESPACES
from petset.kinds.pod import PODS
from petset.objects import meta, selectors
from petset.scheduler import pictures
from petset.scheduler.terms import Selection
from tests.scheduler import short

TERM = st.fixed_dictionaries(
    {"app": st.sampled_from("ab"), "by": st.sampled_from(["zone", short.HOST])},
    optional={"chosen": st.sampled_from([{}, {"team": "red"}]), "namespaces": st.just(["other"])},
)
CHANGE = st.fixed_dictionaries(
    {"name": st.sampled_from("pqr"), "namespace": st.sampled_from(["default", "other"])},
    optional={
        "at": st.sampled_from(["n1", "n2"]),
        "labels": st.sampled_from([{"app": "a"}, {"app": "b", "tier": "x"}, {"tier": "y"}]),
        "phase": st.sampled_from(["Running", "Succeeded"]),
        "deleting": st.just(True),
        **dict.fromkeys(("near", "apart", "rather_near", "rather_apart"), st.lists(TERM, min_size=1, max_size=2)),
        "gone": st.just(True),
        "team": st.sampled_from(["red", "blue"]),
    },
)
SELECTIONS = tuple(
    Selection(namespaces, selector)
    for namespaces in (("default",), ("default", "other"))
    for selector in (
        selectors.parse_labels("app=a"),
        selectors.parse_labels("app in (a,b),tier=x"),
        selectors.parse_labels("tier"),
        selectors.parse_labels("!app"),
        selectors.EVERYTHING,
        selectors.NOTHING,
    )
)
ASKING = [short.pod({"labels": {"app": app}, "namespace": space}) for app in "ab" for space in ("default", "other")]


def told(kept: pictures.Pictures) -> Any:
    counts = [(one.all, one.staying) for one in map(kept.counted, SELECTIONS)]
    both = kept.counted(SELECTIONS[0], SELECTIONS[2])
    said = [
        sorted((str(term), sorted(by_node.items())) for term, by_node in saying.about(pod, kept.labels_of))
        for saying in (kept.apart, kept.weighing)
        for pod in ASKING
    ]
    return counts, both.all, said, {name: kept.labels_of(name) for name in ("default", "other")}


@given(st.lists(CHANGE, max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_is_what_would_be_made_anew(changes: list[dict[str, Any]]) -> None:
    view = Snapshot([short.namespace("default", {}), short.namespace("other", {})])
    kept = pictures.of(view)
    told(kept)
    for change in changes:
        if "team" in change:
            view.of(NAMESPACES).put(short.namespace(change["namespace"], {"team": change["team"]}))
        pod = short.pod(change)
        if "gone" in change:
            view.of(PODS).remove(meta.key(pod))
        else:
            view.of(PODS).put(pod)
        anew = Snapshot([*view.list(NAMESPACES), *view.list(PODS)])
        assert told(kept) == told(pictures.of(anew))
    kept.close()


def test_those_that_nobody_asked_for_lately_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "COUNTED_MAX", 2)
    view = Snapshot([short.pod({"name": "a", "at": "n1", "labels": {"app": "a"}})])
    kept = pictures.of(view)
    first, second, third = (Selection(("default",), selectors.parse_labels(text)) for text in ("app=a", "x", "y"))
    one = kept.counted(first)
    kept.counted(second)
    assert kept.counted(first) is one
    kept.counted(third)
    assert kept.counted(first) is one
    kept.counted(second)
    kept.counted(third)
    assert kept.counted(first) is not one
    view.of(PODS).remove("default/a")
    assert one.all == {"n1": 1}, "it follows no longer"
    assert kept.counted(first).all == {}
