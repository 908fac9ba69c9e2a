"""CEL as rules and policies use it: what compiles, what it is worth, and what bounds it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from petset.objects import cel, patterns


def value(expression: str, self: Any = None) -> Any:
    return cel.compile(expression, {"self": cel.DYN}).evaluate({"self": self})


@pytest.mark.parametrize(
    "expression",
    [
        "self.a + 1 == 2",
        "has(self.a) && !has(self.b)",
        "self.?b.orValue(3) == 3",
        "self.l.all(x, x > 0) && self.l.exists_one(x, x == 2)",
        "self.l.isSorted() && self.l.sum() == 6 && self.l.max() == 3 && self.l.min() == 1",
        "sets.equivalent(self.l, [3, 2, 1, 1]) && sets.contains(self.l, [1]) && !sets.intersects(self.l, [4])",
        "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "'a1b22'.findAll('[0-9]+', 1) == ['1'] && 'abc'.matches('^a.c$')",
        "'%s is %d'.format(['a', 2]) == 'a is 2' && 'a,b'.split(',').join('-') == 'a-b'",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1000m') == quantity('1')",
        "quantity('1').add(quantity('500m')).sub(1).compareTo(quantity('0.5')) == 0",
        "quantity('2k').asInteger() == 2000",
        "isQuantity('3Mi') && !isQuantity('three') && quantity('-1').sign() == -1",
        "url('https://a.b:80/c?d=e').getHost() == 'a.b:80' && url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://a:80/b?c=d').getPort() == '80' && url('https://a/b?c=d').getQuery() == {'c': ['d']}",
        "isURL('/a') && !isURL('a') && url('http://a/b').getScheme() == 'http'",
        "ip('127.0.0.1').isLoopback() && ip('::1').family() == 6 && !ip.isCanonical('::01') && !isIP('1.2.3')",
        "cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))",
        "cidr('10.1.0.0/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.0.0/8').prefixLength() == 8 && !isCIDR('::1')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "!format.dns1123Label().validate('a').hasValue() && format.dns1123Label().validate('A').value().size() == 1",
        "format.named('uuid').value().validate('x').orValue([]).size() == 1 && !format.named('x').hasValue()",
        "semver('v1.2', true) == semver('1.2.0') && isSemver('01.1.1', true) && !isSemver('1-a', true)",
        "string(ip('::01')) == '::1' && string(cidr('10.0.0.0/8')) == '10.0.0.0/8'",
        "string(1) + string(2.0) + string(true) + string(b'a') + string(duration('1s')) == '12truea1s'",
        "self.l.indexOf(2) == 1 && [1, 2, 1].lastIndexOf(1) == 2 && ['a'].indexOf('b') == -1",
        "'abcb'.indexOf('b') == 1 && 'abcb'.indexOf('b', 2) == 3 && [{'a': 1}].indexOf({'a': 1}) == 0",
        "'abcb'.lastIndexOf('b', 2) == 1 && 'aa'.lastIndexOf('a') == 1 && [1].lastIndexOf(2) == -1",
        "self.l.includes(2) && !self.l.includes('2') && 'a'.includes('a') && self.a.includes(1)",
        "self.l.slice(1, 3) == [2, 3] && [[1], [2, 3]].flatten() == [1, 2, 3] && lists.range(3) == [0, 1, 2]",
        "[2, 1, 2].distinct() == [2, 1] && self.l.reverse() == [3, 2, 1] && [3, 1].sort() == [1, 3]",
        "['ab', 'c'].sortBy(x, size(x)) == ['c', 'ab'] && self.l.first().value() == 1 && ![].last().hasValue()",
        "self.l.all(i, x, i < x) && self.l.exists(i, x, i == 2 && x == 3) && self.l.existsOne(i, x, i == 0)",
        "self.l.exists_one(i, x, i == 0) && self.l.existsOne(x, x == 2) && self.l.exists_one(x, x == 2)",
        "self.l.transformList(i, x, i + x) == [1, 3, 5] && self.l.transformList(i, x, i > 0, x) == [2, 3]",
        "{'a': 1, 'b': 2}.transformMap(k, v, v + 1) == {'a': 2, 'b': 3} && {'a': 1}.transformMap(k, v, v > 1, v) == {}",
        "{'a': {'x': 1}}.transformMap(k, m, m.transformMap(l, v, k + l)) == {'a': {'x': 'ax'}}",
        "{'a': 1}.transformMapEntry(k, v, {v: k}) == {1: 'a'} && self.l.transformMap(i, x, [i, x])[1] == [1, 2]",
        "1 < 2.5 && 2u >= 1 && self.l.size() > 2.5 && self.a <= 1u && 'a' < 'b' && duration('1s') < duration('1m')",
        "timestamp('2020-01-01T00:00:00Z') + duration('1h') == timestamp('2020-01-01T01:00:00Z')",
        "math.greatest(1, 2) == 2 && base64.encode(b'a') == 'YQ==' && cel.bind(x, 3, x + 1) == 4",
    ],
)
def test_what_is_true(expression: str) -> None:
    assert value(expression, {"a": 1, "l": [1, 2, 3]}) is True


@pytest.mark.parametrize(
    "expression, why",
    [
        ("self.a >", "Syntax error"),
        ("other.a", "undeclared reference to 'other"),
        ("1 + 'a' == 2", "found no matching overload for '_+_'"),
        ("'a'", "must evaluate to bool"),
        ("{type(1): 1}", "Unsupported map key type"),
        ("1" + "+1" * 5000, "recursion"),
        ("(" * 400 + "1" + ")" * 400, "recursion"),
        ("duration('1 hour') > duration('1s')", "1:10: invalid duration argument"),
        ("self.all(x, timestamp('today') == x)", "invalid timestamp argument"),
        ("self.matches('(')", "invalid matches argument"),
        ("1 < 'a'", "no matching overload for '_<_'"),
        ("string([1])", "no matching overload for 'string'"),
        ("1.indexOf(1)", "no matching overload for 'indexOf'"),
        ("self.indexOF(1)", "undeclared reference"),
        ("{'a': 1}.transformMap(k, k, 1)", "must be different"),
        ("optional.unwrap([1])", "undeclared reference"),
        ("'" + "a" * cel.EXPRESSION_CHARACTERS_MAX + "'", "longer than"),
    ],
)
def test_what_does_not_compile(expression: str, why: str) -> None:
    with pytest.raises(cel.CompileError, match=re.escape(why)):
        cel.compile(expression, {"self": cel.DYN}, cel.BOOL)


@pytest.mark.parametrize(
    "expression, why",
    [
        ("self.b", "no such key: b"),
        ("1 / 0", "divide by zero"),
        ("self.a.lowerAscii()", "No matching overload"),
        ("quantity('x')", "quantities must match"),
        ("self.many.all(x, self.many.all(y, x + y >= 0))", "budget"),
        ("{'quantity': '1e999999999'}.isInteger()", "no such overload"),
        ("[1, 'a'].max()", "not supported"),
        ("optional.none()", "cannot convert"),
        ("lists.range(10001)", "more than 10000"),
        ("self.many.transformMapEntry(i, x, {'a': x})", "key 'a' already exists"),
        ("self.many.transformMap(i, x, self.many.transformMap(j, y, y))", "budget"),
        ("dyn(1).indexOf(1)", "No matching overloads found"),
    ],
)
def test_what_has_no_value(expression: str, why: str) -> None:
    with pytest.raises(cel.EvaluationError, match=why):
        value(expression, {"a": 1, "many": list(range(200))})


@pytest.mark.parametrize(
    "expression",
    [
        "[optional.none()].isSorted()",
        "sets.contains([1, optional.of(1)], [1])",
        "{'a': optional.none()}.sign() == 1",
        "dyn([optional.none()]) == 1",
        "dyn(optional.none()) == 1",
        "[1].map(x, optional.of(x)).isSorted()",
        "optional.of(optional.none()).hasValue()",
        "object.?a.orValue(optional.none()) == 1",
        "(true ? optional.of(optional.none()) : object.?a).value() == 1",
        "[true ? optional.of(1) : optional.none()] == []",
        "[cel.bind(x, optional.none(), x)].isSorted()",
        "[{'a': [optional.none()]}].isSorted()",
        "[object.?a].isSorted()",
        "{'a': object[?'a']}.sign() == 1",
        "[object[?'a']].isSorted()",
        "cel.bind(x, object[?'a'], [x]) == []",
        "optional.of(object[?'a']).hasValue()",
        "object.l.map(x, object[?x]).isSorted()",
        "object.?a" + ".a" * 5_000 + ".orValue(1) == 1",
    ],
)
def test_an_optional_within_anything_is_refused_since_the_runtime_does_not_survive_it(expression: str) -> None:
    with pytest.raises(cel.CompileError):
        cel.compile(expression, {"object": cel.DYN})


@pytest.mark.parametrize(
    "expression",
    [
        "object.?a.b.?c.orValue(3) == 3",
        "object.?a.hasValue() || object.?b.?c.or(optional.of(1)).value() == 1",
        "[?object.?a, 1] == [1] && {?'a': object.?a} == {}",
        "object[?'a'].orValue(1) == 1 && object.?labels[?'app'].orValue('x') == 'x' && !object[?'a'][?'b'].hasValue()",
        "object.?a == optional.none() && object.?a != optional.of(1)",
        "(true ? object.?a : optional.of(2)).orValue(1) == 1",
        "object.?l.orValue([]).all(x, x.?a.orValue(true))",
        "cel.bind(x, object.?a, x.orValue(1)) == 1",
        "optional.of(1).optMap(x, x + 1).value() == 2 && optional.ofNonZeroValue('').orValue('a') == 'a'",
        "type(1) == int && [1, 'a', null].size() == 3",
    ],
)
def test_optionals_are_fine_otherwise(expression: str) -> None:
    assert cel.compile(expression, {"object": cel.DYN}).evaluate({"object": {}}) is True


def test_types_are_checked_where_they_are_told() -> None:
    assert cel.compile("self > 1", {"self": cel.INT}).result == cel.BOOL
    with pytest.raises(cel.CompileError, match="found no matching overload"):
        cel.compile("self.startsWith('a')", {"self": cel.INT})


def test_a_pattern_takes_linear_time_and_is_re2s() -> None:
    assert not patterns.compiled("^(a+)+$").matches("a" * 100_000 + "b")
    for pattern in ("(", "(?=a)", r"(a)\1", "a" * (patterns.PATTERN_CHARACTERS_MAX + 1), "((a{100}){100}){100}"):
        with pytest.raises(ValueError, match=r"."):
            patterns.compiled(pattern)
