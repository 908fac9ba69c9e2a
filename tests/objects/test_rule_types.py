"""Rules against the types and the sizes of a schema: what is undefined, what does not fit, what it may cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.objects import cel
from petset.objects.expressions import cost, types
from petset.objects.structural import declared, typed_rules, wellformed

SCHEMA = {
    "type": "object",
    "properties": {
        "number": {"type": "integer"},
        "ratio": {"type": "number"},
        "text": {"type": "string"},
        "on": {"type": "boolean"},
        "at": {"type": "string", "format": "date-time"},
        "either": {"x-kubernetes-int-or-string": True},
        "texts": {"type": "array", "items": {"type": "string"}},
        "rows": {"type": "array", "items": {"type": "array", "items": {"type": "object", "properties": {
            "name": {"type": "string"}}}}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "in": {"type": "string"},
        "a-b.c/d": {"type": "string"},
        "x__y": {"type": "string"},
        "not a name": {"type": "string"},
    },
}  # fmt: skip


def found(rule: str, schema: Any = SCHEMA, field: str = "rule", **more: Any) -> str:
    """The type of a rule's value; CompileError for one that does not hold."""
    kind = declared.Declared(schema).type(schema)
    assert kind is not None
    return str(typed_rules.checked({field: rule, **more}, field, schema, kind).type)


@pytest.mark.parametrize(
    "rule",
    [
        "self.number > 1 && self.ratio > 1 && self.ratio == 1.0 && self.either == 5",
        "self.either == 'x' && self.at < '2020' && timestamp(self.at) < timestamp('2020-01-01T00:00:00Z')",
        "self.texts.all(x, x != '') && self.texts.map(x, x + 'a').filter(x, x > 'b').isSorted()",
        "self.texts.exists_one(x, x == self.text) && 'a' in self.texts && !(self.text in self.counts)",
        "self.rows.all(row, row.all(one, one.name.startsWith('a')))",
        "self.rows[0][0].name == self.text && size(self.rows.map(row, row[0].name).join()) > 0",
        "self.counts.all(key, self.counts[key] > 1) && self.counts.anything > 1 && has(self.counts.x)",
        "self.?text.orValue('') == '' && self.?counts[?'x'].hasValue() && self.texts[?0].optMap(x, x + 'a').hasValue()",
        "self.__in__ == '' && self.a__dash__b__dot__c__slash__d == '' && self.x__underscores__y == ''",
        "self.metadata.name == '' && self.kind == 'A' && self.apiVersion.size() > 1",
        "self == oldSelf && oldSelf.number <= self.number",
        "cel.bind(n, self.number, n + n > 1) && (self.on ? self.text : 'x') == 'y' && '%s%d'.format(['a', 1]) != ''",
        "quantity(self.text).isLessThan(quantity('1')) && url(self.text).getPort() == '80' && isIP(self.text)",
        "cidr('10.0.0.0/8').containsIP(ip(self.text)) && math.greatest(self.number, 3) > 2 && type(self.number) == int",
        "[self.number, 1].max() > 1 && [] == self.texts && self.texts + [] == ['a'] && self.counts == {'a': 1}",
        "duration('1h') + duration('1m') > duration('3s') && self.text.matches('^a') && self.text.find('a') == 'a'",
        "sets.contains(self.texts, ['a']) && self.open == null && dyn(self.number) == 'anything'",
    ],
)
def test_what_holds_to_its_types(rule: str) -> None:
    assert found(rule) == "bool"


