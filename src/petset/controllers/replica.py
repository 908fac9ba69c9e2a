"""The controller of PetSets alone, as one of any number of replicas beside a real cluster's own controllers.

`run` takes part in an election; the replica that holds the Lease follows PetSets, pods, claims, revisions and Services
through the cluster's API, and acts on them as the embedded controller does, in words that the cluster knows
(pets/translation.py). A replica that leads begins with new lists, made after it has won: it sees all that the one
before it did. Who loses the Lease keeps nothing and sends nothing more (client/election.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from petset.base import tasks, telemetry
from petset.client import election
from petset.client.client import Client
from petset.client.views import Informers
from petset.controllers import runner
from petset.controllers.pets import family, keeping, petset, translation
from petset.controllers.pets.translation import Translation

LEASE = "petset-controller"


@dataclass(frozen=True, slots=True)
class Settings:
    """`election` None: this is the only one there is."""

    election: election.Settings | None
    translation: Translation = field(default_factory=Translation)


def settings(elected: election.Settings | None = None, image_map: Iterable[str] = ()) -> Settings:
    """`image_map` are `FROM=TO`, as a user writes them. Raises ValueError."""
    return Settings(elected, Translation(translation.images_of(image_map)))


async def run(client: Client, settings: Settings, metrics: telemetry.Telemetry | None = None) -> None:
    """Until cancelled."""
    row = petset.controller(replace(family.PETSET, translation=settings.translation))
    acting: list[runner.Runner] = []  # At most one.

    async def lead(client: Client) -> None:
        caches = Informers(client, keeping.kept, keeping.PIECE)
        one = runner.Runner(client, caches, row)
        acting[:] = [one]
        try:
            async with asyncio.TaskGroup() as group:
                tasks.spawn(group, caches.run(), "informers")
                tasks.spawn(group, one.run(), f"controller {one.name}")
        finally:
            acting.clear()

    part = election.Election(client, settings.election) if settings.election else None

    def samples() -> Iterator[telemetry.Sample]:
        if part is not None:
            yield from part.samples()
        for one in acting:
            yield from one.samples()

    if metrics is not None:
        metrics.source(samples)
    await (lead(client) if part is None else part.run(lead))
