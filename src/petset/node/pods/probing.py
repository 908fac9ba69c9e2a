"""Runs the probes of one pod's containers: one task for each, as long as its container runs and asks for it.

`keep` is called after every change and starts and stops tasks; each follows the schedule of probes.py and tells the
owner what became of it (started, ready, to be restarted). Startup probes come first and alone.

Invariants: a result is about exactly the attempt it was made for; a pod that is being deleted is not restarted.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Protocol

from petset.base import tasks
from petset.node.pods import decide as pods
from petset.node.pods import probes
from petset.node.pods.view import Memory, View
from petset.node.runtime import Container
from petset.objects import meta
from petset.objects.meta import Object

log = logging.getLogger("petset.node")

Key = tuple[str, probes.Kind]


class Owner(Protocol):
    pod: Object

    def memory(self, name: str) -> Memory: ...

    def remember(self, name: str, **changes: Any) -> None: ...

    def tell(self, type_: str, reason: str, message: str, container: str = "") -> None: ...

    def ip(self) -> str: ...


@dataclass(slots=True)
class _Probing:
    container_id: str
    task: asyncio.Task[None]


class Probing:
    def __init__(self, owner: Owner, attempts: probes.Attempts, group: asyncio.TaskGroup):
        self._owner, self._attempts, self._group = owner, attempts, group
        self._running: dict[Key, _Probing] = {}

    def keep(self, view: View, stopped: bool = False) -> None:
        """Have exactly the probes run that running containers ask for now; none at all when `stopped`."""
        wanted: dict[Key, tuple[Container, Object, Object]] = {}
        if not stopped:
            for container in view.running():
                spec = pods.container_named(self._owner.pod, container.name)
                if spec is None or view.current(container.name) != container:
                    continue
                deleting = meta.is_deleting(self._owner.pod)
                for kind, probe in probes_now(spec, view.memory_of(container), deleting):
                    wanted[(container.name, kind)] = (container, spec, probe)
        for key, running in list(self._running.items()):
            if key not in wanted or wanted[key][0].id != running.container_id:
                running.task.cancel()
                del self._running[key]
        for (name, kind), (container, spec, probe) in wanted.items():
            if (name, kind) not in self._running:
                work = self._probe(container, spec, kind, probe)
                task = tasks.spawn(self._group, work, f"{kind} probe of {name}")
                self._running[(name, kind)] = _Probing(container.id, task)

    def stop(self) -> None:
        for running in self._running.values():
            running.task.cancel()
        self._running.clear()

    async def _probe(self, container: Container, spec: Object, kind: probes.Kind, probe: Object) -> None:
        passed = kind == "readiness" and self._owner.memory(container.name).ready
        progress = probes.begin(kind, probe, container.started_at, tasks.now(), passed)
        while True:
            await asyncio.sleep(max(0.0, probes.next_at(progress) - tasks.now()))
            began = tasks.now()
            outcome = await self._attempt(spec, probe)
            progress, counts = probes.after(progress, probe, outcome.ok, began, tasks.now())
            if not outcome.ok and counts:
                message = f"{kind.capitalize()} probe failed: {outcome.message}"
                self._owner.tell("Warning", "Unhealthy", message, container.name)
            self._judge(container, spec, kind, probe, progress)

    async def _attempt(self, spec: Object, probe: Object) -> probes.Outcome:
        try:
            return await self._attempts.probe(self._owner.pod, spec, probe, self._owner.ip())
        except Exception as error:  # Whatever a probe runs into says nothing about this node.
            log.warning("cannot probe container %s of pod %s: %r", spec["name"], meta.key(self._owner.pod), error)
            return probes.Outcome(False, f"probe errored: {error}")

    def _judge(
        self, container: Container, spec: Object, kind: probes.Kind, probe: Object, progress: probes.Progress
    ) -> None:
        name = container.name
        memory = self._owner.memory(name)
        if memory.container_id != container.id:
            return
        if kind == "readiness":
            if memory.ready != progress.passed:
                self._owner.remember(name, ready=progress.passed)
        elif kind == "startup" and progress.passed:
            self._owner.remember(name, started=True, ready=not spec.get("readinessProbe"))
        elif progress.failures >= probes.failure_threshold(probe) and not memory.unhealthy:
            self._owner.remember(
                name,
                unhealthy=f"Container {name} failed {kind} probe, will be restarted",
                unhealthy_at=tasks.now(),
                unhealthy_grace=probe.get("terminationGracePeriodSeconds"),
            )


def probes_now(spec: Object, memory: Memory, deleting: bool) -> list[tuple[probes.Kind, Object]]:
    """Startup first and alone; then readiness, and liveness while the container is to live."""
    if memory.hook == "running" or memory.unhealthy:
        return []
    if spec.get("startupProbe") and not memory.started:
        return [] if deleting else [("startup", spec["startupProbe"])]
    found: list[tuple[probes.Kind, Object]] = []
    if spec.get("readinessProbe"):
        found.append(("readiness", spec["readinessProbe"]))
    if spec.get("livenessProbe") and not deleting:
        found.append(("liveness", spec["livenessProbe"]))
    return found