@pytest.mark.parametrize(
    "rule, why",
    [
        ("self.spec.nothing == 1", "ERROR: <input>:1:5: undefined field 'spec'\n | self.spec.nothing == 1\n | ....^"),
        ("true\n  && self.x", "ERROR: <input>:2:10: undefined field 'x'\n |   && self.x\n | .........^"),
        ("has(self.x)", "undefined field 'x'"),
        ("self.?x.hasValue()", "undefined field 'x'"),
        ("self.open.x == 1", "undefined field 'x'"),
        ("self.metadata.labels.size() > 0", "undefined field 'labels'"),
        ("self.rows.all(row, row.all(one, one.nam == ''))", "undefined field 'nam'"),
        ("self.rows.map(row, row[0])[0].nam == ''", "undefined field 'nam'"),
        ("oldSelf.x == 1", "undefined field 'x'"),
        ("self.text.x == 1", "type 'string' does not support field selection"),
        ("self.number == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.number == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
        ("self.number + self.ratio > 1.0", "found no matching overload for '_+_' applied to '(int, double)'"),
        ("self.number && true", "found no matching overload for '_&&_' applied to '(int, bool)'"),
        ("self.number.startsWith('a')", "found no matching overload for 'startsWith' applied to 'int.(string)'"),
        ("self.texts.exists(x, x == 1)", "found no matching overload for '_==_' applied to '(string, int)'"),
        ("1 in self.texts", "found no matching overload for '@in' applied to '(int, list(string))'"),
        ("self.counts.exists(key, key > 1)", "found no matching overload for '_>_' applied to '(string, int)'"),
        ("self.text.all(x, true)", "expression of type 'string' cannot be range of a comprehension"),
        ("[self.number, self.text].size() > 1", "expected type 'int' but found 'string'"),
        ("quantity(self.number).sign() == 1", "found no matching overload for 'quantity' applied to '(int)'"),
        ("quantity(self.text).isLessThan(semver('1.0.0'))", "'kubernetes.Quantity.(kubernetes.Semver)'"),
        ("self.number == null", "found no matching overload for '_==_' applied to '(int, null)'"),
    ],
)
def test_what_does_not(rule: str, why: str) -> None:
    with pytest.raises(cel.CompileError) as error:
        found(rule)
    assert why in str(error.value)


def test_with_optional_old_self_it_is_an_optional() -> None:
    assert found("oldSelf.hasValue() && oldSelf.value().number == 1", optionalOldSelf=True) == "bool"
    assert found("oldSelf.?number.orValue(1) == self.number", optionalOldSelf=True) == "bool"
    with pytest.raises(cel.CompileError, match=r"undefined field 'x'\n \| oldSelf\.x"):
        found("oldSelf.x == optional.of(1)", optionalOldSelf=True)


@pytest.mark.parametrize(
    "name, shown",
    [
        ("a", "a"), ("in", "__in__"), ("namespace", "__namespace__"), ("a-b", "a__dash__b"),
        ("a__b", "a__underscores__b"),
        ("a___b", "a__underscores___b"), ("a.b", "a__dot__b"), ("/a", "__slash__a"), ("1a", None),
        ("a b", None), ("é", None),
    ],
)  # fmt: skip
def test_a_name_is_escaped(name: str, shown: str | None) -> None:
    assert declared.escaped(name) == shown


# -- costs --------------------------------------------------------------------------------------------------------


def _array(kind: Any, most: int | None) -> Any:
    return {"type": "array", "items": kind, **({} if most is None else {"maxItems": most})}


def _map(kind: Any, most: int | None) -> Any:
    return {"type": "object", "additionalProperties": kind, **({} if most is None else {"maxProperties": most})}


def _text(most: int | None) -> Any:
    return {"type": "string", **({} if most is None else {"maxLength": most})}


NUMBER, STRING, BOOL, ANY = {"type": "number"}, {"type": "string"}, {"type": "boolean"}, SCHEMA["properties"]["either"]  # type: ignore[index]
TIME = {form: {"type": "string", "format": form} for form in ("duration", "date", "date-time")}
ALL = "self.all(x, true)"
REPLACE = "self.str.replace(self.before, self.after) == 'does not matter'"
# The figures of upstream's own test of its estimates: without a bound, with one of so many.
COSTS: list[tuple[Any, str, int, int, int]] = [
    (lambda n: _array(NUMBER, n), ALL, 4718591, 10, 32),
    (lambda n: _array(STRING, n), ALL, 3145727, 20, 62),
    (lambda n: _array(ANY, n), ALL, 4718591, 10, 32),
    (lambda n: _array(TIME["duration"], n), ALL, 2359295, 5, 17),
    (lambda n: _array(TIME["date"], n), ALL, 725936, 15, 47),
    (lambda n: _array(TIME["date-time"], n), ALL, 428963, 25, 77),
    (lambda n: _map(NUMBER, n), ALL, 1348169, 10, 32),
    (lambda n: _map(STRING, n), ALL, 1179647, 3, 11),
    (lambda n: _map(BOOL, n), ALL, 943718, 100, 302),
    (lambda n: _map(_array(NUMBER, n), n), ALL, 1179647, 25, 77),
    (lambda n: _array(NUMBER, n), "self.all(x, self.all(y, self.all(z, true)))", 11673320338545967103, 10, 3552),
    (lambda n: _array(NUMBER, n), "self.all(x, x == 0.0)", 6291454, 3 * 1024 * 2048, 25165826),
    (lambda n: _array(NUMBER, n), "self[1] == 0.0", 2, 5000, 2),
    (lambda n: _array(STRING, n), "self[1] == self[1]", 314577, 8, 314577),
    (lambda n: _array(ANY, n), "self[0] == 5", 3, 10, 3),
    (lambda n: _array(_map(NUMBER, None), n), "self.all(x, x.y == 25.2)", 6291452, 12, 74),
    (_text, "self.contains('test')", 314574, 10, 5),
    (_text, "self.startsWith('test')", 2, 15, 2),
    (_text, 'size(self + "hello") > size("hello")', 314578, 4, 7),
    (_text, 'self.matches("x")', 314574, 50, 22),
    (_text, '"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7),
    (_text, 'self.matches("")', 1, 100, 1),
    (_text, 'self == "x"', 2, 0, 1),
    (_text, "self.find('[0-9]+') == ''", 629147, 10, 11),
    (_text, "self.lowerAscii() == 'lower!'", 314575, 10, 6),
    (lambda n: _array(_text(n), n), "self.join(' ') == 'aa bb'", 329853068905, 10, 43),
    (lambda n: _array(_text(n), n), "self.isSorted() == true", 329854432052, 10, 52),
    (lambda n: {"type": "object", "properties": {"str": _text(n), "before": _text(2), "after": _text(4)}}, REPLACE,
     629154, 4, 12),
    (lambda n: {"type": "object", "properties": {"str": _text(n), "by": _text(n)}}, "self.str.split(self.by) == []",
     629160, 10, 22),
    (lambda n: _map({"type": "integer"}, n), "oldSelf.size() == self.size()", 5, 10, 5),
    (lambda n: _map(TIME["date-time"], n), 'self["a"] == self["b"]', 8, 7, 8),
    (lambda n: {**_text(n), "enum": ["A", "B", "C", "LongValue"]}, "self.contains('A')", 2, 1000, 401),
]  # fmt: skip


@pytest.mark.parametrize("schema, rule, unbounded, most, bounded", COSTS)
def test_a_rule_costs_what_upstream_says(schema: Any, rule: str, unbounded: int, most: int, bounded: int) -> None:
    for bound, expected in ((None, unbounded), (most, bounded)):
        node = schema(bound)
        kind = declared.Declared(node, is_resource=False).type(node)
        assert kind is not None
        assert cost.most(typed_rules.checked({"rule": rule}, "rule", node, kind)) == expected


def _told(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((error.field, error.message) for error in wellformed.schema(schema, "^"))


def test_a_rule_costs_as_often_as_its_node_may_stand_there() -> None:
    def schema(most: int | None) -> Any:
        rule = [{"rule": "self.contains(self)"}]
        item = {"type": "string", "maxLength": 100, "x-kubernetes-validations": rule}
        return {"type": "object", "properties": {"l": _array(item, most)}}

    where = "^.properties[l].items.x-kubernetes-validations[0].rule"
    assert not list(_told(schema(6000)))
    assert [field for field, _ in _told(schema(7000))] == [where]  # 1602 units each.
    assert "by factor of 1.121400x (" in dict(_told(schema(7000)))[where]
    assert {"^", where} == {field for field, _ in _told(schema(None))}


def test_all_rules_of_a_schema_have_one_limit_together() -> None:
    rule = {"rule": "self.contains(self)"}
    item = {"type": "string", "maxLength": 100, "x-kubernetes-validations": [rule]}
    schema = {"type": "object", "properties": {f"l{n}": _array(item, 6000) for n in range(11)}}
    told = list(_told(schema))
    assert len(told) == 5 and told[-1][0] == "^"  # Of those that cost most four are told.
    assert "estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.057320x" in told[-1][1]


# -- laws ---------------------------------------------------------------------------------------------------------

_LEAVES = st.sampled_from([NUMBER, {"type": "integer"}, STRING, BOOL, ANY, *TIME.values()])
_KINDS = st.recursive(_LEAVES, lambda inner: inner.map(lambda kind: _array(kind, None)) | inner.map(
    lambda kind: _map(kind, None)) | st.dictionaries(st.sampled_from("abc"), inner).map(
    lambda fields: {"type": "object", "properties": fields}), max_leaves=6)  # fmt: skip


@given(_KINDS, _KINDS)
def test_one_type_for_two_values_is_the_same_either_way(one: Any, other: Any) -> None:
    first, second = (declared.Declared(kind, False).type(kind) for kind in (one, other))
    assert first is not None and second is not None
    there, back = types.joined(first, second), types.joined(second, first)
    assert str(there) == str(back)
    assert types.joined(first, first) is first


@given(_KINDS, st.integers(0, 1000), st.integers(0, 1000))
def test_a_larger_bound_never_costs_less(kind: Any, one: int, other: int) -> None:
    less, more = sorted((one, other))
    prices: list[int] = []
    for most in (less, more):
        node = _array(kind, most)
        found = declared.Declared(node, False).type(node)
        assert found is not None
        prices.append(cost.most(typed_rules.checked({"rule": "self.all(x, x == x)"}, "rule", node, found)))
    assert prices[0] <= prices[1]
