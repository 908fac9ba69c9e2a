"""What each example proves, step by step: a table of examples, and one coroutine each that says and shows it.

A step that does not hold stops the demo with an error: nothing is printed that was not seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from petset.cli import pets
from petset.cli.main import CommandError
from petset.client import remote
from petset.client.client import Client
from petset.net.dialer import Dialer
from petset.objects import meta, resources

STEP_SECONDS_MAX = 120


@dataclass(frozen=True, slots=True)
class Example:
    folder: str
    set_name: str
    resource: resources.Resource
    recipes: tuple[str, ...]
    proof: Callable[[Stage], Awaitable[None]]
    try_this: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a proof works with."""

    client: Client
    dialer: Dialer
    namespace: str
    example: Example
    console: Any

    def says(self, line: str) -> None:
        self.console.print(f"  [green]✓[/green] {line}", soft_wrap=True)

    async def run(self, pod: str, container: str, *command: str) -> str:
        """A command's output in a pet. Raises CommandError when it fails."""
        done = await remote.execute(self.dialer, self.namespace, pod, container, command)
        if done.exit_code != 0:
            raise CommandError(
                f"cannot prove it: `{' '.join(command)}` in {pod} failed: {(done.stderr or done.stdout).strip()}"
            )
        return done.stdout.strip()

    async def until(self, what: str, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that the service does in its own time."""
        try:
            async with asyncio.timeout(STEP_SECONDS_MAX):
                while not await attempt():  # noqa: ASYNC110 (the service tells nobody when it has done it)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise CommandError(f"cannot prove it: {what} did not happen within {STEP_SECONDS_MAX} s") from None

    async def replace(self, name: str) -> tuple[dict, dict]:
        """Delete a pet and wait for its successor: (before, after)."""
        before = await self.client.get(resources.PODS, name, self.namespace)
        await self.client.delete(resources.PODS, name, self.namespace)
        async with asyncio.timeout(STEP_SECONDS_MAX):
            return dict(before), await pets.replaced(self.client, name, self.namespace, meta.uid(before))

    async def volume(self, claim: str) -> str:
        found = await self.client.get(resources.PERSISTENTVOLUMECLAIMS, claim, self.namespace)
        return meta.get(found, "spec", "volumeName", default="")

    def came_back(self, before: dict, after: dict, volume_before: str, volume_after: str) -> None:
        name = meta.name(before)
        if volume_before != volume_after or meta.uid(before) == meta.uid(after):
            raise CommandError(f"cannot prove it: {name} came back with another volume, or not as a new pod")
        same = "the same address" if before["status"]["podIP"] == after["status"]["podIP"] else "another address"
        self.says(
            f"{name} was deleted and came back as a new pod: "
            f"same name, same DNS name, same volume {volume_after}, {same}"
        )


async def _redis(stage: Stage) -> None:
    def cli(pet: str, *command: str) -> Awaitable[str]:
        return stage.run(pet, "redis", "/opt/redis/redis-cli", "-h", f"{pet}.redis", *command)

    async def role(pet: str) -> str:
        return (await cli(pet, "role")).splitlines()[0]

    roles = {pet: await role(pet) for pet in ("rd-0", "rd-1", "rd-2")}
    master = next((pet for pet, role in roles.items() if role == "master"), None)
    if master is None:
        raise CommandError(f"cannot prove it: no pet is the master ({roles})")
    replicas = [pet for pet in roles if pet != master]
    stage.says(f"they found each other by name: {master} is the master, {' and '.join(replicas)} follow it")
    value = f"written on {master}"
    await cli(master, "set", "petset:demo", value)
    reader = replicas[-1]

    async def arrived(pet: str) -> bool:
        return await cli(pet, "get", "petset:demo") == value

    await stage.until(f"the key on {reader}", lambda: arrived(reader))
    stage.says(f"a key written on {master} is read on {reader}")
    volume = await stage.volume("datadir-rd-1")
    before, after = await stage.replace("rd-1")
    stage.came_back(before, after, volume, await stage.volume("datadir-rd-1"))
    await stage.until("the key on the new rd-1", lambda: arrived("rd-1"))
    stage.says("the new rd-1 has the data of the old one")


async def _nginx(stage: Stage) -> None:
    page = "/usr/share/nginx/html/index.html"
    await stage.run("web-0", "nginx", "sh", "-c", f"echo 'the page of web-0' > {page}")
    ask = "exec 3<>/dev/tcp/web-0.nginx/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    if "the page of web-0" not in await stage.run("web-1", "nginx", "bash", "-c", ask):
        raise CommandError("cannot prove it: web-1 does not get web-0's page")
    stage.says("web-1 reads the page of web-0 by its name, web-0.nginx")
    volume = await stage.volume("www-web-0")
    before, after = await stage.replace("web-0")
    stage.came_back(before, after, volume, await stage.volume("www-web-0"))
    if "the page of web-0" not in await stage.run("web-1", "nginx", "bash", "-c", ask):
        raise CommandError("cannot prove it: the page is gone")
    stage.says("the new web-0 serves the page of the old one")


EXAMPLES = {
    "redis": Example(
        folder="redis",
        set_name="rd",
        resource=resources.PETSETS,
        recipes=("debian", "redis", "redis-install"),
        proof=_redis,
        try_this=(
            "kubectl get petset,pods,pvc",
            "kubectl exec rd-0 -c redis -- /opt/redis/redis-cli -h rd-0.redis info replication",
            "kubectl delete pod rd-1 && kubectl get pods -w",
        ),
    ),
    "nginx": Example(
        folder="nginx",
        set_name="web",
        resource=resources.PETSETS,
        recipes=("debian", "nginx"),
        proof=_nginx,
        try_this=(
            "kubectl get petset,pods,pvc",
            "kubectl exec web-1 -- getent hosts web-0.nginx",
            "kubectl scale petset web --replicas=3",
        ),
    ),
}
