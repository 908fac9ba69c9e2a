"""The generated facts are those of upstream's definitions, and every type of the table has its fields."""

import runpy
from pathlib import Path

import pytest

from petset.kinds import builtin
from petset.kinds.pet_set import PETSETS
from petset.objects import schema, schema_nodes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator():
    pytest.importorskip("kubernetes_validate")
    return runpy.run_path(str(ROOT / "scripts" / "generate_facts.py"))


def test_the_committed_facts_are_the_generated_ones(generator):
    assert generator["TARGET"].read_text() == generator["text"]()


def definitions():
    import json

    import kubernetes_validate

    root = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    return json.loads((root / f"v{kubernetes_validate.latest_version()}-local" / "_definitions.json").read_text())[
        "$defs"
    ]


def test_every_type_has_the_properties_and_required_fields_of_upstream():
    """One pass over all types that a stored kind can reach, compared with the OpenAPI definitions."""
    upstream = {}
    for name, definition in definitions().items():
        *_, group, version, kind = name.split(".")
        upstream.setdefault(f"{group}_{version}.{kind}", definition)
    seen: dict[str, None] = {}

    def look(module: str, node: schema_nodes.Node) -> None:
        name = f"{node.name}"
        if node.kind == "struct" and name not in seen:
            seen[name] = None
            for field in node.fields.values():
                look(module, field)
        if node.item is not None:
            look(module, node.item)

    for resource in builtin.KINDS:
        if resource is not PETSETS:
            look("", schema.node_of(resource))
    checked = 0
    for full, definition in upstream.items():
        module, _, kind = full.partition(".")
        if f"{module.partition('_')[2]}.{kind}" not in seen or module not in (
            "core_v1",
            "apps_v1",
            "meta_v1",
            "rbac_v1",
        ):
            continue
        properties = definition.get("properties")
        if not properties:
            continue
        node = schema.node(full)
        lenient = {field for name, field in schema_nodes._NOT_REQUIRED if name == full}
        assert set(node.fields) == set(properties), full
        assert node.required == set(definition.get("required", ())) - lenient, full
        checked += 1
    assert checked > 150
