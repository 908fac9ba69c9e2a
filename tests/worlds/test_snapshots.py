"""Snapshots, restores and clones while programs and the server die: whole or not ready, never lost, never shared.

The laws are world/snapshots.py, and those of claims and volumes in laws.py.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import pytest

from petset.kinds import volume_snapshots
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.objects import meta
from petset.objects.meta import Object
from petset.world import faults, laws, snapshots, world
from petset.world.process import persistently
from tests.worlds.test_rollouts import trouble
from tests.worlds.test_story import until

ROUNDS = 12
OURS = "kubernetes.io/host-path"


def claim(name: str, source: Any = None) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"}}
    return {**made, "spec": {**spec, **({"dataSource": source} if source else {})}}


def of_claim(name: str) -> Any:
    return {"kind": "PersistentVolumeClaim", "name": name}


def of_snapshot(name: str) -> Any:
    return {"apiGroup": volume_snapshots.GROUP, "kind": "VolumeSnapshot", "name": name}


def snapshot(name: str, of: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{volume_snapshots.GROUP}/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"source": {"persistentVolumeClaimName": of}, "volumeSnapshotClassName": "standard"},
    }


def class_(policy: str) -> dict[str, Any]:
    made = {"apiVersion": f"{volume_snapshots.GROUP}/v1", "kind": "VolumeSnapshotClass"}
    return {**made, "metadata": {"name": "standard"}, "driver": OURS, "deletionPolicy": policy}


def all_of(it: world.World, prefix: str) -> dict[str, Object]:
    return {meta.name(obj): obj for key, obj in it.laws.objects.items() if key.startswith(prefix)}


def path_of(it: world.World, name: str) -> str:
    claim_ = it.laws.objects.get(PERSISTENTVOLUMECLAIMS.key("default", name)) or {}
    volume = it.laws.objects.get(PERSISTENTVOLUMES.key("", meta.get(claim_, "spec", "volumeName") or "-")) or {}
    return meta.get(volume, "spec", "hostPath", "path", default="")


class Person:
    """Makes and takes away, and has no patience."""

    def __init__(self, it: world.World, chance: random.Random):
        self.it, self.chance, self.number = it, chance, 0
        kind = it.kinds.at(volume_snapshots.GROUP, "v1", "volumesnapshots")
        assert kind is not None
        self.snapshots = kind

    async def act(self) -> None:
        it, chance = self.it, self.chance
        self.number += 1
        claims, taken = list(all_of(it, snapshots.CLAIMS)), list(all_of(it, snapshots.SNAPSHOTS))
        match chance.randrange(5):
            case 0 if path := path_of(it, chance.choice(claims)):
                it.directories.write(path, f"text {self.number}")
            case 1:
                made = snapshot(f"s{self.number}", chance.choice(claims))
                await persistently(partial(it.admin.create, made))
            case 2 if taken:
                made = claim(f"r{self.number}", of_snapshot(chance.choice(taken)))
                await persistently(partial(it.admin.create, made))
            case 3:
                made = claim(f"c{self.number}", of_claim(chance.choice(claims)))
                await persistently(partial(it.admin.create, made))
            case _:
                await self.take_away(chance.choice([*claims, *taken]))

    async def take_away(self, name: str) -> None:
        if name == "data":
            return
        kind = self.snapshots if name.startswith("s") else PERSISTENTVOLUMECLAIMS
        found = self.it.laws.objects.get(kind.key("default", name))
        if found is not None:
            self.it.laws.excused(meta.uid(found), "a person deleted it")
            await persistently(partial(self.it.admin.delete, kind, name, "default"))


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
@pytest.mark.parametrize("seed", [0, 1, 5, 7])
def test_copies_are_whole_and_nobodys_else_whatever_dies(seed: int, policy: str) -> None:
    async def story(it: world.World) -> None:
        chance = random.Random(f"{seed} {policy} snapshots")
        await it.admin.create(class_(policy))
        await it.admin.create(claim("data"))
        await until(it, lambda: path_of(it, "data") in it.directories.paths)
        it.directories.write(path_of(it, "data"), "first")
        it.faults = faults.Faults.some(chance)
        it.laws.weather_seconds = it.faults.stale_seconds
        person = Person(it, chance)
        for _ in range(ROUNDS):
            await person.act()
            await asyncio.sleep(chance.random() * 3)
            await trouble(it, chance)
            if chance.random() < 0.5:
                it.process("controllers").kill(chance.random())
        it.faults = faults.Faults.none()

        def rests() -> bool:
            """Who has what it is made of is ready; who has it not waits for ever, and says why."""
            claims, taken = all_of(it, snapshots.CLAIMS), all_of(it, snapshots.SNAPSHOTS)
            ready = [one for one in taken.values() if meta.get(one, "status", "readyToUse")]
            bound = [one for one in claims.values() if meta.get(one, "status", "phase") == "Bound"]
            going = [one for one in (*claims.values(), *taken.values()) if meta.is_deleting(one)]
            lost = {name for name, one in claims.items() if not has_source(one, claims, taken)}
            lost |= {name for name, one in taken.items() if source_of(one) in lost or source_of(one) not in claims}
            waiting = len(claims) + len(taken) - len(ready) - len(bound)
            return not going and waiting <= len(lost)

        await until(it, rests, minutes=30)
        for name in [*all_of(it, snapshots.SNAPSHOTS), *all_of(it, snapshots.CLAIMS)]:
            await person.take_away(name)
        await until(it, lambda: not all_of(it, snapshots.SNAPSHOTS) and list(all_of(it, snapshots.CLAIMS)) == ["data"])
        await until(it, lambda: it.directories.paths == [path_of(it, "data")], minutes=30)
        contents = all_of(it, snapshots.CONTENTS)
        kept = sorted(snapshots.handle_of(one) for one in contents.values() if meta.get(one, "status", "readyToUse"))
        await until(it, lambda: not contents or policy == "Retain" or not all_of(it, snapshots.CONTENTS))
        assert sorted(it.directories.snapshots) == (kept if policy == "Retain" else [])

    world.run(world.Config(seed=seed, definitions=volume_snapshots.definitions()), story)


def source_of(snapshot_: Object) -> str:
    return meta.get(snapshot_, "spec", "source", "persistentVolumeClaimName", default="")


def has_source(claim_: Object, claims: Any, taken: Any) -> bool:
    """Whether what it is made of is there, all the way down, or it has its volume already."""
    source = meta.part(claim_, "spec", "dataSource")
    if not source or meta.get(claim_, "status", "phase") == "Bound":
        return True
    if source["kind"] == "VolumeSnapshot":
        found = taken.get(source["name"])
        return found is not None and (
            bool(meta.get(found, "status", "readyToUse"))
            or has_source(claims.get(source_of(found)) or GONE, claims, taken)
        )
    return has_source(claims.get(source["name"]) or GONE, claims, taken)


GONE: Object = {"spec": {"dataSource": {"kind": "VolumeSnapshot", "name": "gone"}}}


@pytest.mark.parametrize("what", ["half", "early", "shared"])
def test_the_laws_see(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from petset.world import directories

    async def nothing(self: Any, *args: Any) -> None:
        if what == "half":
            self._held[args[1]] = ["something else"]

    async def found(self: Any, handle: str) -> tuple[int, int]:
        return 10**18, 1 << 30

    async def story(it: world.World) -> None:
        await it.admin.create(class_("Delete"))
        await it.admin.create(claim("data"))
        await until(it, lambda: path_of(it, "data") in it.directories.paths)
        await it.admin.create(snapshot("s", "data"))
        if what == "shared":
            await until(it, lambda: bool(it.directories.snapshots))
            await it.directories.remove_snapshot(next(iter(it.directories.snapshots)))
        await until(it, lambda: meta.get(all_of(it, snapshots.SNAPSHOTS)["s"], "status", "readyToUse"))
        await it.admin.create(claim("r", of_snapshot("s")))
        await until(it, lambda: bool(path_of(it, "r")))

    if what == "early":
        monkeypatch.setattr(directories.Directories, "take_snapshot", nothing)
        monkeypatch.setattr(directories.Directories, "snapshot", found)
    if what == "half":
        monkeypatch.setattr(directories.Directories, "_copy", nothing)
    wrong = {"half": "not what its snapshot s holds", "early": "there is no copy of it", "shared": "was removed"}
    with pytest.raises(laws.Broken, match=wrong[what]):
        world.run(world.Config(seed=1, definitions=volume_snapshots.definitions()), story)
