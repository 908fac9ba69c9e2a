"""Events as people read them: one Event object for each thing that keeps happening, with a count that grows.

The object's name is made from what happened (object, reason, message, source), so the same happening finds its Event
again, also after a restart: create, and where it exists already, patch count and lastTimestamp.

`Telling` is for who cannot wait until it is recorded.

Invariants: recording never fails its caller; an object can make EVENTS_BURST_MAX new events at once and then one every
EVENTS_REFILL_SECONDS; repeats beyond their own, faster, allowance are counted and written with the next one. What is
new and of weight is logged, too.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import memory, tasks
from petset.client.client import Client
from petset.kinds.event import EVENTS
from petset.objects import encoding, errors, meta
from petset.objects.meta import Object

log = logging.getLogger("petset.events")

EVENTS_BURST_MAX = 25
EVENTS_REFILL_SECONDS = 300.0
REPEATS_REFILL_SECONDS = 5.0
REMEMBERED_MAX = 4096
MESSAGE_CHARACTERS_MAX = 1024
WAITING_EVENTS_MAX = 4096
SIDE_BY_SIDE_MAX = 8  # Events that are written at once: of many objects they share a commit.
STARTS_AND_STOPS = ("Started", "Killing")


@dataclass(slots=True)
class _Allowance:
    """A bucket of tokens that fills up again by and by."""

    refill_seconds: float
    tokens: float = EVENTS_BURST_MAX
    at: float = 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(EVENTS_BURST_MAX, self.tokens + max(0.0, now - self.at) / self.refill_seconds)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def _plain(allowance: _Allowance) -> tuple[float, float, float]:
    return allowance.refill_seconds, allowance.tokens, allowance.at


@dataclass(slots=True)
class _Known:
    count: int
    unwritten: int
    allowance: _Allowance


class Recorder:
    """Writes events for one component (`host`: the node, for the node's own)."""

    def __init__(self, client: Client, component: str, host: str = ""):
        self._client, self._component, self._host = client, component, host
        self._known: dict[str, _Known] = {}
        self._objects: dict[str, _Allowance] = {}
        self._resting = (
            b""  # Both of them, while nothing happens: thousands of small objects keep much memory (base/memory.py).
        )
        memory.at_rest.add(self._rest)

    def _rest(self) -> None:
        if self._known or self._objects:
            self._wake()
            known = {key: (one.count, one.unwritten, _plain(one.allowance)) for key, one in self._known.items()}
            objects = {key: _plain(allowance) for key, allowance in self._objects.items()}
            self._resting = encoding.dumps([known, objects])
            self._known, self._objects = {}, {}

    def _wake(self) -> None:
        if self._resting:
            known, objects = encoding.loads(self._resting)
            self._resting = b""
            for key, (count, unwritten, allowance) in known.items():
                self._known.setdefault(key, _Known(count, unwritten, _Allowance(*allowance)))
            for key, allowance in objects.items():
                self._objects.setdefault(key, _Allowance(*allowance))

    async def record(self, about: Object, type_: str, reason: str, message: str, field_path: str = "") -> None:
        """Write that something happened to an object: type is Normal or Warning."""
        with tasks.best_effort("record an event"):
            try:
                await self._record(about, type_, reason, message[:MESSAGE_CHARACTERS_MAX], field_path)
            except errors.ApiError as error:
                # Nothing can be recorded in a namespace that is going away, and nobody misses it.
                if error.code not in (403, 404, 409):
                    raise

    async def _record(self, about: Object, type_: str, reason: str, message: str, field_path: str) -> None:
        name = event_name(about, type_, reason, message, f"{self._component}/{self._host}{field_path}")
        namespace = meta.namespace(about) or "default"
        key, now = f"{namespace}/{name}", tasks.now()
        self._wake()
        known = self._known.pop(key, None)
        if known is None:
            if not _bucket(self._objects, meta.uid(about) or meta.key(about), EVENTS_REFILL_SECONDS).take(now):
                return
            known = _Known(0, 0, _Allowance(REPEATS_REFILL_SECONDS, at=now))
            log.log(_level(type_, reason), "%s %s: %s: %s", about["kind"], meta.key(about), reason, message)
        self._known[key] = known
        _forget_oldest(self._known)
        known.unwritten += 1
        if not known.allowance.take(now):
            return
        await self._write(about, type_, reason, message, field_path, name, namespace, known, now)

    async def _write(
        self,
        about: Object,
        type_: str,
        reason: str,
        message: str,
        field_path: str,
        name: str,
        namespace: str,
        known: _Known,
        now: float,
    ) -> None:
        if not known.count:
            reference = {**meta.object_reference(about), **({"fieldPath": field_path} if field_path else {})}
            event = self._new(reference, type_, reason, message, name, namespace, known.unwritten, now)
            try:
                await self._client.create(event)
                known.count, known.unwritten = known.unwritten, 0
                return
            except errors.ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            # A patch and no get: that is what a node may do.
            seen = {"lastTimestamp": tasks.rfc3339(now)}
            known.count = (await self._client.patch(EVENTS, name, namespace, seen)).get("count") or 1
        count = known.count + known.unwritten
        again = {"count": count, "lastTimestamp": tasks.rfc3339(now)}
        try:
            await self._client.patch(EVENTS, name, namespace, again)
            known.count, known.unwritten = count, 0
        except errors.ApiError as error:
            if error.code != 404:
                raise
            known.count = 0  # It has expired meanwhile: the next one makes it anew.

    def _new(
        self,
        reference: Object,
        type_: str,
        reason: str,
        message: str,
        name: str,
        namespace: str,
        count: int,
        now: float,
    ) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference,
            "type": type_,
            "reason": reason,
            "message": message,
            "source": {"component": self._component, **({"host": self._host} if self._host else {})},
            "firstTimestamp": tasks.rfc3339(now),
            "lastTimestamp": tasks.rfc3339(now),
            "count": count,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }


