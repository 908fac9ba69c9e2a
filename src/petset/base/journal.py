"""The instance's log, `petset.log`: what happened to it, a line each, for who asks later.

`kept(path)` adds what is logged to the file, of petset's own from "info" on; in the foreground, warnings and worse go
to standard error as well. Expected failures are one line; only a defect is followed by its traceback.

Invariants: the file is at most LOG_BYTES_MAX long and one older one is kept beside it; a log that cannot be written
(a full disk) stops nothing.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from petset.base import tasks

LOG_BYTES_MAX = 8 << 20
OLDER_LOGS_MAX = 1


class Lines(logging.Formatter):
    """2026-11-25T17:12:03Z warning node: what happened"""

    def formatMessage(self, record: logging.LogRecord) -> str:
        part, level = record.name.removeprefix("petset."), record.levelname.lower()
        text = " | ".join(record.message.splitlines())  # What comes from outside begins no line of its own.
        return f"{tasks.rfc3339(record.created)} {level} {part}: {text}"


def kept(path: Path, also_on_stderr: bool) -> contextlib.AbstractContextManager[None]:
    """Keep the log for as long as the context lasts."""
    handlers: list[logging.Handler] = []
    with contextlib.suppress(OSError):
        file = logging.handlers.RotatingFileHandler(path, "a", LOG_BYTES_MAX, OLDER_LOGS_MAX, "utf-8", errors="replace")
        handlers.append(file)
    if also_on_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[-1].setLevel(logging.WARNING)
    return _handled_by(handlers)


def told() -> contextlib.AbstractContextManager[None]:
    """Tell all of it on standard error for as long as the context lasts: where others keep what processes say."""
    return _handled_by([logging.StreamHandler(sys.stderr)])


@contextlib.contextmanager
def _handled_by(handlers: Sequence[logging.Handler]) -> Generator[None]:
    logging.raiseExceptions = False
    root, ours = logging.getLogger(), logging.getLogger("petset")
    ours.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(Lines())
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            with contextlib.suppress(OSError):
                handler.close()
