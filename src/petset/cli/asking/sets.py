"""The sets of a cluster with their pods and claims, as the commands that show pets read them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from petset.cli.asking import clusters
from petset.cli.failures import CommandError
from petset.client import discovery
from petset.client.client import Client
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

KINDS = (PETSETS, STATEFULSETS)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which sets of which cluster."""
    parser.add_argument("names", nargs="*", metavar="SET", help="(default: all sets of the namespace)")
    clusters.arguments(parser, of_all="the sets")


@dataclass(frozen=True, slots=True)
class Family:
    """A set, its pods, and the claims of its namespace."""

    owner: Object
    pods: Sequence[Object]
    claims: Sequence[Object]


async def families(client: Client, namespace: str, names: Sequence[str]) -> list[Family]:
    """Of the sets of these names, or of all; of all namespaces when none is given. Raises CommandError, ApiError."""
    found = [one for kind in KINDS for one in await all_of(client, kind, namespace)]
    for name in names:
        if not any(meta.name(one) == name for one in found):
            raise CommandError(f"cannot list pets: there is no set {name} in namespace {namespace}; see `petset ls -A`")
    wanted = [one for one in found if not names or meta.name(one) in names]
    pods, _ = await client.list(PODS, namespace)
    claims, _ = await client.list(PERSISTENTVOLUMECLAIMS, namespace)
    return [
        Family(
            one,
            [pod for pod in pods if meta.is_controlled_by(pod, one)],
            [claim for claim in claims if meta.namespace(claim) == meta.namespace(one)],
        )
        for one in sorted(wanted, key=meta.key)
    ]


async def all_of(client: Client, kind: Kind, namespace: str = "") -> list[Object]:
    try:
        found, _ = await client.list(kind, namespace)
    except errors.ApiError as error:
        # Most clusters have none of 2016's; who may not list what is not there is told that he may not.
        if kind is PETSETS and (error.code == 404 or not await discovery.of_version(client, kind.api_version)):
            return []
        raise
    return found