@dataclass(frozen=True, slots=True)
class _Told:
    """An event that waits to be recorded; `about` has no more of the object than events say of one."""

    about: Object
    type: str
    reason: str
    message: str
    field_path: str


class Telling:
    """Events told where nobody can wait for a write: those of one object are written in the order in which they came.

    Beyond WAITING_EVENTS_MAX the oldest go unwritten.
    """

    def __init__(self, recorder: Recorder):
        self._recorder = recorder
        self._waiting: deque[_Told] = deque(maxlen=WAITING_EVENTS_MAX)
        self._any = asyncio.Event()

    def tell(self, about: Object, type_: str, reason: str, message: str, field_path: str = "") -> None:
        known = {key: text for key in _IDENTITY if (text := about["metadata"].get(key))}
        bare = {"apiVersion": about["apiVersion"], "kind": about["kind"], "metadata": known}
        self._waiting.append(_Told(bare, type_, reason, message, field_path))
        self._any.set()

    async def run(self) -> None:
        """Write them until cancelled."""
        while True:
            await self._any.wait()
            self._any.clear()
            while self._waiting:
                await tasks.side_by_side(self._next(), self._record, SIDE_BY_SIDE_MAX, "record events")

    def _next(self) -> list[list[_Told]]:
        """Those that are written next, by their object."""
        of_each: dict[str, list[_Told]] = {}
        for _ in range(min(len(self._waiting), SIDE_BY_SIDE_MAX)):
            told = self._waiting.popleft()
            of_each.setdefault(meta.uid(told.about) or meta.key(told.about), []).append(told)
        return [*of_each.values()]

    async def _record(self, of_one: Sequence[_Told]) -> None:
        for told in of_one:
            await self._recorder.record(told.about, told.type, told.reason, told.message, told.field_path)


_IDENTITY = ("name", "namespace", "uid", "resourceVersion")


def _level(type_: str, reason: str) -> int:
    """The instance's log is for warnings, and for what starts and stops; the rest is in the events themselves."""
    return logging.WARNING if type_ == "Warning" else logging.INFO if reason in STARTS_AND_STOPS else logging.DEBUG


def event_name(about: Object, type_: str, reason: str, message: str, source: str) -> str:
    """`<object>.<hex>`, the same for the same happening."""
    said = "\0".join((meta.uid(about), meta.key(about), about["kind"], type_, reason, message, source))
    return f"{meta.name(about)[:230]}.{hashlib.blake2b(said.encode(), digest_size=8).hexdigest()}"


def _bucket(buckets: dict[str, _Allowance], key: str, refill_seconds: float) -> _Allowance:
    bucket = buckets.pop(key, None) or _Allowance(refill_seconds, at=tasks.now())
    buckets[key] = bucket
    _forget_oldest(buckets)
    return bucket


def _forget_oldest(remembered: dict[Any, Any]) -> None:
    while len(remembered) > REMEMBERED_MAX:
        del remembered[next(iter(remembered))]
