"""A cluster in virtual time, for who does not await: an hour passes as quickly as what happens in it can be computed.

    with virtual.Clock(seed=7, nodes=3) as clock:
        clock.cluster.apply("redis.yaml")
        clock.settle()
        clock.advance(hours=1)

It is the simulation's world (world/): the real server, controllers, scheduler and node agents on a loop whose clock
jumps. Between two calls no time passes; a call lets just so much pass as it takes: `wait_for` until it is so,
`advance` what it says. The same seed and the same calls are the same run. There are no sockets: no other client
reaches it, and there is nothing to execute in its containers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import datetime
import gc
import logging
import shutil
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self, TypeVar

from petset import cluster
from petset.base import tasks
from petset.client.client import Client
from petset.kinds.node import NODES
from petset.objects import errors, meta
from petset.server import expiry
from petset.testing import default_account, ready, verbs
from petset.testing.failures import ClusterError, WaitTimeout, precise
from petset.testing.ways import Way
from petset.world import agents, world
from petset.world import loop as virtual

if TYPE_CHECKING:
    from petset.net.dialer import Dialer

T = TypeVar("T")
PIECE_SECONDS = 3600.0  # Of a long time: a busy loop is noticed within one.
PROMISED_SECONDS_MIN = 60.0  # For less than this nodes renew their leases as always.
QUIET_SECONDS = 30.0


class Reached:
    """The administrator's client of a world."""

    def __init__(self, client: Client):
        self.client = client

    def dialer(self) -> Dialer:
        raise ClusterError(
            "cannot reach the containers in virtual time: there are no sockets; use a cluster in real time"
        )


def _outside_of_loops(do: Callable[[], T]) -> T:
    """Do it where no loop runs: in a thread, when the caller is in one, as notebooks and asynchronous tests are."""
    if asyncio._get_running_loop() is None:  # The only question that does not raise.
        return do()
    with concurrent.futures.ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(do).result()


class World:
    """A world that is driven piece by piece: a `ways.Way`."""

    def __init__(self, seed: int, nodes: int):
        self.seed = seed
        self._config = world.Config(seed, nodes, on_disk=False)
        self._loop = virtual.VirtualLoop(seed)
        self._context = contextvars.copy_context()
        self._main: asyncio.Task[None] | None = None
        self._is_over = asyncio.Event()
        self._world: world.World | None = None
        self._group: asyncio.TaskGroup
        self._beside: list[asyncio.Task[None]] = []

    @property
    def it(self) -> world.World:
        """Raises ClusterError when it has ended."""
        if self._world is None or self._main is None or self._main.done():
            raise ClusterError("cannot ask the cluster: its virtual time is over; use it inside of its `with`")
        return self._world

    @property
    def reached(self) -> Reached:
        return Reached(self.it.admin)

    def now(self) -> float:
        return world.EPOCH_SECONDS + self._loop.now

    def deadline(self, seconds: float) -> float:
        return self._loop.now + seconds

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let time pass until it is done."""
        if self._main is None or self._main.done():
            work.close()
            raise ClusterError("cannot ask the cluster: its virtual time is over; use it inside of its `with`")
        return self._until(self._loop.create_task(work, context=self._context))

    def call(self, do: Callable[[], T]) -> T:
        """Do it in the world's loop, where no time passes meanwhile."""

        async def done() -> T:
            return do()

        return self.run(done())

    def let_pass(self, seconds: float) -> None:
        """So much time. Nobody is killed in it who is not now: calm nodes need not say that they live."""
        it = self.it
        if it.is_calm and seconds >= PROMISED_SECONDS_MIN:
            for node in it.nodes:
                if isinstance(node, agents.AgentNode):
                    self.call(lambda node=node: node.promise.give(self.now() + seconds))
        self.run(asyncio.sleep(seconds))

    def begin(self) -> None:
        _outside_of_loops(world.begun)
        self._main = self._loop.create_task(self._live(), name="world")
        is_there: asyncio.Future[None] = self._loop.create_future()
        self._begun = is_there
        self._until(is_there)
        for node in self.it.nodes:
            node.calm()
        self.run(self._ready())

    def end(self) -> None:
        """All programs end, and what was on its disk goes."""
        if self._main is None:
            return
        self._is_over.set()
        try:
            if not self._main.done():
                self._until(self._main)
        finally:
            _outside_of_loops(lambda: virtual.close(self._loop))
            self._main = None
            if self._world is not None:
                shutil.rmtree(self._world.disk, ignore_errors=True)

    def _until(self, future: asyncio.Future[T]) -> T:
        self._loop.turns = 0
        was_enabled = gc.isenabled()
        gc.disable()  # Its moments are nobody's seed.
        log = logging.getLogger("petset")
        level = log.level
        log.setLevel(logging.CRITICAL)  # What goes wrong on purpose is nobody's news.
        try:
            return _outside_of_loops(lambda: self._loop.run_until_complete(future))
        except errors.ApiError as error:
            raise precise(error) from None
        except virtual.Stuck as stuck:
            raise ClusterError(f"cannot let virtual time pass: {stuck}") from None
        finally:
            log.setLevel(level)
            if was_enabled:
                gc.enable()

    async def _live(self) -> None:
        with world.environment(self.seed, self._loop):
            self._context = contextvars.copy_context()
            self._world = world.World(self._config, self._loop)
            try:
                await self._world.live(self._story)
            except* virtual.Done:
                pass

    async def _story(self, it: world.World) -> None:
        """What a control plane does beside its programs, until the end."""
        self._begun.set_result(None)
        async with asyncio.TaskGroup() as self._group:
            self._go_on_with(it.server.plane)
            await self._is_over.wait()
            self._stand_still()

    def _go_on_with(self, plane: cluster.ControlPlane | None) -> None:
        if plane is not None:
            parts = (plane.definitions.keep(), plane.api_services.keep(), expiry.keep(plane.store))
            self._beside = [tasks.spawn(self._group, part, "beside the programs") for part in parts]

    def _stand_still(self) -> None:
        for part in self._beside:
            part.cancel()

    async def kill_server(self, down_seconds: float) -> None:
        self._stand_still()
        server = self.it.server
        server.kill()
        await asyncio.sleep(down_seconds)
        plane = server.start()
        await plane.begin()
        self._go_on_with(plane)

    async def _ready(self) -> None:
        client = self.it.admin
        wanted = dict.fromkeys(node.name for node in self.it.nodes)
        while True:
            nodes, _ = await client.list(NODES)
            ready = [meta.name(node) for node in nodes if meta.is_condition_true(node, "Ready")]
            if all(name in ready for name in wanted):
                break
            await asyncio.sleep(0.1)
        await default_account.there(client)


