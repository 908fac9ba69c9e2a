"""Replicas that keep one pair in their cluster: they agree, whoever was quicker, and serve what is believed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from petset import cluster
from petset.client.client import Client
from petset.kinds.api_service import APISERVICES
from petset.kinds.secret import SECRETS
from petset.objects import errors
from petset.serving import keeper, pair
from petset.store import memory
from petset.wire import http
from tests.waiting import in_a_loop, until, until_so

HOME, NAME, API_SERVICE = "petset-system", "petset-serving", "v1alpha1.wardle.example.com"


class Cluster:
    def __init__(self) -> None:
        self.plane = cluster.ControlPlane(memory.MemoryStore(), cluster.Config())
        self.admin = self.plane.client(cluster.ADMINISTRATOR)

    async def begin(self) -> None:
        await self.plane.begin()
        await self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})

    async def install(self) -> None:
        group, version = API_SERVICE.partition(".")[2], API_SERVICE.partition(".")[0]
        spec = {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 1000,
            "versionPriority": 10,
            "service": {"name": "petset", "namespace": HOME},
            "insecureSkipTLSVerify": True,
        }
        api_version = APISERVICES.api_version
        made = {"apiVersion": api_version, "kind": "APIService", "metadata": {"name": API_SERVICE}, "spec": spec}
        await self.admin.create(made)

    async def secret(self) -> pair.Kept | None:
        return pair.read(await self.admin.get(SECRETS, NAME, HOME))

    async def believed(self) -> bytes:
        found = await self.admin.get(APISERVICES, API_SERVICE)
        return base64.b64decode(found["spec"].get("caBundle") or "")


class Refusing:
    """A way to the cluster on which writes are refused."""

    def __init__(self, plane: cluster.ControlPlane):
        self._plane, self.writes = plane, 0

    async def send(self, request: http.Request) -> http.Response:
        if request.method != "GET":
            self.writes += 1
            raise errors.forbidden("secrets", "", "no rights")
        over = cluster.InProcess(self._plane.handle, cluster.ADMINISTRATOR)
        return await over.send(request)


@contextlib.asynccontextmanager
async def replicas(of: Cluster, path: Path, *names: str) -> AsyncGenerator[list[keeper.Keeper], None]:
    made = [
        keeper.Keeper(of.plane.client(cluster.ADMINISTRATOR), path / name, HOME, NAME, "petset", API_SERVICE)
        for name in names
    ]
    async with cluster.together(*((name, one.keep()) for name, one in zip(names, made, strict=True))):
        yield made


def shows(one: keeper.Keeper) -> bytes:
    return one.issued.certificate.read_bytes()


def test_replicas_agree_and_are_believed(tmp_path: Path) -> None:
    @in_a_loop
    async def scene() -> None:
        there = Cluster()
        await there.begin()
        await there.install()
        async with replicas(there, tmp_path, "a", "b", "c") as made:
            await until(lambda: not any(one.trouble for one in made))
            kept = await there.secret()
            assert kept is not None
            assert {shows(one) for one in made} == {kept.pair.certificate}
            assert all(one.issued.key.read_bytes() == kept.pair.key for one in made)

            async def is_believed() -> bool:
                return await there.believed() == kept.bundle

            await until_so(is_believed)
            spec = (await there.admin.get(APISERVICES, API_SERVICE))["spec"]
            assert not spec.get("insecureSkipTLSVerify")

    scene()


def test_what_is_deleted_or_spoilt_comes_back(tmp_path: Path) -> None:
    @in_a_loop
    async def scene() -> None:
        there = Cluster()
        await there.begin()
        async with replicas(there, tmp_path, "a", "b") as made:
            await until(lambda: not any(one.trouble for one in made))
            first = await there.secret()
            assert first is not None
            await there.install()  # After the replicas, as when it was taken away and comes back.

            async def is_believed() -> bool:
                kept = await there.secret()
                return kept is not None and await there.believed() == kept.bundle

            await until_so(is_believed)
            await there.admin.delete(SECRETS, NAME, HOME)
            await until(lambda: shows(made[0]) == shows(made[1]) != first.pair.certificate)
            await until_so(is_believed)
            patch: Any = {"data": {"tls.key": "bm9uc2Vuc2U="}}
            second = shows(made[0])
            await there.admin.patch(SECRETS, NAME, HOME, patch)
            await until(lambda: shows(made[0]) == shows(made[1]) != second)
            await until_so(is_believed)

    scene()


def test_a_replica_answers_with_a_pair_of_its_own_until_it_may_keep_one(tmp_path: Path) -> None:
    @in_a_loop
    async def scene() -> None:
        there = Cluster()
        await there.begin()
        way = Refusing(there.plane)
        one = keeper.Keeper(Client(way), tmp_path, HOME, NAME, "petset", API_SERVICE)
        assert b"BEGIN CERTIFICATE" in shows(one)
        async with cluster.together(("keeper", one.keep())):
            await until(lambda: way.writes)
            assert one.trouble == f"the pair in Secret {HOME}/{NAME} has not been read yet"

    scene()


def test_at_rest_nothing_is_asked(tmp_path: Path) -> None:
    @in_a_loop
    async def scene() -> None:
        there = Cluster()
        await there.begin()
        await there.install()
        async with replicas(there, tmp_path, "a") as made:
            await until(lambda: not made[0].trouble)
            kept = await there.secret()
            assert kept is not None

            async def is_believed() -> bool:
                return await there.believed() == kept.bundle

            await until_so(is_believed)
            revision = there.plane.store.revision
            for _ in range(50):
                await asyncio.sleep(0)
            assert there.plane.store.revision == revision

    scene()
