"""A whole cluster in virtual time: the real server, controllers, scheduler and node agents, bad links, and a monkey.

`run(seed)` builds a scenario out of the seed (which sets, how many nodes, which weather), lets the monkey play, ends
the faults, waits until everything is as the specs say, and watches that it stays so. It raises `laws.Broken` with the
last lines of the trace and the command that replays the seed. The same seed is the same run: time and order are the
loop's (loop.py), chance is seeded, and nothing that is iterated is a set.

Every program is a `Process` with a link of its own to the server; killing it cuts the link first, so that nothing of
its cleaning up is seen by anybody, and starts it again later with nothing but what the store and the node's runtime
have kept.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import pathlib
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from petset.base import tasks
from petset.client import client as api
from petset.dns import records
from petset.objects import encoding, errors
from petset.server import bootstrap
from petset.wire import http
from tests.worlds import agents, laws, monkeys, network, nodes, programs, scenario, settled
from tests.worlds import loop as virtual

EPOCH_SECONDS = 1_470_000_000.0  # July 2016.
ADMIN = http.User("petset-admin", ("system:masters",))
SETTLE_SECONDS_MAX = 1500.0  # The longest back-off of a crashing container is five minutes.
LOOK_SECONDS = 5.0
QUIET_SECONDS = 150.0
DIE_SECONDS_MAX = 120.0
SHOWN_LINES = 60


class Process:
    """A program that can be killed and comes back."""

    def __init__(self, world: World, name: str, user: http.User, main: Callable[[api.Client], Awaitable[None]]):
        self.world, self.name, self.user, self.main = world, name, user, main
        self.down_seconds = 0.0
        self.link: network.Link | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_death: Callable[[], None] = lambda: None

    async def live(self) -> None:
        while True:
            self.link = self.world.link(self.name, self.user)
            work = self.main(api.Client(self.link, self.name))
            self.task = asyncio.get_running_loop().create_task(work, name=self.name)  # type: ignore[arg-type]
            try:
                await asyncio.wait([self.task])
            finally:
                self.link.cut()
                self.task.cancel()
            if not self.task.cancelled():
                error = self.task.exception()
                self.world.laws.breaks(f"{self.name} ended by itself: {told(error)}")
                return
            self.world.laws.note(f"DEAD     {self.name} for {self.down_seconds:.1f} s")
            await asyncio.sleep(self.down_seconds)
            self.world.laws.note(f"ALIVE    {self.name}")

    def kill(self, down_seconds: float) -> None:
        if self.link is not None and self.task is not None and not self.task.done():
            self.down_seconds = down_seconds
            self.link.cut()
            self.on_death()
            self.task.cancel()


def told(error: BaseException | None) -> str:
    """An exception with what is inside its groups."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(told(inner) for inner in error.exceptions)
    return repr(error)


