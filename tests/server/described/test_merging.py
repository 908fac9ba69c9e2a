"""What other servers say of themselves in OpenAPI v2, taken out of their documents and put beside our own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from petset.server.described import merging
from petset.server.described.merging import Part
from tests.server.aggregated_server import GROUP, VERSION, swagger

KINDS = "x-kubernetes-group-version-kind"
FLUNDER = "com.example.wardle.v1alpha1.Flunder"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def part(tree: dict[str, Any]) -> Part:
    return merging.read(merging.part_of(json.dumps(tree).encode(), GROUP, VERSION))


def test_a_part_has_the_paths_of_the_group_version_and_what_they_refer_to():
    found = part(swagger("Flunder"))
    (path,) = found.paths
    assert path.endswith("/flunders/{name}")
    assert set(found.definitions) == {FLUNDER, META}
    assert found.paths[path]["get"]["parameters"] == [
        {"name": "pretty", "in": "query", "type": "string", "uniqueItems": True}
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"openapi": "3.0.0"},
        {"swagger": "2.0", "paths": [1]},
        {"swagger": "2.0", "paths": {"/a": 1}},
        {**swagger("Flunder"), "parameters": {}},
        {
            **swagger("Flunder"),
            "definitions": {FLUNDER: {"type": "object", "required": 1}},
        },
        swagger("Flunder", **{META: {"description": 5}}),
        swagger("Flunder", **{META: {"description": "long" * merging.PART_BYTES_MAX}}),
    ],
)
def test_what_is_no_such_document_is_refused(wrong: Any):
    with pytest.raises(ValueError):
        part(wrong)


def refers(name: str) -> dict[str, Any]:
    return {"properties": {"a": {"$ref": f"#/definitions/{name}"}}}


def gvk(kind: str) -> dict[str, Any]:
    return {KINDS: [{"group": "", "version": "v1", "kind": kind}]}


@pytest.mark.parametrize(
    ("own", "parts", "added", "also"),
    [
        pytest.param({}, [{"A": {"type": "string"}}], {"A": {"type": "string"}}, {}, id="new"),
        pytest.param({"A": {"type": "string"}}, [{"A": {"type": "string"}}], {}, {}, id="equal"),
        pytest.param(
            {"A": {"type": "string"}},
            [{"A": {"type": "object"}, "B": refers("A")}],
            {"A_v2": {"type": "object"}, "B": refers("A_v2")},
            {},
            id="renamed where it is referred to",
        ),
        pytest.param(
            {"A": {"type": "string"}, "A_v2": {"type": "number"}},
            [{"A": {"type": "object"}}, {"A": {"type": "object"}}, {"A": {"type": "boolean"}}],
            {"A_v3": {"type": "object"}, "A_v4": {"type": "boolean"}},
            {},
            id="one name for equal ones, the first that is free",
        ),
        pytest.param(
            {"A": {"type": "string", **gvk("One")}},
            [{"A": {"type": "string", **gvk("Two")}}, {"A": {"type": "string", **gvk("Two")}}],
            {},
            {"A": gvk("Two")[KINDS]},
            id="equal but for its kinds",
        ),
    ],
)
def test_merging(own: Any, parts: Any, added: Any, also: Any):
    found = merging.merge(dict.fromkeys(own), own, [Part({}, one) for one in parts])
    assert (found.definitions, found.also) == (added, also)


def test_the_first_one_that_has_a_path_keeps_it():
    found = merging.merge({}, {}, [Part({"/a": {"get": {}}}, {}), Part({"/a": {}, "/b": {}}, {})])
    assert found.paths == {"/a": {"get": {}}, "/b": {}}
