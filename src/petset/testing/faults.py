"""What goes wrong in a cluster in virtual time, as a test says: programs and containers that die, nodes that are cut
off or slow, and weather between programs and the API.

Programs are `controllers`, `scheduler`, `dns`, each node's agent by its node's name, and the `server` (also by
upstream's names). Weather is how often a request is late, lost, refused, met by somebody else's change, or answered in
vain, and how long a watch lives (world/faults.py): for all programs, and for `cluster`, which is for code under test.
All chance is the clock's seed. What a test does itself through `clock.cluster` meets no weather.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import replace

from petset import cluster
from petset.client.client import Client
from petset.objects import meta
from petset.testing import virtual
from petset.testing.failures import ClusterError
from petset.testing.virtual import Clock, Reached, VirtualCluster
from petset.testing.ways import Way
from petset.world import faults, process

SERVER = "server"
UPSTREAM = {
    "kube-apiserver": SERVER,
    "kube-controller-manager": "controllers",
    "kube-scheduler": "scheduler",
    "coredns": "dns",
}
TEST = "test"  # The link's name of code under test.


class Faults:
    def __init__(self, clock: Clock):
        self._clock = clock
        self.seed = clock.seed

    # What dies and comes back

    def kill(self, who: str, down_seconds: float = 5.0) -> None:
        """Like kill -9; it is started again after so many seconds, and finds what the store and its machine have."""
        if UPSTREAM.get(who, who) == SERVER:
            self._clock.world.run(self._clock.world.kill_server(down_seconds))
        else:
            self._clock.world.call(lambda: self._process(who).kill(down_seconds))

    def kill_container(self, pod: str, container: str = "", namespace: str = "default", exit_code: int = 137) -> None:
        """A container's process ends so; the first one's when none is named."""
        found = self._clock.cluster.get("pod", pod, namespace=namespace)
        node = self._clock.node(str(meta.part(found, "spec").get("nodeName") or "none, as it is not bound"))
        name = container or str(meta.parts(found, "spec", "containers")[0]["name"])
        if not self._clock.world.call(lambda: node.crash(meta.uid(found), name, exit_code)):
            raise ClusterError(f"cannot kill container {name} of {pod}: it does not run; wait_for the pod first")

    def reboot(self, node: str, down_seconds: float = 10.0) -> None:
        """The machine: nothing that ran on it runs any more, and its agent comes back after so many seconds."""
        machine = self._clock.node(node)
        self._clock.world.call(lambda: (self._process(node).kill(down_seconds), machine.reboot()))

    # What is cut off

    @contextlib.contextmanager
    def partition(self, who: str) -> Generator[None]:
        """While the context lasts, the program (a node's agent by the node's name) reaches the API no more."""
        name = self._process(who).name
        it = self._clock.world.it
        self._clock.world.call(lambda: it.partition(name))
        try:
            yield
        finally:
            self._clock.world.call(lambda: it.mend(name))

    @contextlib.contextmanager
    def slow_node(self, node: str, times: float = 20.0) -> Generator[None]:
        """While the context lasts, what starts there takes so many times as long as elsewhere."""
        machine = self._clock.node(node)
        machine.slowness = times
        try:
            yield
        finally:
            machine.slowness = 1.0

    # The weather

    @contextlib.contextmanager
    def weather(
        self,
        *,
        lag: float = 0.0,
        lost_request: float = 0.0,
        lost_answer: float = 0.0,
        refused: float = 0.0,
        conflict: float = 0.0,
        stall: float = 0.0,
        watch_seconds: float = 0.0,
    ) -> Generator[None]:
        """While the context lasts: chances from 0 to 1 for each request, and the mean life of a watch (0: as usual)."""
        rates = (lag, lost_request, lost_answer, refused, conflict, stall)
        if not all(0.0 <= rate <= 1.0 for rate in rates) or watch_seconds < 0:
            raise ValueError("cannot make such weather: chances are from 0 to 1, and a watch's life is in seconds")
        given = faults.Faults(lag, lost_request, refused, conflict, lost_answer, stall, watch_seconds)
        with self._in(given):
            yield

    @contextlib.contextmanager
    def conflicts(self, rate: float = 0.5) -> Generator[None]:
        """Somebody else changes the object just before a write: 409 Conflict for who names what he has read."""
        with self._in(replace(self._clock.world.it.faults, conflict=rate)):
            yield

    @contextlib.contextmanager
    def lost_watches(self, seconds: float = 5.0) -> Generator[None]:
        """Watches end, break, or are told that their revision is gone, after so many seconds in the mean."""
        with self._in(replace(self._clock.world.it.faults, watch_seconds=seconds)):
            yield

    @contextlib.contextmanager
    def storm(self) -> Generator[None]:
        """Weather as the seed has it, rough in some ways and not in others."""
        with self._in(faults.Faults.of_seed(self.seed)):
            yield

    @contextlib.contextmanager
    def _in(self, weather: faults.Faults) -> Generator[None]:
        it = self._clock.world.it
        before, it.faults = it.faults, weather
        try:
            yield
        finally:
            it.faults = before

    @property
    def cluster(self) -> VirtualCluster:
        """The same cluster over a way that is in the weather, and may be cut: for code under test."""
        return VirtualCluster(_InWeather(self._clock.world))

    # Who

    def _process(self, who: str) -> process.Process:
        name = UPSTREAM.get(who, who)
        processes = {one.name: one for one in self._clock.world.it.processes}
        if name not in processes:
            raise ClusterError(
                f"cannot find the program {who}: there is none; there are {', '.join([*processes, SERVER])}"
            )
        return processes[name]


class _InWeather(Way):
    """The world's way, by a link of its own."""

    def __init__(self, world: virtual.World):
        self._world = world
        self._reached = Reached(Client(world.it.link(TEST, cluster.ADMINISTRATOR), TEST))
        self.run, self.now, self.deadline = world.run, world.now, world.deadline

    @property
    def reached(self) -> Reached:
        return self._reached
