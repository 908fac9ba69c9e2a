"""What validating and mutating admission policies have in common, and their bindings: defaults, checks, columns.

A policy says which requests it is about, what it must know (params, variables) and what it thinks of them; a binding
makes it count, where and with which params. Neither does anything without the other.
Rows of admissionregistration.k8s.io/v1; follows the API's documentation and upstream's validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.base import well_known
from petset.kinds.admission import expressions, rules
from petset.kinds.admission.expressions import Variables
from petset.objects import cel, meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill_empty
from petset.objects.meta import Object
from petset.objects.validation import Errors, label_selector, named, one_of

GROUP = well_known.ADMISSION_GROUP


def defaults(obj: Object) -> Object:
    def spec(given: Object) -> Object:
        filled = fill_empty(given, {"failurePolicy": "Fail"})
        return at(filled, "matchConstraints", rules.resources_defaults)

    return at(obj, "spec", spec)


def binding_defaults(obj: Object) -> Object:
    return at(obj, "spec", lambda spec: at(spec, "matchResources", rules.resources_defaults))


def declared(spec: Object, authorizer: bool = True, variables: bool = True) -> cel.Variables:
    """What a policy's expressions may speak of."""
    return expressions.declared(spec.get("paramKind") is not None, authorizer, variables)


def variables_of(spec: Object) -> Variables:
    return Variables(meta.parts(spec, "variables"), declared(spec))


def validate_spec(spec: Object, variables: Variables, operations: Sequence[str]) -> Errors:
    """All but what a policy thinks of a request."""
    yield from one_of(spec.get("failurePolicy"), "spec.failurePolicy", ("Fail", "Ignore"))
    if (param := spec.get("paramKind")) is not None:
        yield from _param_kind(param, "spec.paramKind")
    constraints = spec.get("matchConstraints")
    if constraints is None:
        yield FieldError.required("spec.matchConstraints")
    else:
        yield from rules.validate_resources(constraints, "spec.matchConstraints", operations)
        if not constraints.get("resourceRules"):
            yield FieldError.required("spec.matchConstraints.resourceRules")
    conditions = meta.parts(spec, "matchConditions")
    yield from expressions.validate_conditions(conditions, declared(spec, variables=False), "spec.matchConditions")
    yield from expressions.validate_variables(meta.parts(spec, "variables"), variables, "spec.variables")


def _param_kind(param: Object, where: str) -> Errors:
    version, kind = param.get("apiVersion") or "", param.get("kind") or ""
    group, slash, own = version.rpartition("/")
    if not version:
        yield FieldError.required(f"{where}.apiVersion")
    elif "/" in group:
        yield FieldError.invalid(f"{where}.apiVersion", version, f"unexpected GroupVersion string: {version}")
    else:
        if slash and (wrong := names.subdomain(group)):
            yield FieldError.invalid(f"{where}.apiVersion", group, wrong)
        if not own:
            yield FieldError.invalid(f"{where}.apiVersion", version, "version must be specified")
        elif wrong := names.label_1035(own):
            yield FieldError.invalid(f"{where}.apiVersion", own, wrong)
    if not kind:
        yield FieldError.required(f"{where}.kind")
    elif wrong := names.label_1035(kind.lower()):
        yield FieldError.invalid(f"{where}.kind", kind, f"may have mixed case, but should otherwise match: {wrong}")


def validate_binding_spec(spec: Object, operations: Sequence[str]) -> Errors:
    yield from named(spec.get("policyName"), "spec.policyName", names.subdomain)
    if (param := spec.get("paramRef")) is not None:
        yield from _param_ref(param, "spec.paramRef")
    if (resources := spec.get("matchResources")) is not None:
        yield from rules.validate_resources(resources, "spec.matchResources", operations)


def _param_ref(param: Object, where: str) -> Errors:
    name, selector = param.get("name") or "", param.get("selector")
    if name and (wrong := names.path_segment(name)):
        yield FieldError.invalid(f"{where}.name", name, wrong)
    if name and selector is not None:
        for field in ("name", "selector"):
            yield FieldError.forbidden(f"{where}.{field}", "name and selector are mutually exclusive")
    yield from label_selector(selector, f"{where}.selector")
    if not name and selector is None:
        yield FieldError.required(where, "one of name or selector must be specified")
    yield from one_of(param.get("parameterNotFoundAction"), f"{where}.parameterNotFoundAction", ("Deny", "Allow"))


# -- columns ------------------------------------------------------------------------------------------------------


def param_kind_cell(obj: Object) -> str:
    param = meta.part(obj, "spec", "paramKind")
    return f"{param.get('apiVersion', '')}/{param.get('kind', '')}" if param else "<unset>"


def _param_cell(obj: Object) -> str:
    param = meta.part(obj, "spec", "paramRef")
    if name := param.get("name"):
        return f"{param.get('namespace') or '*'}/{name}"
    return tables.selector(param["selector"], "<all>") if param.get("selector") is not None else "<unset>"


def _binding_cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), meta.get(obj, "spec", "policyName"), _param_cell(obj), tables.age(obj, now)]


BINDING_PRINTER = tables.Printer(tables.columns("Name, PolicyName, ParamRef, Age"), _binding_cells)
