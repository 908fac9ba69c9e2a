"""x-kubernetes-validations: rules in CEL that a schema's node puts on its values, and on changes of them.

`compiled` makes the checks of all rules of a schema, once; `wrong` says what is wrong with the rules of one node when
a CustomResourceDefinition is written, but for what their types say (typed_rules.py). A rule that names oldSelf is a
transition rule: it is asked where the value was there before, or with optionalOldSelf always. Programs are compiled at
first need and shared by equal expressions. Bounded: so many rules a schema, so many evaluations an object; each
evaluation by cel.py.
Follows: KEP-2876, and "Validation rules" of the Kubernetes documentation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from petset.objects import cel, encoding, meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.structural import declared, shape, values
from petset.objects.structural.values import NONE

RULES = "x-kubernetes-validations"
RULES_MAX = 1_000  # Of one schema.
EVALUATIONS_MAX = 10_000  # Of one object.
MESSAGE_BYTES_MAX = 5_120
PROGRAMS_KEPT_MAX = 2_000
REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
OLD = "petset_old"  # With optionalOldSelf: a list of the old value, or of nothing.
MUST_BE = {
    "rule": "cel expression must evaluate to a bool",
    "messageExpression": "messageExpression must evaluate to a string",
}
_OPTIONAL = f"cel.bind(oldSelf, {OLD}[?0], "
_PATH = re.compile(r"(\.[^.\[\]'\n\r]+|\['[^'\n\r]+'\])+")
_STEP = re.compile(r"\.([^.\[\]']+)|\['([^']+)'\]")
_SCALARS = {"string": cel.STRING, "integer": cel.INT, "number": cel.DOUBLE, "boolean": cel.BOOL}


class Evaluations:
    """How many an object may still have."""

    def __init__(self) -> None:
        self.left = EVALUATIONS_MAX


Check = Callable[[Any, Any, str, list[FieldError], Evaluations], None]
View = Callable[[Any], Any]  # A value as CEL sees it.


# -- programs


@functools.lru_cache(PROGRAMS_KEPT_MAX)
def _program(expression: str, type_: str, optional: bool, result: str) -> tuple[cel.Program, bool]:
    """(the program, whether it names oldSelf). Raises cel.CompileError."""
    try:
        return cel.compile(expression, {"self": type_}, result), False
    except cel.CompileError:
        if not re.search(r"\boldSelf\b", expression):
            raise
    if optional:  # Then oldSelf is an optional, made here of a list.
        return cel.compile(f"{_OPTIONAL}{expression})", {"self": type_, OLD: cel.LIST}, result), True
    return cel.compile(expression, {"self": type_, "oldSelf": type_}, result), True


def _type(schema: Object) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return cel.DYN
    return _SCALARS.get(schema.get("type") or "", cel.LIST if schema.get("type") == "array" else cel.DYN)


def _compile(rule: Object, schema: Object) -> tuple[cel.Program, bool]:
    return _program(rule["rule"], _type(schema), bool(rule.get("optionalOldSelf")), cel.BOOL)


def program(rule: Object, field: str, schema: Object) -> tuple[cel.Program, int]:
    """(of a rule's expression, or its message's, how many characters stand before it). Raises CompileError."""
    optional, result = bool(rule.get("optionalOldSelf")), cel.BOOL if field == "rule" else cel.STRING
    found, uses_old = _program(rule[field], _type(schema), optional, result)
    return found, len(_OPTIONAL) if optional and uses_old else 0


def steps(path: str) -> list[str]:
    """The fields that a fieldPath goes through."""
    return [found.group(1) or found.group(2) for found in _STEP.finditer(path)]


def wrong(schema: Object, path: str, uncorrelated: str) -> Iterator[FieldError]:
    """What is wrong with a node's rules; `uncorrelated`: where old values stop to be found, "" for nowhere."""
    for index, rule in enumerate(meta.parts(schema, RULES)):
        where = f"{path}.{RULES}[{index}]"
        yield from _wrong_texts(rule, where)
        if not rule.get("rule", "").strip():
            continue
        try:
            _, uses_old = _compile(rule, schema)
        except cel.ResultError:
            yield FieldError.invalid(f"{where}.rule", dict(rule), MUST_BE["rule"])
            continue
        except cel.CompileError as error:
            yield FieldError.invalid(f"{where}.rule", dict(rule), f"compilation failed: {error}")
            continue
        if uses_old and uncorrelated:
            why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
            yield FieldError.invalid(f"{where}.rule", rule["rule"], why)
        if not uses_old and rule.get("optionalOldSelf") is not None:
            why = "may not be set if oldSelf is not used in rule"
            yield FieldError.invalid(f"{where}.optionalOldSelf", rule["optionalOldSelf"], why)
        if rule.get("messageExpression"):
            try:
                program(rule, "messageExpression", schema)
            except cel.ResultError:
                yield FieldError.invalid(f"{where}.messageExpression", dict(rule), MUST_BE["messageExpression"])
            except cel.CompileError as error:
                why = f"messageExpression compilation failed: {error}"
                yield FieldError.invalid(f"{where}.messageExpression", dict(rule), why)


