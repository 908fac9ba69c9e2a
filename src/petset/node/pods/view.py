"""What a node knows of one pod when it looks at it: what is seen, what is remembered, and what has gone wrong.

A `View` is made anew for every look (worker.py), and is all that decide.py and status.py are given beside the pod. What
the runtime reports stands there as it is; a `Memory` is what nobody could report; a `Trouble` is tried again after a
pause that grows, a container that ended after its `RestartDelay`.

Invariants: all are values, and nothing here reads a clock; a container belongs to the present sandbox if it was created
after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from petset.node.pods.resizing import Resize
from petset.node.runtime import Container, Image, Sandbox

RESTART_DELAY_SECONDS_MIN = 10.0
RESTART_DELAY_SECONDS_MAX = 300.0
RESTART_RESET_SECONDS = 600.0  # A container that ran this long is restarted at once again.


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that failed and is tried again at `retry_at`."""

    reason: str
    message: str
    at: float
    retry_at: float
    failures: int = 1

    @staticmethod
    def after(before: Trouble | None, reason: str, message: str, now: float, first: float, most: float) -> Trouble:
        """The same trouble once more, with a longer pause; it never ends the trying."""
        failures = before.failures + 1 if before else 1
        return Trouble(reason, message, now, now + min(most, first * 2 ** min(failures - 1, 20)), failures)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the node itself ends a pod: it cannot take it, or can no longer keep it. A terminal word, in its status."""

    reason: str
    message: str
    at: float
    grace_seconds: float = 0.0  # Of its containers; they get what the shortest grace is at least.


@dataclass(frozen=True, slots=True)
class RestartDelay:
    """How long a container that ends again and again waits before its next start."""

    seconds: float = 0.0
    since: float = 0.0  # When it last grew: at the last restart.

    def until(self, finished_at: float) -> float:
        """The time before which a container that ended then is not started again."""
        return finished_at + (0.0 if self._is_over(finished_at) else self.seconds)

    def after_restart(self, finished_at: float, now: float) -> RestartDelay:
        if self._is_over(finished_at) or not self.seconds:
            return RestartDelay(RESTART_DELAY_SECONDS_MIN, now)
        return RestartDelay(min(RESTART_DELAY_SECONDS_MAX, self.seconds * 2), now)

    def _is_over(self, finished_at: float) -> bool:
        return finished_at - self.since > RESTART_RESET_SECONDS


@dataclass(frozen=True, slots=True)
class Memory:
    """What the node remembers of one container beyond what the runtime reports; lost with the process.

    `container_id` is the attempt that hook, started, ready and unhealthy are about; for another they mean nothing.
    """

    image: Image | None = None  # Ready for the next start.
    image_trouble: Trouble | None = None
    start_trouble: Trouble | None = None
    delay: RestartDelay = field(default_factory=RestartDelay)
    container_id: str = ""
    hook: str = ""  # postStart: "", running, done, failed.
    started: bool = False
    ready: bool = False
    unhealthy: str = ""  # Why it must be restarted, as the Killing event says it.
    unhealthy_at: float = 0.0
    unhealthy_grace: float | None = None  # The probe's own terminationGracePeriodSeconds.
    again: bool = False  # It is started anew however it ends: its spec is another one now.


@dataclass(frozen=True, slots=True)
class View:
    """Everything the node knows of one pod at one moment."""

    now: float
    sandbox: Sandbox | None = None
    containers: Sequence[Container] = ()  # Oldest attempt first.
    begun_at: float = 0.0  # What was made before this does not count: all was, or is being, started anew.
    memories: Mapping[str, Memory] = field(default_factory=dict[str, Memory])
    gone_at: float | None = None  # Since when the API no longer has it.
    older_alive: bool = False
    failure: Failure | None = None
    volumes_ready: bool = False
    volumes_trouble: Trouble | None = None
    sandbox_trouble: Trouble | None = None
    name_published: bool = True
    name_wait_until: float = 0.0
    resize: Resize = field(default_factory=Resize)
    host_ip: str = ""
    runtime_name: str = "crun"

    def memory(self, name: str) -> Memory:
        return self.memories.get(name) or Memory()

    def memory_of(self, container: Container) -> Memory:
        """What is remembered of exactly this attempt."""
        memory = self.memory(container.name)
        if memory.container_id == container.id:
            return memory
        return replace(memory, hook="", started=False, ready=False, unhealthy="", unhealthy_grace=None, again=False)

    def attempts(self, name: str) -> list[Container]:
        return [container for container in self.containers if container.name == name]

    def latest(self, name: str) -> Container | None:
        attempts = self.attempts(name)
        return attempts[-1] if attempts else None

    def current(self, name: str) -> Container | None:
        """The latest attempt, if it ran in the present sandbox."""
        latest = self.latest(name)
        if latest is None or self.sandbox is None or not self.sandbox.alive:
            return None
        return latest if latest.created_at >= max(self.sandbox.created_at, self.begun_at) else None

    def outdated(self) -> list[Container]:
        """Those that run and are to make room: all containers are started anew."""
        return [container for container in self.running() if container.created_at < self.begun_at]

    def has_begun(self) -> bool:
        """Whether any container was made in the present sandbox."""
        return any(self.current(container.name) is not None for container in self.containers)

    def running(self) -> list[Container]:
        return [container for container in self.containers if container.state == "running"]
