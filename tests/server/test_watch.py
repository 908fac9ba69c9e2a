"""Watches: every change once, in order, in the form that is asked for, and a clear end."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from petset.base import memory
from petset.server import lists, weight
from petset.server import watch as watches
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap, petset

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"kind": "application/merge-patch+json"}


def test_changes_come_in_order_from_a_revision(server):
    since = server.get(CONFIGMAPS)["metadata"]["resourceVersion"]
    server.create(configmap("a"))
    watch = server.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={since}")
    server.ok("PATCH", f"{CONFIGMAPS}/a", {"data": {"x": "1"}}, **MERGE)
    server.ok("DELETE", f"{CONFIGMAPS}/a")
    server.create(configmap("b"))
    assert watch.take(4) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")]
    watch.close()


@pytest.mark.parametrize("since", ["", "0"])
def test_without_a_revision_what_is_there_comes_first(server, since):
    server.create(configmap("a"))
    watch = server.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={since}")
    server.create(configmap("b"))
    assert watch.take(2) == [("ADDED", "a"), ("ADDED", "b")]
    watch.close()


def test_selectors_turn_changes_into_coming_and_going(server):
    watch = server.watch(f"{CONFIGMAPS}?watch=true&labelSelector=on%3Dyes")
    server.create(configmap("a"))
    server.ok("PATCH", f"{CONFIGMAPS}/a", {"metadata": {"labels": {"on": "yes"}}}, **MERGE)
    server.ok("PATCH", f"{CONFIGMAPS}/a", {"data": {"x": "1"}}, **MERGE)
    server.ok("PATCH", f"{CONFIGMAPS}/a", {"metadata": {"labels": {"on": "no"}}}, **MERGE)
    server.ok("DELETE", f"{CONFIGMAPS}/a")
    server.create(configmap("b", {"on": "yes"}))
    server.ok("DELETE", f"{CONFIGMAPS}/b")
    assert watch.take(5) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b"), ("DELETED", "b")]
    watch.close()


@pytest.mark.parametrize("form", ["", ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io"])
def test_an_object_that_leaves_a_selection_is_shown_as_it_last_was_inside(server, form):
    watch = server.watch(f"{CONFIGMAPS}?watch=true&labelSelector=on", headers={"accept": f"application/json{form}"})
    server.create(configmap("a", {"on": "yes"}))
    left = server.ok("PATCH", f"{CONFIGMAPS}/a", {"metadata": {"labels": {"on": None}}}, **MERGE)
    watch.next()
    event = watch.next()
    metadata = event["object"]["metadata"]
    assert (event["type"], metadata["labels"]) == ("DELETED", {"on": "yes"})
    assert metadata["resourceVersion"] == left["metadata"]["resourceVersion"]
    watch.close()


def test_watching_one_object_by_name(server):
    watch = server.watch(f"{CONFIGMAPS}?watch=true&fieldSelector=metadata.name%3Db")
    server.create(configmap("a"))
    server.create(configmap("b"))
    assert watch.take(1) == [("ADDED", "b")]
    watch.close()


def test_tables_and_metadata_are_watched_too(server):
    table = server.watch(
        f"{CONFIGMAPS}?watch=true", headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    )
    partial = server.watch(
        f"{CONFIGMAPS}?watch=true", headers={"accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    )
    server.create(configmap("a", x="1"))
    event = table.next()
    assert event["object"]["kind"] == "Table" and event["object"]["rows"][0]["cells"][:2] == ["a", 1]
    event = partial.next()["object"]
    assert event["kind"] == "PartialObjectMetadata" and "data" not in event
    table.close()
    partial.close()


def test_a_change_is_encoded_once_for_all_watchers(server, monkeypatch):
    encoded: list[str] = []
    original = watches.encode

    def counting(*args):
        encoded.append(args[1])
        return original(*args)

    monkeypatch.setattr(watches, "encode", counting)
    opened = [server.watch(f"{CONFIGMAPS}?watch=true") for _ in range(20)]
    server.create(configmap("a"))
    frames = [watch.next() for watch in opened]
    assert len({json.dumps(frame) for frame in frames}) == 1 and encoded == ["ADDED"]
    for watch in opened:
        watch.close()


def test_what_a_selector_says_of_a_change_is_found_out_once_for_all_watchers(server, monkeypatch):
    asked: list[int] = []
    original = watches.Viewer.decide

    def counting(viewer, change):
        asked.append(change.revision)
        return original(viewer, change)

    monkeypatch.setattr(watches.Viewer, "decide", counting)
    opened = [server.watch(f"{CONFIGMAPS}?watch=true&labelSelector={selector}") for selector in ["on"] * 20 + ["!off"]]
    server.create(configmap("a", {"on": "yes"}))
    assert {watch.next()["type"] for watch in opened} == {"ADDED"}
    assert len(asked) == 2, "once a selector"
    for watch in opened:
        watch.close()


def test_the_shared_bytes_have_a_limit(server, monkeypatch):
    monkeypatch.setattr(watches, "FRAMES_CACHED_BYTES_MAX", 2000)
    watch = server.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={server.store.revision}")
    for index in range(8):
        server.create(configmap(f"c{index}", x="y" * 500))
    assert [name for _, name in watch.take(8)] == [f"c{index}" for index in range(8)]
    frames = server.api.watches._frames
    assert frames._bytes == sum(map(len, frames._made.values())) <= 2000
    watch.close()


@pytest.mark.parametrize("since", ["", "since"])
def test_what_is_written_at_once_is_bounded_by_bytes(server, monkeypatch, since):
    monkeypatch.setattr(weight, "RUN_BYTES_MAX", 3000)
    revision = f"&resourceVersion={server.store.revision}" if since else ""
    for index in range(10):
        server.create(configmap(f"c{index}", x="y" * 700))
    response = server.send(http.Request("GET", f"{CONFIGMAPS}?watch=true&timeoutSeconds=1{revision}", user=ADMIN))

    async def read() -> list[bytes]:
        return [piece async for piece in response.body]

    pieces = server.run(read())
    assert len(b"".join(pieces).splitlines()) == 10
    assert 1000 < max(map(len, pieces)) < 3500


def test_a_watch_does_not_keep_its_initial_objects(server):
    server.create(configmap("a"))
    entry = server.store.get("/core/configmaps/default/a")
    before = sys.getrefcount(entry)
    watch = server.watch(f"{CONFIGMAPS}?watch=true")
    assert watch.take(1) == [("ADDED", "a")]
    server.create(configmap("b"))
    assert watch.take(1) == [("ADDED", "b")]
    assert sys.getrefcount(entry) == before
    watch.close()


def test_initial_events_end_with_a_bookmark(server):
    server.create(configmap("a"))
    asked = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    watch = server.watch(f"{CONFIGMAPS}?{asked}")
    assert watch.take(1) == [("ADDED", "a")]
    bookmark = watch.next()
    assert bookmark["type"] == "BOOKMARK" and bookmark["object"]["kind"] == "ConfigMap"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert bookmark["object"]["metadata"]["resourceVersion"] == str(server.store.revision)
    watch.close()
    for wrong in ("sendInitialEvents=true", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"):
        assert server("GET", f"{CONFIGMAPS}?watch=true&{wrong}").code == 400


def test_bookmarks_come_while_nothing_happens(server, monkeypatch):
    monkeypatch.setattr(watches, "BOOKMARK_SECONDS", 0.01)
    monkeypatch.setattr(watches, "BOOKMARK_CHANGES_MIN", 1)
    watch = server.watch(f"{CONFIGMAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={server.store.revision}")
    server.create(petset("elsewhere"))
    bookmark = watch.next()
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["resourceVersion"] == str(server.store.revision)
    watch.close()


def test_bookmarks_come_only_after_many_changes_elsewhere_and_then_to_all(server, monkeypatch):
    monkeypatch.setattr(watches, "BOOKMARK_SECONDS", 0.01)
    monkeypatch.setattr(watches, "BOOKMARK_CHANGES_MIN", 5)
    target = f"{CONFIGMAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={server.store.revision}"
    watching = [server.watch(target) for _ in range(2)]
    told = [server.loop.create_task(anext(watch._frames)) for watch in watching]
    for number in range(4):
        server.create(configmap(f"elsewhere-{number}"), namespace="kube-system")
    server.run(asyncio.sleep(0.1))
    assert not any(one.done() for one in told)
    server.create(configmap("elsewhere-4"), namespace="kube-system")
    events = [json.loads(server.run(one)) for one in told]
    wanted = [("BOOKMARK", str(server.store.revision))] * 2
    assert [(event["type"], event["object"]["metadata"]["resourceVersion"]) for event in events] == wanted
    for watch in watching:
        watch.close()
    assert server.api.watches._marking is None, "no timer is left"


def test_a_watch_ends_at_its_timeout(server):
    watch = server.watch(f"{CONFIGMAPS}?watch=true&timeoutSeconds=1&resourceVersion={server.store.revision}")
    assert watch.is_over()
    assert server.api.watches.open_count == 0


def test_a_watch_from_a_revision_to_come_begins_after_it(server, monkeypatch):
    monkeypatch.setattr(watches, "BOOKMARK_SECONDS", 0.01)
    monkeypatch.setattr(watches, "BOOKMARK_CHANGES_MIN", 0)
    since = server.store.revision + 2
    watch = server.watch(f"{CONFIGMAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={since}")
    bookmark = watch.next()
    assert (bookmark["type"], bookmark["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", str(since))
    for name in "abc":
        server.create(configmap(name))
    seen = next(event for event in iter(watch.next, None) if event["type"] != "BOOKMARK")
    assert (seen["type"], seen["object"]["metadata"]["name"]) == ("ADDED", "c")
    watch.close()


def test_initial_events_of_a_revision_to_come_are_awaited_a_moment(server, monkeypatch):
    monkeypatch.setattr(lists, "FRESH_SECONDS_MAX", 0.01)
    asked = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    answer = server("GET", f"{CONFIGMAPS}?{asked}&resourceVersion=99999")
    assert (answer.code, answer.body["reason"]) == (504, "Timeout")


def test_a_revision_that_is_compacted_is_gone(server):
    small = Server()
    small.store._history._changes_max = 1
    small.create(configmap("a"))
    small.create(configmap("b"))
    watch = small.watch(f"{CONFIGMAPS}?watch=true&resourceVersion=1")
    event = watch.next()
    assert event["type"] == "ERROR" and event["object"]["code"] == 410 and event["object"]["reason"] == "Expired"
    assert watch.is_over()
    small.close()


def test_a_watcher_that_falls_behind_is_told_to_list_again(server):
    small = Server()
    small.store._feed._buffer_events_max = 3
    watch = small.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={small.store.revision}")
    small.create(configmap("a"))
    assert watch.take(1) == [("ADDED", "a")]  # It has begun; now it stops reading.
    for index in range(10):
        small.create(configmap(f"c{index}"))
    event = watch.next()
    assert event["type"] == "ERROR" and event["object"]["code"] == 410
    small.close()


def test_a_watch_of_all_namespaces(server):
    watch = server.watch("/api/v1/configmaps?watch=true")
    server.create(configmap("a"), "kube-system")
    server.create(configmap("a"), "default")
    assert [watch.next()["object"]["metadata"]["namespace"] for _ in range(2)] == ["kube-system", "default"]
    watch.close()


def test_a_watcher_that_leaves_is_forgotten(server):
    response = server.send(http.Request("GET", f"{CONFIGMAPS}?watch=true", user=ADMIN))
    server.create(configmap("a"))
    server.run(anext(response.body))
    assert server.api.watches.open_count == 1 and server.store.stats().watchers >= 1
    server.run(response.body.aclose())
    assert server.api.watches.open_count == 0


@pytest.mark.parametrize("bookmarks", ["", "&allowWatchBookmarks=true"])
def test_a_watch_goes_on_after_all_have_looked_up(server, bookmarks):
    """At rest they do, so that what they wait in is made anew: that ends none of them."""
    watch = server.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={server.store.revision}{bookmarks}")
    server.run(asyncio.sleep(0))
    for name in ("a", "b"):
        reading = asyncio.ensure_future(anext(watch._frames), loop=server.loop)
        server.run(asyncio.sleep(0))
        memory.after_rest.tell()
        if bookmarks:
            assert json.loads(server.run(reading))["type"] == "BOOKMARK"
            reading = asyncio.ensure_future(anext(watch._frames), loop=server.loop)
        server.create(configmap(name))
        assert json.loads(server.run(reading))["object"]["metadata"]["name"] == name
    watch.close()
