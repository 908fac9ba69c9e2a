"""What an object sets and what a change of it touches, for types of any origin: asked are seven things of a type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.kinds.pod import PODS
from petset.objects import managed, schema, typed_fields
from petset.objects.typed_fields import Type

POD = schema.node_of(PODS)


@dataclass
class Custom:
    """A type that is nobody's node."""

    kind: str = "string"
    item: Type | None = None
    fields: Mapping[str, Type] = field(default_factory=dict[str, Type])
    is_atomic: bool = False
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    key_defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    required: frozenset[str] = frozenset()

    def child(self, key: str) -> Type | None:
        return self.item if self.kind == "map" else self.fields.get(key)


TEXT = Custom()
PORT = Custom("struct", fields={"number": Custom("integer"), "name": TEXT, "at": TEXT})
BOAT = Custom(
    "struct",
    fields={
        "ports": Custom("list", PORT, list_type="map", list_keys=("number", "at"), key_defaults={"at": "sea"}),
        "flags": Custom("list", TEXT, list_type="set"),
        "crew": Custom("list", TEXT),
        "berth": Custom("struct", fields={"x": TEXT}, is_atomic=True),
        "marks": Custom("map", TEXT),
    },
)


def paths(fields: managed.Fields) -> list[str]:
    return sorted(managed.text(path) for path in managed.paths(fields))


PIER = '.ports[at="sea",number=1]'
SETS: list[tuple[Type | None, Any, list[str]]] = [
    (BOAT, {"ports": [{"number": 1, "name": "a"}]}, [PIER, f"{PIER}.name", f"{PIER}.number"]),
    (BOAT, {"flags": ["red"]}, ['.flags[="red"]']),
    (BOAT, {"crew": ["ann"], "berth": {"x": "1"}}, [".berth", ".crew"]),
    (BOAT, {"marks": {"a": "b"}}, [".marks.a"]),
    (BOAT, {"ports": [], "marks": {}}, [".marks"]),
    (None, {"a": {"b": [1], "c": {}}, "d": None}, [".a", ".a.b", ".a.c", ".d"]),
    (BOAT, {"unknown": {"a": 1}}, [".unknown", ".unknown.a"]),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value", "then"), SETS)
def test_what_a_value_sets(type_: Type | None, value: Any, then: list[str]) -> None:
    assert paths(typed_fields.of(type_, value)) == then


def pod(*env: tuple[str, str], **spec: Any) -> dict[str, Any]:
    container = {"name": "c", **({"env": [{"name": name, "value": value} for name, value in env]} if env else {})}
    return {"metadata": {}, "spec": {"containers": [container], **spec}}


ENV = '.spec.containers[name="c"].env'
A, MARKED = f'{ENV}[name="A"]', {"name": "n", "uid": "u", "labels": {"a": "b"}}
CHANGES: list[tuple[Any, Any, list[str], list[str], list[str]]] = [
    (pod(("A", "1")), pod(("A", "2")), [], [f"{A}.value"], []),
    (pod(("A", "1")), pod(), [], [], [ENV, A, f"{A}.name", f"{A}.value"]),
    (pod(("A", "1"), ("A", "2")), pod(("A", "1"), ("A", "3")), [], [A], []),  # Duplicates: as one.
    (pod(("A", "1"), ("A", "2")), pod(("A", "1")), [A, f"{A}.name", f"{A}.value"], [], [A]),
    (pod(nodeSelector={"a": "b"}), pod(nodeSelector={"a": "c", "d": "e"}), [], [".spec.nodeSelector"], []),
    (pod(), pod(securityContext={}), [".spec.securityContext"], [], []),
    (pod(), {**pod(), "metadata": MARKED}, [".metadata.labels", ".metadata.labels.a"], [], []),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "added", "modified", "removed"), CHANGES)
def test_what_a_change_touches(old: Any, new: Any, added: list[str], modified: list[str], removed: list[str]) -> None:
    found = typed_fields.compare(POD, old, new)
    assert [paths(found.added), paths(found.modified), paths(found.removed)] == [added, modified, removed]


def test_what_changes_its_shape_is_changed_as_a_whole_and_in_its_parts() -> None:
    found = typed_fields.compare(None, {"a": "text"}, {"a": {"b": 1}})
    assert (paths(found.modified), paths(found.added)) == ([".a"], [".a.b"])


CONDITIONS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from("abc")}, optional={"status": st.sampled_from(("True", "False"))}),
    max_size=4,
)


@given(CONDITIONS, CONDITIONS)
def test_lists_of_the_same_elements_compare_as_any_others(old: list[Any], new: list[Any]):
    """Those that stand in the same order, which most do, are compared in place."""
    before, after = {"status": {"conditions": old}}, {"status": {"conditions": new}}
    found = typed_fields.compare(POD, before, after)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typed_fields, "_has_same_elements", lambda *given: False)
        slowly = typed_fields.compare(POD, before, after)
    assert (found.added, found.modified, found.removed) == (slowly.added, slowly.modified, slowly.removed)