def _wrong_texts(rule: Object, where: str) -> Iterator[FieldError]:
    text, message = rule.get("rule", "").strip(), rule.get("message", "")
    if not text:
        yield FieldError.required(f"{where}.rule", "rule is not specified")
    elif message and not message.strip():
        yield FieldError.invalid(f"{where}.message", message, "must be non-empty if specified")
    elif re.search(r"[\n\r]", message.strip()):
        yield FieldError.invalid(f"{where}.message", message, "must not contain line breaks")
    elif re.search(r"[\n\r]", text) and not message.strip():
        yield FieldError.required(f"{where}.message", "message must be specified if rule contains line breaks")
    if rule.get("messageExpression") and not rule["messageExpression"].strip():
        yield FieldError.required(f"{where}.messageExpression", "messageExpression must be non-empty if specified")
    if rule.get("reason") is not None and rule["reason"] not in REASONS:
        yield FieldError.unsupported(f"{where}.reason", rule["reason"], REASONS)
    field = rule.get("fieldPath", "")
    if field and not field.strip():
        yield FieldError.invalid(f"{where}.fieldPath", field, "must be non-empty if specified")
    elif field and _PATH.fullmatch(field) is None:
        yield FieldError.invalid(f"{where}.fieldPath", field, "must be a valid path")


# -- values as CEL sees them


def _view(schema: Object) -> View | None:
    """How a value of the node is shown to CEL; None: as it is."""
    kind = schema.get("type")
    if kind == "number":
        return lambda value: float(value) if type(value) is int and abs(value) < 2**1000 else value
    if kind == "array" and meta.is_struct(schema.get("items")):
        item = _view(schema["items"])
        return None if item is None else lambda value: [item(one) for one in value] if meta.is_list(value) else value
    if kind != "object":
        return None
    others = schema.get("additionalProperties")
    inner = _view(others) if meta.is_struct(others) else None
    fields = {
        name: (declared.escaped(name) or name, _view(one)) for name, one in meta.part(schema, "properties").items()
    }
    if inner is None and not any(name != escaped or view for name, (escaped, view) in fields.items()):
        return None

    def view(value: Any) -> Any:
        if not meta.is_struct(value):
            return value
        shown: dict[str, Any] = {}
        for key, one in value.items():
            name, how = fields.get(key, (key, inner))
            shown[name] = one if how is None else how(one)
        return shown

    return view


# -- checks


