"""A whole cluster in virtual time: the real server, controllers, scheduler and node agents, over links that may be bad.

`run(seed, story)` makes a world, lets its programs live, and plays a story in it: an async function that is handed the
`World`, writes through `world.admin`, sets the weather (`world.faults`), kills programs, and waits for what should
come of it (`settles`, `stays_settled`); what it does to pods and claims on purpose it tells the laws first
(`world.laws.excused`). `run` raises `laws.Broken` with the last lines of the trace when a law did not
hold. The same seed is the same run: time and order are the loop's (loop.py), chance is seeded, and nothing that is
iterated is a set.

Every program is a `process.Process` with a link of its own to the server. A world has no state outside of itself and
its loop: any number of them may live in one Python process, one after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import pathlib
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from petset import cluster
from petset.base import tasks
from petset.client import client as api
from petset.client import election
from petset.controllers import replica
from petset.dns import records
from petset.kinds.pet_set import PETSETS
from petset.objects import encoding
from petset.objects.meta import Object
from petset.objects.registry import Catalog
from petset.store import memory
from petset.wire import http, streaming
from petset.world import agents, directories, faults, kinds, laws, link, nodes, server, settled, snapshots
from petset.world import loop as virtual
from petset.world.process import Process

EPOCH_SECONDS = 1_470_000_000.0  # July 2016.
SETTLE_SECONDS_MAX = 1500.0  # The longest back-off of a crashing container is five minutes.
LOOK_SECONDS = 5.0
QUIET_SECONDS = 150.0
DIE_SECONDS_MAX = 120.0
SHOWN_LINES = 60


@dataclass(frozen=True, slots=True)
class Config:
    """What a world begins with."""

    seed: int
    nodes: int = 1
    definitions: Sequence[Object] = ()  # Of custom kinds that there are from the beginning.
    replicas: int = 0  # Of a controller of PetSets that is a program of its own; 0: it is one of the controllers.
    on_disk: bool = True  # Whether nodes make the volumes of pods; nothing of a simulated container reads them.
    scripted: bool = False  # Nodes by script instead of the real agent on a simulated machine: they cost less.


Story = Callable[["World"], Awaitable[None]]


def _election(name: str) -> election.Settings:
    return election.Settings(replica.LEASE, "default", name)


class World:
    """The server, the programs around it, the machines, and the laws that watch over them."""

    def __init__(self, config: Config, loop: virtual.VirtualLoop):
        seed, self.on_disk = config.seed, config.on_disk
        self.seed = seed
        self.loop = loop
        self.failure: Exception | None = None  # The story's.
        self.faults = faults.Faults.none()
        self.partitioned: dict[str, None] = {}  # Programs that reach nobody, and live.
        self.zone = records.Zone()
        self.disk = tempfile.mkdtemp(prefix="petset-world-")
        self.laws = laws.Laws(loop.time, self._running)
        self.volumes = self.disk_of("volumes")
        self.directories = directories.Directories(self.laws, random.Random(f"{seed} disk"))
        self.laws.also = partial(snapshots.broken_by, self.laws.objects, self.directories)
        plane = cluster.Config(
            hostpath=self.directories,
            volumes_directory=str(self.volumes),
            ca_pem="a certificate",
            controllers_elsewhere=(PETSETS.plural,) if config.replicas else (),
        )
        self.kinds = kinds.established(config.definitions)
        seen = server.SeenStore(self.laws.saw, None if config.definitions else begun())
        self.laws.objects.update((entry.key, entry.object) for entry in seen.list("")[1])
        self.server = server.Server(seen, plane, self._streams_of, self._server_of, self.kinds)
        chance = random.Random(f"{seed} admin")
        way = link.Link(self.server, cluster.ADMINISTRATOR, chance, faults.Faults.none)
        self.admin = api.Client(way, kinds=Catalog(self.kinds))
        kind = nodes.ScriptedNode if config.scripted else agents.AgentNode
        self.nodes: Sequence[agents.AgentNode | nodes.ScriptedNode] = [
            kind(self, f"node-{number}") for number in range(config.nodes)
        ]
        self.replicas = [f"replica-{number}" for number in range(config.replicas)]
        self.laws.replicas = tuple(self.replicas)
        self.processes = [
            Process(self, program)
            for program in (
                cluster.controllers(plane),
                *(cluster.pet_sets(replica.settings(_election(name))) for name in self.replicas),
                cluster.scheduler(),
                cluster.names(self._new_zone),
                *(cluster.Program(node.name, node.user, node.run, cluster.KUBELET) for node in self.nodes),
            )
        ]
        for node in self.nodes:
            self.process(node.name).on_death = node.cut_off

    def _running(self) -> Iterable[tuple[str, laws.Running]]:
        return [each for node in self.nodes for each in node.running()]

    def _streams_of(self, name: str) -> streaming.NodeStreams:
        for node in self.nodes:
            if node.name == name and node.streams is not None:
                return node.streams
        raise streaming.StreamError(503, f"cannot reach the containers: node {name} has none to ask, or is not up")

    def _server_of(self, name: str) -> streaming.NodeServer:
        for node in self.nodes:
            if node.name == name and node.server is not None:
                return node.server
        raise streaming.StreamError(503, f"cannot ask: node {name} serves nothing, or is not up")

    def _new_zone(self) -> records.Zone:
        self.zone = records.Zone()
        return self.zone

    def disk_of(self, name: str) -> pathlib.Path:
        """Where a program of this name keeps what outlives it."""
        return pathlib.Path(self.disk) / name

    @property
    def leader(self) -> str:
        """The replica that holds the Lease; "" for none."""
        holder = self.laws.holder
        return next((name for name in self.replicas if holder.startswith(f"{name}_")), "")

    def process(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)

    def link(self, name: str, user: http.User) -> link.Link:
        """A way to the server in this world's weather, for a program that begins now."""
        # One source of chance a link, so that what one process does leaves the others' weather alone.
        chance = random.Random(f"{self.seed} {name} {self.loop.time()}")
        return link.Link(
            self.server,
            user,
            chance,
            lambda: self.faults,
            self.meddle,
            partial(self.laws.asked, name),
            lambda: name in self.partitioned,
        )

    @property
    def is_calm(self) -> bool:
        """Whether everybody is up and reaches the server in good weather."""
        are_up = self.server.plane is not None and all(process.is_up for process in self.processes)
        return are_up and not self.partitioned and self.faults == faults.Faults.none()

    def partition(self, name: str) -> None:
        """Cut a program off from the server, until `mend`; it goes on by what it knows."""
        self.laws.note(f"CUT OFF  {name}")
        self.partitioned[name] = None
        if (link := self.process(name).link) is not None:
            link.sever()

    def mend(self, name: str) -> None:
        self.laws.note(f"MENDED   {name}")
        self.partitioned.pop(name, None)

    async def meddle(self, request: http.Request) -> None:
        """Somebody else changes the object that the request is about, just before it."""
        path = request.path
        for end in ("/status", "/scale", "/binding"):
            path = path.removesuffix(end)
        if "/leases/" in path or "/events/" in path:
            return
        patch = {"metadata": {"annotations": {laws.MEDDLED: str(self.laws.writes)}}}
        headers = (("content-type", "application/merge-patch+json"),)
        body, user = encoding.dumps(patch), cluster.ADMINISTRATOR
        await self.server.handle(http.Request("PATCH", path, headers, body, user=user))

    async def live(self, story: Story) -> None:
        """Let every program live, play the story, then kill them all; ends by raising virtual.Done."""
        await self.server.begin()
        async with asyncio.TaskGroup() as group:
            for process in self.processes:
                tasks.spawn(group, process.live(), f"life of {process.name}")
            playing = tasks.spawn(group, self._play(story), "story")
            await asyncio.wait([playing])
            for process in self.processes:
                process.kill_for_good()
            await asyncio.sleep(DIE_SECONDS_MAX)
            for process in self.processes:
                if process.is_up:
                    self.laws.breaks(f"{process.name} does not end when it is cancelled")
            raise virtual.Done

    async def _play(self, story: Story) -> None:
        try:
            await story(self)
        except Exception as error:
            self.failure = error  # It comes out of `run`, when all programs have ended.

    # What a story waits for

    async def settles(self) -> None:
        """Wait until everything is as the specs say; that it takes too long breaks a law."""
        wrong: list[str] = []
        until = self.loop.time() + SETTLE_SECONDS_MAX
        while self.loop.time() < until and not self.laws.broken:
            wrong = settled.what_is_wrong(self)
            if not wrong:
                return
            await asyncio.sleep(LOOK_SECONDS)
        if not self.laws.broken:
            self.laws.breaks("it does not settle: " + "; ".join(wrong))

    async def stays_settled(self) -> None:
        """Nothing is wrong and nothing is written any more, for a good while."""
        self.laws.note("SETTLED")
        await asyncio.sleep(LOOK_SECONDS * 2)  # What was under way when the last condition became true.
        writes = self.laws.writes
        await asyncio.sleep(QUIET_SECONDS)
        wrong = settled.what_is_wrong(self)
        if wrong:
            self.laws.breaks("it does not stay settled: " + "; ".join(wrong))
        elif self.laws.writes != writes:
            self.laws.breaks(f"it does not come to rest: {self.laws.writes - writes} writes in {QUIET_SECONDS:.0f} s")


