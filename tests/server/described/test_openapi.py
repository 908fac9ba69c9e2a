"""The documents of OpenAPI: whole, in agreement with each other and with upstream's definitions, and cheap to keep."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from petset.kinds import builtin
from petset.kinds.pet_set import PETSETS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import package_data, schema
from petset.objects.registry import Custom, Kind, Kinds
from petset.server.described import (
    definitions,
    discovery,
    documents,
    gnostic_v2,
    gnostic_v3,
    openapi,
    pet_set_texts,
    swagger,
)
from petset.wire import http
from tests.server.conftest import ADMIN, Server
from tests.server.described.conftest import v3

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V3_PROTOBUF = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
BOATS = Kind("example.com", "v1", "boats", "Boat", subresources=("status",))


def references(tree: Any) -> set[str]:
    match tree:
        case dict():
            own = {tree["$ref"]} if isinstance(tree.get("$ref"), str) else set()
            return own.union(*map(references, tree.values()))
        case list():
            return set().union(*map(references, tree))
        case _:
            return set()


def kinds_of(tree: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(one["group"], one["version"], one["kind"]) for one in tree.get("x-kubernetes-group-version-kind", ())}


# -- laws


def test_a_document_refers_to_what_it_has_and_has_what_it_refers_to(all_v3, plain, v2):
    for key, document in {**all_v3, **plain}.items():
        has = {definitions.REFERENCE + name for name in document["components"]["schemas"]}
        assert references(document) == has, key
    assert references(v2) == {swagger.DEFINITIONS + name for name in v2["definitions"]}


def test_every_served_kind_has_a_schema_with_every_field(all_v3):
    for kind in builtin.KINDS:
        schemas = all_v3[kind.group, kind.version]["components"]["schemas"]
        found = [one for one in schemas.values() if (kind.group, kind.version, kind.kind) in kinds_of(one)]
        assert len(found) == 1, kind
        assert set(found[0]["properties"]) == set(schema.node_of(kind).fields), kind
        assert found[0]["description"], kind


def test_every_verb_of_every_kind_is_an_operation(all_v3):
    for kind in builtin.KINDS:
        paths = all_v3[kind.group, kind.version]["paths"]
        space = "{namespace}" if kind.namespaced else ""
        collection, one = paths.get(kind.path(space), {}), paths.get(kind.path(space, "{name}"), {})
        actions = {
            operation["x-kubernetes-action"]
            for item in (collection, one)
            for method, operation in item.items()
            if method != "parameters"
        }
        named = {"create": "post", "update": "put"}
        assert actions == {named.get(verb, verb) for verb in kind.verbs if verb != "watch"}, kind
        for name in kind.subresources:
            verbs = discovery.subresource(kind, name)[3]
            assert len(paths[kind.path(space, "{name}", name)]) == len(verbs) + 1, (kind, name)


def test_operations_have_names_of_their_own(all_v3, plain):
    named = [
        operation["operationId"]
        for document in (*all_v3.values(), *plain.values())
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(named) == len(set(named))
    assert {
        "createCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "deleteAppsV1alpha1CollectionNamespacedPetSet",
        "replaceRbacAuthorizationV1ClusterRole",
        "patchAppsV1NamespacedStatefulSetScale",
        "connectCoreV1GetNamespacedPodExec",
        "getStorageV1APIResources",
        "getRbacAuthorizationAPIGroup",
        "getCodeVersion",
    } <= set(named)


def test_the_two_versions_agree(all_v3, plain, v2):
    every = (*all_v3.values(), *plain.values())
    paths = {path: item for document in every for path, item in document["paths"].items()}
    schemas = {name: one for document in every for name, one in document["components"]["schemas"].items()}
    assert set(v2["paths"]) == set(paths) and set(v2["definitions"]) == set(schemas)
    for name, one in schemas.items():
        definition = v2["definitions"][name]
        for key in ("required", "description", "x-kubernetes-group-version-kind"):
            assert definition.get(key) == one.get(key), name
        assert definition.get("properties", {}).keys() == one.get("properties", {}).keys(), name
    for path, item in paths.items():
        for method, operation in item.items():
            if method != "parameters":
                older = v2["paths"][path][method]
                assert older["operationId"] == operation["operationId"]
                assert older["responses"].keys() == operation["responses"].keys()


EMPTY = (("default", {}), ("default", ""))


def without_empty_defaults(tree: Any) -> Any:
    """Upstream's default of a struct is an empty one, whatever it requires, and of a text an empty one, too."""
    match tree:
        case dict():
            return {key: without_empty_defaults(one) for key, one in tree.items() if (key, one) not in EMPTY}
        case list():
            return [without_empty_defaults(one) for one in tree]
        case _:
            return tree


