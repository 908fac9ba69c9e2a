"""Which controllers there are goes by the kinds that the cluster has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from petset import cluster
from petset.kinds import builtin
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects.registry import Kind, Kinds
from petset.store import memory
from tests.server.conftest import petset
from tests.waiting import until


def of_a_set(kind: Kind, kinds: Iterable[Kind]) -> bool:
    """Whether a set of this kind comes to its pod in a cluster with these kinds."""

    async def main() -> bool:
        plane = cluster.ControlPlane(memory.MemoryStore(), kinds=Kinds(kinds))
        await plane.begin()
        client = plane.client(cluster.ADMINISTRATOR)
        async with plane.running():
            template = petset("web")["spec"]["template"]
            spec = {"serviceName": "s", "template": template, "selector": {"matchLabels": {"app": "web"}}}
            about = {"apiVersion": kind.api_version, "kind": kind.kind}
            await client.create({**about, "metadata": {"name": "web", "namespace": "default"}, "spec": spec})
            await until(lambda: plane.store.count(PODS.key()))
        return True

    return asyncio.run(main())


def test_a_cluster_without_pet_sets_still_runs_stateful_sets() -> None:
    assert of_a_set(STATEFULSETS, (kind for kind in builtin.KINDS if kind is not PETSETS))


def test_one_that_has_them_runs_both() -> None:
    assert of_a_set(PETSETS, builtin.KINDS)
