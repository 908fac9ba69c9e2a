"""What a validating policy thinks of a request: pure.

`judged` evaluates a policy over one request and one param: what it denies, in the order of its validations, and what
it has to say for the audit log. An expression that has no value denies, too, unless the policy's failurePolicy is
Ignore. What becomes of a denial is the binding's business: validationActions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.objects import cel
from petset.server.admission import matching
from petset.server.admission.evaluation import Budget, Scope
from petset.server.admission.policies.policy import ValidatingPolicy, Validation

MESSAGE_BYTES_MAX = 5 << 10
ANNOTATION_BYTES_MAX = 10 << 10
CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class Denial:
    message: str
    reason: str = "Invalid"
    place: int = 0  # Of its validation.


@dataclass(frozen=True, slots=True)
class Judgement:
    denials: Sequence[Denial] = ()
    annotations: Sequence[tuple[str, str]] = field(default=())  # For the audit log.
    broken: Sequence[Denial] = ()  # Whatever the binding's actions are.


def judged(policy: ValidatingPolicy, values: Mapping[str, Any], budget: Budget) -> Judgement:
    scope = Scope(values, policy.variables, budget)
    try:
        if not matching.holds(policy.conditions, scope.evaluate, policy.fails_open):
            return Judgement()
    except matching.Unclear as error:
        return Judgement([Denial(str(error))])
    denials: list[Denial] = []
    for place, validation in enumerate(policy.validations):
        denial = _denial(policy, validation, scope, place)
        if denial is not None:
            denials.append(denial)
    annotations: list[tuple[str, str]] = []
    broken: list[Denial] = []
    for annotation in policy.annotations:
        try:
            value = scope.evaluate(annotation.expression)
        except (cel.EvaluationError, cel.CompileError) as error:
            if not policy.fails_open:
                broken.append(Denial(_failed(annotation.expression.text, error)))
            continue
        if isinstance(value, str):
            if text := value.strip():
                annotations.append((annotation.key, text.encode()[:ANNOTATION_BYTES_MAX].decode(errors="ignore")))
        elif value is not None:
            why = "resulted in unsupported return type: return type must be either string or null"
            broken.append(Denial(f"valueExpression '{annotation.expression.text}' {why}"))
    return Judgement(denials, annotations, broken)


def _denial(policy: ValidatingPolicy, validation: Validation, scope: Scope, place: int) -> Denial | None:
    try:
        if scope.evaluate(validation.expression) is True:
            return None
    except (cel.EvaluationError, cel.CompileError) as error:
        return None if policy.fails_open else Denial(_failed(validation.expression.text, error), place=place)
    return Denial(_message(validation, scope), validation.reason, place)


def _failed(text: str, error: Exception) -> str:
    return f"expression '{text}' resulted in error: {error}"


def _message(validation: Validation, scope: Scope) -> str:
    if validation.said is not None:
        try:
            made = scope.evaluate(validation.said)
        except (cel.EvaluationError, cel.CompileError):
            made = None
        if isinstance(made, str):
            text = made.strip()
            if text and "\n" not in text and len(text.encode()) <= MESSAGE_BYTES_MAX:
                return text
    return validation.message.strip() or f"failed expression: {validation.expression.text.strip()}"
