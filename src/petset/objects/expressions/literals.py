"""Durations, times and patterns that stand in an expression as they are: whether they are any, told before it is used.

    duration("1 hour")   ->   ERROR: <input>:1:10: invalid duration argument

Follows: the AST validators of cel-go that Kubernetes' environment has; messages are its.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from petset.objects import patterns
from petset.objects.expressions import checking
from petset.objects.expressions.tree import Call, Literal, Loop, MadeList, MadeMap, Node, Select, Tree

NAMES = ("duration", "timestamp", "matches")
CONCERNED = re.compile("|".join(NAMES))  # What has none of them need not be taken apart.


def wrong(expression: Tree, text: str, is_worth_something: Callable[[str], bool]) -> str:
    """What is wrong with the first one that is none, "" where all are; the last one evaluates an expression."""
    for call in _calls(expression.root):
        given = call.arguments[0] if call.arguments else None
        if call.function not in NAMES or not isinstance(given, Literal) or not isinstance(given.value, str):
            continue
        if not _is_fine(call.function, given.value, is_worth_something):
            found = checking.Wrong(f"invalid {call.function} argument", given.place)
            return checking.told(found, expression, text)
    return ""


def _is_fine(name: str, value: str, is_worth_something: Callable[[str], bool]) -> bool:
    if name != "matches":
        return is_worth_something(f"{name}({json.dumps(value)})")
    try:
        patterns.compiled(value)
    except ValueError:
        return False
    return True


def _calls(node: Node) -> Iterator[Call]:
    if isinstance(node, Call):
        yield node
    for inner in _parts(node):
        yield from _calls(inner)


def _parts(node: Node) -> Sequence[Node]:
    match node:
        case Select():
            return (node.operand,)
        case Call():
            return (*((node.target,) if node.target is not None else ()), *node.arguments)
        case MadeList():
            return node.elements
        case MadeMap():
            return [one for key, value, _ in node.entries for one in (key, value)]
        case Loop():
            return (node.range, node.begin, node.goes_on, node.step, node.result)
        case _:
            return ()
