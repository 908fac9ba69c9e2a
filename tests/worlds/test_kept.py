"""Two API servers that keep their objects in one cluster, over bad links, while they and the cluster die.

The laws are world/kept.py: nothing is acknowledged that is not there, no write is refused that goes through, no
fresh read is old, no watch has a gap.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from petset.base import tasks
from petset.kept import outcome
from petset.kept.store import KeptStore
from petset.kinds import stored_pet_set
from petset.kinds.pet_set import PETSETS
from petset.store.store import Conflict, Unavailable, Unknown
from petset.world import faults, kept, laws, world
from petset.world.process import persistently

NAMES = ("web", "db", "queue")
WRITERS = 4
WRITES = 40  # Of each writer.
PAUSE_SECONDS = 1.0


class Writer:
    """Somebody who reads and writes by whichever replica is up."""

    def __init__(self, name: str, ledger: kept.Ledger, through: list[kept.Replica], chance: random.Random):
        self.name, self._ledger, self._through, self._chance = name, ledger, through, chance
        self.said = dict.fromkeys(("done", "conflict", "unavailable", "unknown"), 0)

    async def play(self) -> None:
        for number in range(WRITES):
            replica = self._chance.choice(self._through)
            if (store := replica.store) is not None:
                key = PETSETS.key("default", self._chance.choice(NAMES))
                try:
                    await self._act(replica.name, store, key, f"{self.name}-{number}")
                except Unavailable:
                    self.said["unavailable"] += 1
            await asyncio.sleep(self._chance.random() * PAUSE_SECONDS)

    async def _act(self, who: str, store: KeptStore, key: str, value: str) -> None:
        asked_at, newest = self._ledger.at(key), self._ledger.changes[-1].revision if self._ledger.changes else 0
        await store.fresh(self._chance.choice((key, PETSETS.key())))
        found = store.get(key)
        self._ledger.shows(who, key, found, asked_at, newest)
        expected = self._chance.choice((found.revision if found else 0, found.revision if found else 0, 0, None))
        name = key.rpartition("/")[2]
        try:
            if found is not None and self._chance.random() < 0.3:
                gone = await store.delete(key, expected)
                if gone is not None:
                    self._ledger.acknowledges(who, gone, deleted=True)
            else:
                entry = await store.put(key, kept.pet_set(name, value), expected)
                self._ledger.acknowledges(who, entry, deleted=False)
            self.said["done"] += 1
        except Conflict as conflict:
            self.said["conflict"] += 1
            self._ledger.refuses(who, value, str(conflict))
        except Unknown:
            self.said["unknown"] += 1
        except Unavailable as error:
            self.said["unavailable"] += 1
            self._ledger.refuses(who, value, str(error))


async def trouble(it: world.World, through: list[kept.Replica], chance: random.Random) -> None:
    """Now and then somebody dies, or is cut off."""
    while True:
        await asyncio.sleep(chance.random() * 20)
        match chance.randrange(4):
            case 0:
                it.laws.server_died_at = it.loop.time()
                it.server.kill()
                await asyncio.sleep(chance.random() * 3)
                it.server.start()
            case 1:
                chance.choice(through).process.kill(chance.random() * 5)
            case 2:
                it.faults = faults.Faults.some(chance)
            case _:
                it.faults = faults.Faults.none()


async def play(it: world.World, seed: int) -> dict[str, int]:
    chance = random.Random(f"{seed} replicas")
    await persistently(
        lambda: it.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kept.HOME}})
    )
    ledger = kept.Ledger(it)
    through = [kept.Replica(it, ledger, f"replica-{number}") for number in range(2)]
    writers = [
        Writer(f"{seed}-writer-{number}", ledger, through, random.Random(f"{seed} writer {number}"))
        for number in range(WRITERS)
    ]
    it.processes.extend(replica.process for replica in through)
    async with asyncio.TaskGroup() as lives:
        living = [tasks.spawn(lives, replica.process.live(), replica.name) for replica in through]
        it.faults = faults.Faults.of_seed(seed)
        async with asyncio.TaskGroup() as group:
            troubling = tasks.spawn(group, trouble(it, through, chance), "trouble")
            async with asyncio.TaskGroup() as playing:
                for writer in writers:
                    tasks.spawn(playing, writer.play(), writer.name)
            troubling.cancel()
        it.faults = faults.Faults.none()
        if it.server.plane is None:
            it.server.start()
        await asyncio.sleep(60)
        for replica in through:
            assert replica.store is not None
            await replica.store.fresh(PETSETS.key())
            shown = {entry.key: entry.revision for entry in replica.store.list("")[1]}
            assert shown == {key: ledger.at(key) for key in shown} and len(shown) == len(ledger._now)
        for each in living:
            each.cancel()
    return {said: sum(writer.said[said] for writer in writers) for said in writers[0].said}


def run(seed: int) -> tuple[world.World, dict[str, int]]:
    said: dict[str, int] = {}

    async def story(it: world.World) -> None:
        said.update(await play(it, seed))

    config = world.Config(seed=seed, scripted=True, definitions=[stored_pet_set.definition()])
    return world.run(config, story), said


@pytest.mark.parametrize("seed", range(12))
def test_replicas_over_bad_links_keep_the_laws(seed: int) -> None:
    _, said = run(seed)
    assert said["done"] > 20


def test_what_writes_come_to_is_all_met() -> None:
    """The stories are about something: each way in which a write ends is in them."""
    totals: dict[str, int] = {}
    for seed in range(4):
        for what, count in run(seed)[1].items():
            totals[what] = totals.get(what, 0) + count
    assert all(totals.values()), totals


def test_one_seed_is_one_run() -> None:
    first, second = run(3)[0], run(3)[0]
    assert first.laws.digest.hexdigest() == second.laws.digest.hexdigest()


# -- planted faults -----------------------------------------------------------------------------------------------


def a_lost_answer_is_a_conflict(patch: pytest.MonkeyPatch) -> None:
    def decided(sent: outcome.Sent, seen: outcome.Seen) -> Any:
        return outcome.Conflicts(seen.revision)

    patch.setattr(outcome, "decided", decided)


def a_lost_answer_is_done(patch: pytest.MonkeyPatch) -> None:
    def decided(sent: outcome.Sent, seen: outcome.Seen) -> Any:
        return outcome.Done(seen.revision)

    patch.setattr(outcome, "decided", decided)


def a_fresh_read_asks_nobody(patch: pytest.MonkeyPatch) -> None:
    async def fresh(self: KeptStore, prefix: str) -> None:
        self._require_listed()

    patch.setattr(KeptStore, "fresh", fresh)


def a_gap_is_not_told(patch: pytest.MonkeyPatch) -> None:
    begun = KeptStore.begun

    def quiet(self: KeptStore, stored: Any, revision: int) -> None:
        patch.setattr(self._feed, "expire", lambda: None)
        begun(self, stored, revision)

    patch.setattr(KeptStore, "begun", quiet)


@pytest.mark.parametrize(
    "plant", [a_lost_answer_is_a_conflict, a_lost_answer_is_done, a_fresh_read_asks_nobody, a_gap_is_not_told]
)
def test_the_laws_find_a_planted_fault(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(laws.Broken):
        for seed in range(20):
            run(seed)
