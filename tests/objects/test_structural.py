"""Laws of custom schemas: what is pruned and filled in once stays so, and what is known is neither dropped nor told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.objects import jsonpath
from petset.objects.structural import shape, values, wellformed

NAMES = st.sampled_from(["a", "b", "c", "d"])
SCALARS = st.sampled_from(
    [{"type": "string", "default": "x"}, {"type": "integer"}, {"type": "boolean", "nullable": True}]
)


def _above(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    structs = st.dictionaries(NAMES, inner, max_size=3).map(lambda found: {"type": "object", "properties": found})
    with_defaults = structs.map(lambda one: {**one, "default": {}})
    return st.one_of(
        structs,
        with_defaults,
        structs.map(lambda one: {**one, "x-kubernetes-preserve-unknown-fields": True}),
        inner.map(lambda one: {"type": "object", "additionalProperties": one}),
        inner.map(lambda one: {"type": "array", "items": one}),
    )


SCHEMAS = st.recursive(SCALARS, _above, max_leaves=8)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "x"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)


@given(SCHEMAS, VALUES)
def test_pruned_twice_is_pruned_once(schema: Any, value: Any) -> None:
    prune = shape.pruning(schema)
    found: list[str] = []
    once = prune(value, "", found)
    again: list[str] = []
    assert prune(once, "", again) is once and again == []
    assert bool(found) == (once is not value)


@given(SCHEMAS, VALUES)
def test_filled_twice_is_filled_once(schema: Any, value: Any) -> None:
    fill = shape.defaulting(schema)
    if fill is not None:
        once = fill(value)
        assert fill(once) is once


@given(SCHEMAS, VALUES)
def test_defaults_are_known_fields(schema: Any, value: Any) -> None:
    """Pruning and filling in go in either order to the same."""
    prune, fill = shape.pruning(schema), shape.defaulting(schema) or (lambda one: one)
    filled = fill(prune(value, "", []))
    assert prune(filled, "", []) is filled


@given(SCHEMAS, VALUES)
def test_what_did_not_change_is_not_found_wrong(schema: Any, value: Any) -> None:
    """Beside what is wrong with the value as a whole, for it has nothing around it that was the same."""
    root = {"type": "object", "properties": {"v": schema}}
    found: list[Any] = []
    values.compiled(root)({"v": value}, {"v": value}, "", found)
    assert found == []


@given(SCHEMAS, VALUES)
def test_a_check_of_anything_never_raises(schema: Any, value: Any) -> None:
    values.compiled(schema)(value, values.NONE, "spec", [])
    list(wellformed.schema({"type": "object", "properties": {"v": schema}}, "schema"))


OBJECT = {
    "metadata": {"annotations": {"example.com/a": "b"}},
    "spec": {"l": [{"type": "A", "n": 1}, {"type": "B", "n": 2}], "m": {"x.y": 3}},
}


@pytest.mark.parametrize(
    "path, found",
    [
        (".spec.l[0].n", 1),
        (".spec.l[-1].n", 2),
        ('.spec.l[?(@.type=="B")].n', 2),
        (".spec.l[*].type", "A"),
        (".metadata.annotations.example\\.com/a", "b"),
        (".spec.m['x.y']", 3),
        (".spec.none.n", None),
        (".spec.l[7]", None),
    ],
)
def test_a_path_finds_the_first(path: str, found: Any) -> None:
    assert jsonpath.parse(path)(OBJECT) == found


@pytest.mark.parametrize("path", ["spec", ".spec[", ".spec[?(@.a)]", ".a" * 1000])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsonpath.parse(path)
