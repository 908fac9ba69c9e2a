"""An Event of the audit log as it waits, and as it is told: a line of JSON (audit.k8s.io/v1).

Bodies are kept as they came; what they say is read when the line is made, in the thread of whoever writes or sends it.
`Waiting` are those of one backend: bounded, by number and by the bytes of their objects; what comes beyond that is
lost, and counted.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from dataclasses import dataclass
from typing import Any

from petset.objects import documents, encoding, meta

WAITING_EVENTS_MAX = 10_000
WAITING_BYTES_MAX = 64 << 20  # Of the objects that they tell.


@dataclass(frozen=True, slots=True)
class Event:
    """One that waits for its line: what is known of it, and the bodies that it tells as they came."""

    fields: dict[str, Any]
    request: tuple[str, bytes] = ("", b"")  # (type, bytes)
    response: tuple[str, bytes] = ("", b"")
    objects: Any = None  # In the place of a response in bytes.
    omits_managed_fields: bool = False

    @property
    def size(self) -> int:
        return len(self.request[1]) + len(self.response[1])


class Waiting:
    """Of one backend, in the order they came."""

    def __init__(self, events_max: int = 0):
        """`events_max`: WAITING_EVENTS_MAX where it is 0."""
        self._events: deque[Event] = deque()
        self._events_max = events_max or WAITING_EVENTS_MAX
        self._bytes = self._lost = 0
        self.lost_ever = 0
        self._some, self._enough = asyncio.Event(), asyncio.Event()
        self._enough_events = 1

    def add(self, event: Event) -> None:
        if len(self._events) >= self._events_max or self._bytes + event.size > WAITING_BYTES_MAX:
            self._lost += 1
            self.lost_ever += 1
        else:
            self._events.append(event)
            self._bytes += event.size
        self._some.set()
        if len(self._events) >= self._enough_events:
            self._enough.set()

    async def come(self, enough_events: int = 1, seconds_max: float = 0.0) -> None:
        """Until there are so many, or some for so long."""
        await self._some.wait()
        self._enough_events = enough_events
        if len(self._events) < enough_events:
            self._enough.clear()
            try:
                async with asyncio.timeout(seconds_max):
                    await self._enough.wait()
            except TimeoutError:
                return

    def taken(self, events_max: int = 0, bytes_max: int = WAITING_BYTES_MAX) -> tuple[list[Event], int]:
        """The first so many of so many bytes, at least one and without limits all; how many have been lost before."""
        batch: list[Event] = []
        size = 0
        while self._events and (not events_max or len(batch) < events_max):
            if batch and size + self._events[0].size > bytes_max:
                break
            event = self._events.popleft()
            size += event.size
            batch.append(event)
        self._bytes -= size
        lost, self._lost = self._lost, 0
        if not self._events:
            self._some.clear()
        return batch, lost


# -- In the thread of who writes or sends them


def line(event: Event) -> bytes:
    fields = event.fields
    for name, (kind, data), tree in (
        ("requestObject", event.request, None),
        ("responseObject", event.response, event.objects),
    ):
        found = tree if tree is not None else _read(kind, data)
        if found is not None:
            fields = {**fields, name: _shown(found, event.omits_managed_fields)}
    return encoding.dumps(fields)


def _read(kind: str, data: bytes) -> Any:
    """What a body says; None for one that says nothing that can be told."""
    try:
        if kind == "gzip":
            data = gzip.decompress(data)
        if not data:
            return None
        return documents.load(data) if "yaml" in kind else encoding.loads_answer(data)
    except (ValueError, OSError):
        return None


def _shown(obj: Any, omits_managed_fields: bool) -> Any:
    if not omits_managed_fields or not meta.is_struct(obj):
        return obj
    if items := meta.parts(obj, "items"):
        return {**obj, "items": [_shown(item, True) for item in items]}
    return meta.without(obj, ("metadata", "managedFields"))
