"""Leader election: of any number of replicas one acts at a time, the one that holds a Lease (coordination.k8s.io/v1).

`run` takes part until it is cancelled: it follows the Lease, takes it when it is free, renews it while it leads, and
gives `lead` a client of its own for as long as it holds. `decide` is pure: what this replica has seen of the Lease, and
when by its own clock, to the next step. The Lease's stamps are for people: clocks differ, so time counts from when a
record was seen first, and a renewal from when it was sent.

Never two act: a Lease is taken only under the resourceVersion of a record that stood for its whole duration here, and
who holds it stops `renew_seconds` after it sent its last renewal that succeeded, sooner than anybody may take it. From
that moment its client sends nothing more (`Fenced`), whatever still runs. What was on its way meets the preconditions
that every write of a controller carries. A replica is told by a random mark behind its name: no two are one.
Follows: client-go's leaderelection (its records and events); "Leases" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any

from petset.base import tasks, telemetry
from petset.client.client import Client
from petset.client.events import Recorder
from petset.client.informer import Informer
from petset.kinds.lease import LEASES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.wire import http

log = logging.getLogger("petset.election")

JITTER = 0.2  # Of a follower's pause after an attempt that failed: two that fail together do not try together.
RECORD = ("holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions")


@dataclass(frozen=True, slots=True)
class Settings:
    """Whose Lease it is, and its times in seconds: a leader that dies is replaced after `lease_seconds` at most."""

    name: str
    namespace: str
    replica: str  # This one's name, for people.
    lease_seconds: int = 12  # Three less than client-go's: its successor has listed everything within its fifteen.
    renew_seconds: float = 8.0  # So long after its last renewal a leader stops.
    retry_seconds: float = 2.0  # Between renewals, and between attempts.

    def __post_init__(self) -> None:
        if not 0 < self.retry_seconds * (1 + JITTER) < self.renew_seconds < self.lease_seconds:
            raise ValueError(
                f"cannot hold an election with a lease of {self.lease_seconds} s, a deadline of {self.renew_seconds:g}"
                f" s and a retry of {self.retry_seconds:g} s; make the first the longest and the last the shortest"
            )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a replica knows of the Lease, in seconds of its own clock."""

    identity: str
    lease: Object | None = None  # As it was seen last; None: there is none.
    since: float = 0.0  # Since when its record is as it is, or it is gone.
    was_there: bool = False  # It was held when it went: its holder may not know yet.
    renewed: float | None = None  # When this replica sent the last renewal that succeeded; None: it does not lead.
    renewed_wall: float = 0.0  # The same by the time of day.
    tried: float | None = None  # When it last tried to write.
    pause: float = 0.0  # Until the next attempt, after that.

    @property
    def holder(self) -> str:
        return meta.get(self.lease, "spec", "holderIdentity", default="") or ""

    @property
    def mine(self) -> Object | None:
        """The Lease where this replica holds it, as far as it knows."""
        return self.lease if self.holder == self.identity else None

    def saw(self, lease: Object | None, now: float) -> Seen:
        """After a look at the Lease; one at an older state of it changes nothing."""
        if lease is None:
            held = self.lease is not None and bool(self.holder)
            return self if self.lease is None else replace(self, lease=None, since=now, was_there=held)
        if self.lease is not None and _is_older(lease, self.lease):
            return self
        is_same = self.lease is not None and _record(lease) == _record(self.lease)
        return replace(self, lease=lease, since=self.since if is_same else now)

    def wrote(self, lease: Object, sent: float, wall: float, now: float) -> Seen:
        """After a write that made this replica the holder, or left it so; it was sent at these times."""
        return replace(self, lease=lease, since=now, renewed=sent, renewed_wall=wall)

    def may_act(self, settings: Settings, now: float, wall: float) -> bool:
        """Whether nobody else can have taken it: for so long after it was last renewed, whichever clock went faster."""
        if self.renewed is None:
            return False
        return max(now - self.renewed, wall - self.renewed_wall) < settings.renew_seconds

    def lost(self) -> Seen:
        return replace(self, renewed=None)


def _record(lease: Object) -> Object:
    spec = meta.part(lease, "spec")
    return {key: spec.get(key) for key in RECORD}


