from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.objects import quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"), ("0Gi", "0"), ("-0", "0"), ("1", "1"), ("+1", "1"), ("1.", "1"), (".5", "500m"), ("0.5", "500m"),
        ("1000m", "1"), ("1500m", "1500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.5Gi", "512Mi"),
        ("1023Ki", "1023Ki"), ("0.5Ki", "512"), ("1024", "1024"), ("1000", "1k"), ("1500k", "1500k"),
        ("100000", "100k"),
        ("1e3", "1e3"), ("1E3", "1e3"), ("12e6", "12e6"), ("1e2", "100"), ("123.4n", "124n"), ("1E", "1E"),
        ("1Ei", "1Ei"), ("-5m", "-5m"), ("-1.5Gi", "-1536Mi"), ("1e-3", "1e-3"), ("100u", "100u"),
        ("99999999999999999999", "9223372036854775807"),
    ],
)  # fmt: skip
def test_the_spelling_that_the_api_server_stores(text, canonical):
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1Kb", "1ki", "Gi", "1.2.3", "--1", "0x1", "1e", "e3", "1e1000", "١", "1" * 65, "1,5", "∞"]
)
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match="quantit"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("a", "b", "expected"), [("1", "1000m", 0), ("1Gi", "1G", 1), ("999m", "1", -1), ("1e3", "1k", 0)]
)
def test_comparison_is_exact(a, b, expected):
    assert quantity.compare(a, b) == expected
    assert quantity.compare(b, a) == -expected


def test_whole_numbers_are_rounded_up():
    assert quantity.to_bytes("1Gi") == 2**30
    assert quantity.to_bytes("1500m") == 2
    assert quantity.to_milli("0.1") == 100
    assert quantity.to_milli("100u") == 1


def test_a_sum_is_spelled_like_its_first_part():
    assert quantity.total([]) == "0"
    assert quantity.total(["512Mi", "512Mi"]) == "1Gi"
    assert quantity.total(["100m", "0.9"]) == "1"


SUFFIXES = st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "e-2"])
TEXTS = st.builds(
    lambda sign, whole, part, suffix: f"{sign}{whole}{part}{suffix}",
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 10**6),
    st.sampled_from(["", ".5", ".25", ".001"]),
    SUFFIXES,
)


@given(TEXTS)
def test_the_canonical_spelling_is_stable_and_means_the_same(text):
    spelled = quantity.canonical(text)
    assert quantity.canonical(spelled) == spelled
    assert quantity.parse(spelled).value == quantity.parse(text).value


@given(TEXTS, TEXTS)
def test_a_total_is_the_sum(a, b):
    assert quantity.parse(quantity.total([a, b])).value == quantity.parse(a).value + quantity.parse(b).value


def test_a_value_is_a_fraction():
    assert quantity.parse("100m").value == Fraction(1, 10)
