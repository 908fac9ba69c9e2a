"""(k) A Job of a hundred completions on real containers, four at a time: from its creation to Complete.

By hand: a hundred times the same container, four at a time, each with a network of its own (by_hand.py).
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench import by_hand, instance
from petset.cli.asking import connection
from petset.kinds.batch.job import JOBS
from petset.node.images.images import OWN_REGISTRY, Images
from petset.objects import meta
from petset.objects.meta import Object

COMPLETIONS, AT_ONCE = 100, 4
SECONDS_MAX = 300.0
IMAGE = f"{OWN_REGISTRY}/debian"
CONTAINER = {"name": "work", "image": IMAGE, "command": ["true"]}


def main() -> None:
    instance.heading()
    image = asyncio.run(Images(str(instance.IMAGES)).ensure(IMAGE, "IfNotPresent"))
    with instance.running() as one:
        ours = asyncio.run(_complete(one))
    with by_hand.Hand({"spec": {"containers": [CONTAINER]}}, {IMAGE: image}) as hand:
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as several:
            list(several.map(hand.finish, range(COMPLETIONS)))
        theirs = time.monotonic() - began
    instance.row(f"Job of {COMPLETIONS} completions", f"{ours:.2f} s", f"{theirs:.2f} s", ours / theirs)


async def _complete(one: instance.Instance) -> float:
    spec = {
        "completions": COMPLETIONS,
        "parallelism": AT_ONCE,
        "template": {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}},
    }
    job: dict[str, Any] = {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {"name": "many", "namespace": "default"},
        "spec": spec,
    }
    async with connection.connect(one.state) as connected, asyncio.timeout(SECONDS_MAX):
        began = time.monotonic()
        await connected.client.create(job)
        async for _, found in connected.client.watch(JOBS, "default"):
            if _is_complete(found):
                return time.monotonic() - began
    raise RuntimeError("the watch ended before the Job did")


def _is_complete(job: Object) -> bool:
    return (meta.condition(job, "Complete") or {}).get("status") == "True"