def _is_older(lease: Object, than: Object) -> bool:
    """Of one object, by its resourceVersion; of two, by when they were made, as far as that tells."""
    one, other = lease["metadata"], than["metadata"]
    if one.get("uid") != other.get("uid"):
        return one.get("creationTimestamp", "") < other.get("creationTimestamp", "")
    given = str(one.get("resourceVersion", "")), str(other.get("resourceVersion", ""))
    return all(map(str.isdigit, given)) and int(given[0]) < int(given[1])


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do for so many seconds, unless the Lease changes."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Write:
    """Create the Lease, or replace the one with the resourceVersion that this has: then this replica holds it."""

    lease: Object


@dataclass(frozen=True, slots=True)
class Stop:
    """Lead no longer."""

    why: str


def decide(seen: Seen, settings: Settings, now: float, wall: float) -> Wait | Write | Stop:
    """The next step of a replica. `now` is of its own clock, `wall` seconds since 1970 for the Lease's stamps."""
    if seen.renewed is not None:
        return _leading(seen, seen.renewed, settings, now, wall)
    paused = 0.0 if seen.tried is None else seen.tried + seen.pause - now
    if (wait := max(paused, _held_for(seen, settings) - now)) > 0:
        return Wait(wait)
    return Write(_taken(seen, settings, wall))


def _leading(seen: Seen, renewed: float, settings: Settings, now: float, wall: float) -> Wait | Write | Stop:
    end = renewed + settings.renew_seconds
    if seen.lease is not None and seen.holder != seen.identity:
        return Stop(f"{seen.holder or 'nobody'} holds it")
    if not seen.may_act(settings, now, wall):
        return Stop(f"it could not be renewed for {settings.renew_seconds:g} s")
    due = (renewed if seen.tried is None else seen.tried) + settings.retry_seconds
    return Wait(min(due, end) - now) if due > now else Write(_taken(seen, settings, wall))


def _held_for(seen: Seen, settings: Settings) -> float:
    """Until when somebody else may believe that he leads."""
    if seen.lease is None:
        return seen.since + settings.lease_seconds if seen.was_there else seen.since
    if seen.holder in ("", seen.identity):
        return seen.since
    duration = meta.get(seen.lease, "spec", "leaseDurationSeconds")
    return seen.since + (duration if isinstance(duration, int) and duration > 0 else settings.lease_seconds)


def _taken(seen: Seen, settings: Settings, wall: float) -> Object:
    """The Lease as its holder writes it; new, or over the one that is there."""
    spec = meta.part(seen.lease or {}, "spec")
    stamp = tasks.rfc3339_micro(wall)
    is_mine = seen.mine is not None
    transitions = spec.get("leaseTransitions") or 0
    record = {
        "holderIdentity": seen.identity,
        "leaseDurationSeconds": settings.lease_seconds,
        "acquireTime": spec.get("acquireTime") or stamp if is_mine else stamp,
        "renewTime": stamp,
        "leaseTransitions": transitions if is_mine or seen.lease is None else transitions + 1,
    }
    if seen.lease is not None:
        return {**seen.lease, "spec": {**spec, **record}}
    metadata = {"name": settings.name, "namespace": settings.namespace}
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": record}


def released(lease: Object, wall: float) -> Object:
    """The Lease as its holder leaves it: anybody may take it now."""
    record = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": tasks.rfc3339_micro(wall)}
    return {**lease, "spec": {**meta.part(lease, "spec"), **record}}


# -- Acting


class Fenced:
    """A transport that sends only while it may: what is asked of it later is a ConnectionError, and nothing is sent."""

    def __init__(self, transport: http.Transport, may: Callable[[], bool]):
        self._transport, self._may = transport, may

    async def send(self, request: http.Request) -> http.Response:
        if not self._may():
            raise ConnectionError(f"cannot send a {request.method}: this replica leads no longer")
        return await self._transport.send(request)


Lead = Callable[[Client], Coroutine[Any, Any, None]]
RELEASE_SECONDS_MAX = 2.0


