"""Expressions of one policy, or one webhook, evaluated over one request: pure, in whatever thread.

A `Scope` has the values that expressions may speak of, each made the runtime's own once. A policy's variables are
evaluated when an expression first names them, and once; one that fails is not there, so that whoever does not need it
after all (`a || variables.b`) has its value, and whoever does is told why the variable has none.
Bounded: so many evaluations a request (`Budget`), each by cel.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.kinds.admission.expressions import Expression, Variables
from petset.objects import cel

EVALUATIONS_MAX = 10_000  # Of one request.


class Budget:
    """How many evaluations a request may still have."""

    def __init__(self) -> None:
        self.left = EVALUATIONS_MAX

    def take(self) -> None:
        """Raises EvaluationError."""
        if self.left <= 0:
            raise cel.EvaluationError(
                "validation failed due to running out of cost budget, no further validation rules will be run"
            )
        self.left -= 1


class Scope:
    def __init__(self, given: Mapping[str, Any], variables: Variables | None, budget: Budget):
        self._given, self._variables, self._budget = given, variables, budget
        self._found: dict[str, Any] = {}
        self._failed: dict[str, str] = {}
        self._values: cel.Values | None = None
        self._shown = -1  # How many of the found variables the values have.

    def evaluate(self, expression: Expression) -> Any:
        """Raises EvaluationError, CompileError."""
        used = expression.uses()
        for name in used:
            self._need(name)
        self._budget.take()
        try:
            return expression.program().evaluate(self._now(used))
        except cel.EvaluationError as error:
            why = next((self._failed[name] for name in used if name in self._failed), str(error))
            raise cel.EvaluationError(why) from None

    def _need(self, name: str) -> None:
        if name in self._found or name in self._failed:
            return
        assert self._variables is not None  # Of which this is one.
        try:
            self._found[name] = self.evaluate(self._variables.of_value(name))
        except (cel.EvaluationError, cel.CompileError) as error:
            self._failed[name] = f'composited variable "{name}" fails to evaluate: {error}'

    def _now(self, used: Sequence[str]) -> cel.Values:
        if self._values is None or (used and self._shown < len(self._found)):
            self._shown = len(self._found)
            given = {**self._given, "variables": dict(self._found)}
            self._values = cel.Values(tuple(sorted((name, cel.DYN) for name in given)), given)
        return self._values
