"""Which nodes of a running instance are up, which are stopped, and which are cut off: what `petset node` turns.

    async with Switches(plane, nodes, kept, save).turned_on(on_ready) as switches:
        await switches.turn("host-1", STOPPED)

A node that is stopped is silent: its agent has ended, what its pods run goes on, and nobody reaches them through the
API. One that is partitioned goes on by what it knows; no packet passes between its pods and anybody else, nor a request
between its agent and the API. Up again, the agent looks at what runs and catches up, as after a kill.

Invariants: what a node is to be is kept before it is done, so that a killed petset begins with it again; a node is
turned by one at a time; its agent runs once at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Protocol

from petset import cluster
from petset.base import tasks
from petset.client.client import InProcess
from petset.client.severable import Severable

log = logging.getLogger("petset.node")

UP, STOPPED, PARTITIONED = "up", "stopped", "partitioned"
STATES = (UP, STOPPED, PARTITIONED)


class Switched(Protocol):
    """What is turned: a node's machine."""

    @property
    def name(self) -> str: ...

    def node(self) -> cluster.Node:
        """The cluster's node on it, for one life of its agent."""
        ...

    async def let_go(self) -> None:
        """Its agent has ended; another one may come."""
        ...

    async def sever(self, cut: bool) -> None:
        """Cut its network off, or mend it. Raises networks.NetworkError."""
        ...


class Switches:
    def __init__(
        self,
        plane: cluster.ControlPlane,
        nodes: Sequence[Switched],
        kept: Mapping[str, str],
        save: Callable[[Mapping[str, str]], None],
    ):
        """`kept` is what was saved the last time, by name; nodes that it does not name are up."""
        self._plane, self._save, self._kept = plane, save, dict(kept)
        self._nodes = {one.name: _Turned(plane, one) for one in nodes}

    @property
    def states(self) -> dict[str, str]:
        """What each node is to be."""
        return {name: self._kept.get(name, UP) for name in self._nodes}

    @contextlib.asynccontextmanager
    async def turned_on(self, on_ready: Callable[[str], None]) -> AsyncGenerator[Switches]:
        """The nodes live as they are to, until the block is left; an agent that fails ends the block."""
        async with asyncio.TaskGroup() as group:
            for name, one in self._nodes.items():
                if name in self._kept:  # Whoever was killed may have left the cut.
                    await one.machine.sever(self._kept[name] == PARTITIONED)
                one.begin(group, self.states[name], on_ready)
            try:
                yield self
            finally:
                for one in self._nodes.values():
                    one.end()

    async def turn(self, name: str, to: str) -> None:
        """Raises KeyError for a node that there is not, networks.NetworkError when it cannot be cut off."""
        one = self._nodes[name]
        async with one.turning:
            if self.states[name] == to and one.state == to:
                return
            log.info("node %s is turned from %s to %s", name, self.states[name], to)
            self._kept[name] = to
            self._save(self._kept)
            await one.turn(to)


class _Turned:
    """One node, its agent, and the way from that to the API."""

    def __init__(self, plane: cluster.ControlPlane, machine: Switched):
        self.machine, self.turning, self.state = machine, asyncio.Lock(), STOPPED
        self._plane = plane
        self._group: asyncio.TaskGroup
        self._on_ready: Callable[[str], None]
        self._agent: asyncio.Task[None] | None = None
        self._link: Severable
        self._reached = contextlib.ExitStack()

    def begin(self, group: asyncio.TaskGroup, state: str, on_ready: Callable[[str], None]) -> None:
        self._group, self._on_ready, self.state = group, on_ready, state
        if state != STOPPED:
            self._live()

    def end(self) -> None:
        self._reached.close()
        if self._agent is not None:
            self._agent.cancel()

    async def turn(self, to: str) -> None:
        if to != PARTITIONED and self.state == PARTITIONED:
            await self.machine.sever(False)
        if to == STOPPED and self._agent is not None:
            self.end()
            await asyncio.wait([self._agent])
            self._agent = None
            await self.machine.let_go()
        self.state = to
        if to == PARTITIONED:
            await self.machine.sever(True)
        if to != STOPPED and self._agent is None:
            self._live()
        elif to != STOPPED:
            self._link.is_cut = to == PARTITIONED
            self._reach()

    def _live(self) -> None:
        node = self._node = self.machine.node()
        program = node.program(self._on_ready)
        self._link = Severable(InProcess(self._plane.handle, program.user))
        self._link.is_cut = self.state == PARTITIONED
        client = self._plane.client(program.user, program.agent, over=self._link)
        self._agent = tasks.spawn(self._group, program.main(client), program.name)
        self._reach()

    def _reach(self) -> None:
        """Let its containers be reached through the API, or not."""
        self._reached.close()
        if self.state == UP:
            self._reached.enter_context(self._plane.reaching(self._node))
