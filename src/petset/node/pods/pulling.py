"""Has a container's image ready, and says so in the words of events.

`pull` gives the image and what to tell when its container starts; a fetch that takes longer than
PULL_SHOWN_AFTER_SECONDS is told while it goes on. `failure` and `trouble_after` are for an image that cannot be had.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from petset.base import tasks
from petset.node.pods import decide as pods
from petset.node.pods.view import Trouble
from petset.node.runtime import Image, ImageError, PullPolicy, RegistryLogin, Runtime
from petset.objects import meta
from petset.objects.meta import Object

log = logging.getLogger("petset.node")

PULL_SHOWN_AFTER_SECONDS = 0.5

Said = tuple[str, str, str]  # type, reason, message
Tell = Callable[[str, str, str, str], None]  # ..., container


async def pull(runtime: Runtime, spec: Object, logins: Sequence[RegistryLogin], tell: Tell) -> tuple[Image, list[Said]]:
    """Raises ImageError."""
    reference: str = spec.get("image") or ""
    policy: PullPolicy = spec.get("imagePullPolicy") or "IfNotPresent"
    pulling = ("Normal", "Pulling", f'Pulling image "{reference}"')
    told: list[Said] = []

    async def tell_when_slow() -> None:
        await asyncio.sleep(PULL_SHOWN_AFTER_SECONDS)
        told.append(pulling)
        tell(*pulling, spec["name"])

    began = tasks.now()
    info: Image | None = None
    failed: ImageError | None = None
    async with asyncio.TaskGroup() as group:
        slow = tasks.spawn(group, tell_when_slow(), f"pulling {reference}")
        try:
            info = await runtime.ensure_image(reference, policy, logins)
        except ImageError as error:
            failed = error  # Raised below: a task group would wrap it.
        except Exception as error:
            log.exception("cannot pull %s", reference)
            failed = ImageError("ErrImagePull", f"cannot pull {reference}: {error!r}")
        finally:
            slow.cancel()
    if info is None:
        raise failed or ImageError("ErrImagePull", f"cannot pull {reference}: nothing came of it")
    said = [] if told or info.source != "pulled" else [pulling]
    return info, [*said, ("Normal", "Pulled", _pulled(info, reference, tasks.now() - began))]


def of_volumes(pod: Object) -> dict[str, Object]:
    """The images that are volumes, by volume, each as a container would ask for it."""
    found: dict[str, Object] = {}
    for volume in meta.parts(pod, "spec", "volumes"):
        if (image := volume.get("image")) is not None:
            policy = image.get("pullPolicy") or "IfNotPresent"
            found[volume["name"]] = {"name": "", "image": image.get("reference"), "imagePullPolicy": policy}
    return found


def _pulled(info: Image, reference: str, seconds: float) -> str:
    if info.source == "pulled":
        size = f" Image size: {info.size_bytes} bytes." if info.size_bytes else ""
        return f'Successfully pulled image "{reference}" in {seconds:.3f}s.{size}'
    if info.source in ("stand-in", "built"):
        return f'Container image "{reference}" is petset\'s own stand-in of that name, built on this machine'
    return f'Container image "{reference}" already present on machine'


def failure(spec: Object, error: ImageError) -> list[tuple[str, str, str, str]]:
    """The events of an image that cannot be had: type, reason, message, container."""
    reference, name = spec.get("image") or "", spec["name"]
    reason, message = "Failed", f'Failed to pull image "{reference}": {error.message}'
    if error.reason == "ErrImageNeverPull":
        reason, message = error.reason, f'Container image "{reference}" is not present with pull policy of Never'
    elif error.reason == "InvalidImageName":
        reason, message = "InspectFailed", error.message
    return [("Warning", reason, message, name), ("Warning", "Failed", f"Error: {error.reason}", name)]


def trouble_after(before: Trouble | None, error: ImageError, now: float) -> Trouble:
    first, most = pods.IMAGE_RETRY_SECONDS_MIN, pods.IMAGE_RETRY_SECONDS_MAX
    return Trouble.after(before, error.reason, error.message, now, first, most)
