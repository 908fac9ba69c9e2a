"""OpenAPI in protobuf says what it says in JSON: read by the numbers of gnostic's OpenAPIv2.proto and v3's."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from petset.kinds import builtin
from petset.server import compression
from petset.server.described import documents, gnostic_v2
from tests.server.described.conftest import described


def read(data: bytes) -> dict[int, list[Any]]:
    """Field numbers and what they hold: bytes, or numbers."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        match tag & 7:
            case 0:
                held: Any = varint()
            case 1:
                held, at = data[at : at + 8], at + 8
            case 2:
                size = varint()
                held, at = data[at : at + size], at + size
                assert len(held) == size
            case other:
                raise AssertionError(other)
        found.setdefault(tag >> 3, []).append(held)
    return found


def pairs(data: bytes, number: int) -> dict[str, bytes]:
    return {(pair := read(one))[1][0].decode(): pair[2][0] for one in read(data).get(number, ())}


def schema_read(data: bytes) -> dict[str, Any]:
    """A message Schema as the JSON it was made from."""
    fields = read(data)
    tree: dict[str, Any] = {}
    for number, key in ((1, "$ref"), (2, "format"), (4, "description")):
        if number in fields:
            tree[key] = fields[number][0].decode()
    if 5 in fields:
        tree["default"] = json.loads(read(fields[5][0])[2][0])
    if 20 in fields:
        tree["enum"] = [json.loads(read(one)[2][0]) for one in fields[20]]
    if 19 in fields:
        tree["required"] = [one.decode() for one in fields[19]]
    if 21 in fields:
        tree["additionalProperties"] = schema_read(read(fields[21][0])[1][0])
    if 22 in fields:
        tree["type"] = read(fields[22][0])[1][0].decode()
    if 23 in fields:
        tree["items"] = schema_read(read(fields[23][0])[1][0])
    if 25 in fields:
        tree["properties"] = {name: schema_read(one) for name, one in pairs(fields[25][0], 1).items()}
    for name, value in pairs(data, 31).items():
        tree[name] = json.loads(read(value)[2][0])
    return tree


def test_protobuf_says_what_json_says(v2):
    document = read(compression.plain(documents.v2_protobuf(builtin.KINDS)))
    assert document[1] == [b"2.0"] and read(document[2][0])[1] == [b"petset"]
    definitions = {name: schema_read(one) for name, one in pairs(document[9][0], 1).items()}
    assert definitions == v2["definitions"]
    paths = pairs(document[8][0], 2)
    assert paths.keys() == v2["paths"].keys()
    methods = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}
    for path, item in paths.items():
        found = read(item)
        for method, operation in v2["paths"][path].items():
            if method == "parameters":
                assert len(found[9]) == len(operation)
                continue
            written = read(found[methods[method]][0])
            assert written[5] == [operation["operationId"].encode()]
            extensions = pairs(found[methods[method]][0], 13)
            assert {name: json.loads(read(one)[2][0]) for name, one in extensions.items()} == {
                key: value for key, value in operation.items() if key.startswith("x-")
            }
            queries = [read(read(read(one)[1][0])[2][0]) for one in written.get(8, ()) if 2 in read(read(one)[1][0])]
            names = [read(query[3][0])[4][0].decode() for query in queries]
            assert names == [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]


def either(data: bytes, known: Any) -> Any:
    """What may be a reference instead."""
    found = read(data)
    return {"$ref": read(found[2][0])[1][0].decode()} if 2 in found else known(found[1][0])


def newer_schema(data: bytes) -> dict[str, Any]:
    """A message Schema of version 3 as the JSON it was made from."""
    fields, tree = read(data), {}
    for number, key in ((17, "pattern"), (25, "type"), (34, "description"), (35, "format")):
        if number in fields:
            tree[key] = fields[number][0].decode()
    for number, key in ((26, "allOf"), (27, "oneOf")):
        if number in fields:
            tree[key] = [either(one, newer_schema) for one in fields[number]]
    if 20 in fields:
        tree["uniqueItems"] = bool(fields[20][0])
    if 23 in fields:
        tree["required"] = [one.decode() for one in fields[23]]
    if 24 in fields:
        tree["enum"] = [json.loads(read(one)[2][0]) for one in fields[24]]
    if 30 in fields:
        tree["items"] = either(read(fields[30][0])[1][0], newer_schema)
    if 31 in fields:
        tree["properties"] = {name: either(one, newer_schema) for name, one in pairs(fields[31][0], 1).items()}
    if 32 in fields:
        tree["additionalProperties"] = either(read(fields[32][0])[1][0], newer_schema)
    if 33 in fields:
        match read(fields[33][0]):
            case {1: [number]}:
                tree["default"] = struct.unpack("<d", number)[0]
            case {2: [truth]}:
                tree["default"] = bool(truth)
            case {3: [text]}:
                tree["default"] = text.decode()
            case _:
                tree["default"] = {}  # What this form cannot say.
    for name, value in pairs(data, 36).items():
        tree[name] = json.loads(read(value)[2][0])
    return tree


@pytest.mark.parametrize("name", ["api/v1", "apis/apiextensions.k8s.io/v1", "apis/autoscaling/v2", "version", "apis"])
def test_protobuf_of_version_3_says_what_json_says(name: str):
    said = described(name)
    document = read(compression.plain(documents.v3_protobuf(builtin.KINDS, name)))
    assert document[1] == [b"3.0.0"] and read(document[2][0])[1] == [b"petset"]
    components = read(document[5][0])[1][0]
    found = {key: either(one, newer_schema) for key, one in pairs(components, 1).items()}
    assert found == said["components"]["schemas"]
    paths = pairs(document[4][0], 1)
    assert paths.keys() == said["paths"].keys()
    methods = {"get": 4, "put": 5, "post": 6, "delete": 7, "patch": 10}
    for path, item in paths.items():
        of_path = read(item)
        parameters = [read(read(one)[1][0]) for one in of_path.get(13, ())]
        assert [(one[1][0].decode(), one[2][0].decode()) for one in parameters] == [
            (one["name"], one["in"]) for one in said["paths"][path].get("parameters", ())
        ]
        for method, operation in said["paths"][path].items():
            if method == "parameters":
                continue
            written = read(of_path[methods[method]][0])
            assert written[5] == [operation["operationId"].encode()]
            if "requestBody" in operation:
                assert media_types(read(read(written[7][0])[1][0])[2][0]) == operation["requestBody"]["content"]
            for code, response in pairs(written[8][0], 2).items():
                answered = read(read(response)[1][0])
                assert answered[1][0].decode() == operation["responses"][code]["description"]
                content = media_types(answered[3][0]) if 3 in answered else None
                assert content == operation["responses"][code].get("content")


def media_types(data: bytes) -> dict[str, Any]:
    return {media: {"schema": either(read(one)[1][0], newer_schema)} for media, one in pairs(data, 1).items()}


def test_what_the_table_does_not_take_is_an_error():
    for wrong in ({"type": {}, "maximum": "x"}, {"description": 1}, {"uniqueItems": 1}):
        with pytest.raises(ValueError):
            gnostic_v2.MESSAGES.write("Schema", wrong)
    assert gnostic_v2.MESSAGES.write("Schema", {"minLength": -1}) == b"\x60" + b"\xff" * 9 + b"\x01"
