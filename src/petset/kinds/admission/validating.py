"""ValidatingAdmissionPolicy and its binding: what a request must fulfil, in CEL (admissionregistration.k8s.io/v1).

server/admission/policies/ asks them. Follows the API's documentation and upstream's validation.
"""

from __future__ import annotations

from typing import Any

from petset.kinds.admission import expressions, policies, rules
from petset.kinds.admission.expressions import Expression, Variables
from petset.objects import cel, meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, listed

ACTIONS = ("Audit", "Deny", "Warn")
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
ANNOTATIONS_MAX = 20
VALUE_EXPRESSION_BYTES_MAX = 5 << 10


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    variables = policies.variables_of(spec)
    yield from policies.validate_spec(spec, variables, rules.OPERATIONS)
    validations, annotations = meta.parts(spec, "validations"), meta.parts(spec, "auditAnnotations")
    if not validations and not annotations:
        for field in ("validations", "auditAnnotations"):
            why = "validations or auditAnnotations must contain at least one item"
            yield FieldError.required(f"spec.{field}", why)
    for index, one in enumerate(validations):
        yield from _validation(one, spec, variables, f"spec.validations[{index}]")
    if len(annotations) > ANNOTATIONS_MAX:
        yield FieldError.too_many("spec.auditAnnotations", len(annotations), ANNOTATIONS_MAX)
        return
    seen: dict[str, None] = {}
    for index, one in enumerate(annotations):
        yield from _annotation(one, spec, variables, meta.name(obj), f"spec.auditAnnotations[{index}]")
        if one["key"] in seen:
            yield FieldError.duplicate(f"spec.auditAnnotations[{index}].key", one["key"])
        seen[one["key"]] = None


def expression(text: str, spec: Object, variables: Variables, result: str, authorizer: bool = True) -> Expression:
    """One of a policy's own, which knows its variables."""
    return Expression(text, policies.declared(spec, authorizer), result, variables, variables.names)


def _validation(given: Object, spec: Object, variables: Variables, where: str) -> Errors:
    text, said, message = (
        given.get("expression") or "",
        given.get("messageExpression") or "",
        given.get("message") or "",
    )
    if not text.strip():
        yield FieldError.required(f"{where}.expression", "expression is not specified")
    else:
        yield from expressions.validate(expression(text, spec, variables, cel.BOOL), f"{where}.expression")
    if said and not said.strip():
        yield FieldError.invalid(f"{where}.messageExpression", said, "must be non-empty if specified")
    elif said:
        made = expression(said, spec, variables, cel.STRING, authorizer=False)
        yield from expressions.validate(made, f"{where}.messageExpression")
    if message and not message.strip():
        yield FieldError.invalid(f"{where}.message", message, "message must be non-empty if specified")
    elif "\n" in message.strip() or "\r" in message.strip():
        yield FieldError.invalid(f"{where}.message", message, "message must not contain line breaks")
    if given.get("reason") is not None and given["reason"] not in REASONS:
        yield FieldError.unsupported(f"{where}.reason", given["reason"], REASONS)


def _annotation(given: Object, spec: Object, variables: Variables, policy: str, where: str) -> Errors:
    key, text = given.get("key") or "", (given.get("valueExpression") or "").strip()
    if wrong := names.qualified(f"{policy}/{key}"):
        yield FieldError.invalid(f"{where}.key", key, wrong)
    if not text:
        yield FieldError.required(f"{where}.valueExpression", "valueExpression is not specified")
        return
    if len(text.encode()) > VALUE_EXPRESSION_BYTES_MAX:
        yield FieldError.too_long(f"{where}.valueExpression", VALUE_EXPRESSION_BYTES_MAX)
        return
    yield from expressions.validate(expression(text, spec, variables, cel.STRING_OR_NULL), f"{where}.valueExpression")


@listed
def validate_binding(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    yield from policies.validate_binding_spec(spec, rules.OPERATIONS)
    actions = meta.texts(spec, "validationActions")
    if not actions:
        yield FieldError.required("spec.validationActions", "at least one validation action is required")
    seen: dict[str, None] = {}
    for index, action in enumerate(actions):
        if action not in ACTIONS:
            yield FieldError.unsupported(f"spec.validationActions[{index}]", action, ACTIONS)
        if action in seen:
            yield FieldError.duplicate(f"spec.validationActions[{index}]", action)
        seen[action] = None
    if "Deny" in seen and "Warn" in seen:
        why = "must not contain both Deny and Warn: the answer would say the same twice"
        yield FieldError.invalid("spec.validationActions", list(actions), why)


@listed
def validate_status(new: Object, old: Object) -> Errors:
    checking = meta.part(new, "status", "typeChecking")
    for index, one in enumerate(meta.parts(checking, "expressionWarnings")):
        for field in ("fieldRef", "warning"):
            if not (one.get(field) or "").strip():
                yield FieldError.required(f"status.typeChecking.expressionWarnings[{index}].{field}")


def prepare(new: Object, old: Object | None) -> Object:
    """What its types say is told in its status, a moment later."""
    return {**new, "status": {}} if old is None else new


def _cells(obj: Object, now: float) -> list[Any]:
    count = len(meta.parts(obj, "spec", "validations"))
    return [tables.name(obj), count, policies.param_kind_cell(obj), tables.age(obj, now)]


VALIDATINGADMISSIONPOLICIES = Kind(
    policies.GROUP,
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    False,
    categories=("api-extensions",),
    subresources=STATUS,
    has_generation=True,
    cost=cel.COST,
    default=policies.defaults,
    prepare=prepare,
    validate=validate,
    validate_status=validate_status,
    printer=tables.Printer(tables.columns("Name, Validations, ParamKind, Age", "Validations"), _cells),
)

VALIDATINGADMISSIONPOLICYBINDINGS = Kind(
    policies.GROUP,
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    False,
    categories=("api-extensions",),
    has_generation=True,
    default=policies.binding_defaults,
    validate=validate_binding,
    printer=policies.BINDING_PRINTER,
)

KINDS = (VALIDATINGADMISSIONPOLICIES, VALIDATINGADMISSIONPOLICYBINDINGS)
