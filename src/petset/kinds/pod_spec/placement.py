"""Checks of where a pod may run: node selector, tolerations, affinity, topology spread, scheduling gates.

The paths are upstream's, long as they are; each level of the affinity tree has one function here.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.objects import meta, names
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import POSITIVE, Errors, label_selector, labels, named, one_of

EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")

NODE_OPERATORS = ("DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn")

REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def placement(spec: Object, path: str) -> Errors:
    """All of it, for a PodSpec."""
    if spec.get("nodeSelector"):
        yield from labels(spec["nodeSelector"], f"{path}.nodeSelector")
    if spec.get("tolerations"):
        yield from tolerations(spec["tolerations"], f"{path}.tolerations")
    affinity = spec.get("affinity")
    if affinity:
        yield from node_affinity(meta.part(affinity, "nodeAffinity"), f"{path}.affinity.nodeAffinity")
        for kind in ("podAffinity", "podAntiAffinity"):
            yield from _pod_affinity(meta.part(affinity, kind), f"{path}.affinity.{kind}")
    if spec.get("topologySpreadConstraints"):
        yield from _spread(spec["topologySpreadConstraints"], f"{path}.topologySpreadConstraints")
    seen: dict[str, None] = {}
    for index, gate in enumerate(meta.parts(spec, "schedulingGates")):
        where, name = f"{path}.schedulingGates[{index}]", gate.get("name") or ""
        yield from named(gate.get("name"), f"{where}.name", names.qualified)
        if name in seen:
            yield FieldError.duplicate(where, name)
        seen[name] = None


def tolerations(given: Sequence[Object], path: str) -> Errors:
    for index, toleration in enumerate(given):
        where = f"{path}[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        if key and (wrong := names.qualified(key)):
            yield FieldError.invalid(f"{where}.key", key, wrong)
        if not key and operator != "Exists":
            yield FieldError.invalid(
                f"{where}.operator",
                operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if operator == "Exists" and toleration.get("value"):
            yield FieldError.invalid(
                f"{where}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'"
            )
        elif operator == "Equal" and (wrong := names.label_value(toleration.get("value") or "")):
            yield FieldError.invalid(f"{where}.operator", toleration.get("value"), wrong)
        elif operator not in ("Equal", "Exists"):
            yield FieldError.unsupported(f"{where}.operator", operator, ("Equal", "Exists"))
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            yield FieldError.invalid(
                f"{where}.effect",
                toleration.get("effect") or "",
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )
        if toleration.get("effect"):
            yield from one_of(toleration["effect"], f"{where}.effect", EFFECTS)


def node_selector(given: Object, path: str) -> Errors:
    """A NodeSelector: terms, one of which must hold."""
    terms = meta.parts(given, "nodeSelectorTerms")
    if not terms:
        yield FieldError.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from _node_term(term, f"{path}.nodeSelectorTerms[{index}]")


def _node_term(term: Object, path: str) -> Errors:
    for field in ("matchExpressions", "matchFields"):
        for index, need in enumerate(meta.parts(term, field)):
            where = f"{path}.{field}[{index}]"
            operator, values = need.get("operator"), meta.texts(need, "values")
            yield from one_of(operator, f"{where}.operator", NODE_OPERATORS)
            if operator in ("In", "NotIn") and not values:
                yield FieldError.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            if operator in ("Exists", "DoesNotExist") and values:
                yield FieldError.forbidden(
                    f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
            if operator in ("Gt", "Lt") and (len(values) != 1 or not values[0].lstrip("-").isdecimal()):
                yield FieldError.required(f"{where}.values", "must be one integer when `operator` is 'Lt' or 'Gt'")
            yield from named(need.get("key"), f"{where}.key", names.qualified)


def node_affinity(given: Object, path: str) -> Errors:
    if given.get(REQUIRED) is not None:
        yield from node_selector(given[REQUIRED], f"{path}.{REQUIRED}")
    for index, preferred in enumerate(meta.parts(given, PREFERRED)):
        where = f"{path}.{PREFERRED}[{index}]"
        yield from _weight(preferred.get("weight"), f"{where}.weight")
        yield from _node_term(meta.part(preferred, "preference"), f"{where}.preference")


def _min_domains(number: int | None, action: str | None, path: str) -> Errors:
    if number is None:
        return
    if number <= 0:
        yield FieldError.invalid(path, number, POSITIVE)
    if action != "DoNotSchedule":
        why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        yield FieldError.invalid(path, number, why)


def _weight(weight: int | None, path: str) -> Errors:
    if not 1 <= (weight or 0) <= 100:
        yield FieldError.invalid(path, weight, "must be in the range 1-100")


def _pod_affinity(given: Object, path: str) -> Errors:
    for index, term in enumerate(meta.parts(given, REQUIRED)):
        yield from _pod_term(term, f"{path}.{REQUIRED}[{index}]")
    for index, preferred in enumerate(meta.parts(given, PREFERRED)):
        where = f"{path}.{PREFERRED}[{index}]"
        yield from _weight(preferred.get("weight"), f"{where}.weight")
        yield from _pod_term(meta.part(preferred, "podAffinityTerm"), f"{where}.podAffinityTerm")


def _pod_term(term: Object, path: str) -> Errors:
    yield from label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    yield from label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for index, namespace in enumerate(meta.texts(term, "namespaces")):
        yield from named(namespace, f"{path}.namespaces[{index}]", names.label)
    yield from _label_keys(term, path)
    if not term.get("topologyKey"):
        yield FieldError.required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from named(term["topologyKey"], f"{path}.topologyKey", names.qualified)


def _label_keys(term: Object, path: str) -> Errors:
    """The keys of labels that a term takes from its own pod; their requirements are in its selector already."""
    selector, mismatched = term.get("labelSelector"), dict.fromkeys(meta.texts(term, "mismatchLabelKeys"))
    for field in ("matchLabelKeys", "mismatchLabelKeys"):
        keys = meta.texts(term, field)
        if keys and selector is None:
            yield FieldError.forbidden(f"{path}.{field}", "must not be specified when labelSelector is not set")
        for index, key in enumerate(keys):
            yield from named(key, f"{path}.{field}[{index}]", names.qualified)
            if field == "matchLabelKeys" and key in mismatched:
                why = "exists in both matchLabelKeys and mismatchLabelKeys"
                yield FieldError.invalid(f"{path}.{field}[{index}]", key, why)
    matched = {key: index for index, key in enumerate(meta.texts(term, "matchLabelKeys"))}
    used = dict.fromkeys(meta.part(selector or {}, "matchLabels"))
    for expression in meta.parts(selector or {}, "matchExpressions"):
        key = expression.get("key", "")
        if key in matched and key in used:
            why = "exists in both matchLabelKeys and labelSelector"
            yield FieldError.invalid(f"{path}[{matched[key]}]", key, why)
        used[key] = None


def _spread(given: Sequence[Object], path: str) -> Errors:
    last = {(one.get("topologyKey"), one.get("whenUnsatisfiable")): index for index, one in enumerate(given)}
    for index, constraint in enumerate(given):
        where = f"{path}[{index}]"
        topology, action = constraint.get("topologyKey"), constraint.get("whenUnsatisfiable")
        if last[topology, action] != index:
            yield FieldError.duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{topology}, {action}}}")
        yield from _min_domains(constraint.get("minDomains"), action, f"{where}.minDomains")
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if constraint.get(field) is not None:
                yield from one_of(constraint[field], f"{where}.{field}", ("Honor", "Ignore"))
        yield from _label_keys(constraint, where)
        if constraint.get("maxSkew", 0) <= 0:
            yield FieldError.invalid(f"{where}.maxSkew", constraint.get("maxSkew"), POSITIVE)
        yield from named(constraint.get("topologyKey"), f"{where}.topologyKey", names.qualified)
        yield from one_of(
            constraint.get("whenUnsatisfiable"), f"{where}.whenUnsatisfiable", ("DoNotSchedule", "ScheduleAnyway")
        )
        yield from label_selector(constraint.get("labelSelector"), f"{where}.labelSelector")
