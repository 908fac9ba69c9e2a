"""What a write has come to: a case each of what was answered and what was seen."""

from __future__ import annotations

import pytest

from petset.kept.outcome import Again, Conflicts, Done, Seen, Sent, Unclear, decided, is_refusal, is_stale
from petset.objects import errors

CREATE, LOST_CREATE = Sent("create", 0), Sent("create", 0, is_lost=True)
CHANGE, LOST_CHANGE = Sent("change", 5), Sent("change", 5, is_lost=True)
DELETE, LOST_DELETE = Sent("delete", 5), Sent("delete", 5, is_lost=True)


@pytest.mark.parametrize(
    ("sent", "seen", "step"),
    [
        # It is there with the write's own mark, whatever was answered.
        (LOST_CREATE, Seen(7, is_own=True), Done(7)),
        (LOST_CHANGE, Seen(7, is_own=True), Done(7)),
        # The stream told of it, although others have come since, or it is gone again.
        (LOST_CREATE, Seen(9, is_own=False, told=7), Done(7)),
        (LOST_CHANGE, Seen(9, is_own=False, told=7), Done(7)),
        (LOST_CHANGE, Seen(0, is_own=False, told=7), Done(7)),
        (LOST_DELETE, Seen(0, is_own=False, told=7), Done(7)),
        (LOST_DELETE, Seen(9, is_own=False, told=7), Done(7)),
        # It was refused, and somebody else's version is there.
        (CREATE, Seen(7, is_own=False), Conflicts(7)),
        (CHANGE, Seen(7, is_own=False), Conflicts(7)),
        (CHANGE, Seen(0, is_own=False), Conflicts(0)),
        (DELETE, Seen(7, is_own=False), Conflicts(7)),
        (DELETE, Seen(0, is_own=False), Conflicts(0)),
        # Somebody else deleted just the version that was to be deleted: that was not this write.
        (DELETE, Seen(0, is_own=False, told=7), Conflicts(0)),
        # It "exists already", and does not any more.
        (CREATE, Seen(0, is_own=False), Again()),
        # It has not been done: what expects a version may be sent again.
        (LOST_CHANGE, Seen(5, is_own=False), Again()),
        (LOST_DELETE, Seen(5, is_own=False), Again()),
        # Of a lost creation that is not seen nobody knows whether it went through, or will.
        (LOST_CREATE, Seen(0, is_own=False), Unclear("the answer to its creation was lost")),
        (LOST_CREATE, Seen(7, is_own=False), Unclear("the answer to its creation was lost")),
        # What expects a version that is over will not be done any more: it is a conflict if the stream would have told.
        (LOST_CHANGE, Seen(7, is_own=False), Conflicts(7)),
        (LOST_CHANGE, Seen(0, is_own=False), Conflicts(0)),
        (LOST_DELETE, Seen(7, is_own=False), Conflicts(7)),
    ],
)
def test_what_a_write_has_come_to(sent: Sent, seen: Seen, step: object) -> None:
    assert decided(sent, seen) == step


@pytest.mark.parametrize("sent", [LOST_CHANGE, LOST_DELETE])
@pytest.mark.parametrize("revision", [0, 7])
def test_after_a_gap_in_the_stream_nobody_knows(sent: Sent, revision: int) -> None:
    assert isinstance(decided(sent, Seen(revision, is_own=False, is_unbroken=False)), Unclear)


@pytest.mark.parametrize(
    ("error", "refusal", "stale"),
    [
        (errors.already_exists("storedpetsets", "a"), True, True),
        (errors.conflict("storedpetsets", "a", "moved on"), True, True),
        (errors.not_found("storedpetsets", "a"), True, True),
        (errors.ApiError(403, "Forbidden", "no"), True, False),
        (errors.too_many_requests("later"), True, False),
        (errors.ApiError(500, "InternalError", "etcdserver: request is too large"), True, False),
        (ConnectionRefusedError("nobody listens"), True, False),
        (errors.ApiError(500, "InternalError", "etcdserver: leader changed"), False, False),
        (errors.unavailable("not now"), False, False),
        (errors.timeout("etcdserver: request timed out"), False, False),
        (ConnectionResetError("cut"), False, False),
        (TimeoutError(), False, False),
    ],
)
def test_what_an_answer_says(error: Exception, refusal: bool, stale: bool) -> None:
    assert (is_refusal(error), is_stale(error)) == (refusal, stale)
