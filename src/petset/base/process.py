"""What a process that serves prepares for itself: its loop, and how many files it may have open."""

from __future__ import annotations

import asyncio
import os
import resource

FILES_OPEN_MAX = 65536


def loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def prepare() -> None:
    """Many files at once; the usual umask, which containers inherit."""
    os.umask(0o022)  # What must be private is written so, in a directory that is.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_OPEN_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_OPEN_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
