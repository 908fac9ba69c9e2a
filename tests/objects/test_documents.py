"""YAML: what plain scalars mean, what is refused, and that no text becomes more than the limits allow."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.objects import documents, encoding


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("true", True),
        ("yes", True),
        ("On", True),
        ("y", True),
        ("NO", False),
        ("off", False),
        ("tRUE", "tRUE"),
        ("7", 7),
        ("+5", 5),
        ("-3", -3),
        ("0644", 420),
        ("0o644", 420),
        ("08", 8),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("1e3", 1000),
        (".5", 0.5),
        ("1.50", 1.5),
        ("3.0", 3),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2.0**64),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("1:30", "1:30"),
        ("1:30:1.5", "1:30:1.5"),
        ("2016-08-03", "2016-08-03"),
        ("1.2.3", "1.2.3"),
        ("...x", "...x"),
        ("'yes'", "yes"),
        ('"0644"', "0644"),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("|\n  yes", "yes"),
        ("[<<]", ["<<"]),
        ("{'<<': 1}", {"<<": 1}),
        ("{1: a, true: b, 1.5: c}", {"1": "a", "true": "b", "1.5": "c"}),
        ("{a: &x [1, {b: 2}], c: *x}", {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}),
        ("&k a: *k", {"a": "a"}),
        ("{a: 1, a: 2}", {"a": 2}),
    ],
)
def test_plain_scalars_mean_what_they_mean_to_kubectl(text, value):
    found = documents.load(text)
    assert found == value and type(found) is type(value)
    assert json.dumps(found) == json.dumps(value)  # 1 is not True here.


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{a: {<<: {b: 1}}}", "merge key"),
        ("!!set {a, b}", "tag:yaml.org,2002:set"),
        ("!!int 5", "tag"),
        ("!!python/name:os.system x", "tag"),
        ("!local [1]", "tag"),
        (".inf", "no number"),
        ("-.Inf", "no number"),
        (".NaN", "no number"),
        ("{[a]: 1}", "a key is not a text"),
        ("{{a: 1}: 1}", "a key is not a text"),
        ("{~: 1}", "a key is not a text"),
        ("&a [*a]", "names nothing"),
        ("*a", "names nothing"),
        ("a: [", "expected"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("a: \x01", "not allowed"),
        ('"\\ud800"', "Unicode"),
        (b"\xff\xfea\x00", "decode"),
        ("[" * 500_000, "levels"),
        ('{"a":' * 100_000, "levels"),
        ("{" * 500_000, "not a text"),
        ("- " * 500_000, "levels"),
        ("? " * 500_000, "not a text"),
        ("[" + "[]," * 400_000 + "]", "values"),
        ("---\n" * 300_000, "documents"),
        ("".join(f"%TAG !{n}! x\n" for n in range(100_000)) + "--- a", "tag directives"),
    ],
)
def test_what_has_no_place_in_json_or_is_too_much_is_refused(text, why):
    with pytest.raises(ValueError, match=why) as refused:
        documents.load(text)
    assert "\n" not in str(refused.value) and len(str(refused.value)) <= 300


def test_nesting_has_the_limit_of_every_body():
    most = encoding.NESTING_LEVELS_MAX
    for load in (documents.load, encoding.loads):
        assert load("[" * most + "]" * most) is not None
        with pytest.raises(ValueError, match=f"{most} levels"):
            load("[" * (most + 1) + "]" * (most + 1))


def test_what_an_alias_unfolds_to_counts():
    """Levels, values and characters alike: below them is one tree, but written out it is many."""
    deep = "a: &a " + "[" * 60 + "]" * 60 + "\nb: "
    assert documents.load(deep + "[" * 39 + "*a" + "]" * 39)
    with pytest.raises(ValueError, match="levels"):
        documents.load(deep + "[" * 40 + "*a" + "]" * 40)
    names = "abcdefgh"
    wide = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in itertools.pairwise(names)
    )
    with pytest.raises(ValueError, match="values"):
        documents.load(wide)
    long = f"a: &a {'x' * 1_000_000}\nb: "
    assert len(documents.load(long + "[*a, *a, *a]")["b"]) == 3
    with pytest.raises(ValueError, match="characters"):
        documents.load(long + "[*a, *a, *a, *a]")


def test_an_anchor_names_the_last_that_had_it():
    assert documents.load("[&a 1, *a, &a 2, *a]") == [1, 1, 2, 2]
    assert documents.load_all("&a 1\n--- 2\n---\n--- 3") == [1, 2, 3]
    with pytest.raises(ValueError, match="names nothing"):
        documents.load_all("&a 1\n--- *a")


ODD_TEXTS = st.sampled_from(
    ["y", "N", "on", "0o17", "1e3", "08", "1_0", ".inf", "<<", "~", "", "1:30", "-0", " a", "#"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e9, 1e9) | ODD_TEXTS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXTS | st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(TREES)
def test_what_is_dumped_is_read_again(tree):
    assert documents.load(documents.dump({"a": tree})) == {"a": tree}


@given(st.text(alphabet="[]{},:&*!|>-? \n\"'#%@`a1<~.", max_size=40))
@settings(max_examples=500)
def test_any_text_becomes_json_or_is_refused(text):
    try:
        trees = documents.load_all(text)
    except ValueError:
        return
    for tree in trees:
        assert encoding.loads(encoding.dumps(tree)) == tree


def test_keys_that_are_written_twice_are_told_with_their_lines() -> None:
    text = b"\na: 1\nb:\n  foo: 1\n  foo: 2\nlist:\n- {x: a, x: b}\n- x: foo\na: 2\n"
    assert documents.repeated_keys(text) == [
        'line 5: key "foo" already set in map',
        'line 7: key "x" already set in map',
        'line 9: key "a" already set in map',
    ]
    assert documents.repeated_keys(b"a: {b: 1}\nb: {a: b, b: a}\n") == []
    many = b"".join(b"a: 1\n" for _ in range(1000))
    assert len(documents.repeated_keys(many)) == documents.REPEATED_KEYS_TOLD_MAX
