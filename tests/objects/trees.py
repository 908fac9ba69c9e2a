"""Random objects of every kind, right in their types and otherwise as odd as can be: food for the laws."""

from __future__ import annotations

import random
from typing import Any

from petset.objects import schema
from petset.objects.registry import Kind
from petset.objects.schema_nodes import Node

TEXTS = (
    "", "a", "web-0", "A b", "x" * 70, "..", "/etc", "a/b", "a/b/c", "-", "é", "None", "Always", "TCP", "ClusterIP",
    "Exists", "In", "10.0.0.1", "::1", "50%", "0%", "latest", "img:latest", "kubernetes", "metadata.name",
    "metadata.labels['a']", "metadata.labels['", "limits.cpu", "app", "Retain", "Delete", "Parallel", "ReadWriteOnce",
    "Localhost", "RollingUpdate", "OnDelete", "ServiceAccount", "Role", "IPv4", "Bidirectional", "\x00", "$patch",
)  # fmt: skip
NUMBERS = (-(2**31), -1, 0, 1, 2, 80, 101, 65535, 65536, 2**31 - 1)
VALUES: dict[str, tuple[Any, ...]] = {
    "string": TEXTS,
    "bool": (True, False),
    "int32": NUMBERS,
    "int64": (*NUMBERS, 2**63 - 1),
    "float": (0, 1.5),
    "byte": ("", "YQ==", "bm90IGpzb24="),
    "Quantity": ("0", "-1", "1", "500m", "1Gi", "9223372036854775807"),
    "Time": ("2016-08-03T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    "MicroTime": ("2016-08-03T00:00:00.000000Z",),
    "IntOrString": (0, 80, -1, 70000, "", "50%", "http", "x" * 20, "%"),
    "any": (1, "a", {"spec": {}}, [], {"a": [1, {"b": None}]}),
    "object": ({}, {"a": 1}),
}
DEPTH_MAX = 12


def value(node: Node, rng: random.Random, depth: int = 0) -> Any:
    match node.kind:
        case "struct":
            return struct(node, rng, depth)
        case "list":
            assert node.item is not None
            return [value(node.item, rng, depth + 1) for _ in range(rng.choice((0, 1, 1, 2)))]
        case "map":
            assert node.item is not None
            return {rng.choice(TEXTS): value(node.item, rng, depth + 1) for _ in range(rng.choice((0, 1, 2)))}
    return rng.choice(VALUES[node.kind])


def struct(node: Node, rng: random.Random, depth: int) -> dict[str, Any]:
    chance = 0.9 if depth < 2 else 0.35 if depth < 6 else 0.15
    return {
        name: value(field, rng, depth + 1)
        for name, field in node.fields.items()
        if (depth < DEPTH_MAX and rng.random() < chance) or name in node.required
    }


def an_object(resource: Kind, rng: random.Random) -> dict[str, Any]:
    """One whose types are right, with a name that is, so that checks reach what lies deeper."""
    made = struct(schema.node_of(resource), rng, 0)
    metadata = {**made.get("metadata", {}), "name": "web", **({"namespace": "default"} if resource.namespaced else {})}
    return {**made, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
