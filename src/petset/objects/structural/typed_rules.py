"""The rules of a new schema, held against its types and against what they may cost: asked when a definition is written.

A rule must name fields that there are, give its operands what they take, and be true or false; a messageExpression
must be a text, a fieldPath lead to a field. What an evaluation may cost at most is estimated from maxLength, maxItems
and maxProperties; times how often its node may stand in an object, it has a limit for each expression, and all of a
schema have one together. A schema that is already stored is not asked again: what was accepted once goes on.
Follows: KEP-2876; limits and messages are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from petset.objects import cel, meta
from petset.objects.errors import FieldError
from petset.objects.expressions import checking, cost, types
from petset.objects.expressions.checking import Checked
from petset.objects.expressions.types import UNBOUNDED, Type
from petset.objects.meta import Object
from petset.objects.structural import declared, rules
from petset.objects.structural.declared import Declared

EXPRESSION_COST_MAX = 10_000_000
SCHEMA_COST_MAX = 100_000_000
_TOLD_MAX = 4  # Of the expressions that cost most, where all together cost too much.
_HOW = (
    "try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared"
)


def wrong(root: Object, path: str) -> Iterator[FieldError]:
    """What is wrong with the rules of a schema that is well-formed otherwise, and whose rules compile without types."""
    if rules.count(root):
        yield from _Schema(root).wrong(root, path)


class _Schema:
    def __init__(self, root: Object):
        self._declared = Declared(root)
        self._total = 0
        self._dearest: list[tuple[int, str]] = []  # (cost, path) of those that are worth telling.

    def wrong(self, root: Object, path: str) -> Iterator[FieldError]:
        yield from self._walk(root, path, 1)
        if self._total > SCHEMA_COST_MAX:
            why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            for _, where in sorted(self._dearest, key=lambda one: -one[0])[:_TOLD_MAX]:
                yield FieldError.forbidden(where, why)
            name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
            yield FieldError.forbidden(path, _too_dear(name, self._total, SCHEMA_COST_MAX))

    def _walk(self, node: Object, path: str, times: int | None) -> Iterator[FieldError]:
        """`times`: how often a value of the node may stand in an object; None where nothing bounds it."""
        yield from self._rules(node, path, times)
        for name, inner in meta.part(node, "properties").items():
            yield from self._walk(inner, f"{path}.properties[{name}]", times)
        for keyword, limit in (("additionalProperties", "maxProperties"), ("items", "maxItems")):
            if meta.is_struct(node.get(keyword)):
                most: int | None = node.get(limit)
                often = None if times is None or most is None else min(times * max(most, 0), UNBOUNDED)
                yield from self._walk(node[keyword], f"{path}.{keyword}", often)

    def _rules(self, node: Object, path: str, times: int | None) -> Iterator[FieldError]:
        given = meta.parts(node, rules.RULES)
        if not given:
            return
        kind = self._declared.type(node) or types.DYN
        often = declared.cardinality(kind) if times is None else times
        for index, rule in enumerate(given):
            where = f"{path}.{rules.RULES}[{index}]"
            yield from self._expression(rule, "rule", node, kind, where, often)
            if rule.get("messageExpression"):
                yield from self._expression(rule, "messageExpression", node, kind, where, 1)
            field = rule.get("fieldPath") or ""
            if field and not _leads(node, field):
                yield FieldError.invalid(f"{where}.fieldPath", field, "must be a valid path")

    def _expression(
        self, rule: Object, field: str, node: Object, kind: Type, where: str, often: int
    ) -> Iterator[FieldError]:
        is_rule = field == "rule"
        try:
            found = checked(rule, field, node, kind)
        except cel.ResultError:
            return  # As is an expression that does not compile without types, it is told of without them.
        except cel.CompileError as error:
            failed = "compilation failed" if is_rule else "messageExpression compilation failed"
            yield FieldError.invalid(f"{where}.{field}", dict(rule), f"{failed}: {error}")
            return
        if found.type.kind != ("bool" if is_rule else "string"):
            yield FieldError.invalid(f"{where}.{field}", dict(rule), rules.MUST_BE[field])
            return
        price = min(cost.most(found) * often, UNBOUNDED)
        self._total = min(self._total + price, UNBOUNDED)
        if price >= SCHEMA_COST_MAX // 100:
            self._dearest.append((price, f"{where}.{field}"))
        if price > EXPRESSION_COST_MAX:
            why = _too_dear(f"estimated {field} cost", price, EXPRESSION_COST_MAX)
            yield FieldError.forbidden(f"{where}.{field}", why)


def checked(rule: Object, field: str, node: Object, kind: Type) -> Checked:
    """An expression of a node's rule by the types of its values. Raises CompileError."""
    program, before = rules.program(rule, field, node)
    variables = {"self": kind, "oldSelf": kind, rules.OLD: types.list_of(kind, most=1)}
    tree = program.tree()
    try:
        return checking.checked(tree, variables)
    except checking.Wrong as error:
        raise cel.CompileError(checking.told(error, tree, rule[field], before)) from None


def _too_dear(name: str, price: int, limit: int) -> str:
    factor = price / limit
    told = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{name} exceeds budget by factor of {told} ({_HOW})"


def _leads(node: Object, path: str) -> bool:
    """Whether a field path leads to what the schema knows."""
    found: Any = node
    for step in rules.steps(path):
        others = found.get("additionalProperties")
        found = others if meta.is_struct(others) else meta.part(found, "properties").get(step)
        if not meta.is_struct(found):
            return False
    return True