def test_documents_are_as_the_specification_says(all_v3, plain, v2):
    validator = pytest.importorskip("openapi_spec_validator")
    validator.OpenAPIV2SpecValidator(v2).validate()
    for key in (("", "v1"), ("apps", "v1alpha1"), ("authentication.k8s.io", "v1")):
        validator.OpenAPIV30SpecValidator(without_empty_defaults(all_v3[key])).validate()
    for document in (plain["apis"], plain["version"]):
        validator.OpenAPIV30SpecValidator(without_empty_defaults(document)).validate()


# -- against upstream's definitions


def of_upstream() -> dict[str, Any]:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    root = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    path = root / f"v{kubernetes_validate.latest_version()}-local" / "_definitions.json"
    return json.loads(path.read_text())["$defs"]


def facts(tree: dict[str, Any]) -> Any:
    """What a schema says but for its texts, defaults and whether it may be null."""
    left_out = ("description", "default", "enum", "x-kubernetes-unions")
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key in left_out:
            continue
        if key == "$ref":
            value = value.rpartition("/")[2]
        elif key == "type" and isinstance(value, list):
            value = value[0]
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            value = facts(value)
        found[key] = value
    if "$ref" not in found and found.get("x-kubernetes-map-type") == "granular":
        del found["x-kubernetes-map-type"]  # What a map is that says nothing; only beside a type it says otherwise.
    if found.get("format") == "byte":
        found.pop("x-kubernetes-list-type", None)  # Of Go's bytes, which are a text here.
    return found


def is_the_same(ours: dict[str, Any], theirs: dict[str, Any], upstream: dict[str, Any]) -> bool:
    named = theirs.get("$ref", "")
    if named and "properties" not in upstream[named] and named not in VALUES:  # Upstream's name for any value.
        return "type" not in ours or ours["type"] == "object"
    inside = ("items", "additionalProperties")
    if {key: ours[key] for key in ours if key not in inside} != {
        key: theirs[key] for key in theirs if key not in inside
    }:
        return False
    pairs = [(ours.get(key), theirs.get(key)) for key in inside]
    return all(
        is_the_same(one, other, upstream) if isinstance(one, dict) and isinstance(other, dict) else one == other
        for one, other in pairs
    )


VALUES = (
    definitions.QUANTITY,
    definitions.INT_OR_STRING,
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
)


def test_definitions_are_those_of_upstream(v2):
    """Of every type: each property's type, format, reference, list type and merge key, and its text."""
    upstream = of_upstream()
    compared = 0
    for name, definition in v2["definitions"].items():
        if "alpha1.PetSet" in name or ".v1alpha3." in name:  # The latter are of a field that upstream has off.
            continue
        if "properties" not in upstream.get(name, {}) or name == definitions.VERSION_INFO:  # Whose texts are ours.
            continue
        theirs = upstream[name]["properties"]
        assert definition.get("x-kubernetes-map-type") == upstream[name].get("x-kubernetes-map-type"), name
        for key, ours in definition["properties"].items():
            assert is_the_same(facts(ours), facts(theirs[key]), upstream), (name, key, ours, theirs[key])
            text = theirs[key].get("description") or ("" if facts(ours) else "Any value.")
            assert ours.get("description", "").split() == text.split(), (name, key)
            compared += 1
    assert compared > 1000


def test_a_pet_set_has_texts_for_all_that_a_stateful_set_has():
    for name, texts in pet_set_texts.TEXTS.items():
        node = schema.node(name)
        assert set(texts.fields) == set(node.fields), name
    assert schema.node_of(PETSETS).fields.keys() == schema.node_of(STATEFULSETS).fields.keys()


# -- enumerations and defaults


@pytest.mark.parametrize(
    ("type_name", "field", "said"),
    [
        ("core.v1.Container", "imagePullPolicy", {"enum": ["Always", "IfNotPresent", "Never"]}),
        ("core.v1.Container", "resources", {"default": {}}),
        ("core.v1.ContainerPort", "protocol", {"enum": ["SCTP", "TCP", "UDP"], "default": "TCP"}),
        ("core.v1.EndpointPort", "protocol", {"enum": ["SCTP", "TCP", "UDP"]}),
        ("core.v1.ISCSIVolumeSource", "iscsiInterface", {"default": "default"}),
        ("core.v1.RBDVolumeSource", "pool", {"default": "rbd"}),
        ("core.v1.RBDVolumeSource", "keyring", {"default": "/etc/ceph/keyring"}),
        ("core.v1.AzureDiskVolumeSource", "fsType", {"default": "ext4"}),
        ("core.v1.LocalObjectReference", "name", {"default": ""}),
        ("core.v1.Pod", "spec", {"default": {}}),
    ],
)
def test_a_field_says_which_values_it_takes_and_what_it_is_without_one(all_v3, v2, type_name, field, said):
    name = f"io.k8s.api.{type_name}"
    schemas = {key: one for document in all_v3.values() for key, one in document["components"]["schemas"].items()}
    newer, older = schemas[name]["properties"][field], v2["definitions"][name]["properties"][field]
    assert {key: newer[key] for key in ("enum", "default") if key in newer} == said
    assert "default" not in older and older.get("enum") == said.get("enum")  # Version 2 has none, as upstream's.


