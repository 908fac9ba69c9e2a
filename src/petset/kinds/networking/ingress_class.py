"""IngressClass: which controller serves the Ingresses that name it (networking.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from petset.objects import meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, immutable, listed, named, one_of

CONTROLLER_CHARACTERS_MAX = 250


def defaults(obj: Object) -> Object:
    def spec(given: Object) -> Object:
        return at(given, "parameters", lambda parameters: fill_empty(parameters, {"scope": "Cluster"}))

    return within(obj, "spec", spec)


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    controller = spec.get("controller") or ""
    if len(controller) > CONTROLLER_CHARACTERS_MAX:
        yield FieldError.too_long("spec.controller", CONTROLLER_CHARACTERS_MAX)
    yield from named(controller, "spec.controller", names.domain_path)
    if spec.get("parameters") is not None:
        yield from _parameters(spec["parameters"], "spec.parameters")


def _parameters(given: Object, path: str) -> Errors:
    if given.get("apiGroup") is not None and (wrong := names.subdomain(given["apiGroup"])):
        yield FieldError.invalid(f"{path}.apiGroup", given["apiGroup"], wrong)
    for field in ("kind", "name"):
        yield from named(given.get(field), f"{path}.{field}", names.path_segment)
    scope, namespace = given.get("scope"), given.get("namespace")
    yield from one_of(scope, f"{path}.scope", ("Cluster", "Namespace"))
    if scope == "Namespace":
        if namespace is None:
            yield FieldError.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
        elif wrong := names.label(namespace):
            yield FieldError.invalid(f"{path}.namespace", namespace, wrong)
    elif scope == "Cluster" and namespace is not None:
        yield FieldError.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", "controller")


def cells(obj: Object, now: float) -> list[Any]:
    parameters = meta.get(obj, "spec", "parameters")
    shown = "<none>"
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [tables.name(obj), meta.get(obj, "spec", "controller", default=""), shown, tables.age(obj, now)]


INGRESSCLASSES = Kind(
    "networking.k8s.io",
    "v1",
    "ingressclasses",
    "IngressClass",
    False,
    has_generation=True,
    acted_on=False,
    default=defaults,
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, Controller, Parameters, Age"), cells),
)

KINDS = (INGRESSCLASSES,)
