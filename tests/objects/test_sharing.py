"""Equal parts of objects are one, nobody can tell, and what is known of them is bounded."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from petset.objects import encoding, sharing

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab", max_size=3)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner), max_leaves=20
)


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i", "resources": {}, "ports": [{"containerPort": 80}]}]
    spec = {"hostname": name, "containers": containers, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "x"}}, "spec": spec}


def decoded(tree: Any) -> Any:
    return encoding.loads(encoding.dumps(tree))


def shared(tree: Any) -> Any:
    return sharing.shared(decoded(tree), 500)


@given(st.lists(TREES, max_size=6))
def test_a_shared_tree_is_the_same_to_the_byte(parts: list[Any]) -> None:
    for part in parts:
        tree = {"metadata": {"name": "a"}, "spec": {"part": part}, "status": {"again": part}}
        assert encoding.dumps(shared(tree)) == encoding.dumps(tree)


def test_two_of_a_kind_have_their_equal_parts_in_common_and_no_others() -> None:
    first, second = (shared(pod(name)) for name in ("a", "b"))
    assert first["spec"]["containers"] is second["spec"]["containers"]
    assert first["metadata"]["labels"] is second["metadata"]["labels"]
    assert first["kind"] is second["kind"]
    assert first["spec"]["hostname"] == "a" and second["spec"]["hostname"] == "b"


def test_what_a_version_has_of_the_one_before_is_not_looked_at() -> None:
    before = shared(pod("a"))
    spec = dict(before["spec"])
    assert sharing.shared({**before, "status": {}}, 500, before)["spec"] is before["spec"]
    assert sharing.shared({**before, "spec": spec}, 500, before)["spec"] == spec


def test_what_has_no_spec_is_left_alone() -> None:
    event = {"kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"name": "a"}}
    assert sharing.shared(event, 100) is event


def test_a_large_object_is_left_alone() -> None:
    large = pod("a")
    assert sharing.shared(large, sharing.OBJECT_BYTES_MAX + 1) is large


def test_what_is_known_is_bounded_in_bytes() -> None:
    parts = sharing.Parts(bytes_max=1000)
    for number in range(1000):
        parts.of({"number": number, "text": "x" * 20, "long": "y" * (number * 10)})
        kept = sum(len(mark) for known in (parts._recent, parts._older) for mark in known)
        assert kept <= 2 * (1000 + sharing.PART_BYTES_MAX)
    often = parts.of({"met": ["often"]})
    for number in range(1000):
        parts.of({"number": number})
        assert parts.of(decoded({"met": ["often"]})) is often
