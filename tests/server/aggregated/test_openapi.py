"""OpenAPI of other servers: version 3 is listed and theirs to answer, version 2 merged; a broken one harms nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.server.described import gnostic_v2, gnostic_v3, merging, upgrading
from petset.wire import http
from tests.server.aggregated.test_api_services import Aggregated
from tests.server.aggregated_server import FLUNDERS, ROOT, swagger
from tests.server.conftest import ADMIN

NAME, FLUNDER = ROOT[1:], "com.example.wardle.v1alpha1.Flunder"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@pytest.fixture
def aggregated(tmp_path: Path):
    server = Aggregated(tmp_path)
    yield server
    server.close()


def others(server: Aggregated) -> Any:
    return server.api.paths.openapi.others


def described(server: Aggregated) -> Any:
    return others(server).get(NAME)


def refresh(server: Aggregated) -> None:
    """As when a minute is over."""
    descriptions = server.plane.api_services._descriptions
    server.run(descriptions._look(tuple(NAME.split("/")[1:])))


def test_version_3_is_listed_with_its_hash_and_handed_on(aggregated: Aggregated) -> None:
    before = aggregated.get("/openapi/v3")["paths"]
    aggregated.register()
    aggregated.until(lambda: described(aggregated))
    listed = aggregated.get("/openapi/v3")["paths"]
    assert listed == {**before, NAME: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash=F00"}}
    assert aggregated.get(listed[NAME]["serverRelativeURL"])["info"]["title"] == "wardle"
    asked = aggregated.extension.asked[-1]
    assert asked.target == f"/openapi/v3{ROOT}?hash=F00" and asked.header("x-remote-user") == ADMIN.name


def test_version_2_is_merged_with_conflicting_names_renamed(aggregated: Aggregated) -> None:
    alone = aggregated.get("/openapi/v2")
    aggregated.register()
    aggregated.until(lambda: described(aggregated))
    both = aggregated.get("/openapi/v2")
    assert set(both["definitions"]) == {*alone["definitions"], FLUNDER, f"{META}_v2"}
    assert set(both["paths"]) == {*alone["paths"], f"{ROOT}/namespaces/{{namespace}}/flunders/{{name}}"}
    assert both["definitions"][META] == alone["definitions"][META]
    assert both["definitions"][FLUNDER]["properties"]["metadata"] == {"$ref": f"#/definitions/{META}_v2"}
    in_protobuf = aggregated.send(http.Request("GET", "/openapi/v2", (("accept", gnostic_v2.MEDIA_TYPE),), user=ADMIN))
    assert in_protobuf.code == 200 and isinstance(in_protobuf.body, bytes) and b"How large it is." in in_protobuf.body


def test_it_follows_what_they_say_and_whether_they_are_there(aggregated: Aggregated) -> None:
    aggregated.register()
    aggregated.until(lambda: described(aggregated))
    first = described(aggregated)
    refresh(aggregated)
    assert described(aggregated) is first  # Nothing new was said: 304.
    aggregated.extension.openapi["/openapi/v2"] = swagger("Flunder", **{META: {"description": "Newer."}})
    refresh(aggregated)
    assert aggregated.get("/openapi/v2")["definitions"][f"{META}_v2"] == {"description": "Newer."}
    aggregated.extension.say = lambda request: http.Response(500, (), b"")
    aggregated.look()
    assert aggregated.condition() == ("False", "FailedDiscoveryCheck") and not others(aggregated)
    assert FLUNDER not in aggregated.get("/openapi/v2")["definitions"]
    assert NAME not in aggregated.get("/openapi/v3")["paths"]
    aggregated.extension.say = None
    aggregated.look()
    aggregated.until(lambda: described(aggregated))
    assert FLUNDER in aggregated.get("/openapi/v2")["definitions"]


@pytest.mark.parametrize(
    ("said", "listed", "merged"),
    [
        ({"/openapi/v2": None}, True, False),
        ({"/openapi/v3": http.Response(500, (), b"")}, False, True),
        ({"/openapi/v2": {"swagger": "2.0", "paths": 1}}, True, False),
        ({"/openapi/v2": http.Response(200, (), b"{")}, True, False),
        ({"/openapi/v3": {"paths": {NAME: {"serverRelativeURL": ["x"]}}}}, False, True),
        ({"/openapi/v3": []}, False, True),
    ],
    ids=["no v2", "v3 fails", "wrong v2", "no JSON", "wrong index", "no index"],
)
def test_a_broken_one_harms_nobody(aggregated: Aggregated, said: Any, listed: bool, merged: bool) -> None:
    aggregated.extension.openapi.update(said)
    aggregated.register()
    aggregated.until(lambda: described(aggregated))
    assert aggregated.condition() == ("True", "Passed")
    assert (NAME in aggregated.get("/openapi/v3")["paths"]) is listed
    found = aggregated.get("/openapi/v2")["definitions"]
    assert META in found and (FLUNDER in found) is merged


def test_who_never_tells_holds_up_nobody(aggregated: Aggregated) -> None:
    aggregated.extension.silent = ("/openapi/v3",)
    aggregated.register()
    aggregated.until(lambda: aggregated.condition() == ("True", "Passed"))
    assert aggregated.get(FLUNDERS)["items"] == []
    assert NAME not in aggregated.get("/openapi/v3")["paths"] and META in aggregated.get("/openapi/v2")["definitions"]
    aggregated.look()  # Whether he is there is asked all the same.
    assert aggregated.condition() == ("True", "Passed") and not others(aggregated)


def test_version_3_is_made_of_version_2_where_a_server_has_no_other(aggregated: Aggregated) -> None:
    aggregated.extension.openapi["/openapi/v3"] = None
    aggregated.register()
    aggregated.until(lambda: described(aggregated))
    listed = aggregated.get("/openapi/v3")["paths"][NAME]["serverRelativeURL"]
    made = aggregated.get(listed)
    assert made["openapi"] == "3.0.0"
    flunder = made["components"]["schemas"][FLUNDER]
    assert flunder["properties"]["metadata"] == {"$ref": f"#/components/schemas/{META}"}
    assert flunder["properties"]["size"]["description"] == "How large it is."
    assert list(made["paths"]) == [f"{ROOT}/namespaces/{{namespace}}/flunders/{{name}}"]
    accept = (("accept", gnostic_v3.MEDIA_TYPE),)
    in_protobuf = aggregated.send(http.Request("GET", listed, accept, user=ADMIN))
    assert in_protobuf.code == 200 and isinstance(in_protobuf.body, bytes) and b"How large it is." in in_protobuf.body
    old = aggregated.send(http.Request("GET", f"/openapi/v3{ROOT}?hash=OLD", user=ADMIN))
    assert (old.code, old.header("location")) == (301, listed)
    aggregated.extension.openapi = {}
    refresh(aggregated)
    assert aggregated.get("/openapi/v3")["paths"][NAME]["serverRelativeURL"].endswith("?hash=F00")


def test_the_words_of_version_3() -> None:
    reference = {"$ref": "#/definitions/A"}
    operation = {
        "operationId": "make",
        "consumes": ["application/json", "application/yaml"],
        "produces": ["application/json"],
        "parameters": [
            {"in": "body", "name": "body", "required": True, "schema": reference},
            {"in": "query", "name": "dryRun", "type": "array", "items": {"type": "string"}, "uniqueItems": True},
            {"in": "formData", "name": "form", "type": "string"},
        ],
        "responses": {"200": {"description": "OK", "schema": reference}, "401": {"description": "No"}},
        "schemes": ["https"],
        "x-kubernetes-action": "post",
    }
    named = {"in": "path", "name": "n", "required": True, "type": "string", "description": "Whose."}
    definition = {"properties": {"a": {**reference, "description": "Said."}, "b": reference}, "items": reference}
    part = merging.Part({"/p": {"post": operation, "parameters": [named]}}, {"A": definition})
    there = {"$ref": "#/components/schemas/A"}
    assert dict(upgrading.paths(part)) == {
        "/p": {
            "parameters": [
                {"in": "path", "name": "n", "required": True, "description": "Whose.", "schema": {"type": "string"}}
            ],
            "post": {
                "operationId": "make",
                "x-kubernetes-action": "post",
                "parameters": [
                    {
                        "in": "query",
                        "name": "dryRun",
                        "schema": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
                    }
                ],
                "requestBody": {
                    "content": {"application/json": {"schema": there}, "application/yaml": {"schema": there}},
                    "required": True,
                },
                "responses": {
                    "200": {"description": "OK", "content": {"application/json": {"schema": there}}},
                    "401": {"description": "No"},
                },
            },
        }
    }
    assert dict(upgrading.components(part))["A"] == {
        "properties": {"a": {"description": "Said.", "allOf": [there]}, "b": there},
        "items": there,
    }
