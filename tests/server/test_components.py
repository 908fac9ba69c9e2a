"""ComponentStatuses: made of what the process knows of its parts when somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from petset import cluster
from petset.objects import encoding
from petset.store import memory
from petset.wire import http
from tests.server.conftest import ADMIN, JANE, Server

PATH = "/api/v1/componentstatuses"
TABLE = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
trouble = {"why": ""}


@pytest.fixture(scope="module")
def parts() -> Iterator[Server]:
    """The store's check is at hand; controllers and scheduler do not run here."""
    server = Server(checks={cluster.STORE_CHECK: lambda: trouble["why"]})
    yield server
    server.close()


def test_each_part_says_how_it_is(parts: Server) -> None:
    answer = parts("GET", PATH)
    assert answer.headers["warning"] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("ComponentStatusList", "v1")
    found = {one["metadata"]["name"]: one["conditions"] for one in answer.body["items"]}
    assert found == {
        "controller-manager": [{"type": "Healthy", "status": "False", "message": "not running"}],
        "etcd-0": [{"type": "Healthy", "status": "True", "message": "ok"}],
        "scheduler": [{"type": "Healthy", "status": "False", "message": "not running"}],
    }


def test_a_store_in_trouble_says_why(parts: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trouble, "why", "the disk is full")
    found = parts.get(f"{PATH}/etcd-0")
    assert found["conditions"] == [{"type": "Healthy", "status": "False", "message": "the disk is full"}]


def test_as_kubectl_prints_them(parts: Server) -> None:
    table = parts.get(PATH, headers=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Status", "Message", "Error"]
    assert [row["cells"][:3] for row in table["rows"]][1] == ["etcd-0", "Healthy", "ok"]
    assert parts.get(f"{PATH}/scheduler", headers=TABLE)["rows"][0]["cells"][1] == "Unhealthy"


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("GET", f"{PATH}/nobody", 404),
        ("GET", f"{PATH}?fieldSelector=metadata.name%3Detcd-0", 200),
        ("GET", f"{PATH}?fieldSelector=nonsense", 400),
        ("GET", f"{PATH}?watch=1", 405),
        ("GET", f"{PATH}/etcd-0/status", 404),
        ("POST", PATH, 405),
        ("DELETE", f"{PATH}/etcd-0", 405),
        ("PATCH", f"{PATH}/etcd-0", 405),
    ],
)
def test_they_are_read_only(parts: Server, method: str, target: str, code: int) -> None:
    answer = parts(method, target, {} if method in ("POST", "PATCH") else None)
    assert answer.code == code
    if code == 200:
        assert [one["metadata"]["name"] for one in answer.body["items"]] == ["etcd-0"]


def test_who_may(parts: Server) -> None:
    assert parts("GET", PATH, user=JANE).code == 403


def test_the_parts_of_a_cluster_that_runs_are_well() -> None:
    async def main() -> None:
        plane = cluster.ControlPlane(memory.MemoryStore())
        await plane.begin()

        async def statuses() -> list[str]:
            answer = await plane.handle(http.Request("GET", PATH, user=ADMIN))
            assert isinstance(answer.body, bytes)
            return [one["conditions"][0]["status"] for one in encoding.loads(answer.body)["items"]]

        async with asyncio.timeout(30), plane.running():
            assert await statuses() == ["True"] * 3
        assert await statuses() == ["False", "True", "False"]

    asyncio.run(main())
