"""Waits until a list of objects is as it is wanted: told by a watch, never by asking again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from petset.client.client import Client
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind


async def until(
    client: Client,
    kind: Kind,
    namespace: str,
    holds: Callable[[Sequence[Object]], bool],
    seconds: float,
    label_selector: str = "",
) -> None:
    """Raises TimeoutError; what `holds` raises; ApiError, OSError."""
    async with asyncio.timeout(seconds):
        while not await _held(client, kind, namespace, holds, label_selector):
            continue  # The watch ended: list again.


async def _held(
    client: Client, kind: Kind, namespace: str, holds: Callable[[Sequence[Object]], bool], label_selector: str
) -> bool:
    """Whether it came to hold before the watch ended."""
    found, revision = await client.list(kind, namespace, label_selector)
    there = {meta.name(one): one for one in found}
    if holds(list(there.values())):
        return True
    try:
        async with contextlib.aclosing(client.watch(kind, namespace, revision, label_selector)) as events:
            async for type_, obj in events:
                if type_ == "BOOKMARK":
                    continue
                there = {**there, meta.name(obj): obj}
                if type_ == "DELETED":
                    del there[meta.name(obj)]
                if holds(list(there.values())):
                    return True
    except errors.ApiError as error:
        if error.code != 410:
            raise
    return False
