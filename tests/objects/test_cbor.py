"""CBOR is JSON in another form, whatever else it could say."""

from __future__ import annotations

import base64

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.objects import cbor, encoding

TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda trees: st.lists(trees, max_size=4) | st.dictionaries(st.text(), trees, max_size=4),
)


@given(TREES)
def test_what_is_written_reads_the_same(tree):
    assert cbor.loads(cbor.SELF_DESCRIBED + cbor.dumps(tree)) == tree
    assert cbor.loads(cbor.dumps(tree)) == tree


@given(st.lists(TREES, max_size=3))
def test_a_list_may_be_written_in_parts(trees):
    assert cbor.loads(cbor.list_head(len(trees)) + b"".join(map(cbor.dumps, trees))) == trees


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 70_000])
def test_the_head_of_a_list(count):
    assert cbor.loads(cbor.list_head(count) + cbor.dumps(None) * count) == [None] * count


def test_texts_may_come_as_bytes():
    assert cbor.loads(cbor2.dumps({b"kind": b"Pod", "name": b"a"})) == {"kind": "Pod", "name": "a"}
    for tag in (21, 22, 23):
        assert cbor.loads(cbor2.dumps(cbor2.CBORTag(tag, b"\xff\x00"))) == base64.b64encode(b"\xff\x00").decode()


def tagged(tag: int, data: bytes) -> bytes:
    return b"\xda" + tag.to_bytes(4, "big") + data


@pytest.mark.parametrize("data", [b"\x00", b"\x61a", b"\x41a", b"\x80", b"\x81\x00", b"\x82\x01\x02", b"\xa0"])
def test_no_other_tag_means_anything(data):
    tags = [*range(3000), 43000, 55798, 55800, 65535, 2**32 - 1]
    for tag in tags:
        if tag in (21, 22, 23):
            continue
        with pytest.raises(ValueError):
            cbor.loads(tagged(tag, data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x82\x00",  # It ends too early.
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",  # A list of very many.
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",  # Bytes that do not come.
        b"\x00\x00",  # Something follows.
        b"\xa1\x00\x00",  # A key that is no text.
        b"\xa2\x61a\x00\x61a\x01",  # A key twice.
        b"\xa2\x61a\x00\x41a\x01",  # The same as bytes.
        b"\xf7",  # undefined
        b"\xe0",  # A simple value without a meaning.
        b"\xf9\x7e\x00",  # No number.
        b"\xf9\x7c\x00",  # One without an end.
        b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",  # Less than JSON's parser takes.
        b"\x61\xff",  # No UTF-8.
        b"\x41\xff",
        b"\xff",
    ],
)
def test_what_json_has_not_is_a_value_error(data):
    with pytest.raises(ValueError) as caught:
        cbor.loads(data)
    assert "\n" not in str(caught.value)


def test_levels_and_values_have_their_limits():
    deepest = b"\x81" * (encoding.NESTING_LEVELS_MAX - 1) + b"\x80"
    cbor.loads(deepest)
    for levels in (encoding.NESTING_LEVELS_MAX + 1, 10_000):
        with pytest.raises(ValueError):
            cbor.loads(b"\x81" * levels + b"\x80")
    with pytest.raises(ValueError, match="values"):
        cbor.loads(cbor.list_head(encoding.VALUES_MAX) + b"\xf6" * encoding.VALUES_MAX)


@given(st.binary(max_size=40))
def test_bytes_of_strangers_are_a_tree_or_a_value_error(data):
    try:
        encoding.dumps(cbor.loads(data))
    except ValueError:
        pass
