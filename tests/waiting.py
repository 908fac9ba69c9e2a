"""Waiting for a condition in tests: it looks again each millisecond, and fails after a while instead of hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS_MAX = 10.0


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():  # noqa: ASYNC110  # What is waited for has no event to await.
            await asyncio.sleep(0.001)
