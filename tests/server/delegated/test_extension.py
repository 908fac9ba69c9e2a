"""PetSets of an extension server: what the API of a whole cluster does with them it does too, as the cluster is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from petset.kinds.namespace import NAMESPACES
from petset.server.delegated import surroundings
from petset.wire import http
from tests.server.conftest import petset
from tests.server.delegated.beside import ALL, PETS, Beside
from tests.waiting import in_a_loop, until_so

WEB = f"{PETS}/web"
TABLE = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
AGGREGATED = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
APPLY = "application/apply-patch+yaml"


def namespace(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@in_a_loop
async def test_a_set_is_written_and_read_in_every_way(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        made = await beside("POST", PETS, petset("web"))
        assert made.code == 201 and made.body["spec"]["selector"] == {"matchLabels": {"app": "web"}}
        assert (await beside("POST", PETS, petset("web"))).code == 409
        table = (await beside("GET", PETS, None, TABLE)).body
        assert [column["name"] for column in table["columnDefinitions"]][:4] == ["Name", "Desired", "Current", "Age"]
        assert (await beside("GET", ALL)).body["items"][0]["metadata"]["name"] == "web"

        changed = {"metadata": {"labels": {"a": "b"}}}
        kind = "application/merge-patch+json"
        assert (await beside("PATCH", WEB, changed, kind=kind)).body["metadata"]["labels"]["a"] == "b"
        tried = await beside("PATCH", f"{WEB}?dryRun=All", {"metadata": {"labels": {"c": "d"}}}, kind=kind)
        assert tried.body["metadata"]["labels"]["c"] == "d"
        assert "c" not in (await beside("GET", WEB)).body["metadata"]["labels"]

        scale = {"spec": {"replicas": 5}}
        assert (await beside("PATCH", f"{WEB}/scale", scale, kind=kind)).body["spec"]["replicas"] == 5
        told = (await beside("GET", f"{WEB}/scale")).body
        assert (told["kind"], told["spec"]["replicas"], told["status"]["selector"]) == ("Scale", 5, "app=web")
        status = await beside("PATCH", f"{WEB}/status", {"status": {"replicas": 4}, "spec": {"replicas": 9}}, kind=kind)
        assert (status.body["status"]["replicas"], status.body["spec"]["replicas"]) == (4, 5)

        config = {"apiVersion": "apps/v1alpha1", "kind": "PetSet", "spec": {"replicas": 7}}
        refused = await beside("PATCH", f"{WEB}?fieldManager=me", config, kind=APPLY)
        assert refused.code == 409 and "spec.replicas" in refused.message
        taken = await beside("PATCH", f"{WEB}?fieldManager=me&force=true", config, kind=APPLY)
        assert taken.body["spec"]["replicas"] == 7
        new = {**petset("new"), "metadata": {"name": "new"}}
        assert (await beside("PATCH", f"{PETS}/new?fieldManager=me", new, kind=APPLY)).code == 201

        strict = await beside("POST", f"{PETS}?fieldValidation=Strict", petset("x", nonsense=1))
        assert strict.code == 400 and 'unknown field "spec.nonsense"' in strict.message
        wrong = await beside("PUT", WEB, {**petset("web", replicas=-1)})
        assert wrong.code == 422 and "spec.replicas" in wrong.message
        assert (await beside("DELETE", PETS)).code == 200
        assert (await beside("GET", ALL)).body["items"] == []


@in_a_loop
async def test_a_watch_tells_and_ends_when_the_server_stops(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        peer = http.Peer(certificate=b"")
        request = http.Request("GET", f"{ALL}?watch=true", (), b"", peer, user=http.User("x", ("system:masters",)))
        watching = await beside.here.handle(request)
        await beside("POST", PETS, petset("web"))
        event = json.loads(await asyncio.wait_for(anext(watching.body), 10))
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "web")
        await beside.here.store.close()
        assert [piece async for piece in watching.body] == []


@in_a_loop
async def test_nothing_but_pet_sets_is_there(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        for path in (
            "/api/v1/pods",
            "/apis/apps/v1/statefulsets",
            "/api/v1/namespaces/default/pods/p/proxy/",
            "/api/v1/nodes/n/proxy/",
            "/dashboard/",
            "/petset/why",
            "/openid/v1/jwks",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        ):
            assert (await beside("GET", path)).code == 404, path
        groups = (await beside("GET", "/apis")).body["groups"]
        assert [one["name"] for one in groups] == ["apps"]
        assert [one["version"] for one in groups[0]["versions"]] == ["v1alpha1"]
        names = [one["name"] for one in (await beside("GET", "/apis/apps/v1alpha1")).body["resources"]]
        assert names == ["petsets", "petsets/scale", "petsets/status"]


@in_a_loop
async def test_what_is_served_is_told_without_asking_anybody(tmp_path: Path) -> None:
    """A cluster's discovery, and each deletion of a namespace in it, waits for that."""
    beside = Beside(tmp_path)
    async with beside.running():
        beside.line.is_silent = True
        before = len(beside.line.asked)
        aggregated = (await beside("GET", "/apis", None, AGGREGATED)).body
        assert aggregated["kind"] == "APIGroupDiscoveryList"
        version = aggregated["items"][0]["versions"][0]
        assert (version["version"], [one["resource"] for one in version["resources"]]) == ("v1alpha1", ["petsets"])
        for path in ("/apis", "/apis/apps", "/apis/apps/v1alpha1", "/openapi/v2", "/openapi/v3", "/version", "/readyz"):
            assert (await beside("GET", path)).code == 200, path
        index = (await beside("GET", "/openapi/v3")).body["paths"]
        document = (await beside("GET", index["apis/apps/v1alpha1"]["serverRelativeURL"])).body
        assert "io.k8s.api.apps.v1alpha1.PetSet" in document["components"]["schemas"]
        assert all(path.startswith("/apis/apps/") for path in document["paths"])
        assert (await beside("GET", ALL)).code == 200  # What it keeps, too, for the cluster's own server.
        assert len(beside.line.asked) == before


