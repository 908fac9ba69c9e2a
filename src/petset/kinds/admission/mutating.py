"""MutatingAdmissionPolicy and its binding: what becomes of a request, in CEL (admissionregistration.k8s.io/v1).

A mutation makes an apply configuration (`Object{...}`) or a JSON patch (`[JSONPatch{...}]`).
server/admission/policies/ applies them. Follows the API's documentation and upstream's validation.
"""

from __future__ import annotations

from typing import Any

from petset.kinds.admission import expressions, policies, rules
from petset.kinds.admission.expressions import Expression, Variables
from petset.objects import cel, meta, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed, one_of

APPLY, JSON_PATCH = "ApplyConfiguration", "JSONPatch"
_FIELDS = {APPLY: "applyConfiguration", JSON_PATCH: "jsonPatch"}
_RESULTS = {APPLY: cel.MAP, JSON_PATCH: cel.LIST}


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    variables = policies.variables_of(spec)
    yield from policies.validate_spec(spec, variables, rules.MUTATED)
    yield from one_of(spec.get("reinvocationPolicy"), "spec.reinvocationPolicy", ("IfNeeded", "Never"))
    mutations = meta.parts(spec, "mutations")
    if not mutations:
        yield FieldError.required("spec.mutations", "mutations must contain at least one item")
    for index, one in enumerate(mutations):
        yield from _mutation(one, spec, variables, f"spec.mutations[{index}]")


def _mutation(given: Object, spec: Object, variables: Variables, where: str) -> Errors:
    kind = given.get("patchType") or ""
    yield from one_of(kind, f"{where}.patchType", (APPLY, JSON_PATCH))
    for one, field in _FIELDS.items():
        if kind not in _FIELDS:
            continue
        if kind != one and given.get(field) is not None:
            yield FieldError.forbidden(f"{where}.{field}", f"must not be set where patchType is {kind}")
        elif kind == one and given.get(field) is None:
            yield FieldError.required(f"{where}.{field}", f"must be set where patchType is {kind}")
        elif kind == one and not text_of(given).strip():
            yield FieldError.required(f"{where}.{field}.expression", "expression is not specified")
        elif kind == one:
            yield from expressions.validate(expression(given, spec, variables), f"{where}.{field}.expression")


def text_of(mutation: Object) -> str:
    return meta.get(mutation, _FIELDS[mutation["patchType"]], "expression") or ""


def expression(mutation: Object, spec: Object, variables: Variables) -> Expression:
    """What a mutation makes: an object or a list of patches, as maps."""
    declared, result = policies.declared(spec), _RESULTS[mutation["patchType"]]
    return Expression(text_of(mutation), declared, result, variables, variables.names, makes_objects=True)


@listed
def validate_binding(obj: Object) -> Errors:
    yield from policies.validate_binding_spec(meta.part(obj, "spec"), rules.MUTATED)


def _cells(obj: Object, now: float) -> list[Any]:
    count = len(meta.parts(obj, "spec", "mutations"))
    return [tables.name(obj), count, policies.param_kind_cell(obj), tables.age(obj, now)]


MUTATINGADMISSIONPOLICIES = Kind(
    policies.GROUP,
    "v1",
    "mutatingadmissionpolicies",
    "MutatingAdmissionPolicy",
    False,
    categories=("api-extensions",),
    has_generation=True,
    cost=cel.COST,
    default=policies.defaults,
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Mutations, ParamKind, Age", "Mutations"), _cells),
)

MUTATINGADMISSIONPOLICYBINDINGS = Kind(
    policies.GROUP,
    "v1",
    "mutatingadmissionpolicybindings",
    "MutatingAdmissionPolicyBinding",
    False,
    categories=("api-extensions",),
    has_generation=True,
    default=policies.binding_defaults,
    validate=validate_binding,
    printer=policies.BINDING_PRINTER,
)

KINDS = (MUTATINGADMISSIONPOLICIES, MUTATINGADMISSIONPOLICYBINDINGS)
