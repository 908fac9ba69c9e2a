"""The table of a set's pets (ordinal, phase, readiness, address, name, volume): live, or what changed, a line each."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from petset.cli.showing import printing
from petset.client import following
from petset.client.client import Client
from petset.kinds import pet_names
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

if TYPE_CHECKING:
    from rich.console import Console

Situation = tuple[Object, list[Object], list[Object]]  # A set, its pods, and the claims of its namespace.


@dataclass(frozen=True, slots=True)
class Pet:
    ordinal: int
    name: str
    phase: str
    ready: bool
    address: str
    dns_name: str
    volume: str


def columns(pet: Pet) -> tuple[str, ...]:
    return (
        str(pet.ordinal),
        pet.name,
        pet.phase,
        "yes" if pet.ready else "no",
        pet.address or "-",
        pet.dns_name or "-",
        pet.volume or "-",
    )


SUFFIX = "svc.cluster.local"  # Of every Service's name, after its namespace.
NOT_CREATED = "not yet created"
HEADINGS = ("ordinal", "pet", "phase", "ready", "address", "DNS name", "volume")


def rows(owner: Object, pods: Sequence[Object], claims: Sequence[Object]) -> list[Pet]:
    """One row for each pet that should be there, in the order of ordinals; pure."""
    by_name = {meta.name(pod): pod for pod in pods}
    volumes = {meta.name(claim): meta.get(claim, "spec", "volumeName", default="") for claim in claims}
    service = meta.get(owner, "spec", "serviceName", default="")
    found: list[Pet] = []
    for ordinal in pet_names.ordinals(owner):
        name = pet_names.name(owner, ordinal)
        pod = by_name.get(name)
        found.append(
            Pet(
                ordinal,
                name,
                doing(pod) if pod else NOT_CREATED,
                pod is not None and meta.is_pod_ready(pod) and not meta.is_deleting(pod),
                meta.get(pod, "status", "podIP", default="") if pod else "",
                f"{name}.{service}.{meta.namespace(owner)}.{SUFFIX}" if service else "",
                next((volumes.get(claim, "") for claim in pet_names.claim_names(owner, name)), ""),
            )
        )
    return found


def doing(pod: Object) -> str:
    """The phase, and in a pod that is starting what it is at."""
    if meta.is_deleting(pod):
        return "Terminating"
    phase = meta.get(pod, "status", "phase", default="Pending")
    if phase != "Pending":
        return phase
    if not meta.get(pod, "spec", "nodeName"):
        return "Pending"
    for status in meta.parts(pod, "status", "initContainerStatuses"):
        if status.get("name") and "terminated" not in meta.part(status, "state"):
            return f"Init: {status['name']}"
    return "Starting"


def changes(before: Sequence[Pet], after: Sequence[Pet]) -> list[str]:
    """What became of the pets since, a line a pet that changed; pure."""
    known = {pet.name: pet for pet in before}
    lines: list[str] = []
    for pet in after:
        old = known.get(pet.name, replace(pet, phase=NOT_CREATED, ready=False, address="", volume=""))
        news = [
            pet.phase if pet.phase != old.phase else "",
            f"has volume {pet.volume}" if pet.volume != old.volume and pet.volume else "",
            f"has address {pet.address}" if pet.address != old.address and pet.address else "",
            ("is ready" if pet.ready else "is not ready") if pet.ready != old.ready else "",
        ]
        if said := ", ".join(filter(None, news)):
            lines.append(f"{pet.name}: {said}")
    return lines


def written(pets: Sequence[Pet]) -> list[str]:
    """The table as lines of text, however long."""
    return printing.aligned([HEADINGS, *map(columns, pets)])


async def show_until_ready(client: Client, kind: Kind, name: str, namespace: str, console: Console) -> list[Pet]:
    """Show the pets until all are ready; the last rows."""
    found: list[Pet] = []
    with showing(console) as show:
        async for owner, pods, claims in situations(client, kind, name, namespace):
            found = rows(owner, pods, claims)
            show(found)
            if found and all(pet.ready for pet in found):
                break
    return found


@contextlib.contextmanager
def showing(console: Console) -> Generator[Callable[[list[Pet]], None]]:
    """A function that shows how the pets are now: a table that changes on a terminal, elsewhere a line a change."""
    from rich.live import Live
    from rich.table import Table

    def drawn(found: list[Pet]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in HEADINGS:
            table.add_column(heading, no_wrap=True)
        for pet in found:
            table.add_row(*columns(pet), style="green" if pet.ready else "")
        return table

    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    shown: list[Pet] = []

    def show(found: list[Pet]) -> None:
        nonlocal shown
        if live:
            live.update(drawn(found), refresh=True)
        else:
            for line in changes(shown, found):
                console.print(line, soft_wrap=True)
        shown = found

    with live or contextlib.nullcontext():
        yield show
    if not live and shown:
        console.print("\n" + "\n".join(written(shown)), soft_wrap=True)


async def situations(client: Client, kind: Kind, name: str, namespace: str) -> AsyncIterator[Situation]:
    """What there is now and after each change of a pod."""
    owner = await client.get(kind, name, namespace)
    before: list[Object] | None = None
    async with contextlib.aclosing(following.states(client, PODS, namespace)) as found:
        async for pods in found:
            mine = [pod for pod in pods.values() if meta.is_controlled_by(pod, owner)]
            if mine != before:
                claims, _ = await client.list(PERSISTENTVOLUMECLAIMS, namespace)
                yield owner, mine, claims
                before = mine


async def replaced(client: Client, name: str, namespace: str, old_uid: str) -> Object:
    """The successor of a pet, once it is ready."""
    only = f"metadata.name={name}"
    async with contextlib.aclosing(following.states(client, PODS, namespace, field_selector=only)) as found:
        async for pods in found:
            for pod in pods.values():
                if meta.uid(pod) != old_uid and meta.is_pod_ready(pod):
                    return pod
    raise AssertionError("it goes on until there is one")
