"""Waiting until descriptors can be read or written, until something has ended, or for a time: whichever is first."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import Any

DRAIN_SECONDS_MAX = 0.5  # How long output is waited for after the process, or the input of who attached, has ended.


async def readable(
    descriptors: Sequence[int], ended: asyncio.Future[None] | None, seconds: float | None = None
) -> list[int]:
    """Those that can be read, as soon as there are any; [] when `ended` is done or the time is over first."""
    loop = asyncio.get_running_loop()
    return await _ready(descriptors, loop.add_reader, loop.remove_reader, ended, seconds)


async def writable(descriptor: int, ended: asyncio.Future[None]) -> bool:
    loop = asyncio.get_running_loop()
    return bool(await _ready([descriptor], loop.add_writer, loop.remove_writer, ended, None))


async def _ready(
    descriptors: Sequence[int],
    add: Callable[..., Any],
    remove: Callable[[int], Any],
    ended: asyncio.Future[None] | None,
    seconds: float | None,
) -> list[int]:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[None] = loop.create_future()
    ready: list[int] = []

    def wake(_: object = None) -> None:
        if not first.done():
            first.set_result(None)

    def on_ready(descriptor: int) -> None:
        ready.append(descriptor)
        remove(descriptor)
        wake()

    for descriptor in descriptors:
        add(descriptor, on_ready, descriptor)
    if ended is not None:
        ended.add_done_callback(wake)
    timer = None if seconds is None else loop.call_later(seconds, wake)
    try:
        await first
    finally:
        for descriptor in descriptors:
            remove(descriptor)
        if ended is not None:
            ended.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()
    return ready


def is_readable_now(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
