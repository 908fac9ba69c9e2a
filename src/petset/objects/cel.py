"""CEL, the language of validation rules and admission policies: compile an expression once, evaluate it often.

    program = cel.compile("self.replicas <= self.most", {"self": cel.DYN}, result=cel.BOOL)
    program.evaluate({"self": {"replicas": 1, "most": 3}})

Parsing, type checking and evaluating are the business of cel-expr-python (the CEL project's C++ runtime), imported here
and nowhere else, when the first expression is compiled. Kubernetes' own functions are in cel_functions.py. An
evaluation is bounded by the runtime itself: 10,000 steps of its macros, regular expressions in linear time, an
expression no deeper than it parses; `compile` bounds the expression's length. What the library says becomes a
CompileError or an EvaluationError; nothing else leaves this module.
Follows: the CEL language definition, and "Common Expression Language in Kubernetes" of the Kubernetes documentation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects import cel_functions
from petset.objects.expressions import authorizer, checked, lists, literals, rewriting, standard, tree
from petset.objects.expressions.tree import Tree

DYN, BOOL, INT, DOUBLE, STRING, BYTES = "DYN", "BOOL", "INT", "DOUBLE", "STRING", "BYTES"  # Types of variables ...
LIST, MAP = "LIST", "MAP"  # ... of anything.
_SCALARS = (DYN, *standard.NUMBERS, *standard.ORDERED, "NULL")
OPTIONAL = "optional_type"  # What an expression may turn out to be.
STRING_OR_NULL = "STRING|NULL"  # What an expression may be required to be.
EXPRESSION_CHARACTERS_MAX = 16 * 1024
ENVIRONMENTS_KEPT_MAX = 64  # One for each set of variables.
WHY_CHARACTERS_MAX = 1000
PROGRAMS_KEPT_MAX = 4_000
COST = 32  # Of kinds that have expressions (Kind.cost): to compile one takes 10 to 30 µs a character.

Variables = tuple[tuple[str, str], ...]  # By name and type.


class CompileError(ValueError):
    """What is wrong with an expression, with the line and a mark below it."""


class ResultError(CompileError):
    """That an expression's value would be of another type than it has to be."""


class EvaluationError(Exception):
    """Why an expression has no value for these values: a key that is not there, a wrong type, too many steps, ..."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. Evaluated from any thread, as often as one likes."""

    result: str  # The type of its value, as far as it is known: DYN when it is not.
    _compiled: Any

    def tree(self) -> Tree:
        """The expression taken apart, to be looked through. Raises CompileError."""
        try:
            return tree.read(self._compiled.serialize())
        except (ValueError, RecursionError) as error:
            raise CompileError(f"its checked form cannot be read: {error}") from None

    def evaluate(self, values: Mapping[str, Any] | Values) -> Any:
        """The value, as plain JSON or bytes, for these values of all its variables. Raises EvaluationError."""
        try:
            if isinstance(values, Values):
                return _plain(self._compiled.eval(values.activation))
            return _plain(self._compiled.eval(data=values))
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise EvaluationError(_why(error)) from None


class Values:
    """Values of variables, each made the runtime's own once, at first need, for however many programs."""

    def __init__(self, variables: Variables, values: Mapping[str, Any]):
        self.activation: Any = _environment(variables).Activation(dict(values))


def _plain(found: Any) -> Any:
    """The value of what the library found, taken apart here: it does not survive an optional within a list or a map."""
    kind: str = found.type().name().partition("<")[0]
    if kind == "ERROR":
        raise EvaluationError(_error_of(found))
    if kind == "LIST":
        return [_plain(item) for item in found.value()]
    if kind == "MAP":
        items: Any = found.value().items()
        return {key: _plain(inner) for key, inner in sorted(items, key=lambda item: str(item[0]))}  # It has no order.
    return found.plain_value()


def _error_of(found: Any) -> str:
    try:
        return _why(found.value())
    except (RuntimeError, TypeError):  # So the library says it of an optional.
        return "cannot convert the value to JSON"