@in_a_loop
async def test_sets_are_made_in_namespaces_that_are_there_and_stay(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        pets = "/apis/apps/v1alpha1/namespaces/new/petsets"
        missing = await beside("POST", pets, petset("web"))
        assert missing.code == 404 and missing.message == 'namespaces "new" not found'
        for _ in range(5):  # `kubectl apply` writes both within milliseconds.
            await beside.admin.create(namespace("new"))
            assert (await beside("POST", pets, petset("web"))).code == 201
            assert (await beside("DELETE", f"{pets}/web")).code == 200
            asked = beside.line.count("namespaces/new")
            assert (await beside("POST", f"{pets}?dryRun=All", petset("web"))).code == 201
            assert beside.line.count("namespaces/new") == asked  # It is known by now.
            await beside.admin.delete(NAMESPACES, "new")
            terminating = await _until_not(201, beside, pets)
            assert terminating.code == 403 and "because it is being terminated" in terminating.message
            await _gone(beside, "new")
            assert (await _until_not(403, beside, pets)).code == 404


async def _gone(beside: Beside, name: str) -> None:
    """As the cluster's controller ends a namespace that has nothing in it."""
    found = await beside.admin.get(NAMESPACES, name)
    request = http.Request(
        "PUT",
        f"/api/v1/namespaces/{name}/finalize",
        (("content-type", "application/json"),),
        json.dumps({**found, "spec": {}}).encode(),
        user=http.User("x", ("system:masters",)),
    )
    assert (await beside.there.handle(request)).code == 200


async def _until_not(code: int, beside: Beside, pets: str):
    last = []

    async def other() -> bool:
        last[:] = [await beside("POST", f"{pets}?dryRun=All", petset("web"))]
        return last[0].code != code

    await until_so(other)
    return last[0]


@in_a_loop
async def test_a_namespace_that_nobody_can_tell_of_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(surroundings, "CATCH_UP_SECONDS_MAX", 0.2)
    beside = Beside(tmp_path)
    async with beside.running():
        beside.line.is_silent = True
        pets = "/apis/apps/v1alpha1/namespaces/new/petsets"
        told = await beside("POST", pets, petset("web"))
        assert told.code == 503
        assert told.message == (
            "cannot tell whether there is a namespace new: the cluster does not say within 0.2 s; try again"
        )
        beside.line.is_silent, beside.line.is_cut = False, True
        told = await beside("POST", pets, petset("web"))
        assert told.code == 503 and told.message.endswith("connection refused; try again")
        assert (await beside("POST", PETS, petset("web"))).code == 201  # Of one that is known nobody is asked.
