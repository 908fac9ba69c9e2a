"""A cluster in a process of its own, `petset up`, and a client's loop in this one: with real containers, or simulated.

The process is started as a person would start it and ends, with the pods and their networks, when the block is left,
unless it is to go on.
Images are those of this machine's petset (PETSET_IMAGES, else its own store), so that a pull is made once and not in
each run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from asyncio import subprocess
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from petset.base import state, tasks
from petset.client.client import Client
from petset.client.reaching import dialing, kubeconfig
from petset.net import control
from petset.net.dialer import Dialer
from petset.objects import meta
from petset.objects.meta import Object
from petset.testing import default_account
from petset.testing.failures import ClusterError

STOP_SECONDS_MAX = 60.0
CONTROL_SECONDS_MAX = 60.0
NODE_READY = "node"  # What the announcement begins with that ends a start.


@dataclass(frozen=True, slots=True)
class Wanted:
    directory: Path
    nodes: int = 1
    simulate: bool = False
    node_silence_seconds: float = 0.0
    options: tuple[str, ...] = ()


class Process:
    """A client of an instance in a process of its own."""

    def __init__(self, instance: state.State, dialer: Dialer):
        self._instance, self._dialer = instance, dialer
        self.client = Client(dialer, "petset-testing")
        self.goes_on = False  # When this process ends.

    def dialer(self) -> Dialer:
        return self._dialer

    async def turn(self, node: str, to: str) -> None:
        await self._asked({"node": node, "to": to}, node)

    async def nodes(self) -> Mapping[str, str]:
        """What each is to be, by name."""
        return {str(name): str(to) for name, to in meta.part(await self._asked({}, ""), "states").items()}

    async def _asked(self, question: Object, node: str) -> Object:
        answer = await self._said(question)
        if why := answer.get("error"):
            if node not in await self.nodes():
                raise KeyError(node)
            raise ClusterError(f"cannot turn node {node}: {why}; its log, {self._instance.log}, tells more")
        return answer

    async def _said(self, question: Object) -> Object:
        return await tasks.in_thread(control.ask, self._instance.control, question, CONTROL_SECONDS_MAX)


@contextlib.asynccontextmanager
async def living(wanted: Wanted) -> AsyncGenerator[Process]:
    """Ready when the block begins: every node is."""
    instance = state.State(wanted.directory)
    with tempfile.TemporaryFile() as said:  # A pipe that nobody reads would hold it up one day.
        process = await _started(wanted, said)
        reached: Process | None = None
        try:
            if not await _is_announced(process):
                raise ClusterError(f"cannot run petset: {_last_line(said) or f'it has ended; see {instance.log}'}")
            access = kubeconfig.parse(instance.kubeconfig.read_bytes())
            async with Dialer(access.server, dialing.context(access.target)) as dialer:
                reached = Process(instance, dialer)
                await default_account.there(reached.client)
                yield reached
        finally:
            if reached is None or not reached.goes_on:
                await _stopped(process)


async def _started(wanted: Wanted, said: IO[bytes]) -> subprocess.Process:
    images = os.environ.get("PETSET_IMAGES") or str(state.State(state.default_directory()).images)
    given = (f"--nodes={wanted.nodes}", *(("--simulate",) if wanted.simulate else ()), *wanted.options)
    silence = (f"--node-monitor-grace-period={wanted.node_silence_seconds:g}",) if wanted.node_silence_seconds else ()
    command = (sys.executable, "-m", "petset", "--state", str(wanted.directory), "up", *given, *silence)
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        env={**os.environ, "PETSET_IMAGES": images},
        start_new_session=True,  # Ctrl-C is for this process, which stops the other one.
    )


async def _is_announced(process: subprocess.Process) -> bool:
    """Once its nodes are ready; False when it has ended instead."""
    assert process.stdout is not None
    async for line in process.stdout:
        if line.decode(errors="replace").startswith(NODE_READY):
            return True
    await process.wait()
    return False


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read()[-SAID_BYTES_MAX:].decode(errors="replace").strip().splitlines()
    return f"it says: {lines[-1].removeprefix('petset: ')}" if lines else ""


SAID_BYTES_MAX = 64 << 10


async def _stopped(process: subprocess.Process) -> None:
    """Its pods get their grace."""
    if process.returncode is not None:
        return
    process.terminate()
    async with asyncio.TaskGroup() as group:
        waiting = tasks.spawn(group, process.wait(), "the end of petset")
        done, _ = await asyncio.wait([waiting], timeout=STOP_SECONDS_MAX)
        if not done:
            process.kill()
