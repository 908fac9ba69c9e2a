"""A move that is taken step by step between two clusters, by one and by two who do not know of each other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from petset.base import tasks
from petset.cli.failures import CommandError
from petset.cli.moving import acting, copying, making, record
from petset.client import following
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.testing import simulated
from petset.wire import http

SET: Object = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "db", "namespace": "default"},
    "spec": {
        "replicas": 3,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
        ],
    },
}


Delay = Callable[[http.Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Delayed:
    """A way to a cluster that holds requests up."""

    transport: http.Transport
    delay: Delay

    async def send(self, request: http.Request) -> http.Response:
        await self.delay(request)
        return await self.transport.send(request)


@dataclass(frozen=True, slots=True)
class Slow:
    """Now more, now less."""

    chance: random.Random

    async def __call__(self, request: http.Request) -> None:
        for _ in range(self.chance.choice((0, 0, 0, 1, 40, 400))):
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Held:
    """Who makes a pod waits until he may."""

    is_held: asyncio.Event = field(default_factory=asyncio.Event)
    may_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: http.Request) -> None:
        if request.method == "POST" and request.path.endswith("/pods"):
            self.is_held.set()
            await self.may_go.wait()


async def at_once(request: http.Request) -> None: ...


def ground(one: simulated.Simulated, delay: Delay = at_once) -> acting.Ground:
    client = one.client.through(lambda transport: Delayed(transport, delay))
    return acting.Ground(client, one.dialer(), "default", STATEFULSETS, "db")


async def live(one: simulated.Simulated) -> set[str]:
    pods, _ = await one.client.list(PODS, "default")
    return {meta.name(pod) for pod in pods if meta.name(pod)[-1].isdecimal() and not record.is_gate(pod)}


def are_ready(pods: Sequence[Object]) -> bool:
    return len([pod for pod in pods if meta.is_pod_ready(pod)]) == 3


class Volumes:
    """What is on volumes there, in the place of real ones; a copy takes a while, and is another's way, too."""

    def __init__(self, there: simulated.Simulated, chance: random.Random):
        self._there, self._chance = there, chance
        self.copies: list[str] = []

    async def copied(self, here: copying.Place, there: copying.Place, tell: copying.Tell) -> str:
        pet = there.pod.partition("-mover-")[0]
        for _ in range(self._chance.randrange(30)):
            await self._is_nobodys(pet, there.pod)
        self.copies.append(pet)
        return "digest"

    async def _is_nobodys(self, pet: str, mover: str) -> None:
        """It is emptied and filled: only while the mover that has it is there, as a connection into it lasts."""
        pods, _ = await self._there.client.list(PODS, "default")
        if mover not in map(meta.name, pods):
            raise ConnectionError("the mover is gone")
        assert pet not in await live(self._there), "a pet lives on a volume that is being emptied"


Story = Callable[[simulated.Simulated, simulated.Simulated], Awaitable[None]]
MOVE = record.Move("m", "there", "StatefulSet", 3, 0)


def play(directory: Path, story: Story) -> None:
    """Between two clusters, of which the first has a set of three ready pets."""

    async def played() -> None:
        async with (
            simulated.living(simulated.Wanted(directory / "here")) as here,
            simulated.living(simulated.Wanted(directory / "there")) as there,
        ):
            await here.client.create(SET)
            await following.until(here.client, PODS, "default", are_ready, 30.0)
            await story(here, there)

    asyncio.run(asyncio.wait_for(played(), 120))


async def ended(*movers: acting.Mover) -> list[BaseException | None]:
    """How each ended; whoever is disturbed ends, too, and is run again."""
    found = await asyncio.gather(*(one.run() for one in movers), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, CommandError | errors.ApiError | OSError):
            raise one
    return found


def mover(here: acting.Ground, there: acting.Ground) -> acting.Mover:
    return acting.Mover(here, there, MOVE, making.Wishes("default", tasks.new_uid()), silent, silent, 20.0)


def silent(*_: object) -> None: ...


@pytest.mark.parametrize("seed", range(4))
def test_two_who_move_one_set_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    async def story(here: simulated.Simulated, there: simulated.Simulated) -> None:
        chance = random.Random(seed)
        volumes = Volumes(there, chance)
        monkeypatch.setattr(copying, "copied", volumes.copied)
        for _ in range(20):
            both = [mover(ground(here, Slow(chance)), ground(there, Slow(chance))) for _ in range(2)]
            said = await ended(*both)
            assert not (await live(here)) & (await live(there))
            if not any(said):
                break
        assert not any(said), said
        assert await live(there) == {"db-0", "db-1", "db-2"} == set(volumes.copies) and not await live(here)
        tombstone = await here.client.get(STATEFULSETS, "db", "default")
        assert record.is_tombstone(tombstone) and record.of(tombstone) is None

    play(tmp_path, story)


def test_who_comes_late_leaves_what_another_has_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """He has decided to copy, and before he can the other has, and the pet lives there."""

    async def story(here: simulated.Simulated, there: simulated.Simulated) -> None:
        volumes = Volumes(there, random.Random(0))
        monkeypatch.setattr(copying, "copied", volumes.copied)
        late = Held()
        other = asyncio.ensure_future(ended(mover(ground(here), ground(there, late))))
        await late.is_held.wait()
        assert await ended(mover(ground(here), ground(there))) == [None]
        assert await live(there) == {"db-0", "db-1", "db-2"} == set(volumes.copies)
        late.may_go.set()
        await other
        assert volumes.copies == ["db-2", "db-1", "db-0"], "none is copied again"

    play(tmp_path, story)