def compiled(schema: Object) -> Check | None:
    """The rules of a node and all below it; None where there are none."""
    own = [_rule(rule, schema) for rule in meta.parts(schema, RULES)]
    view = _view(schema) if own else None
    fields = _some({name: compiled(inner) for name, inner in meta.part(schema, "properties").items()})
    others, items = schema.get("additionalProperties"), schema.get("items")
    rest = compiled(others) if meta.is_struct(others) else None
    of_items = compiled(items) if meta.is_struct(items) else None
    keys = tuple(meta.texts(schema, "x-kubernetes-list-map-keys"))
    if not own and not fields and rest is None and of_items is None:
        return None

    def check(value: Any, old: Any, path: str, found: list[FieldError], evaluations: Evaluations) -> None:
        if value is None or len(found) >= values.ERRORS_MAX:
            return
        if own:
            shown = value if view is None else view(value)
            before = old if view is None or old is NONE else view(old)
            is_same = values.same(value, old)
            for rule in own:
                rule(shown, before, path, found, evaluations, is_same)
        if meta.is_struct(value) and (fields or rest):
            was = old if meta.is_struct(old) else {}
            for key, inner in value.items():
                one = fields.get(key, rest)
                if one is not None:
                    one(inner, was.get(key, NONE), encoding.joined(path, key), found, evaluations)
        elif meta.is_list(value) and of_items is not None:
            known = {values.identity(item, keys): item for item in old} if keys and meta.is_list(old) else {}
            for index, item in enumerate(value):
                was_item = known.get(values.identity(item, keys), NONE) if known else NONE
                of_items(item, was_item, f"{path}[{index}]", found, evaluations)

    return check


def _some(checks: Mapping[str, Check | None]) -> Mapping[str, Check]:
    return {name: check for name, check in checks.items() if check is not None}


Rule = Callable[[Any, Any, str, list[FieldError], Evaluations, bool], None]


def _rule(rule: Object, schema: Object) -> Rule:
    optional = bool(rule.get("optionalOldSelf"))

    def check(
        value: Any, old: Any, path: str, found: list[FieldError], evaluations: Evaluations, is_same: bool
    ) -> None:
        if evaluations.left <= 0:
            if evaluations.left == 0:
                why = "validation failed due to running out of cost budget, no further validation rules will be run"
                found.append(FieldError.invalid(path, _kind(schema), why))
            evaluations.left = -1
            return
        try:
            program, uses_old = _compile(rule, schema)
        except cel.CompileError as error:
            found.append(FieldError.invalid(path, _kind(schema), f"rule compile error: {error}"))
            return
        if uses_old and old is NONE and not optional:
            return
        evaluations.left -= 1
        given = {"self": value, **(_old(old, optional) if uses_old else {})}
        try:
            holds = program.evaluate(given)
        except cel.EvaluationError as error:
            found.append(FieldError.invalid(path, _kind(schema), f"{error} evaluating rule: {_named(rule)}"))
            return
        if holds is True or (is_same and not uses_old):  # What did not change may stay as it is.
            return
        field = rule.get("fieldPath") or ""
        where = f"{path}{field}" if path else field.lstrip(".")
        found.append(_told(rule, schema, where, value, _message(rule, schema, value, old, optional)))

    return check


def _old(old: Any, optional: bool) -> Object:
    if optional:
        return {OLD: [] if old is NONE else [old]}
    return {"oldSelf": old}


def _kind(schema: Object) -> str:
    return schema.get("type") or ""


def _named(rule: Object) -> str:
    return rule.get("message") or rule["rule"].strip()


def _message(rule: Object, schema: Object, value: Any, old: Any, optional: bool) -> str:
    text = rule.get("messageExpression")
    if text:
        try:
            program, uses_old = _program(text, _type(schema), optional, cel.STRING)
            made = program.evaluate({"self": value, **(_old(old, optional) if uses_old else {})})
            if isinstance(made, str) and 0 < len(made.strip().encode()) <= MESSAGE_BYTES_MAX and "\n" not in made:
                return made.strip()
        except (cel.CompileError, cel.EvaluationError):
            pass
    return rule["message"].strip() if rule.get("message") else f"failed rule: {rule['rule'].strip()}"


def _told(rule: Object, schema: Object, path: str, value: Any, message: str) -> FieldError:
    match rule.get("reason"):
        case "FieldValueForbidden":
            return FieldError.forbidden(path, message)
        case "FieldValueRequired":
            return FieldError.required(path, message)
        case "FieldValueDuplicate":
            return FieldError.duplicate(path, value)
        case _ if _kind(schema) in ("object", "array"):
            return FieldError(path, "FieldValueInvalid", f"Invalid value: {message}")
        case _:
            return FieldError.invalid(path, value, message)


def count(schema: Object) -> int:
    """How many rules there are in a node and all below it."""
    return sum(len(meta.parts(node, RULES)) for node in shape.nodes(schema))