class World:
    def __init__(self, seed: int, loop: virtual.VirtualLoop):
        self.seed, self.loop = seed, loop
        self.chance = random.Random(f"{seed} world")
        self.plan = scenario.of(random.Random(f"{seed} scenario"))
        self.faults = network.Faults.none()
        self.zone = records.Zone()
        self.disk = tempfile.mkdtemp(prefix="petset-world-")
        self.laws = laws.Laws(loop.time, self._running)
        self.server = network.Server(network.SeenStore(self.laws.saw))
        self.admin = api.Client(network.Link(self.server, ADMIN, random.Random(f"{seed} admin"), network.Faults.none))
        kind = agents.AgentNode if self.plan.real_agents else nodes.ScriptedNode
        self.nodes = [kind(self, f"node-{number}") for number in range(self.plan.nodes)]
        self.processes = [
            Process(self, "controllers", programs.CONTROLLERS_USER, programs.controllers(self)),
            Process(self, "scheduler", programs.SCHEDULER_USER, programs.scheduler(self)),
            Process(self, "dns", programs.DNS_USER, programs.dns(self)),
            *(Process(self, node.name, node.user, node.run) for node in self.nodes),
        ]
        for node in self.nodes:
            self.process(node.name).on_death = node.cut_off

    def _running(self) -> Iterable[tuple[str, laws.Running]]:
        return [each for node in self.nodes for each in node.running()]

    def disk_of(self, name: str) -> pathlib.Path:
        return pathlib.Path(self.disk) / name

    def process(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)

    def link(self, name: str, user: http.User) -> network.Link:
        # One source of chance a link, so that what one process does leaves the others' weather alone.
        chance = random.Random(f"{self.seed} {name} {self.loop.time()}")
        return network.Link(self.server, user, chance, lambda: self.faults, self.meddle, partial(self.laws.asked, name))

    async def meddle(self, request: http.Request) -> None:
        """Somebody else changes the object that the request is about, just before it."""
        path = request.path
        for end in ("/status", "/scale", "/binding"):
            path = path.removesuffix(end)
        if "/leases/" in path or "/events/" in path:
            return
        patch = {"metadata": {"annotations": {laws.MEDDLED: str(self.laws.writes)}}}
        headers = (("content-type", "application/merge-patch+json"),)
        await self.server.handle(http.Request("PATCH", path, headers, encoding.dumps(patch), user=ADMIN))

    async def main(self) -> None:
        await bootstrap.ensure(self.server.store)
        self.server.start()
        async with asyncio.TaskGroup() as group:
            for process in self.processes:
                group.create_task(process.live(), name=f"life of {process.name}")
            story = group.create_task(self._story(), name="story")
            await asyncio.wait([story])
            for process in self.processes:
                process.kill(1e9)
            await asyncio.sleep(DIE_SECONDS_MAX)
            for process in self.processes:
                if process.task is not None and not process.task.done():
                    self.laws.breaks(f"{process.name} does not end when it is cancelled")
            raise virtual.Done

    async def _story(self) -> None:
        await self._create_all()
        monkey = monkeys.Monkey(self)
        self.faults, self.laws.weather_seconds = self.plan.faults, self.plan.faults.stale_seconds
        await monkey.play()
        self.faults = network.Faults.none()
        for node in self.nodes:
            node.calm()
        await monkey.goes_home()
        self.laws.weather_seconds = 0.0
        self.laws.note("CALM")
        await self._settles()
        if not self.laws.broken:
            await self._stays_settled()

    async def _create_all(self) -> None:
        for obj in self.plan.objects:
            await persistently(lambda obj=obj: self.admin.create(obj))

    async def _settles(self) -> None:
        wrong: list[str] = []
        until = self.loop.time() + SETTLE_SECONDS_MAX
        while self.loop.time() < until and not self.laws.broken:
            wrong = settled.what_is_wrong(self)
            if not wrong:
                return
            await asyncio.sleep(LOOK_SECONDS)
        if not self.laws.broken:
            self.laws.breaks("it does not settle: " + "; ".join(wrong))

    async def _stays_settled(self) -> None:
        self.laws.note("SETTLED")
        await asyncio.sleep(LOOK_SECONDS * 2)  # What was under way when the last condition became true.
        writes = self.laws.writes
        await asyncio.sleep(QUIET_SECONDS)
        wrong = settled.what_is_wrong(self)
        if wrong:
            self.laws.breaks("it does not stay settled: " + "; ".join(wrong))
        elif self.laws.writes != writes:
            self.laws.breaks(f"it does not come to rest: {self.laws.writes - writes} writes in {QUIET_SECONDS:.0f} s")


async def persistently(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Somebody who tries until the server answers; "it is there already" and "it is gone" are answers."""
    while True:
        try:
            return await attempt()
        except errors.ApiError as error:
            if error.code in (404, 409):
                return None
            if error.code < 500:
                raise
        except OSError:
            pass
        await asyncio.sleep(1)


def run(seed: int) -> World:
    """One world from its beginning to its end. Raises laws.Broken."""
    worlds: list[World] = []

    async def main(loop: virtual.VirtualLoop) -> None:
        environment = tasks.Environment(
            wall_clock=lambda: EPOCH_SECONDS + loop.now, rng=random.Random(f"{seed} product"), threads=False
        )
        with tasks.environment(environment):
            world = World(seed, loop)
            worlds.append(world)
            try:
                await world.main()
            except* virtual.Done:
                pass

    log = logging.getLogger("petset")
    level = log.level
    log.setLevel(logging.CRITICAL)  # What goes wrong on purpose is nobody's news.
    gc.disable()  # Its moments are nobody's seed.
    try:
        virtual.run(main, seed)
    except virtual.Stuck as stuck:
        worlds[0].laws.breaks(str(stuck))
    finally:
        gc.enable()
        log.setLevel(level)
        for each in worlds:
            shutil.rmtree(each.disk, ignore_errors=True)
    world = worlds[0]
    if world.laws.broken:
        raise laws.Broken(story_of(world))
    return world


def story_of(world: World) -> str:
    lines = list(world.laws.trace)[-SHOWN_LINES:]
    return "\n".join(
        [
            f"seed {world.seed}: {world.laws.broken[0]}",
            *(f"  and {more}" for more in world.laws.broken[1:4]),
            f"scenario: {world.plan.told()}",
            *lines,
            f"seed {world.seed}: {world.laws.broken[0]}",
            f"replay it: python -m tests.worlds {world.seed}",
        ]
    )
