"""Sets of fields as FieldsV1 writes them, and their algebra."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.objects import managed
from petset.objects.managed import Fields

STEPS = st.sampled_from(["f:a", "f:b", 'k:{"name":"a"}', "v:1", 'v:"x"'])
PATHS = st.frozensets(st.lists(STEPS, min_size=1, max_size=3).map(tuple), max_size=6)
Paths = frozenset[managed.Path]


def tree(paths: Paths) -> Fields:
    result: Fields = managed.NOTHING
    for path in sorted(paths):
        one: Fields = managed.NOTHING
        for step in reversed(path):
            one = {step: one}
        result = managed.union(result, one)
    return managed.ordered(result)


def members(fields: Fields) -> Paths:
    return frozenset(managed.paths(fields))


@given(PATHS, PATHS)
def test_the_algebra_is_that_of_sets_of_paths(a: Paths, b: Paths) -> None:
    assert members(managed.union(tree(a), tree(b))) == a | b
    assert members(managed.difference(tree(a), tree(b))) == a - b
    assert members(managed.intersection(tree(a), tree(b))) == a & b
    below = frozenset(path for path in a if not any(path[: len(other)] == other for other in b))
    assert members(managed.without_all(tree(a), tree(b))) == below


@given(PATHS, PATHS)
def test_what_does_not_change_a_set_gives_the_same_one(a: Paths, b: Paths) -> None:
    both = managed.union(tree(a), tree(b))
    assert managed.union(both, tree(a)) is both
    only = managed.difference(tree(a), tree(b))
    assert managed.difference(only, tree(b)) is only


@given(PATHS)
def test_a_set_that_was_read_is_what_was_written(paths: Paths) -> None:
    assert managed.read(tree(paths)) == tree(paths)
    assert members(tree(paths)) == paths


READ: list[tuple[Any, Any]] = [
    ({}, {}),
    ({"f:a": {".": {}}}, {"f:a": {}}),
    ({'k:{"b": 1, "a":"x"}': {}}, {'k:{"a":"x","b":1}': {}}),
    ({"v: 1": {}, "x:later": {}}, {"v:1": {}}),
    ({"i:07": {}}, {"i:7": {}}),
    ({".": {}, "f:a": {}}, {"f:a": {}}),
]


@pytest.mark.parametrize(("given", "then"), READ)
def test_a_strangers_set_is_spelled_the_one_way(given: Any, then: Any) -> None:
    assert managed.read(given) == then


@pytest.mark.parametrize("wrong", [[], "f:a", {"f:a": 1}, {"a": {}}, {"k:[]": {}}, {"v:{": {}}, {"i:x": {}}])
def test_what_is_no_set_is_a_plain_error(wrong: Any) -> None:
    with pytest.raises(ValueError):
        managed.read(wrong)


def test_a_path_reads_as_messages_have_it() -> None:
    path = ("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}', "f:image", 'v:"x"', "i:2")
    assert managed.text(path) == '.spec[containerPort=80,protocol="TCP"].image[="x"][2]'
