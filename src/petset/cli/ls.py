"""`petset ls`: the pets as pets, a line each, also those that are not made yet."""

from __future__ import annotations

import argparse
import asyncio

from petset.base import tasks, well_known
from petset.cli.asking import clusters, sets
from petset.cli.showing import pets, printing
from petset.cli.showing.printing import Row
from petset.objects import meta, tables

COLUMNS = ("set", "ordinal", "phase", "ready", "revision", "restarts", "address", "name", "volume", "age")


def arguments(parser: argparse.ArgumentParser) -> None:
    sets.arguments(parser)
    printing.arguments(parser)


def run(args: argparse.Namespace) -> int:
    found = asyncio.run(_found(args))
    printing.rows(
        args.output, clusters.columns(args, COLUMNS), found, none="there are no pets; `petset run FILE` makes some"
    )
    return 0


async def _found(args: argparse.Namespace) -> list[Row]:
    async with clusters.reached(args) as cluster:
        families = await sets.families(cluster.client, cluster.namespace, args.names)
    return [row for family in families for row in rows(family, tasks.now())]


def rows(family: sets.Family, now: float) -> list[Row]:
    """A row for each pet that should be there; pure."""
    by_name = {meta.name(pod): pod for pod in family.pods}
    found: list[Row] = []
    for pet in pets.rows(family.owner, family.pods, family.claims):
        pod = by_name.get(pet.name, {})
        statuses = meta.parts(pod, "status", "containerStatuses")
        found.append(
            {
                "namespace": meta.namespace(family.owner),
                "set": meta.name(family.owner),
                "ordinal": pet.ordinal,
                "phase": pet.phase,
                "ready": pet.ready,
                "revision": meta.get(pod, "metadata", "labels", well_known.REVISION_LABEL),
                "restarts": sum(status.get("restartCount", 0) for status in statuses),
                "address": pet.address,
                "name": pet.dns_name,
                "volume": pet.volume,
                "age": tables.age(pod, now) if pod else None,
            }
        )
    return found
