"""Which requests somebody wants to know of: the rules of webhooks and of admission policies, as they are written.

`RuleWithOperations` and `MatchResources` of admissionregistration.k8s.io/v1: defaults and what may be wrong with them.
What they mean is in server/admission/matching.py. Follows upstream's validation.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.objects import meta, names
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill, fill_empty
from petset.objects.meta import Object
from petset.objects.validation import Errors, label_selector, one_of

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
MUTATED = ("*", "CONNECT", "CREATE", "UPDATE")  # What is removed cannot be changed.


def defaults(rule: Object) -> Object:
    return fill(rule, {"scope": "*"})


def resources_defaults(given: Object) -> Object:
    """Of a MatchResources."""
    filled = fill(fill_empty(given, {"matchPolicy": "Equivalent"}), {"namespaceSelector": {}, "objectSelector": {}})
    for field in ("resourceRules", "excludeResourceRules"):
        filled = at(filled, field, lambda rules: each(rules, defaults))
    return filled


def validate_resources(given: Object, where: str, operations: Sequence[str] = OPERATIONS) -> Errors:
    """A MatchResources."""
    yield from one_of(given.get("matchPolicy"), f"{where}.matchPolicy", ("Equivalent", "Exact"))
    for selector in ("namespaceSelector", "objectSelector"):
        yield from label_selector(given.get(selector), f"{where}.{selector}")
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(meta.parts(given, field)):
            yield from _names(meta.texts(rule, "resourceNames"), f"{where}.{field}[{index}].resourceNames")
            yield from validate(rule, f"{where}.{field}[{index}]", operations)


def _names(given: Sequence[str], path: str) -> Errors:
    seen: dict[str, None] = {}
    for index, name in enumerate(given):
        if wrong := names.path_segment(name):
            yield FieldError.invalid(f"{path}[{index}]", name, wrong)
        if name in seen:
            yield FieldError.duplicate(f"{path}[{index}]", name)
        seen[name] = None


def validate(rule: Object, where: str, operations_of: Sequence[str] = OPERATIONS) -> Errors:
    operations = meta.texts(rule, "operations")
    for field, what in (("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = meta.texts(rule, field)
        if not values:
            yield FieldError.required(f"{where}.{field}")
        if len(values) > 1 and "*" in values:
            why = f"if '*' is present, must not specify other {what}"
            yield FieldError.invalid(f"{where}.{field}", list(values), why)
    for index, operation in enumerate(operations):
        if operation not in operations_of:
            yield FieldError.unsupported(f"{where}.operations[{index}]", operation, operations_of)
    for index, version in enumerate(meta.texts(rule, "apiVersions")):
        if not version:
            yield FieldError.required(f"{where}.apiVersions[{index}]")
    yield from _resources(meta.texts(rule, "resources"), f"{where}.resources")
    yield from one_of(rule.get("scope"), f"{where}.scope", ("*", "Cluster", "Namespaced"))


def _resources(resources: Sequence[str], path: str) -> Errors:
    if not resources:
        yield FieldError.required(path)
    all_below: dict[str, None] = {}  # pods, of pods/*.
    of_all: dict[str, None] = {}  # status, of */status.
    for index, given in enumerate(resources):
        where = f"{path}[{index}]"
        if not given:
            yield FieldError.required(where)
        resource, slash, subresource = given.partition("/")
        if not slash:
            continue
        if resource in all_below:
            why = f"if '{resource}/*' is present, must not specify {given}"
            yield FieldError.invalid(where, given, why)
        if subresource in of_all:
            yield FieldError.invalid(where, given, f"if '*/{subresource}' is present, must not specify {given}")
        if subresource == "*":
            all_below[resource] = None
        if resource == "*":
            of_all[subresource] = None
    if len(resources) > 1 and "*/*" in resources:
        yield FieldError.invalid(path, list(resources), "if '*/*' is present, must not specify other resources")
    if "*" in resources and any(given and given != "*" and "/" not in given for given in resources):
        why = "if '*' is present, must not specify other resources without subresources"
        yield FieldError.invalid(path, list(resources), why)