@functools.cache
def begun() -> memory.MemoryStore:
    """What any cluster begins with: written once, the same in every process, and in a loop of its own: in none else."""

    async def main(loop: virtual.VirtualLoop) -> memory.MemoryStore:
        with environment(0, loop):
            store = memory.MemoryStore()
            await cluster.ControlPlane(store).begin()
            return store

    return virtual.run(main, 0)


def environment(seed: int, loop: virtual.VirtualLoop) -> contextlib.AbstractContextManager[None]:
    """What is inside, and the tasks it starts, has the loop's time and chance of the seed."""
    chance = random.Random(f"{seed} product")
    return tasks.environment(tasks.Environment(lambda: EPOCH_SECONDS + loop.now, chance, threads=False))


def run(config: Config, story: Story, about: Sequence[str] = ()) -> World:
    """One world from its beginning to its end. Raises laws.Broken, or what the story raised, with the trace as a note.

    `about` are lines that stand before the trace.
    """
    worlds: list[World] = []
    begun()

    async def main(loop: virtual.VirtualLoop) -> None:
        with environment(config.seed, loop):
            world = World(config, loop)
            worlds.append(world)
            try:
                await world.live(story)
            except* virtual.Done:
                pass

    log = logging.getLogger("petset")
    level = log.level
    log.setLevel(logging.CRITICAL)  # What goes wrong on purpose is nobody's news.
    was_enabled = gc.isenabled()
    gc.disable()  # Its moments are nobody's seed.
    try:
        virtual.run(main, config.seed)
    except virtual.Stuck as stuck:
        worlds[0].laws.breaks(str(stuck))
    finally:
        if was_enabled:
            gc.enable()
        log.setLevel(level)
        for each in worlds:
            shutil.rmtree(each.disk, ignore_errors=True)
    world = worlds[0]
    if world.laws.broken:
        raise laws.Broken(_told(world, about)) from world.failure
    if world.failure is not None:
        world.failure.add_note(_told(world, about))
        raise world.failure
    return world


def _told(world: World, about: Sequence[str]) -> str:
    first = f"seed {world.seed}: {world.laws.broken[0] if world.laws.broken else 'the story failed'}"
    more = [f"  and {other}" for other in world.laws.broken[1:4]]
    trace = list(world.laws.trace)[-SHOWN_LINES:]
    return "\n".join([first, *more, *about, *trace, first])
