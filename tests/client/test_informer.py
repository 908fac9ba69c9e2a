"""The live cache: what it asks for, what it holds, whom it tells, and how it gets over what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from petset.client.informer import Cache, Informer
from petset.kinds.config_map import CONFIGMAPS
from petset.objects import meta
from petset.objects.meta import Object
from tests import waiting
from tests.client import scripted
from tests.client.scripted import config_map, frame, listing, open_stream, status, stream

WATCH = "GET /api/v1/configmaps?watch=true&allowWatchBookmarks=true&resourceVersion="
LIST = "GET /api/v1/configmaps"


def follow(server: scripted.Server, scene: Callable[[Informer], Awaitable[None]]) -> list[Any]:
    """Run an informer against the server while the scene plays; what its callbacks were told."""
    told: list[Any] = []

    def tell(old: Object | None, new: Object | None) -> None:
        told.append(tuple(obj and f"{meta.name(obj)}@{obj['metadata']['resourceVersion']}" for obj in (old, new)))

    async def main() -> None:
        informer = Informer(server.client(), CONFIGMAPS)
        informer.on_change(tell)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(informer.run())
            await scene(informer)
            task.cancel()

    asyncio.run(main())
    return told


async def sees(informer: Informer, revision: int) -> None:
    async with asyncio.timeout(5):
        await informer.until(lambda: informer.has_seen(revision))


def test_it_lists_and_follows_from_the_lists_revision() -> None:
    server = scripted.Server(
        listing(5, config_map("one", 2), config_map("two", 4)),
        open_stream(
            frame("MODIFIED", config_map("one", 6)),
            frame("ADDED", config_map("three", 7)),
            frame("DELETED", config_map("two", 8)),
        ),
    )

    async def scene(informer: Informer) -> None:
        await informer.synced.wait()
        await sees(informer, 8)
        assert [meta.name(obj) for obj in informer.list("default")] == ["one", "three"]
        assert informer.get("default", "two") is None

    told = follow(server, scene)
    assert server.targets() == [LIST, WATCH + "5"]
    assert told == [
        (None, "one@2"),
        (None, "two@4"),
        ("one@2", "one@6"),
        (None, "three@7"),
        ("two@4", None),
    ]


def test_an_ended_or_broken_watch_is_resumed_from_the_last_revision_or_bookmark() -> None:
    server = scripted.Server(
        listing(5, config_map("one", 2)),
        stream(frame("MODIFIED", config_map("one", 6))),
        stream(frame("BOOKMARK", {"kind": "ConfigMap", "metadata": {"resourceVersion": "9"}}), then=OSError("cut")),
        ConnectionError("refused"),
        open_stream(frame("MODIFIED", config_map("one", 10))),
    )

    async def scene(informer: Informer) -> None:
        await sees(informer, 10)

    told = follow(server, scene)
    assert server.targets() == [LIST, WATCH + "5", WATCH + "6", WATCH + "9", WATCH + "9"]
    assert told[-1] == ("one@6", "one@10")


@pytest.mark.parametrize(
    "gone",
    [
        status(410, "Expired"),
        stream(frame("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"})),
    ],
    ids=["as the answer", "as a frame"],
)
def test_a_revision_that_is_gone_means_listing_again_and_telling_the_difference(gone: Any) -> None:
    server = scripted.Server(
        listing(5, config_map("one", 2), config_map("two", 4), config_map("three", 5)),
        gone,
        listing(20, config_map("one", 2), config_map("three", 15), config_map("four", 16)),
        open_stream(),
    )

    async def scene(informer: Informer) -> None:
        await sees(informer, 20)
        assert [meta.name(obj) for obj in informer.list()] == ["four", "one", "three"]

    told = follow(server, scene)
    assert server.targets() == [LIST, WATCH + "5", LIST, WATCH + "20"]
    assert told[3:] == [("two@4", None), ("three@5", "three@15"), (None, "four@16")]


def test_a_list_that_fails_is_tried_again() -> None:
    server = scripted.Server(ConnectionError("refused"), status(503, "ServiceUnavailable"), listing(1), open_stream())

    async def scene(informer: Informer) -> None:
        async with asyncio.timeout(5):
            await informer.synced.wait()

    follow(server, scene)
    assert server.targets()[:3] == [LIST, LIST, LIST]


def test_a_deletion_told_twice_is_heard_once() -> None:
    server = scripted.Server(
        listing(5, config_map("one", 2)),
        open_stream(frame("DELETED", config_map("one", 6)), frame("DELETED", config_map("one", 6))),
    )

    async def scene(informer: Informer) -> None:
        await sees(informer, 6)
        await waiting.until(lambda: len(informer) == 0)

    assert follow(server, scene) == [(None, "one@2"), ("one@2", None)]


def test_who_listens_late_is_told_what_is_there() -> None:
    async def scene(informer: Informer) -> None:
        await informer.synced.wait()
        late: list[str] = []
        informer.on_change(lambda old, new: late.append(meta.name(new or {})))
        assert late == ["one", "two"]

    follow(scripted.Server(listing(5, config_map("two", 4), config_map("one", 2)), open_stream()), scene)


def test_indices_follow_changes() -> None:
    def by_colour(obj: Object) -> list[str]:
        return [obj["data"]["colour"]] if "colour" in obj["data"] else []

    cache = Cache(CONFIGMAPS, {"colour": by_colour})
    cache.put(config_map("b", 1, colour="red"))
    cache.put(config_map("a", 2, colour="red"))
    assert [meta.name(obj) for obj in cache.by_index("colour", "red")] == ["a", "b"]
    cache.put(config_map("a", 3, colour="blue"))
    assert [meta.name(obj) for obj in cache.by_index("colour", "red")] == ["b"]
    cache.remove("default/b")
    assert cache.by_index("colour", "red") == []


def test_a_list_is_in_key_order_whatever_came_when() -> None:
    cache = Cache(CONFIGMAPS)
    for name in ("c", "a", "b"):
        cache.put(config_map(name, 1))
    assert [meta.name(obj) for obj in cache.list()] == ["a", "b", "c"]
    cache.put(config_map("b", 2))
    cache.remove("default/a")
    cache.put(config_map("aa", 3))
    assert [meta.name(obj) for obj in cache.list("default")] == ["aa", "b", "c"]


def test_a_fact_is_computed_once_a_version_and_goes_with_it() -> None:
    asked: list[str] = []

    def revision(obj: Object) -> str:
        asked.append(obj["metadata"]["resourceVersion"])
        return asked[-1]

    cache = Cache(CONFIGMAPS)
    cache.put(config_map("a", 1))
    facts = cache.facts(revision)
    assert [facts.of(obj) for _ in range(3) for obj in cache.list()] == ["1"] * 3 and asked == ["1"]
    old = cache.put(config_map("a", 2))
    assert old is not None and facts.of(cache.list()[0]) == "2"
    assert facts.of(old) == "1" and facts.of(old) == "1" and asked == ["1", "2", "1", "1"]
    cache.remove("default/a")
    assert facts._known == {}


def test_an_index_that_nobody_reads_is_not_kept() -> None:
    asked: list[str] = []

    def by_data(obj: Object) -> list[str]:
        asked.append(meta.name(obj))
        return [obj["data"]["color"]]

    cache = Cache(CONFIGMAPS, {"color": by_data})
    for revision, (name, color) in enumerate([("b", "red"), ("a", "red"), ("c", "blue")]):
        cache.put(colored(name, color, revision))
    assert asked == []
    assert [meta.name(obj) for obj in cache.by_index("color", "red")] == ["a", "b"]
    assert asked == ["a", "b", "c"]


def test_who_follows_a_value_is_told_of_what_comes_changes_and_goes() -> None:
    told: list[tuple[str, str]] = []
    cache = Cache(CONFIGMAPS, {"color": lambda obj: [obj["data"]["color"]]})
    cache.put(colored("a", "red", 1))
    cache.put(colored("b", "blue", 2))
    stop = cache.follow("color", "red", lambda old, new: told.append((revision_of(old), revision_of(new))))
    cache.put(colored("a", "red", 3))
    cache.put(colored("b", "red", 4))
    cache.put(colored("b", "blue", 5))
    cache.put(colored("b", "blue", 6))
    cache.remove("default/a")
    assert told == [("", "1"), ("1", "3"), ("", "4"), ("4", ""), ("3", "")]
    stop()
    cache.put(colored("a", "red", 7))
    assert len(told) == 5


def colored(name: str, color: str, revision: int) -> Object:
    return {**config_map(name, revision), "data": {"color": color}}


def revision_of(obj: Object | None) -> str:
    return obj["metadata"]["resourceVersion"] if obj is not None else ""
