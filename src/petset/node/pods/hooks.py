"""Lifecycle hooks: postStart beside a container that has just started, preStop before one is stopped.

Both return why they failed, or "", and are given up when their container ends; a preStop hook gets no more time than is
left of the grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from petset.base import tasks
from petset.node.pods import probes
from petset.objects import meta
from petset.objects.meta import Object

Ended = Callable[[], Coroutine[Any, Any, None]]  # Returns when the container has ended.


async def _never() -> None:
    await asyncio.Event().wait()


async def post_start(attempts: probes.Attempts, pod: Object, spec: Object, ip: str, ended: Ended) -> str:
    """Run the container's postStart hook."""
    hook = meta.get(spec, "lifecycle", "postStart", default={})
    return await _run(attempts, pod, spec, hook, ip, ended)


async def pre_stop(
    attempts: probes.Attempts, pod: Object, spec: Object, ip: str, seconds: float, ended: Ended = _never
) -> str:
    """Run the container's preStop hook, if it has one, within the time that is left."""
    hook = meta.get(spec, "lifecycle", "preStop")
    if not hook or seconds <= 0:
        return ""
    try:
        async with asyncio.timeout(seconds):
            return await _run(attempts, pod, spec, hook, ip, ended)
    except TimeoutError:
        return "it did not end within the grace period"


async def _run(attempts: probes.Attempts, pod: Object, spec: Object, hook: Object, ip: str, ended: Ended) -> str:
    async with asyncio.TaskGroup() as group:
        end = tasks.spawn(group, ended(), f"end of {spec['name']}")
        run = tasks.spawn(group, attempts.hook(pod, spec, hook, ip), f"hook of {spec['name']}")
        try:
            await asyncio.wait((run, end), return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                return "its container ended"
            return "" if run.result().ok else run.result().message or "it failed"
        finally:
            end.cancel()
            run.cancel()
