"""Locks between tasks and between processes, waited for without a thread and without looking again and again.

A lock is a FIFO in a folder. Whoever has the lock has the FIFO open for writing, with flock's lock on it; whoever waits
has it open for reading, and the kernel tells him when the last writer is gone. It takes flock's lock away before it
tells that (the order in which a file is closed), also of a process that is killed: who was told finds the lock free,
or that another was faster, and goes on waiting. A waiter that is cancelled closes his end, and that is all.

Who shares a lock with others may, when several processes waited, get it only after one of them has let it go.
Follows: flock(2), fifo(7), poll(2) on POLLHUP.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncGenerator


@contextlib.asynccontextmanager
async def held(path: str, *, shared: bool = False, wait: bool = True) -> AsyncGenerator[bool, None]:
    """Have the lock of this name until the block is left; False only where `wait` is, and another has it."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    descriptor = taken(path, shared)
    if descriptor is None and wait:
        told = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while (descriptor := taken(path, shared)) is None:
                await _nobody_has(told)
        finally:
            os.close(told)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def taken(path: str, shared: bool) -> int | None:
    """The descriptor that has the lock for as long as it is open; None where another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # Also for reading: else it would wait for a reader.
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


async def _nobody_has(told: int) -> None:
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    loop.add_reader(told, lambda: gone.done() or gone.set_result(None))
    try:
        await gone
    finally:
        loop.remove_reader(told)