@functools.lru_cache(PROGRAMS_KEPT_MAX)
def kept(expression: str, variables: Variables, result: str = DYN) -> Program | CompileError:
    """What `compile` makes of an expression, or why it makes nothing; of the latest ones it is remembered."""
    try:
        return compile(expression, dict(variables), result)
    except CompileError as error:
        return error


def compile(expression: str, variables: Mapping[str, str], result: str = DYN) -> Program:
    """The program of an expression over these variables, by name and type. Raises CompileError.

    `result` is what its value must be: an expression whose type is known to be another one is refused; where it is
    known at run time only, whoever evaluates looks at the value.
    """
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        raise CompileError(f"the expression is longer than {EXPRESSION_CHARACTERS_MAX} characters")
    try:
        compiled: Any = _environment(tuple(sorted(variables.items()))).compile(rewriting.written(expression))
        found: str = compiled.return_type().name().partition("<")[0]
    except (RuntimeError, TypeError, ValueError) as error:
        raise CompileError(_why(error)) from None
    program = Program(found, compiled)
    if why := checked.wrong(compiled.serialize()) or _wrong_literal(expression, program):
        raise CompileError(why)
    if result != DYN and found not in (*result.split("|"), DYN):
        raise ResultError(f"must evaluate to {result.lower().replace('|', ' or ')}")
    return program


def _wrong_literal(expression: str, program: Program) -> str:
    """What is wrong with a duration, a time or a pattern that stands in the expression itself."""
    if literals.CONCERNED.search(expression) is None:
        return ""
    return literals.wrong(program.tree(), expression, _is_worth_something)


@functools.lru_cache(PROGRAMS_KEPT_MAX)
def _is_worth_something(expression: str) -> bool:
    """Whether an expression without variables has a value."""
    try:
        return _environment(()).compile(expression).eval(data={}).type().name() != "ERROR"
    except (RuntimeError, TypeError, ValueError):
        return False


def _why(error: Any) -> str:
    """The library's message without its own codes around it, and with the names that whoever wrote it knows."""
    text = rewriting.told(str(error))
    code, colon, rest = text.partition(": ")
    if colon and code.isupper() and code.replace("_", "").isalpha() and code != "ERROR":
        text = rest.removesuffix(f" [{code}]")
    return _NO_KEY.sub(r"no such key: \1", text)[:WHY_CHARACTERS_MAX]


_NO_KEY = re.compile(r'Key not found in map : "(.*?)"', re.DOTALL)  # Users look for what upstream says.


@functools.lru_cache(ENVIRONMENTS_KEPT_MAX)
def _environment(variables: Variables) -> Any:
    from cel_expr_python import cel as runtime  # pyright: ignore[reportMissingTypeStubs]

    library: Any = runtime
    types = _types(library)
    overloads: dict[str, list[Any]] = {}
    for name, declared in standard.WIDENED.items():
        for given, result in declared:
            made = library.Overload(_identifier(name, given), types[result], [types[one] for one in given])
            overloads.setdefault(name, []).append(made)
    for row in (*cel_functions.TABLE, *lists.TABLE, *authorizer.TABLE):
        made = library.Overload(
            _identifier(row.name, (*row.parameters, *(("member",) if row.is_member else ()))),
            return_type=types[row.result],
            parameters=[types[name] for name in row.parameters],
            is_member=row.is_member,
            impl=row.function,
        )
        overloads.setdefault(row.name, []).append(made)
    return library.NewEnv(
        config=library.NewEnvConfigFromYaml(standard.CONFIGURATION),
        variables={name: types[kind] for name, kind in variables},
        functions=[library.FunctionDecl(name, rows) for name, rows in overloads.items()],
    )


def _identifier(name: str, parts: Sequence[str]) -> str:
    return "_".join((name.replace(".", "_"), *parts))


def _types(library: Any) -> dict[str, Any]:
    plain = {name: getattr(library.Type, name) for name in _SCALARS}
    anything = plain[DYN]
    return {**plain, LIST: library.Type.List(anything), MAP: library.Type.Map(plain[STRING], anything)}
