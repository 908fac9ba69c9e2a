"""Lists of objects as they change: told by a watch, never by asking again and again.

`states` goes on for good: a watch that ends, is cut off, or whose revision is too old, begins anew with a list, later
and later where nothing was told in between; what that raises is raised. `until` waits for one that is as it is wanted.
(A controller's cache is an informer's.)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from petset.base import tasks
from petset.client.client import Client
from petset.client.informer import RECONNECT_SECONDS_MAX
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind


async def states(
    client: Client, kind: Kind, namespace: str, label_selector: str = "", field_selector: str = ""
) -> AsyncGenerator[Mapping[str, Object]]:
    """The objects by namespace and name as they are, and again after each change. Raises ApiError, OSError."""
    backoff = tasks.Backoff(first=0.05, most=RECONNECT_SECONDS_MAX)
    while True:
        found, revision = await client.list(kind, namespace, label_selector, field_selector)
        there = {meta.key(one): one for one in found}
        yield there
        try:
            events = client.watch(kind, namespace, revision, label_selector, field_selector)
            async with contextlib.aclosing(events):
                async for type_, obj in events:
                    backoff.reset()
                    if type_ == "BOOKMARK":
                        continue
                    there[meta.key(obj)] = obj
                    if type_ == "DELETED":
                        del there[meta.key(obj)]
                    yield there
        except ConnectionError:
            pass  # Whether anybody is there still, the list shows.
        except errors.ApiError as error:
            if error.code != 410:
                raise
        await asyncio.sleep(backoff.next())


async def until(
    client: Client,
    kind: Kind,
    namespace: str,
    holds: Callable[[Sequence[Object]], bool],
    most_seconds: float,
    label_selector: str = "",
) -> None:
    """Raises TimeoutError; what `holds` raises; ApiError, OSError."""
    async with (
        asyncio.timeout(most_seconds),
        contextlib.aclosing(states(client, kind, namespace, label_selector)) as found,
    ):
        async for there in found:
            if holds(list(there.values())):
                return
