#!/usr/bin/env python3
"""Write src/petset/objects/facts.json: what the schema files of lightkube-models lack.

They keep types, properties and required fields, but no formats, value types of maps, list types or merge keys. Those
come from the OpenAPI definitions that kubernetes-validate bundles (a development dependency), for the groups below.
Words of a fact, one string a property:  int32 int64 byte double | values=<type> | list=<type>[:key,key] |
patch=<strategy>[:merge key] | map=<atomic or granular>
(how it is owned; of a whole type under the name ""). No sentence of upstream's is written. A test holds the file to
this script.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate

TARGET = Path(__file__).parent.parent / "src" / "petset" / "objects" / "facts.json"
MODULES = (
    "admissionregistration_v1",
    "apiextensions_v1",
    "apiregistration_v1",
    "apps_v1",
    "authentication_v1",
    "authorization_v1",
    "autoscaling_v1",
    "autoscaling_v2",
    "batch_v1",
    "certificates_v1",
    "coordination_v1",
    "core_v1",
    "discovery_v1",
    "events_v1",
    "flowcontrol_v1",
    "meta_v1",
    "networking_v1",
    "node_v1",
    "policy_v1",
    "rbac_v1",
    "resource_v1",
    "scheduling_v1",
    "scheduling_v1alpha3",
    "storage_v1",
    "storagemigration_v1",
)


def type_of(definition: str) -> tuple[str, str]:
    """io.k8s.api.core.v1.Pod -> (core_v1, Pod)."""
    *_, group, version, kind = definition.split(".")
    return f"{group}_{version}", kind


def value_type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        module, kind = type_of(schema["$ref"].rpartition("/")[2])
        return kind if kind == "Quantity" else f"{module}.{kind}"
    base = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
    if base == "array":
        return f"[]{value_type(schema['items'])}"
    return "byte" if schema.get("format") == "byte" else base


def fact_of(schema: dict[str, Any]) -> str:
    words = []
    format_ = schema.get("format") or (schema.get("items") or {}).get("format")
    if format_ in ("int32", "int64", "byte", "double"):
        words.append(format_)
    if isinstance(schema.get("additionalProperties"), dict):
        words.append(f"values={value_type(schema['additionalProperties'])}")
    if (list_type := schema.get("x-kubernetes-list-type")) and "byte" not in words:  # Go's bytes are a text here.
        keys = ",".join(schema.get("x-kubernetes-list-map-keys", ()))
        words.append(f"list={list_type}{':' + keys if keys else ''}")
    if map_type := schema.get("x-kubernetes-map-type"):
        words.append(f"map={map_type}")
    if strategy := schema.get("x-kubernetes-patch-strategy"):
        key = schema.get("x-kubernetes-patch-merge-key")
        words.append(f"patch={strategy}{':' + key if key else ''}")
    return " ".join(words)


def facts() -> dict[str, dict[str, str]]:
    root = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    version = kubernetes_validate.latest_version()
    definitions = json.loads((root / f"v{version}-local" / "_definitions.json").read_text())["$defs"]
    found: dict[str, dict[str, str]] = {}
    for definition in sorted(definitions):
        module, kind = type_of(definition)
        if module not in MODULES:
            continue
        properties = definitions[definition].get("properties") or {}
        map_type = definitions[definition].get("x-kubernetes-map-type")
        rows = {"": f"map={map_type}"} if map_type else {}
        rows |= {name: fact for name in sorted(properties) if (fact := fact_of(properties[name]))}
        if rows:
            found[f"{module}.{kind}"] = rows
    return found


def text() -> str:
    """One line a type, so that a change of upstream reads as a change of lines."""
    lines = [f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in facts().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TARGET.write_text(text())
    print(f"{TARGET}: {len(facts())} types")
