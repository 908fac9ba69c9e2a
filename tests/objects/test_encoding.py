import tracemalloc

import pytest

from petset.objects import encoding


@pytest.mark.parametrize("size", [10, 900, 3000, 20_000, 300_000])
def test_what_is_encoded_takes_no_more_memory_than_it_is_long(size):
    tree = {"k": "v" * size}
    tracemalloc.start()
    try:
        kept = [encoding.dumps(tree) for _ in range(10)]
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now <= sum(len(each) + 100 for each in kept) + 2000


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a":}', b"nan", b'"\xff"', b'{"a":1}x', b'"\\ud800"', b"{'a':1}", b"[1,]", b"\x00"]
)
def test_what_is_not_json_is_a_value_error_in_one_line(data):
    with pytest.raises(ValueError, match=r".") as caught:
        encoding.loads(data)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda n: "[" * n + "]" * n, lambda n: '{"a":' * n + "1" + "}" * n])
def test_nesting_has_a_limit_that_encoding_can_follow(make):
    deepest = make(encoding.NESTING_LEVELS_MAX)
    assert encoding.dumps(encoding.loads(deepest)).decode() == deepest
    with pytest.raises(ValueError, match="deeper"):
        encoding.loads(make(encoding.NESTING_LEVELS_MAX + 1))


def test_many_brackets_side_by_side_are_not_deep():
    wide = [[] for _ in range(1000)]
    assert encoding.loads(encoding.dumps(wide)) == wide


def test_values_have_a_limit_and_only_values_count():
    many = encoding.VALUES_MAX
    assert len(encoding.loads(b"[" + b"1," * (many - 2) + b"1]")) == many - 1
    for text in (
        "[" + "1," * many + "1]",
        "[" + "[]," * (many // 2) + "{}]",
        '["a' + "," * 9 + '"' + ",1" * many + "]",
    ):
        with pytest.raises(ValueError, match="values"):
            encoding.loads(text)
    inside = {"data": {"a": "[{," * many, "b\\": '\\",' * many}}
    assert encoding.loads(encoding.dumps(inside)) == inside
    with pytest.raises(ValueError, match=r"."):
        encoding.loads(b'"' + b'\\",' * many)


def test_sorted_bytes_do_not_depend_on_the_order_of_keys():
    assert encoding.dumps_sorted({"b": 1, "a": {"d": 1, "c": 2}}) == b'{"a":{"c":2,"d":1},"b":1}'


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('{"a":1,"b":2}', []),
        ('{"a":1,"a":2}', ["a"]),
        ('{"a":1,"a":2,"a":3}', ["a"]),
        ('{"spec":{"x":[{"y":1,"y":2}]}}', ["spec.x[0].y"]),
        ('{"a":{"b":1,"b":2},"c":1,"c":1}', ["c", "a.b"]),
        ('{"%s":{"a":1,"a":2}}' % ("k" * 9999), ["k" * 256 + "....a"]),
        ("[", []),
        ("[" * 5000 + "]" * 5000, []),
    ],
)
def test_repeated_keys_are_found_where_they_are(text, paths):
    assert encoding.duplicate_fields(text.encode()) == paths


def test_a_text_without_duplicates_is_known_by_its_colons() -> None:
    quoted = r'{"f:a":{"k:{\"name\":\"x\"}":{}}}'
    for text in ('{"a":1,"b":{"a":[{"c":2},3]}}', '{"a": "x", "b": []}', quoted, "[]", "7"):
        assert encoding.has_no_duplicates(text.encode(), encoding.loads(text)), text


def test_what_has_duplicates_or_may_have_them_is_not_taken_for_clean() -> None:
    doubtful = (
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":1}}',
        '{"a" :1,"a" :2}',
        '{"a"\n:1,"b":2}',
        r'{"a":"\":","a" :1}',
        r'{"a":1,"\u0061":2}',
        r'{"a\\":1,"a\\":2}',
        r'{"a":"x\":","a":2}',
        r'{"k":"says \\\":\" twice"}',
    )
    for text in doubtful:
        assert not encoding.has_no_duplicates(text.encode(), encoding.loads(text)), text
