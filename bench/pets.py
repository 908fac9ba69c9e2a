"""(a) Three ordered redis pets from apply to all Ready, against the same nine containers run by hand (by_hand.py).

Both use examples/redis with no initial delay and a probe period of one second, the same images, the same runtime and
the same order; by hand, redis is asked PING every 10 ms. The images are there before either begins.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bench import by_hand, instance
from petset.cli.asking import connection
from petset.kinds.pod import PODS
from petset.node.images.images import Images
from petset.node.runtime import Image
from petset.objects import documents, meta
from petset.objects.meta import Object

PETS = 3
ROUNDS = 2
READY_SECONDS_MAX = 90.0
MANIFEST = Path(__file__).resolve().parents[1] / "examples" / "redis" / "redis.yaml"


def main() -> None:
    instance.heading()
    objects = redis_objects()
    template = next(obj for obj in objects if obj["kind"] == "PetSet")["spec"]["template"]
    images = asyncio.run(redis_images(template))
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        with instance.running() as one:
            ours.append(asyncio.run(_ready(one, objects)))
        with by_hand.Hand(template, images) as hand:
            began = time.monotonic()
            for ordinal in range(PETS):
                hand.start(ordinal)
            theirs.append(time.monotonic() - began)
    instance.row(
        "3 ordered redis pets, to Ready", f"{min(ours):.2f} s", f"{min(theirs):.2f} s", min(ours) / min(theirs)
    )


def redis_objects() -> list[Object]:
    """The example with no initial delay and a period of one second."""
    objects = [obj for obj in documents.load_all(MANIFEST.read_bytes()) if obj]
    for obj in objects:
        for container in meta.get(obj, "spec", "template", "spec", "containers", default=()):
            container["readinessProbe"].update(initialDelaySeconds=0, periodSeconds=1)
    return objects


async def redis_images(template: Object) -> dict[str, Image]:
    """Built first where they are not there yet."""
    store = Images(str(instance.IMAGES))
    containers = [*template["spec"]["initContainers"], *template["spec"]["containers"]]
    return {one["image"]: await store.ensure(one["image"], "IfNotPresent") for one in containers}


async def _ready(one: instance.Instance, objects: list[Object]) -> float:
    async with asyncio.timeout(READY_SECONDS_MAX), connection.connect(one.state) as connected:
        client = connected.client
        began = time.monotonic()
        for obj in objects:
            await client.create(meta.changed(obj, ("metadata", "namespace"), "default"))
        ready: dict[str, bool] = {}
        async for _, pod in client.watch(PODS, "default", since="0"):
            conditions = meta.get(pod, "status", "conditions", default=())
            ready[meta.name(pod)] = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
            if sum(ready.values()) == PETS:
                return time.monotonic() - began
    raise RuntimeError("the watch ended before the pets were ready")
