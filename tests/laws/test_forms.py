"""Laws of forms: whatever an object of a kind has in it, protobuf and CBOR say it, and what they say reads the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from petset.kinds import builtin
from petset.kinds.custom_resource_definition import CUSTOMRESOURCEDEFINITIONS
from petset.objects import cbor, schema
from petset.objects.protobuf import reading, writing
from tests.objects import trees

# The schemas inside of definitions are any tree to these tests; tests/objects/test_protobuf.py makes right ones.
KINDS = [
    row for row in builtin.KINDS if writing.has(row.api_version, row.kind) and row is not CUSTOMRESOURCEDEFINITIONS
]
SEEDS = range(4)
TREES_A_SEED = 5


# The last but one is Go's zero time, null in JSON; the last what trees put where Go has a struct without fields.
NOTHING = ("", 0, False, None, {}, [], "0001-01-01T00:00:00Z", {"a": 1})


def told(tree: Any) -> Any:
    """A tree without what protobuf cannot tell from nothing, and without the kinds of claims inside of templates."""
    if isinstance(tree, dict):
        parts = {key: told(value) for key, value in tree.items()}
        for claim in parts.get("volumeClaimTemplates", ()):
            claim.pop("kind", None), claim.pop("apiVersion", None)
        return {key: value for key, value in parts.items() if value not in NOTHING}
    return [told(value) for value in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("resource", KINDS, ids=lambda row: row.plural)
def test_an_object_in_protobuf_reads_as_it_was(resource, seed):
    rng = random.Random(seed)
    for _ in range(TREES_A_SEED):
        obj, _, _ = schema.check(trees.an_object(resource, rng), resource)
        read, _, _ = schema.check(reading.loads(writing.dumps(obj)), resource)
        assert told(read) == told(obj)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("resource", list(builtin.KINDS), ids=lambda row: row.plural)
def test_an_object_in_cbor_reads_as_it_was(resource, seed):
    rng = random.Random(seed)
    for _ in range(TREES_A_SEED):
        obj, _, _ = schema.check(trees.an_object(resource, rng), resource)
        assert cbor.loads(cbor.dumps(obj)) == obj
