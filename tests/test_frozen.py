"""Whoever changes an object that a store or a cache holds is found by the fixture that every test has."""

from __future__ import annotations

import asyncio

import pytest

from petset.client import informer
from petset.kinds import builtin
from petset.store.memory import MemoryStore

KEY = "v1/configmaps/default/a"
CONFIG_MAPS = builtin.KINDS.named("v1", "ConfigMap")


def config_map(value: str = "b"):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "default", "name": "a", "labels": {"x": "y"}},
        "data": {"a": value},
    }


def relabel(obj) -> None:
    obj["metadata"]["labels"]["x"] = "z"


async def changed_and_held(store: MemoryStore) -> None:
    relabel((await store.put(KEY, config_map(), 0)).object)


async def changed_and_superseded(store: MemoryStore) -> None:
    await changed_and_held(store)
    await store.put(KEY, config_map("c"), None)


async def changed_and_deleted(store: MemoryStore) -> None:
    await changed_and_held(store)
    await store.delete(KEY, None)


async def changed_and_forgotten(store: MemoryStore) -> None:
    entry = await store.put(KEY, config_map(), 0)
    relabel(entry.object)
    entry.forget()


async def untouched(store: MemoryStore) -> None:
    entry = await store.put(KEY, config_map(), 0)
    entry.forget()
    assert entry.object["data"] == {"a": "b"}
    await store.put(KEY, config_map("c"), None)


@pytest.mark.parametrize(
    ("story", "found"),
    [
        (changed_and_held, True),
        (changed_and_superseded, True),
        (changed_and_deleted, True),
        (changed_and_forgotten, True),
        (untouched, False),
    ],
)
def test_a_tree_of_the_store_that_is_changed_is_found(held_objects, story, found):
    asyncio.run(story(MemoryStore()))
    assert bool(held_objects.take()) == found


def test_a_cached_object_that_is_changed_is_found(held_objects):
    cache = informer.Cache(CONFIG_MAPS)
    cache.put(config_map())
    assert not held_objects.take()

    cache = informer.Cache(CONFIG_MAPS)
    cache.put(obj := config_map())
    relabel(obj)
    assert held_objects.take() == ["a cached object: configmaps default/a"]

    cache = informer.Cache(CONFIG_MAPS)
    cache.put(obj := config_map())
    relabel(obj)
    cache.put(config_map("c"))
    assert held_objects.take() == ["a cached object: configmaps default/a"]
