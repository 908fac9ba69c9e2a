"""What clients asked of a petset and what they were told, with the times: the material a checker judges.

Everything is about ConfigMaps of one namespace, which is empty at first. A version's `value` is its data with the
label `color`; `by` in it names the write that made it, each write its own. Times are of one clock that all clients
share. An operation without an answer keeps `ended` at infinity: it may have been done, or not, or may be done later.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Value = Mapping[str, str]

# What a client was told.
DONE, ABSENT, EXISTS, CONFLICT, REFUSED, UNKNOWN = "done", "absent", "exists", "conflict", "refused", "unknown"
WRITES = ("create", "update", "patch", "delete")
BOOKMARK = "BOOKMARK"


class Version(NamedTuple):
    """One object as one revision left it; no value: deleted then."""

    key: str
    revision: int
    value: Value | None
    uid: str = ""


@dataclass(slots=True)
class Operation:
    client: str
    verb: str  # create, update, patch, delete; get, list
    key: str
    began: float
    ended: float = math.inf
    outcome: str = UNKNOWN
    by: str = ""  # The write's own name, in the value it leaves.
    value: Value = field(default_factory=dict)  # What a create or update writes, what a patch changes.
    expected: int = 0  # The revision a write was made for; 0: whatever is there.
    revision: int = 0  # Of the answer: the write's, the object's, the list's.
    uid: str = ""  # Of the object that a deletion removed.
    seen: tuple[Version, ...] = ()  # What the answer showed; a get that found nothing is ABSENT.
    also: tuple[Version, ...] = ()  # Older versions and deletions that came with it (from the disk).


class Event(NamedTuple):
    """What a watch was told; a DELETED carries the last value."""

    at: float
    type: str
    version: Version


@dataclass(slots=True)
class Stream:
    """One watch from its start to its end."""

    client: str
    since: int
    color: str = ""  # It selects the objects of this color.
    resumed: bool = False  # It goes on where one before was cut.
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class History:
    operations: list[Operation] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> History:
        told = json.loads(path.read_text())
        return cls(
            [
                Operation(**{**each, "seen": _versions(each["seen"]), "also": _versions(each["also"])})
                for each in told["operations"]
            ],
            [
                Stream(**{**each, "events": [Event(at, kind, Version(*of)) for at, kind, of in each["events"]]})
                for each in told["streams"]
            ],
        )


def _versions(told: list[list[Any]]) -> tuple[Version, ...]:
    return tuple(Version(*version) for version in told)
