"""Work counted: a step is a line or a call of petset's own code, by the interpreter's tracing.

The same work costs the same on every machine. Tracing sees no loop inside of C.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import petset

SOURCES = str(Path(petset.__file__).parent)


class Steps:
    def __init__(self) -> None:
        self.count = 0


@contextmanager
def counted() -> Iterator[Steps]:
    steps = Steps()

    def inside(frame: Any, event: str, arg: Any) -> Any:
        steps.count += 1
        return inside

    def trace(frame: Any, event: str, arg: Any) -> Any:
        return inside(frame, event, arg) if frame.f_code.co_filename.startswith(SOURCES) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield steps
    finally:
        sys.settrace(before)
