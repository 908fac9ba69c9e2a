"""What a proof works with: an example, and the stage on which it is shown, a step at a time.

A step that does not hold stops the demo with an error: nothing is printed that was not seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from petset.cli.failures import CommandError
from petset.cli.showing import pets
from petset.client import remote
from petset.client.client import Client
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.net.dialer import Dialer
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

if TYPE_CHECKING:
    from rich.console import Console

STEP_SECONDS_MAX = 120


class Unproven(CommandError):
    """A step that did not hold."""

    def __init__(self, why: str):
        super().__init__(f"cannot prove it: {why}; the pets go on running: `petset why` and `petset logs` tell more")


@dataclass(frozen=True, slots=True)
class Example:
    folder: str
    set_name: str
    resource: Kind
    recipes: tuple[str, ...]
    proof: Callable[[Stage], Awaitable[None]]
    try_this: tuple[str, ...]
    nodes: int = 1  # That it needs.


@dataclass(frozen=True, slots=True)
class Stage:
    """What a proof works with."""

    client: Client
    dialer: Dialer
    namespace: str
    example: Example
    console: Console

    def says(self, line: str) -> None:
        self.console.print(f"  [green]✓[/green] {line}", soft_wrap=True)

    async def run(self, pod: str, container: str, *command: str) -> str:
        """A command's output in a pet. Raises Unproven when it fails."""
        done = await remote.execute(self.dialer, self.namespace, pod, container, command)
        if done.exit_code != 0:
            raise Unproven(f"`{' '.join(command)}` in {pod} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout.strip()

    async def until(self, what: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that the service does in its own time."""
        try:
            async with asyncio.timeout(STEP_SECONDS_MAX):
                while not await attempt():  # noqa: ASYNC110 (the service tells nobody when it has done it)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise Unproven(f"{what} did not happen within {STEP_SECONDS_MAX} s") from None

    async def replace(self, name: str) -> tuple[Object, Object]:
        """Delete a pet and wait for its successor: (before, after)."""
        before = await self.client.get(PODS, name, self.namespace)
        await self.client.delete(PODS, name, self.namespace)
        async with asyncio.timeout(STEP_SECONDS_MAX):
            return before, await pets.replaced(self.client, name, self.namespace, meta.uid(before))

    async def volume(self, claim: str) -> str:
        found = await self.client.get(PERSISTENTVOLUMECLAIMS, claim, self.namespace)
        return meta.get(found, "spec", "volumeName", default="")

    def came_back(self, before: Object, after: Object, volume_before: str, volume_after: str) -> None:
        name = meta.name(before)
        if volume_before != volume_after or meta.uid(before) == meta.uid(after):
            raise Unproven(f"{name} came back with another volume, or not as a new pod")
        same = "the same address" if before["status"]["podIP"] == after["status"]["podIP"] else "another address"
        self.says(
            f"{name} was deleted and came back as a new pod: "
            f"same name, same DNS name, same volume {volume_after}, {same}"
        )
