"""The client's verbs as requests, its errors, and watch frames however they are cut."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from petset.client.client import Client, InProcess
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.pod import PODS
from petset.objects import encoding, errors
from tests.client import scripted


def answered(answer: Any, call: Any) -> tuple[Any, scripted.Server]:
    server = scripted.Server(answer)
    return asyncio.run(call(server.client())), server


def test_verbs_become_requests() -> None:
    one = scripted.config_map("one", 3)
    maps = CONFIGMAPS
    calls = [
        (lambda c: c.get(maps, "one", "default"), "GET /api/v1/namespaces/default/configmaps/one"),
        (lambda c: c.create(one), "POST /api/v1/namespaces/default/configmaps"),
        (lambda c: c.update(one), "PUT /api/v1/namespaces/default/configmaps/one"),
        (lambda c: c.update(one, "status"), "PUT /api/v1/namespaces/default/configmaps/one/status"),
        (lambda c: c.patch(maps, "one", "default", {}), "PATCH /api/v1/namespaces/default/configmaps/one"),
        (lambda c: c.delete(maps, "one", "default"), "DELETE /api/v1/namespaces/default/configmaps/one"),
    ]
    for call, expected in calls:
        answer, server = answered(scripted.json(one), call)
        assert answer == one
        assert [f"{server.asked[0].method} {server.asked[0].path}"] == [expected]
        assert server.asked[0].user == scripted.USER


def test_a_subresource_is_posted_under_its_parent() -> None:
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web-0", "namespace": "default"}}
    _, server = answered(scripted.json({"kind": "Status"}), lambda c: c.create(binding, PODS, "binding", "web-0"))
    assert server.asked[0].path == "/api/v1/namespaces/default/pods/web-0/binding"


def test_a_patch_says_which_kind_it_is() -> None:
    for kind, expected in (("merge", "merge-patch"), ("json", "json-patch"), ("strategic", "strategic-merge-patch")):
        _, server = answered(scripted.json({}), lambda c, kind=kind: c.patch(PODS, "p", "default", {}, kind=kind))
        assert server.asked[0].header("content-type") == f"application/{expected}+json"


def test_a_delete_names_what_it_means() -> None:
    _, server = answered(
        scripted.json({}),
        lambda c: c.delete(PODS, "p", "default", uid="u", grace_seconds=0, propagation="Orphan", resource_version="5"),
    )
    assert encoding.loads(server.asked[0].body) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Orphan",
        "preconditions": {"uid": "u", "resourceVersion": "5"},
    }


def test_a_client_of_another_name_or_way_is_as_near_and_as_called() -> None:
    """A near server's watches need not end; whom a field belongs to follows the name."""
    server = scripted.Server(*(scripted.stream() for _ in range(3)))
    first = Client(InProcess(server.handle, scripted.USER), "one", is_near=True)

    async def watched(client: Client) -> None:
        assert [event async for event in client.watch(CONFIGMAPS)] == []

    for client in (first, first.named("two"), first.named("two").through(lambda transport: transport)):
        asyncio.run(watched(client))
    assert [one.header("user-agent") for one in server.asked] == ["one", "two", "two"]
    assert [dict(one.query).get("timeoutSeconds") for one in server.asked] == ["86400"] * 3


def test_selectors_are_escaped() -> None:
    _, server = answered(
        scripted.listing(1), lambda c: c.list(CONFIGMAPS, label_selector="a in (b,c)", field_selector="x=1")
    )
    assert server.targets() == ["GET /api/v1/configmaps?labelSelector=a+in+%28b%2Cc%29&fieldSelector=x%3D1"]
    assert server.asked[0].query == [("labelSelector", "a in (b,c)"), ("fieldSelector", "x=1")]


def test_items_without_a_kind_get_it() -> None:
    (items, revision), _ = answered(scripted.listing(4, {"metadata": {"name": "one"}}), lambda c: c.list(CONFIGMAPS))
    assert items == [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}]
    assert revision == "4"


def test_the_deepest_object_that_the_server_takes_can_be_listed() -> None:
    deepest: dict[str, Any] = {}
    for _ in range(encoding.NESTING_LEVELS_MAX - 1):
        deepest = {"a": deepest}
    (items, _), _ = answered(
        scripted.listing(4, {"kind": "ConfigMap", "metadata": {"name": "one"}, "data": deepest}),
        lambda c: c.list(CONFIGMAPS),
    )
    assert items[0]["data"] == deepest


def test_a_status_is_raised() -> None:
    with pytest.raises(errors.ApiError) as caught:
        answered(scripted.status(409, "Conflict", "it moved"), lambda c: c.get(PODS, "p", "default"))
    assert (caught.value.code, caught.value.reason, caught.value.message) == (409, "Conflict", "it moved")


def test_a_failure_that_is_no_status_is_an_error_all_the_same() -> None:
    answer = scripted.http.Response(502, (), b"<html>")
    with pytest.raises(errors.ApiError) as caught:
        answered(answer, lambda c: c.get(PODS, "p", "default"))
    assert caught.value.code == 502


def test_an_answer_cut_off_is_a_broken_connection() -> None:
    with pytest.raises(ConnectionError):
        answered(scripted.http.Response(200, (), b'{"kind": "Po'), lambda c: c.get(PODS, "p", "default"))


EVENTS = [
    ("ADDED", scripted.config_map("one", 3, text="a\nb ü")),
    ("MODIFIED", scripted.config_map("one", 4)),
    ("BOOKMARK", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "9"}}),
    ("DELETED", scripted.config_map("one", 10)),
]
FRAMES = b"".join(scripted.frame(*event) for event in EVENTS)


async def watched(server: scripted.Server) -> list[Any]:
    seen = []
    async with contextlib.aclosing(server.client().watch(CONFIGMAPS, since="2")) as events:
        async for event in events:
            seen.append(event)
    return seen


@hypothesis.given(strategies.lists(strategies.integers(0, len(FRAMES)), max_size=12))
@hypothesis.settings(max_examples=100)
def test_cutting_the_frames_anywhere_changes_nothing(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(FRAMES)]
    parts = [FRAMES[a:b] for a, b in itertools.pairwise(places)]
    server = scripted.Server(scripted.stream(*parts))
    assert asyncio.run(watched(server)) == EVENTS
    target = "/api/v1/configmaps?watch=true&allowWatchBookmarks=true&resourceVersion=2"
    assert server.targets() == [f"GET {target}"]


def test_an_unfinished_last_frame_is_dropped() -> None:
    assert asyncio.run(watched(scripted.Server(scripted.stream(FRAMES[:-10])))) == EVENTS[:-1]


def test_an_error_event_is_raised() -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    with pytest.raises(errors.ApiError) as caught:
        asyncio.run(watched(scripted.Server(scripted.stream(scripted.frame("ERROR", gone)))))
    assert caught.value.code == 410


def test_a_watch_that_is_left_early_closes_its_stream() -> None:
    closed: list[str] = []

    async def leave() -> None:
        server = scripted.Server(scripted.stream(FRAMES, closed=closed))
        async with contextlib.aclosing(server.client().watch(CONFIGMAPS)) as events:
            async for _ in events:
                break

    asyncio.run(leave())
    assert closed == ["closed"]
