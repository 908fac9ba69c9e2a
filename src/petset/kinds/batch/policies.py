"""What a Job makes of pods that fail or succeed: podFailurePolicy and successPolicy (batch/v1; KEP-3329, KEP-3998)."""

from __future__ import annotations

import re

from petset.kinds.pod_spec import pod_containers
from petset.objects import meta, names
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill_empty
from petset.objects.meta import Object
from petset.objects.validation import Errors, at_least, named, one_of

RULES_MAX = 20
EXIT_CODES_MAX = 255
PATTERNS_MAX = 20
INDEXES_CHARACTERS_MAX = 65_536

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_INDEXES = re.compile(r"(?:\d{1,9}(?:-\d{1,9})?)(?:,\d{1,9}(?:-\d{1,9})?)*", re.ASCII)


def failure_defaults(policy: Object) -> Object:
    def rule(given: Object) -> Object:
        return at(given, "onPodConditions", lambda found: each(found, lambda one: fill_empty(one, {"status": "True"})))

    return at(policy, "rules", lambda rules: each(rules, rule))


def failure(spec: Object, path: str) -> Errors:
    """spec.podFailurePolicy."""
    rules, where = meta.parts(spec, "podFailurePolicy", "rules"), f"{path}.podFailurePolicy.rules"
    if len(rules) > RULES_MAX:
        yield FieldError.too_many(where, len(rules), RULES_MAX)
        return
    pods = meta.part(spec, "template", "spec")
    names_of = [one.get("name") for one in pod_containers.own(pods)]
    for index, rule in enumerate(rules):
        yield from _rule(rule, f"{where}[{index}]", spec, names_of)


def _rule(rule: Object, path: str, spec: Object, containers: list[str | None]) -> Errors:
    action, codes, conditions = rule.get("action"), rule.get("onExitCodes"), meta.parts(rule, "onPodConditions")
    if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        yield FieldError.invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set")
    yield from one_of(action, f"{path}.action", _ACTIONS)
    if codes is not None:
        yield from _exit_codes(codes, f"{path}.onExitCodes", containers)
    if len(conditions) > PATTERNS_MAX:
        yield FieldError.too_many(f"{path}.onPodConditions", len(conditions), PATTERNS_MAX)
        return
    for index, pattern in enumerate(conditions):
        where = f"{path}.onPodConditions[{index}]"
        yield from named(pattern.get("type"), f"{where}.type", names.qualified)
        yield from one_of(pattern.get("status"), f"{where}.status", ("False", "True", "Unknown"))
    if codes is not None and conditions:
        yield FieldError.invalid(path, "", "specifying both OnExitCodes and OnPodConditions is not supported")
    elif codes is None and not conditions:
        yield FieldError.invalid(path, "", "specifying one of OnExitCodes and OnPodConditions is required")


def _exit_codes(given: Object, path: str, containers: list[str | None]) -> Errors:
    operator, values = given.get("operator"), given.get("values") or ()
    yield from one_of(operator, f"{path}.operator", ("In", "NotIn"))
    name = given.get("containerName")
    if name is not None and name not in containers:
        why = "must be one of the container or initContainer names in the pod template"
        yield FieldError.invalid(f"{path}.containerName", name, why)
    if not values:
        yield FieldError.invalid(f"{path}.values", list(values), "at least one value is required")
    elif len(values) > EXIT_CODES_MAX:
        yield FieldError.too_many(f"{path}.values", len(values), EXIT_CODES_MAX)
        return
    if list(values) != sorted(values):
        yield FieldError.invalid(f"{path}.values", list(values), "must be ordered")
    seen: dict[int, None] = {}
    for index, value in enumerate(values):
        if value in seen:
            yield FieldError.duplicate(f"{path}.values[{index}]", value)
        if value == 0 and operator == "In":
            yield FieldError.invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")
        seen[value] = None


def success(spec: Object, path: str) -> Errors:
    """spec.successPolicy."""
    policy, where = spec.get("successPolicy"), f"{path}.successPolicy"
    if policy is None:
        return
    if spec.get("completionMode") != "Indexed":
        yield FieldError.invalid(where, dict(policy), "requires indexed completion mode")
        return
    rules = meta.parts(policy, "rules")
    if not rules:
        yield FieldError.required(
            f"{where}.rules", "at least one rules must be specified when the successPolicy is specified"
        )
    if len(rules) > RULES_MAX:
        yield FieldError.too_many(f"{where}.rules", len(rules), RULES_MAX)
        return
    for index, rule in enumerate(rules):
        yield from _success_rule(rule, f"{where}.rules[{index}]", spec.get("completions") or 0)


def _success_rule(rule: Object, path: str, completions: int) -> Errors:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        yield FieldError.required(path, "at least one of succeededCount or succeededIndexes must be specified")
    total = completions
    if indexes is not None:
        spans = _spans(indexes)
        if spans is None or any(last >= completions for _, last in spans):
            why = f"must be increasing indexes below {completions}, like 0,2-4"
            yield FieldError.invalid(f"{path}.succeededIndexes", indexes[:100], why)
            return
        total = sum(last - first + 1 for first, last in spans)
    yield from at_least(count, f"{path}.succeededCount")
    if count is not None and count > total:
        why = f"must be less than or equal to {total} (the number of specified indexes)"
        yield FieldError.invalid(f"{path}.succeededCount", count, why)


def _spans(text: str) -> list[tuple[int, int]] | None:
    """0,2-4 as [(0, 0), (2, 4)]; None for what is not increasing or too long."""
    if len(text) > INDEXES_CHARACTERS_MAX or not _INDEXES.fullmatch(text):
        return None
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        span = int(first), int(last or first)
        if span[1] < span[0] or (found and span[0] <= found[-1][1]):
            return None
        found.append(span)
    return found