def test_what_is_inside_of_a_field_has_its_values_too(all_v3):
    core, apps = (all_v3[key]["components"]["schemas"] for key in (("", "v1"), ("apps", "v1alpha1")))
    modes = core["io.k8s.api.core.v1.PersistentVolumeClaimSpec"]["properties"]["accessModes"]
    assert modes["items"]["enum"] == ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]
    assert "enum" not in modes
    spec = core["io.k8s.api.core.v1.Pod"]["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": f"{definitions.REFERENCE}io.k8s.api.core.v1.PodSpec"}]
    policy = apps["io.k8s.api.apps.v1alpha1.PetSetSpec"]["properties"]["podManagementPolicy"]
    assert policy["enum"] == ["OrderedReady", "Parallel"]


def test_every_value_is_said_of_a_field_that_there_is(all_v3):
    """What schema_values.json says of a type that is served finds its field, and what is inside of it."""

    def check(where: str, said: dict[str, Any], found: dict[str, Any]) -> None:
        for key in ("items", "additionalProperties"):
            if key in said:
                check(where, said[key], found[key])
        assert set(said) - {"items", "additionalProperties"} <= set(found), where

    values = package_data.facts("schema_values.json")
    checked = 0
    for document in all_v3.values():
        for name, found in document["components"]["schemas"].items():
            *_, module, version, type_name = name.split(".")
            for field, said in values.get(f"{module}_{version}.{type_name}", {}).items():
                check(f"{name}.{field}", said, found["properties"][field])
                checked += 1
    assert checked > 1000


# -- what v2 cannot say is left out


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ({"type": "string", "nullable": True}, {}),
        ({"x-kubernetes-int-or-string": True, "type": "string"}, {"x-kubernetes-int-or-string": True}),
        ({"oneOf": [{"required": ["a"]}], "type": "object"}, {"type": "object"}),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, {"type": "string"}),
        ({"allOf": [{"$ref": "#/components/schemas/a"}], "default": 1}, {"$ref": "#/definitions/a", "default": 1}),
        (
            {"type": "object", "properties": {"oneOf": {"nullable": True, "type": "string"}}},
            {"type": "object", "properties": {"oneOf": {}}},
        ),
        (
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {}}},
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        ),
        ({"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": True}),
    ],
)
def test_what_version_2_cannot_say(newer, older):
    assert swagger.schema(newer) == older


def test_version_2_says_nothing_of_a_kind_that_keeps_what_it_does_not_know():
    kind = [{"group": "example.com", "version": "v1", "kind": "Boat"}]
    tree = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "description": "any"}
    newer = {**tree, "properties": {"spec": {"type": "object"}}, "x-kubernetes-group-version-kind": kind}
    assert swagger.definition(newer) == {"type": "object", "x-kubernetes-group-version-kind": kind}
    inside = {"type": "object", "properties": {"spec": tree}}
    assert swagger.definition(inside) == inside


# -- as it is asked for


def test_the_index_names_documents_by_a_hash_that_changes_with_the_kinds(server: Server):
    before = server.get("/openapi/v3")["paths"]
    server.kinds.replace(server.kinds.now.with_kind(BOATS))
    after = server.get("/openapi/v3")["paths"]
    assert set(after) == {*before, "apis/example.com", "apis/example.com/v1"}
    assert all(after[name] == one for name, one in before.items())
    assert documents.hash_of([BOATS]) != documents.hash_of([dataclasses.replace(BOATS, subresources=())])
    boats = server.get(after["apis/example.com/v1"]["serverRelativeURL"])
    assert "/apis/example.com/v1/namespaces/{namespace}/boats/{name}" in boats["paths"]
    assert "com.example.v1.Boat" in server.get("/openapi/v2")["definitions"]
    server.kinds.replace(server.kinds.now.without(BOATS))
    assert server.get("/openapi/v3")["paths"] == before
    assert server("GET", after["apis/example.com/v1"]["serverRelativeURL"]).code == 404
    assert "com.example.v1.Boat" not in server.get("/openapi/v2")["definitions"]


