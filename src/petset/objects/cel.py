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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petset.objects import cel_functions

DYN, BOOL, INT, DOUBLE, STRING, BYTES = "DYN", "BOOL", "INT", "DOUBLE", "STRING", "BYTES"  # Types of variables ...
LIST, MAP = "LIST", "MAP"  # ... of anything.
EXPRESSION_CHARACTERS_MAX = 16 * 1024
ENVIRONMENTS_KEPT_MAX = 64  # One for each set of variables.
WHY_CHARACTERS_MAX = 1000


class CompileError(ValueError):
    """What is wrong with an expression, with the line and a mark below it."""


class EvaluationError(Exception):
    """Why an expression has no value for these values: a key that is not there, a wrong type, too many steps, ..."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. Evaluated from any thread, as often as one likes."""

    result: str  # The type of its value, as far as it is known: DYN when it is not.
    _compiled: Any

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The value, as plain JSON or bytes, for these values of all its variables. Raises EvaluationError."""
        try:
            found = self._compiled.eval(data=values)
            if found.type().name() == "ERROR":
                raise EvaluationError(_why(found.value()))
            return found.plain_value()
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise EvaluationError(_why(error)) from None


def compile(expression: str, variables: Mapping[str, str], result: str = DYN) -> Program:
    """The program of an expression over these variables, by name and type. Raises CompileError.

    `result` is what its value must be: an expression whose type is known to be another one is refused; where it is
    known at run time only, whoever evaluates looks at the value.
    """
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        raise CompileError(f"the expression is longer than {EXPRESSION_CHARACTERS_MAX} characters")
    try:
        compiled: Any = _environment(tuple(sorted(variables.items()))).compile(expression)
    except (RuntimeError, TypeError, ValueError) as error:
        raise CompileError(_why(error)) from None
    found: str = compiled.return_type().name().partition("<")[0]
    if result != DYN and found not in (result, DYN):
        raise CompileError(f"must evaluate to {result.lower()}")
    return Program(found, compiled)


def _why(error: Any) -> str:
    """The library's message without its own codes around it."""
    text = str(error)
    code, colon, rest = text.partition(": ")
    if colon and code.isupper() and code.replace("_", "").isalpha() and code != "ERROR":
        text = rest.removesuffix(f" [{code}]")
    return text[:WHY_CHARACTERS_MAX]


@functools.lru_cache(ENVIRONMENTS_KEPT_MAX)
def _environment(variables: tuple[tuple[str, str], ...]) -> Any:
    from cel_expr_python import cel as runtime  # pyright: ignore[reportMissingTypeStubs]
    from cel_expr_python.ext import (  # pyright: ignore[reportMissingTypeStubs]
        ext_bindings,
        ext_encoders,
        ext_math,
        ext_optional,
        ext_strings,
    )

    library: Any = runtime
    types = _types(library)
    overloads: dict[str, list[Any]] = {}
    for row in cel_functions.TABLE:
        parameters = [types[name] for name in row.parameters]
        identifier = "_".join((row.name.replace(".", "_"), *row.parameters, *(("member",) if row.is_member else ())))
        overloads.setdefault(row.name, []).append(
            library.Overload(
                identifier,
                return_type=types[row.result],
                parameters=parameters,
                is_member=row.is_member,
                impl=row.function,
            )
        )
    extensions: list[Any] = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_math.ExtMath(),
        ext_encoders.ExtEncoders(),
        ext_bindings.ExtBindings(),
    ]
    return library.NewEnv(
        variables={name: types[kind] for name, kind in variables},
        extensions=extensions,
        functions=[library.FunctionDecl(name, rows) for name, rows in overloads.items()],
    )


def _types(library: Any) -> dict[str, Any]:
    plain = {name: getattr(library.Type, name) for name in (DYN, BOOL, INT, DOUBLE, STRING, BYTES)}
    anything = plain[DYN]
    return {**plain, LIST: library.Type.List(anything), MAP: library.Type.Map(plain[STRING], anything)}
