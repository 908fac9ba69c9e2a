"""Lifecycle hooks: postStart beside a container that has just started, preStop before one is stopped.

Both return why they failed, or "". A postStart hook is given up when its container ends; a preStop hook gets what is
left of the grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from petset.base import tasks
from petset.node import probes
from petset.objects import meta
from petset.objects.meta import Object


async def post_start(
    attempts: probes.Attempts, pod: Object, spec: Object, ip: str, ended: Coroutine[Any, Any, None]
) -> str:
    """Run the container's postStart hook; `ended` returns when the container does."""
    hook = meta.get(spec, "lifecycle", "postStart", default={})
    async with asyncio.TaskGroup() as group:
        end = tasks.spawn(group, ended, f"end of {spec['name']}")
        run = tasks.spawn(group, attempts.hook(pod, spec, hook, ip), f"postStart of {spec['name']}")
        try:
            await asyncio.wait((run, end), return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                return "its container ended"
            return "" if run.result().ok else run.result().message or "it failed"
        finally:
            end.cancel()
            run.cancel()


async def pre_stop(attempts: probes.Attempts, pod: Object, spec: Object, ip: str, seconds: float) -> str:
    """Run the container's preStop hook, if it has one, within the time that is left."""
    hook = meta.get(spec, "lifecycle", "preStop")
    if not hook or seconds <= 0:
        return ""
    try:
        async with asyncio.timeout(seconds):
            outcome = await attempts.hook(pod, spec, hook, ip)
    except TimeoutError:
        return "it did not end within the grace period"
    return "" if outcome.ok else outcome.message or "it failed"
