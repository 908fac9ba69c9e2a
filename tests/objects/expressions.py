"""Expressions of every shape that CEL has, many of them wrong: `python -m tests.objects.expressions N` tries N of them.

Each is compiled, gone through by types and costs, and evaluated; whatever it is, what comes out is a value, a
CompileError or an EvaluationError. Before each it is written down, so that a process that ends tells of what.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from petset.objects import cel, cel_functions
from petset.objects.expressions import authorizer, checking, cost, lists, rewriting, signatures
from petset.objects.structural import declared

SCHEMA: Any = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "l": {"type": "array", "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "o": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
VALUE: Any = {"n": 3, "s": "a-b", "l": ["x", "y"], "m": {"k": 1}, "o": {"a": 2}, "none": None, "deep": [[{"x": [1]}]]}
_LEAVES = (
    "self", "self.n", "self.s", "self.l", "self.m", "self.o", "self.none", "self.deep", "self.nothing", "oldSelf", "x",
    "1", "-1", "9223372036854775807", "1u", "0.5", "1e300 * 1e300", "'a'", "''", "'\\U0001F600'", "b'\\xff'", "true",
    "null", "[]", "{}", "optional.none()", "optional.of(1)", "optional.of([1])", "self.?n", "self[?'n']", "self.l[?0]",
    "optional.of({'a': optional.of(1)})", "timestamp('2020-01-01T00:00:00Z')", "duration('1h')", "type(1)", "int",
    "list", "google.protobuf.Struct{}", "google.protobuf.Any{}", "google.protobuf.Int32Value{value: 1}",
    "google.protobuf.Value{}", "google.protobuf.ListValue{}", "quantity('1')", "url('http://a/')", "semver('1.0.0')",
    "cidr('10.0.0.0/8')", "ip('::1')", "format.dns1123Label()",
)  # fmt: skip
_OPERATORS = ("+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in")
_NAMED = sorted({rewriting.told(row.name) for row in (*cel_functions.TABLE, *lists.TABLE, *authorizer.TABLE)})
_MEMBERS = (
    *(name for name in _NAMED if "." not in name),
    "hasValue", "value", "orValue", "or", "size", "contains", "startsWith", "matches", "split", "join", "replace",
    "substring", "charAt", "format", "getHours", "lowerAscii", "trim", "reverse",
    "first", "last", "slice", "flatten", "sort", "unwrapOpt",
)  # fmt: skip
_FUNCTIONS = (
    *_NAMED, "size", "int", "uint", "double", "string", "bytes", "bool", "dyn", "type", "timestamp", "duration", "has",
    "optional.of", "optional.ofNonZeroValue", "math.greatest", "math.least", "base64.encode", "base64.decode",
)  # fmt: skip
_MACROS = ("all", "exists", "exists_one", "existsOne", "map", "filter", "sortBy")
_PAIRED = ("all", "exists", "exists_one", "existsOne", "transformList", "transformMap", "transformMapEntry")


def _above(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def made(*parts: Any) -> st.SearchStrategy[str]:
        return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map("".join)

    arguments = st.lists(inner, max_size=3).map(", ".join)
    name = st.sampled_from(("a", "k", "n", "x"))
    return st.one_of(
        made("(", inner, " ", st.sampled_from(_OPERATORS), " ", inner, ")"),
        made(st.sampled_from(("!", "-")), inner),
        made("(", inner, " ? ", inner, " : ", inner, ")"),
        made("[", arguments, "]"),
        made("[?", inner, ", ", inner, "]"),
        made("{", inner, ": ", inner, "}"),
        made("{?", inner, ": ", inner, ", 'z': ", inner, "}"),
        made(inner, st.sampled_from((".", ".?")), name),
        made(inner, st.sampled_from(("[", "[?")), inner, "]"),
        made(inner, ".", st.sampled_from(_MEMBERS), "(", arguments, ")"),
        made(st.sampled_from(_FUNCTIONS), "(", arguments, ")"),
        made(inner, ".", st.sampled_from(_MACROS), "(x, ", inner, ")"),
        made(inner, ".", st.sampled_from(_PAIRED), "(x, y, ", inner, ")"),
        made(inner, ".", st.sampled_from(_PAIRED[4:]), "(x, y, ", inner, ", ", inner, ")"),
        made(inner, ".map(x, ", inner, ", ", inner, ")"),
        made(inner, st.sampled_from((".optMap(x, ", ".optFlatMap(x, ")), inner, ")"),
        made("cel.bind(x, ", inner, ", ", inner, ")"),
    )


EXPRESSIONS = st.recursive(st.sampled_from(_LEAVES), _above, max_leaves=8)


def survives(text: str) -> None:
    """Raises nothing, whatever the text."""
    try:
        program = cel.compile(text, {"self": cel.DYN, "oldSelf": cel.DYN})
    except cel.CompileError:
        return
    kind = declared.Declared(SCHEMA, is_resource=False).type(SCHEMA)
    assert kind is not None
    tree = program.tree()
    try:
        assert cost.most(checking.checked(tree, {"self": kind, "oldSelf": kind})) >= 0
    except checking.Wrong as error:
        assert checking.told(error, tree, text).startswith("ERROR: <input>:")
    try:
        program.evaluate({"self": VALUE, "oldSelf": VALUE})
    except cel.EvaluationError:
        pass


def main(count: int, path: pathlib.Path) -> None:
    @seed(20_160)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(EXPRESSIONS)
    def each(text: str) -> None:
        path.write_text(text)
        survives(text)

    each()
    assert all(signatures.of(name) is not None for name in _NAMED), "each of Kubernetes' functions has its types"


if __name__ == "__main__":
    main(int(sys.argv[1]), pathlib.Path(sys.argv[2]))
