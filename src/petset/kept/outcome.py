"""What a write has come to, decided by what was answered and what was seen; pure.

A write is sent with the version that it expects (POST: none; PATCH and DELETE: the resourceVersion) and, but for a
deletion, with a mark of its own, which is read back from the stream of changes. An answer that is a plain refusal is
believed. After anything else (a connection that broke, a 5xx) nobody knows whether it was done or still will be: then
the object is read, and `decided` says what that means.

What it may never say: "done" of a write that is not there; "conflict" of one that went through, or that may yet. So a
creation whose answer was lost is sent once only: to send it again could bring back what somebody has deleted meanwhile,
and nothing keeps the first one from arriving late. A change or a deletion may be sent again as often as need be: the
version it expects is there once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from petset.objects import errors

Operation = Literal["create", "change", "delete"]
# Of codes below 500: who is asked is not the cluster's API, or asks too much at once, and nothing was done.
_REFUSED = range(400, 500)


@dataclass(frozen=True, slots=True)
class Sent:
    """A write on its way."""

    operation: Operation
    expected: int  # The revision that the object is to be at; 0: there is to be none.
    is_lost: bool = False  # An answer to it was.


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known besides answers: `revision` is where a read after the last of them found it (0: nowhere)."""

    revision: int
    is_own: bool  # That version has the write's mark.
    told: int = 0  # The revision at which the stream of changes told of the write itself; 0: it did not.
    is_unbroken: bool = True  # The stream has told every change since before the write was sent, up to that read.


@dataclass(frozen=True, slots=True)
class Done:
    revision: int


@dataclass(frozen=True, slots=True)
class Again:
    """Send it once more."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    current: int


@dataclass(frozen=True, slots=True)
class Unclear:
    why: str


Step = Done | Again | Conflicts | Unclear


def is_refusal(error: Exception) -> bool:
    """Whether the write was not made and will not be. (A connection that was never there carried nothing.)"""
    if isinstance(error, errors.ApiError):
        return error.code in _REFUSED or is_too_large(error)
    return isinstance(error, ConnectionRefusedError)


def is_too_large(error: errors.ApiError) -> bool:
    """As the API says it, or etcd, whose refusal the API hands on as a failure of its own."""
    return error.code == 413 or "request is too large" in error.message


def is_stale(error: Exception) -> bool:
    """Whether a refusal says that the object is not at the version that was expected."""
    return isinstance(error, errors.ApiError) and (
        error.reason in ("AlreadyExists", "Conflict") or (error.code == 404 and error.reason == "NotFound")
    )


def decided(sent: Sent, seen: Seen) -> Step:
    """What comes after a lost answer, or one that says that the object is elsewhere."""
    if seen.told and (sent.is_lost or sent.operation != "delete"):  # Of one that is gone nobody says who did it.
        return Done(seen.told)
    if seen.is_own and sent.operation != "delete":
        return Done(seen.revision)
    if sent.operation == "create":
        if sent.is_lost:
            return Unclear("the answer to its creation was lost")
        return Conflicts(seen.revision) if seen.revision else Again()
    if seen.revision == sent.expected:
        return Again()
    if sent.is_lost and not seen.is_unbroken:
        return Unclear("its answer was lost, and others have changed the object since")
    return Conflicts(seen.revision)