def test_a_client_keeps_what_it_has(server: Server):
    url = server.get("/openapi/v3")["paths"]["api/v1"]["serverRelativeURL"]
    answer = server.send(http.Request("GET", url, (("accept-encoding", "gzip"),), user=ADMIN))
    assert answer.header("content-encoding") == "gzip" and "immutable" in answer.header("cache-control")
    assert answer.header("vary") == "Accept, Accept-Encoding"
    plain = server("GET", "/openapi/v3/api/v1")
    assert "content-encoding" not in plain.headers and "cache-control" not in plain.headers
    assert isinstance(answer.body, bytes) and json.loads(gzip.decompress(answer.body)) == plain.body
    tag = answer.header("etag")
    assert url.endswith(tag.strip('"'))
    assert server.send(http.Request("GET", url, (("if-none-match", tag),), user=ADMIN)).code == 304
    old = server.send(http.Request("GET", "/openapi/v3/api/v1?hash=OLD", user=ADMIN))
    assert (old.code, old.header("location")) == (301, url)


@pytest.mark.parametrize(
    ("path", "accept", "code", "content"),
    [
        ("/openapi/v3/api/v1", "application/json", 200, "application/json"),
        ("/openapi/v3/api/v1", "*/*", 200, "application/json"),
        ("/openapi/v3/api/v1", "text/html", 406, "application/json"),
        ("/openapi/v3/api/v1", V3_PROTOBUF, 200, gnostic_v3.MEDIA_TYPE),
        ("/openapi/v3/api/v1", f"{V3_PROTOBUF}, application/json", 200, gnostic_v3.MEDIA_TYPE),
        ("/openapi/v3/api/v1", f"application/json, {V3_PROTOBUF}", 200, "application/json"),
        ("/openapi/v3/version", gnostic_v3.MEDIA_TYPE, 200, gnostic_v3.MEDIA_TYPE),
        ("/openapi/v3/version", "", 200, "application/json"),
        ("/openapi/v3/openid/v1/jwks", "", 200, "application/json"),
        ("/openapi/v3/.well-known/openid-configuration", "", 200, "application/json"),
        ("/openapi/v3/api", "", 200, "application/json"),
        ("/openapi/v3/apis", "", 200, "application/json"),
        ("/openapi/v3/apis/apps", "", 200, "application/json"),
        ("/openapi/v3/apis/nobody", "", 404, "application/json"),
        ("/openapi/v3/logs", "", 404, "application/json"),
        ("/openapi/v3/api/v9", "", 404, "application/json"),
        ("/openapi/v3/apis/v1", "", 404, "application/json"),
        ("/openapi/v3/", "", 200, "application/json"),
        ("/openapi/v3/apis/apps/v1/x", "", 404, "application/json"),
        ("/openapi/v2", "", 200, "application/json"),
        ("/openapi/v2", V2_PROTOBUF, 200, gnostic_v2.MEDIA_TYPE),
        ("/openapi/v2", f"application/json, {V2_PROTOBUF}", 200, "application/json"),
        ("/openapi/v2", gnostic_v2.MEDIA_TYPE, 200, gnostic_v2.MEDIA_TYPE),
        ("/openapi/v2", "text/html", 406, "application/json"),
    ],
)
def test_forms(server: Server, path: str, accept: str, code: int, content: str):
    answer = server("GET", path, headers={"accept": accept} if accept else {})
    assert (answer.code, answer.headers["content-type"].partition(";")[0]) == (code, content)


def test_only_what_is_asked_for_is_made_and_only_so_much_is_kept(server: Server, monkeypatch):
    made: list[str] = []
    make = documents.v3_json

    def counted(kinds: Kinds, name: str) -> bytes:
        made.append(name)
        return make(kinds, name)

    monkeypatch.setattr(documents, "v3_json", counted)
    server.get("/openapi/v3")
    assert made == []
    for _ in range(3):
        server.get("/openapi/v3/apis/apps/v1")
    assert made == ["apis/apps/v1"]
    monkeypatch.setattr(openapi, "KEPT_BYTES_MAX", 1)
    server.get("/openapi/v3/apis/storage.k8s.io/v1")
    server.get("/openapi/v3/apis/apps/v1")
    assert made == ["apis/apps/v1", "apis/storage.k8s.io/v1", "apis/apps/v1"]


def test_a_changed_schema_of_a_custom_kind_is_another_document():
    def boats(**fields: Any) -> Kind:
        own = {"type": "object", "properties": {"spec": {"type": "object", **fields}}}
        node = schema.node("core_v1.Pod")
        custom = Custom(own, lambda obj: (dict(obj), [], []), lambda new, old: (), lambda: node, "boat", "BoatList")
        return dataclasses.replace(BOATS, custom=custom)

    plain, described, again = boats(), boats(description="Sails."), boats()
    assert documents.hash_of([plain]) == documents.hash_of([again]) != documents.hash_of([described])
    found = v3("example.com", "v1", Kinds([described]))["components"]["schemas"]
    assert found["com.example.v1.Boat"]["properties"]["spec"]["description"] == "Sails."
    assert references(v3("example.com", "v1", Kinds([described]))) == {definitions.REFERENCE + name for name in found}
