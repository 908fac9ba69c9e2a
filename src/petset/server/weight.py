"""Work on large bodies, done in a thread beside the loop.

Reading, checking and patching cost in proportion to the size of a body: a millisecond for most, up to a few tenths of a
second for the largest that is allowed. `beside` runs a pure function at once where the bytes that it works on are few,
else in the one thread that is kept for this. One, because threads share the interpreter: it hands over every 5 ms, so
that the loop goes on, and a second one would only take the loop's turns. Who comes next waits in line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from petset.base import tasks

T = TypeVar("T")

LOOP_BYTES_MAX = 32 * 1024  # Read, checked and validated within 20 ms, in whatever form.

_thread = tasks.Thread("petset-bodies")


async def beside(size: int, work: Callable[..., T], *args: Any) -> T:
    """The result of a pure function that works on so many bytes."""
    if size <= LOOP_BYTES_MAX:
        return work(*args)
    return await _thread.call(work, *args)
