"""What a process that serves prepares for itself: its loop, how many files it may have open, where it listens.

And how it is told to stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket

from petset.base import notices

log = logging.getLogger("petset")

FILES_OPEN_MAX = 65536
CONNECTIONS_WAITING_MAX = 1024


def loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def prepare() -> None:
    """Many files at once; the usual umask, which containers inherit."""
    os.umask(0o022)  # What must be private is written so, in a directory that is.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_OPEN_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_OPEN_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def listening(address: str, port: int) -> socket.socket:
    """A socket that listens there from now on: whoever tries after this finds it taken. Raises OSError."""
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
        found.listen(CONNECTIONS_WAITING_MAX)
    except OSError:
        found.close()
        raise
    found.setblocking(False)
    return found


def stop_signal(told: notices.Notices, meanwhile: str = "") -> asyncio.Event:
    """Set when SIGTERM or SIGINT comes, which the log and the service manager are told, with what happens meanwhile."""
    stop = asyncio.Event()

    def asked(number: signal.Signals) -> None:
        log.info("stopping: %s came%s", number.name, meanwhile and f"; {meanwhile}")
        told.tell(notices.STOPPING, *([f"STATUS=stopping: {meanwhile}"] if meanwhile else []))
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked, number)
    return stop