class Election:
    """One replica's part in it."""

    def __init__(self, client: Client, settings: Settings):
        self._client, self._settings = client, settings
        self._seen = Seen(f"{settings.replica}_{tasks.new_uid()}")
        self._changed = asyncio.Event()
        self._recorder = Recorder(client, settings.replica)

    @property
    def identity(self) -> str:
        return self._seen.identity

    def leads(self) -> bool:
        """Whether this replica may act, now."""
        return self._seen.may_act(self._settings, tasks.monotonic(), tasks.now())

    def samples(self) -> Iterator[telemetry.Sample]:
        yield "leader_election_master_status", (self._settings.name,), float(self.leads())

    async def run(self, lead: Lead) -> None:
        """Take part until cancelled. What `lead` raises is raised; it may not end while this replica leads."""
        settings = self._settings
        informer = Informer(
            self._client, LEASES, namespace=settings.namespace, field_selector=f"metadata.name={settings.name}"
        )
        async with asyncio.TaskGroup() as group:
            tasks.spawn(group, informer.run(), "the lease")
            await informer.synced.wait()
            informer.on_change(lambda old, new: self._look(new))
            while True:
                while self._seen.renewed is None:
                    await self._step()
                await self._lead(lead)

    def _look(self, lease: Object | None) -> None:
        self._seen = self._seen.saw(lease, tasks.monotonic())
        self._changed.set()

    async def _step(self) -> None:
        self._changed.clear()
        match decide(self._seen, self._settings, tasks.monotonic(), tasks.now()):
            case Wait(seconds):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._changed.wait()
            case Write(lease):
                await self._write(lease)
            case Stop(why):
                log.warning("%s leads no longer: %s", self._settings.replica, why)
                self._seen = self._seen.lost()

    async def _write(self, lease: Object) -> None:
        sent, wall, settings = tasks.monotonic(), tasks.now(), self._settings
        pause = settings.retry_seconds * (1 + JITTER * tasks.rng().random())
        self._seen = replace(self._seen, tried=sent, pause=pause)
        try:
            # An answer that takes longer is not waited for: there is time for another connection.
            async with asyncio.timeout(settings.renew_seconds / 2):
                written = await self._written(lease)
        except errors.ApiError as error:
            log.info("%s cannot hold the lease %s: %s", settings.replica, settings.name, error.message)
        except OSError as error:
            log.info("%s cannot hold the lease %s: %s", settings.replica, settings.name, error or "no answer in time")
        else:
            self._seen = self._seen.wrote(written, sent, wall, tasks.monotonic())

    async def _written(self, lease: Object) -> Object:
        try:
            if "resourceVersion" in lease["metadata"]:
                return await self._client.update(lease)
            return await self._client.create(lease, query={})
        except errors.ApiError as error:
            if error.code in (404, 409):  # It is not as it was seen: the watch may be late.
                await self._look_now()
            raise

    async def _look_now(self) -> None:
        try:
            self._look(await self._client.get(LEASES, self._settings.name, self._settings.namespace))
        except errors.ApiError as error:
            if error.code != 404:
                raise
            self._look(None)

    async def _lead(self, lead: Lead) -> None:
        """Renew, and let `lead` run, until the Lease is lost; when cancelled, release it after `lead` has ended."""
        log.info("%s leads: it holds the lease %s", self._settings.replica, self._settings.name)
        client = self._client.through(lambda transport: Fenced(transport, self.leads))
        try:
            async with asyncio.TaskGroup() as group:
                leading = tasks.spawn(group, lead(client), "what the leader does")
                renewing = tasks.spawn(group, self._renew(), "renewals of the lease")
                telling = tasks.spawn(group, self._tell(), "event of the lease")
                await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
                if not renewing.done() and not leading.cancelled() and leading.exception() is None:
                    raise RuntimeError("what the leader does has ended, and it holds the lease")
                for part in (leading, renewing, telling):
                    part.cancel()
        finally:
            held, self._seen = self._seen, self._seen.lost()
            if held.renewed is not None and held.mine is not None:
                await self._release(held.mine)

    async def _renew(self) -> None:
        while self._seen.renewed is not None:
            await self._step()

    async def _tell(self) -> None:
        """Beside the renewals: none waits until it is told."""
        if (lease := self._seen.lease) is not None:
            await self._recorder.record(lease, "Normal", "LeaderElection", f"{self.identity} became leader")

    async def _release(self, lease: Object) -> None:
        """Let others take it at once. Whoever held it acts no more: that is why it may be said."""

        async def release() -> None:
            with tasks.best_effort("release a lease"):
                await self._client.update(released(lease, tasks.now()))

        async with asyncio.TaskGroup() as group:
            releasing = tasks.spawn(group, release(), "release of the lease")
            await asyncio.wait((releasing,), timeout=RELEASE_SECONDS_MAX)
            releasing.cancel()