class VirtualCluster(verbs.Verbs):
    """The verbs, in virtual time."""

    def __init__(self, way: Way, namespace: str = "default"):
        super().__init__(namespace)
        self._way = way

    @property
    def way(self) -> Way:
        return self._way

    def __repr__(self) -> str:
        return f"a cluster in virtual time\n\n{self.sets(all_namespaces=True)!r}"

    def _repr_html_(self) -> str:
        return self.sets(all_namespaces=True).html()


class Clock:
    """Virtual time, and the cluster in it."""

    def __init__(self, seed: int = 0, nodes: int = 1):
        self.seed = seed
        self.world = World(seed, nodes)
        self.cluster = VirtualCluster(self.world)

    def start(self) -> Self:
        self.world.begin()
        return self

    def stop(self) -> None:
        self.world.end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.world.now(), datetime.UTC)

    @property
    def seconds(self) -> float:
        """Since the cluster began."""
        return self.world.now() - world.EPOCH_SECONDS

    def advance(
        self,
        seconds: float = 0.0,
        *,
        minutes: float = 0.0,
        hours: float = 0.0,
        days: float = 0.0,
        each: Callable[[], Any] | None = None,
        step: float = 10.0,
    ) -> None:
        """Let so much time pass; `each` is called after every step of so many seconds: code under test that polls."""
        until = self.seconds + seconds + 60.0 * (minutes + 60.0 * (hours + 24.0 * days))
        piece = step if each is not None else PIECE_SECONDS
        while (left := until - self.seconds) > 1e-6:
            self.world.let_pass(min(left, piece))
            if each is not None:
                each()

    def settle(self, timeout: float = 1500.0) -> None:
        """Let time pass until all is ready that will be, all programs are up and nothing more is written.

        Raises WaitTimeout, which says what is not so.
        """
        until = self.seconds + timeout
        while True:
            before = self.world.it.laws.writes
            self.advance(QUIET_SECONDS)
            wrong = self._unsettled()
            if not wrong and before == self.world.it.laws.writes:
                return
            if self.seconds >= until:
                told = "; ".join(wrong[:10]) or "something is written again and again"
                raise WaitTimeout(f"cannot settle: after {timeout:g} s {told}", None)

    def _unsettled(self) -> list[str]:
        it = self.world.it
        down = [f"{process.name} is down" for process in it.processes if not process.is_up]
        return down + [
            f"{str(obj.get('kind')).lower()} {meta.key(obj)} is not ready"
            for obj in it.laws.objects.values()
            if not ready.is_settled(obj)
        ]

    def node(self, name: str) -> agents.AgentNode:
        """Raises ClusterError."""
        for node in self.world.it.nodes:
            if node.name == name and isinstance(node, agents.AgentNode):
                return node
        known = ", ".join(node.name for node in self.world.it.nodes)
        raise ClusterError(f"cannot find the node {name}: there is none; there are {known}")
