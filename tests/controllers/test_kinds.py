"""Kinds that come and go while the controllers run: who owns whom, what a namespace is emptied of, who follows what."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from petset.client.views import Informers, Snapshot
from petset.controllers import actions, garbage, runner
from petset.kinds import builtin
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.namespace import NAMESPACES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from tests import frozen
from tests.controllers.cluster import Cluster, running

INGRESSES = Kind("networking.example.com", "v1", "ingresses", "Ingress", subresources=STATUS)


def ingress(name: str, *owners: Object, namespace: str = "default", **metadata: Any) -> Object:
    return thing("networking.example.com/v1", "Ingress", name, *owners, namespace=namespace, **metadata)


def config_map(name: str, *owners: Object, namespace: str = "default", **metadata: Any) -> Object:
    return thing("v1", "ConfigMap", name, *owners, namespace=namespace, **metadata)


def thing(api_version: str, kind: str, name: str, *owners: Object, **metadata: Any) -> Object:
    references = [{**meta.owner_reference(owner), "controller": False} for owner in owners]
    owned = {"ownerReferences": references} if references else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **owned, **metadata}}


def play(scene: Callable[[Cluster], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running() as it:
            await scene(it)

    asyncio.run(main())


def comes(it: Cluster) -> None:
    it.client.kinds.replace(it.client.kinds.now.with_kind(INGRESSES))


def goes(it: Cluster) -> None:
    it.client.kinds.replace(it.client.kinds.now.without(INGRESSES))


def test_owners_and_dependents_of_a_kind_that_came() -> None:
    async def scene(it: Cluster) -> None:
        comes(it)
        above = await it.client.create(config_map("above"))
        middle = await it.client.create(ingress("middle", above))
        await it.client.create(config_map("below", middle))
        await it.client.delete(CONFIGMAPS, "above", "default", uid=meta.uid(above))
        await it.until(lambda: not it.get(INGRESSES, "middle") and not it.get(CONFIGMAPS, "below"))

    play(scene)


async def owner_waits_for_leaf(it: Cluster) -> None:
    """An owner that is deleted in the foreground, whose dependent is of a kind that came and is held up."""
    comes(it)
    owner = await it.client.create(config_map("owner"))
    leaf = ingress("leaf", owner, finalizers=["example.com/wait"])
    leaf["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = True
    await it.client.create(leaf)
    await it.client.delete(CONFIGMAPS, "owner", "default", uid=meta.uid(owner), propagation="Foreground")
    await it.until(lambda: meta.is_deleting(it.get(INGRESSES, "leaf") or {"metadata": {}}))


def test_in_the_foreground_a_dependent_of_a_kind_that_came_goes_first() -> None:
    async def scene(it: Cluster) -> None:
        await owner_waits_for_leaf(it)
        assert it.get(CONFIGMAPS, "owner")
        await it.client.patch(INGRESSES, "leaf", "default", {"metadata": {"finalizers": None}})
        await it.until(lambda: not it.get(CONFIGMAPS, "owner"))

    play(scene)


def test_what_is_owned_by_a_kind_that_is_not_there_waits_for_it_to_come() -> None:
    async def scene(it: Cluster) -> None:
        stranger = {**ingress("stranger"), "metadata": {"name": "stranger", "uid": "gone-for-long"}}
        await it.client.create(config_map("leaf", stranger))
        await it.rests()
        assert it.get(CONFIGMAPS, "leaf"), "nobody knows whether its owner is there"
        comes(it)
        await it.until(lambda: not it.get(CONFIGMAPS, "leaf"))

    play(scene)


def test_objects_of_a_kind_that_goes_are_forgotten_and_their_dependents_stay() -> None:
    async def scene(it: Cluster) -> None:
        comes(it)
        owner = await it.client.create(ingress("owner"))
        await it.client.create(config_map("leaf", owner))
        goes(it)
        await it.client.patch(CONFIGMAPS, "leaf", "default", {"data": {"a": "b"}})
        await it.rests()
        assert it.get(CONFIGMAPS, "leaf")

    play(scene)


def test_who_waited_for_a_kind_that_goes_waits_no_more() -> None:
    async def scene(it: Cluster) -> None:
        await owner_waits_for_leaf(it)
        goes(it)
        await it.until(lambda: not it.get(CONFIGMAPS, "owner"))

    play(scene)


def test_a_namespace_is_emptied_of_a_kind_that_came() -> None:
    async def scene(it: Cluster) -> None:
        comes(it)
        await it.client.create(thing("v1", "Namespace", "zoo"))
        await it.client.create(ingress("web", namespace="zoo"))
        await it.client.delete(NAMESPACES, "zoo")
        await it.until(lambda: not it.get(NAMESPACES, "zoo") and not it.all(INGRESSES, "zoo"))

    play(scene)


def test_a_kind_that_comes_again_is_followed_again() -> None:
    async def scene(it: Cluster) -> None:
        for _ in range(3):
            comes(it)
            owner = await it.client.create(ingress("owner"))
            await it.client.create(config_map("leaf", owner))
            await it.client.delete(INGRESSES, "owner", "default", uid=meta.uid(owner))
            await it.until(lambda: not it.get(CONFIGMAPS, "leaf"))
            goes(it)
            with pytest.raises(errors.ApiError):
                await it.client.list(INGRESSES)

    play(scene)


def test_caches_of_kinds_that_went_are_gone() -> None:
    async def scene(it: Cluster) -> None:
        informers = Informers(it.client)
        async with asyncio.TaskGroup() as group:
            running_ = group.create_task(informers.run())
            comes(it)
            told: list[tuple[bool, bool]] = []
            first = informers.of(INGRESSES)
            first.on_change(lambda old, new: told.append((old is not None, new is not None)))
            await it.client.create(ingress("web"))
            await it.until(lambda: first.get("default", "web"))
            goes(it)
            await it.until(lambda: told == [(False, True), (True, False)])
            assert informers.known(INGRESSES) is None and not len(first)
            comes(it)
            assert informers.of(INGRESSES) is not first
            await it.until(lambda: informers.of(INGRESSES).get("default", "web"))
            running_.cancel()
        assert "informer of ingresses" not in [task.get_name() for task in asyncio.all_tasks() if task is running_]

    play(scene)


def test_nothing_is_decided_before_the_cache_of_a_kind_that_came_is_filled() -> None:
    """An owner in the foreground would go before its dependents of that kind are known."""

    async def scene(it: Cluster) -> None:
        comes(it)
        await it.client.create(ingress("web"))
        goes(it)
        seen: list[int] = []

        def reconcile(key: str, view: Any, now: float) -> list[actions.Action]:
            seen.append(len(view.list(INGRESSES)))
            return []

        row = runner.Controller(
            "test",
            "test",
            (),
            reconcile,
            every=(lambda kind: kind.plural in ("configmaps", "ingresses"), runner.own_key),
        )
        informers = Informers(it.client)
        one = runner.Runner(it.client, informers, row)
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(informers.run()), group.create_task(one.run())]
            await it.until(lambda: one._heard)
            seen.clear()
            comes(it)
            one._queue.add("anything")
            await it.until(lambda: seen)
            assert seen[0] == 1
            for part in parts:
                part.cancel()

    play(scene)


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha2"])
def test_an_owner_is_found_by_any_version_that_a_reference_names(version: str) -> None:
    async def scene(it: Cluster) -> None:
        stored = Kind("coordination.example.com", "v1beta1", "leasecandidates", "LeaseCandidate")
        older = dataclasses.replace(stored, version="v1alpha2", stored_as=stored)
        it.client.kinds.replace(it.client.kinds.now.with_kind(older).with_kind(stored))
        spec = {"leaseName": "a", "binaryVersion": "1.0.0", "strategy": "OldestEmulationVersion"}
        names = ("owner", "other", "third")
        made = [{**thing(stored.api_version, stored.kind, name, namespace="default"), "spec": spec} for name in names]
        owner, other, third = [await it.client.create(obj) for obj in made]
        named = {"apiVersion": f"coordination.example.com/{version}"}
        for one in (owner, other):
            await it.client.create(config_map(f"of-{meta.name(one)}", {**one, **named}))
        leaf = thing(older.api_version, older.kind, "leaf", {**owner, **named}, {**third, **named}, namespace="default")
        await it.client.create({**leaf, "spec": spec})
        await it.client.delete(older, "owner", "default", uid=meta.uid(owner))
        await it.until(lambda: not it.get(CONFIGMAPS, "of-owner"))

        def owners() -> list[str]:
            metadata = (it.get(older, "leaf") or {"metadata": {}})["metadata"]
            return [reference["name"] for reference in metadata["ownerReferences"]]

        await it.until(lambda: owners() == ["third"])
        assert it.get(CONFIGMAPS, "of-other")

    play(scene)


def test_a_kind_whose_stored_version_is_served_no_more_is_followed_by_another() -> None:
    async def scene(it: Cluster) -> None:
        stored = dataclasses.replace(INGRESSES, version="v1")
        other = dataclasses.replace(stored, version="v1beta1", stored_as=stored)
        it.client.kinds.replace(it.client.kinds.now.with_kind(stored))
        owner = await it.client.create(config_map("owner"))
        await it.client.create(ingress("leaf", owner))
        it.client.kinds.replace(it.client.kinds.now.with_kind(other).without(stored))
        assert [kind for kind in it.client.kinds.now.each_once() if kind.group == other.group] == [other]
        await it.client.delete(CONFIGMAPS, "owner", "default", uid=meta.uid(owner))
        await it.until(lambda: not it.get(other, "leaf"))

    play(scene)


def test_of_kinds_that_came_and_went_nothing_is_kept(held_objects: frozen.Frozen) -> None:
    async def scene(it: Cluster) -> None:
        def counted() -> tuple[int, int]:
            assert not held_objects.take()  # Which lets go of the caches of tests.
            gc.collect()
            return sum(isinstance(one, Kind) for one in gc.get_objects()), len(asyncio.all_tasks())

        async def one(number: int) -> None:
            kind = dataclasses.replace(INGRESSES, group=f"networking.example{number}.com")
            it.client.kinds.replace(it.client.kinds.now.with_kind(kind))
            await it.client.create({**ingress(f"i{number}"), "apiVersion": kind.api_version})
            made = await it.client.get(kind, f"i{number}", "default")
            await it.client.raw("/openapi/v3")
            await it.client.delete(kind, f"i{number}", "default", uid=meta.uid(made))
            it.client.kinds.replace(it.client.kinds.now.without(kind))
            await it.rests(0.01)

        for number in range(10):
            await one(number)
        kinds, running_ = counted()
        for number in range(10, 30):
            await one(number)
        again = counted()
        assert again[0] <= kinds + 2 and again[1] <= running_ + 2

    play(scene)


def test_an_owner_of_a_kind_of_this_moment_is_gone_when_it_is() -> None:
    owner = {**ingress("owner"), "metadata": {"name": "owner", "namespace": "default", "uid": "u-owner"}}
    leaf = config_map("leaf", owner, uid="u-leaf")
    key = garbage.key_of(leaf, CONFIGMAPS)
    kinds = builtin.KINDS.with_kind(INGRESSES)
    strangers: garbage.Strangers = {}
    assert garbage.reconcile(strangers, key, Snapshot([leaf]), 0) == [] and list(strangers) == [key]
    assert garbage.no_longer_strange(strangers, Snapshot([], kinds)) == [key]
    assert garbage.reconcile(strangers, key, Snapshot([leaf, owner], kinds), 0) == [] and not strangers
    gone, delete = garbage.reconcile(strangers, key, Snapshot([leaf], kinds), 0)
    assert isinstance(gone, actions.Gone) and gone.resource is INGRESSES and isinstance(delete, actions.Delete)
