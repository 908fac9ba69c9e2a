"""`petset top`: what each pet uses of CPU and memory, as metrics.k8s.io says."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from fractions import Fraction

from petset.cli.asking import clusters, sets
from petset.cli.failures import CommandError
from petset.cli.showing import printing
from petset.cli.showing.printing import Row
from petset.client.client import Client
from petset.kinds import pet_names
from petset.kinds.metrics import pod_metrics
from petset.kinds.metrics.pod_metrics import PODMETRICS
from petset.objects import errors, meta
from petset.objects.meta import Object

COLUMNS = ("set", "ordinal", "pet", "cpu", "memory")


def arguments(parser: argparse.ArgumentParser) -> None:
    sets.arguments(parser)
    printing.arguments(parser)


def run(args: argparse.Namespace) -> int:
    found = asyncio.run(_found(args))
    printing.rows(args.output, clusters.columns(args, COLUMNS), found, none="there are no pets")
    return 0


async def _found(args: argparse.Namespace) -> list[Row]:
    async with clusters.reached(args) as cluster:
        families = await sets.families(cluster.client, cluster.namespace, args.names)
        used = await _used(cluster.client, cluster.namespace)
    return [row for family in families for row in rows(family, used)]


async def _used(client: Client, namespace: str) -> dict[str, Object]:
    try:
        found, _ = await client.list(PODMETRICS, namespace)
    except errors.ApiError as error:
        if error.code not in (404, 503):
            raise
        raise CommandError(
            "cannot tell what pets use: the cluster has no metrics.k8s.io now; install a metrics-server there"
        ) from None
    return {meta.key(one): one for one in found}


def rows(family: sets.Family, used: Mapping[str, Object]) -> list[Row]:
    """A row for each pet that is there; what is not measured (yet) is empty. Pure."""
    found: list[Row] = []
    for pod in sorted(family.pods, key=pet_names.ordinal):
        metrics = used.get(meta.key(pod))
        found.append(
            {
                "namespace": meta.namespace(pod),
                "set": meta.name(family.owner),
                "ordinal": pet_names.ordinal(pod),
                "pet": meta.name(pod),
                "cpu": _cpu(pod_metrics.used(metrics, "cpu")) if metrics else None,
                "memory": _memory(pod_metrics.used(metrics, "memory")) if metrics else None,
            }
        )
    return found


def _cpu(cores: Fraction) -> str:
    return f"{round(cores * 1000)}m"


def _memory(amount: Fraction) -> str:
    return f"{round(amount / (1 << 20))}Mi"
