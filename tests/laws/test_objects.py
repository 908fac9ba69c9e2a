"""Laws of objects: whatever a stranger writes, reading, defaulting, checking and printing it never break.

The trees are random but right in their types, which is what gets past the schema; a seed is a few trees.
"""

from __future__ import annotations

import copy
import random

import pytest

from petset.kinds import builtin
from petset.objects import encoding, errors, patch, schema, tables, validation
from tests.objects import trees

STORED = [row for row in builtin.KINDS if "watch" in row.verbs]
SEEDS = range(8)
TREES_A_SEED = 10


@pytest.fixture(params=STORED, ids=lambda row: row.plural)
def resource(request):
    return request.param


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_of_the_right_types_breaks_a_write_or_its_table(resource, seed):
    rng = random.Random(seed)
    for _ in range(TREES_A_SEED):
        old, _, _ = schema.check(trees.an_object(resource, rng), resource)
        new, _, _ = schema.check(trees.an_object(resource, rng), resource)
        before = encoding.dumps([old, new])
        written = []
        for obj, previous in ((old, None), (new, old)):
            obj = resource.prepare(resource.default(obj), previous)
            assert resource.default(obj) == obj
            found = [*validation.metadata(resource, obj, previous), *resource.validate(obj)]
            if previous is not None:
                found += resource.validate_update(obj, previous)
            assert all(isinstance(error, errors.FieldError) for error in found)
            encoding.dumps(errors.invalid(resource.kind, "web", found, resource.group).status())
            written.append(obj)
        for include in ("Metadata", "Object", "None"):
            encoding.dumps(tables.table(resource.printer, [old, new, *written], 1_470_182_400.0, include))
        assert encoding.dumps([old, new]) == before, "an object was changed in place"


@pytest.mark.parametrize("seed", SEEDS)
def test_reading_what_was_read_changes_nothing(resource, seed):
    rng = random.Random(seed)
    for _ in range(TREES_A_SEED):
        read, told, _ = schema.check(trees.an_object(resource, rng), resource)
        again, told_again, _ = schema.check(read, resource)
        assert again == read
        assert (told, told_again) == ([], [])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tree_of_the_right_types_with_one_wrong_leaf_is_refused_or_read_never_broken(resource, seed):
    rng = random.Random(seed)
    for _ in range(TREES_A_SEED):
        obj = _with_one_change(trees.an_object(resource, rng), rng)
        try:
            schema.check(obj, resource, strict=True)
        except errors.ApiError as error:
            assert error.code == 400


@pytest.mark.parametrize("seed", SEEDS)
def test_patches_of_any_shape_apply_or_are_refused(resource, seed):
    rng = random.Random(seed)
    for _ in range(TREES_A_SEED):
        obj, change = trees.an_object(resource, rng), trees.an_object(resource, rng)
        change = _with_one_change(_with_one_change(change, rng), rng)
        before = encoding.dumps([obj, change])
        for apply in (patch.merge_patch, lambda o, p: patch.strategic_merge(o, p, resource)):
            try:
                assert isinstance(apply(obj, change), dict)
            except errors.ApiError as error:
                assert error.code in (400, 422)
        assert encoding.dumps([obj, change]) == before


@pytest.mark.parametrize("seed", SEEDS)
def test_an_object_merged_with_itself_stays_itself(resource, seed):
    obj, _, _ = schema.check(trees.an_object(resource, random.Random(seed)), resource)
    if encoding.dumps(obj).count(b"$patch") or encoding.dumps(obj).count(b"null"):
        return  # Those are directives.
    assert patch.merge_patch(obj, obj) == obj


_ODD = (None, 1, -1.5, True, "x", "", [], [None], {}, {"$patch": "delete"}, {"$patch": "x"}, {"a": None}, 2**63, [[1]])


def _with_one_change(obj, rng):
    """The object with one random place changed to something odd, or one odd directive added."""
    obj = copy.deepcopy(obj)
    places = []

    def look(node):
        if isinstance(node, dict):
            places.extend((node, key) for key in node)
            for inner in node.values():
                look(inner)
        elif isinstance(node, list):
            places.extend((node, index) for index in range(len(node)))
            for inner in node:
                look(inner)

    look(obj)
    parent, key = rng.choice([place for place in places if place[1] not in ("apiVersion", "kind")])
    parent[key] = rng.choice(_ODD)
    if isinstance(parent, dict):
        name = rng.choice(
            ("$patch", "$retainKeys", f"$setElementOrder/{key}", f"$deleteFromPrimitiveList/{key}", "odd")
        )
        parent[name] = rng.choice(_ODD)
    return obj
