"""FlowSchema: which requests go by which priority level, and whose they are (flowcontrol.apiserver.k8s.io/v1).

A request belongs to the schema of the lowest precedence that matches it. Two are fixed: `exempt` comes before all
others, `catch-all` after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.objects import filling, meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, listed, named

GROUP = "flowcontrol.apiserver.k8s.io"
EXEMPT, CATCH_ALL = "exempt", "catch-all"
PRECEDENCE_DEFAULT, PRECEDENCE_MAX = 1000, 10_000
DANGLING = "Dangling"  # The condition of a schema whose priority level is missing.
EVERYTHING = "*"
DISTINGUISHERS = ("ByNamespace", "ByUser")
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
# By kind of subject: the field that says who it is.
SUBJECTS: Mapping[str, str] = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


def _of_groups(level: str, precedence: int, *groups: str, **more: Any) -> Object:
    """The spec of a schema for all that these groups ask."""
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    rule = {
        "subjects": [{"kind": "Group", "group": {"name": group}} for group in groups],
        "resourceRules": [everything],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    named_level = {"name": level}
    return {"priorityLevelConfiguration": named_level, "matchingPrecedence": precedence, "rules": [rule], **more}


FIXED: Mapping[str, Object] = {
    EXEMPT: _of_groups(EXEMPT, 1, "system:masters"),
    CATCH_ALL: _of_groups(
        CATCH_ALL,
        PRECEDENCE_MAX,
        "system:unauthenticated",
        "system:authenticated",
        distinguisherMethod={"type": "ByUser"},
    ),
}


def level_of(schema: Object) -> str:
    """The priority level that its requests go by."""
    return meta.get(schema, "spec", "priorityLevelConfiguration", "name", default="")


def defaults(obj: Object) -> Object:
    return within(obj, "spec", lambda spec: fill_empty(spec, {"matchingPrecedence": PRECEDENCE_DEFAULT}))


@listed
def validate(obj: Object) -> Errors:
    name, spec = meta.name(obj), meta.part(obj, "spec")
    yield from _precedence(spec.get("matchingPrecedence") or 0, name)
    if (method := spec.get("distinguisherMethod")) is not None and method.get("type") not in DISTINGUISHERS:
        yield FieldError.unsupported("spec.distinguisherMethod.type", method.get("type") or "", DISTINGUISHERS)
    level, path = meta.get(spec, "priorityLevelConfiguration", "name"), "spec.priorityLevelConfiguration.name"
    if not level:
        yield FieldError.required(path, "must reference a priority level")
    else:
        yield from named(level, path, names.subdomain)
    for index, rule in enumerate(meta.parts(spec, "rules")):
        yield from _rule(rule, f"spec.rules[{index}]")
    yield from fixed(obj, FIXED)
    yield from conditions(obj)


def _precedence(value: int, name: str) -> Errors:
    path = "spec.matchingPrecedence"
    if value <= 0:
        yield FieldError.invalid(path, value, "must be a positive value")
    if value > PRECEDENCE_MAX:
        yield FieldError.invalid(path, value, f"must not be greater than {PRECEDENCE_MAX}")
    if value == 1 and name != EXEMPT:
        yield FieldError.invalid(path, value, "only the schema named 'exempt' may have matchingPrecedence 1")


def _rule(rule: Object, path: str) -> Errors:
    subjects = meta.parts(rule, "subjects")
    if not subjects:
        yield FieldError.required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(subjects):
        yield from _subject(subject, f"{path}.subjects[{index}]")
    resources, paths = meta.parts(rule, "resourceRules"), meta.parts(rule, "nonResourceRules")
    if not resources and not paths:
        yield FieldError.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, resource in enumerate(resources):
        yield from _resource_rule(resource, f"{path}.resourceRules[{index}]")
    for index, other in enumerate(paths):
        where = f"{path}.nonResourceRules[{index}]"
        yield from _verbs(other, where)
        urls = meta.texts(other, "nonResourceURLs")
        none = "nonResourceURLs must contain at least one value"
        yield from _some(urls, f"{where}.nonResourceURLs", none, "non-resource URLs")
        if EVERYTHING not in urls:
            for at, url in enumerate(urls):
                if wrong := _wrong_url(url):
                    yield FieldError.invalid(f"{where}.nonResourceURLs[{at}]", url, wrong)


def _subject(subject: Object, path: str) -> Errors:
    kind = subject.get("kind") or ""
    if kind not in SUBJECTS:
        yield FieldError.unsupported(f"{path}.kind", kind, tuple(SUBJECTS))
        return
    own = SUBJECTS[kind]
    for other, field in SUBJECTS.items():
        if field != own and subject.get(field) is not None:
            yield FieldError.forbidden(f"{path}.{field}", f"{field} is forbidden when subject kind is not '{other}'")
    who = subject.get(own)
    if who is None:
        yield FieldError.required(f"{path}.{own}", f"{own} is required when subject kind is '{kind}'")
        return
    name = who.get("name") or ""
    if not name:
        yield FieldError.required(f"{path}.{own}.name")
    if kind != "ServiceAccount":
        return
    if name and name != EVERYTHING:
        yield from named(name, f"{path}.{own}.name", names.subdomain)
    if not who.get("namespace"):
        yield FieldError.required(f"{path}.{own}.namespace", "must specify namespace for service account")
    else:
        yield from named(who["namespace"], f"{path}.{own}.namespace", names.label)


def _resource_rule(rule: Object, path: str) -> Errors:
    yield from _verbs(rule, path)
    groups, resources = meta.texts(rule, "apiGroups"), meta.texts(rule, "resources")
    yield from _some(groups, f"{path}.apiGroups", "resource rules must supply at least one api group", "api groups")
    yield from _some(resources, f"{path}.resources", "resource rules must supply at least one resource", "resources")
    spaces, where = meta.texts(rule, "namespaces"), f"{path}.namespaces"
    if spaces or not rule.get("clusterScope"):
        why = "resource rules that are not cluster scoped must supply at least one namespace"
        yield from _some(spaces, where, why, "namespaces")
    if EVERYTHING not in spaces:
        for index, space in enumerate(spaces):
            if wrong := names.label(space):
                why = f"each member of this list must be '*' or a DNS-1123 label; {wrong}"
                yield FieldError.invalid(f"{where}[{index}]", space, why)


def _verbs(rule: Object, path: str) -> Errors:
    verbs = meta.texts(rule, "verbs")
    yield from _some(verbs, f"{path}.verbs", "verbs must contain at least one value", "verbs")
    if EVERYTHING not in verbs and any(verb not in VERBS for verb in verbs):
        yield FieldError.unsupported(f"{path}.verbs", list(verbs), VERBS)


def _some(values: Sequence[str], path: str, when_none: str, what: str) -> Errors:
    """At least one; and nothing beside everything."""
    if not values:
        yield FieldError.required(path, when_none)
    elif EVERYTHING in values and len(values) > 1:
        yield FieldError.invalid(path, list(values), f"if '*' is present, must not specify other {what}")


def _wrong_url(url: str) -> str:
    """What is wrong with a path that is no resource's, or ""."""
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    return "wildcard can only do suffix matching" if stars > 1 or (stars and not url.endswith("/*")) else ""


def fixed(obj: Object, specs: Mapping[str, Object]) -> Errors:
    """That one of the names that every cluster has means what it means everywhere."""
    name = meta.name(obj)
    if name in specs and meta.part(obj, "spec") != specs[name]:
        yield FieldError.invalid("spec", dict(meta.part(obj, "spec")), f"spec of '{name}' must equal the fixed value")


def conditions(obj: Object) -> Errors:
    seen: dict[str, None] = {}
    for index, condition in enumerate(meta.parts(obj, "status", "conditions")):
        where, kind = f"status.conditions[{index}].type", condition.get("type") or ""
        if kind in seen:
            yield FieldError.duplicate(where, kind)
        if not kind:
            yield FieldError.required(where, "must not be empty")
        seen[kind] = None


def cells(obj: Object, now: float) -> list[Any]:
    spec, dangling = meta.part(obj, "spec"), meta.condition(obj, DANGLING)
    return [
        tables.name(obj),
        level_of(obj),
        spec.get("matchingPrecedence", 0),
        meta.get(spec, "distinguisherMethod", "type") or "<none>",
        tables.age(obj, now),
        "?" if dangling is None else dangling.get("status", ""),
    ]


FLOWSCHEMAS = Kind(
    GROUP,
    "v1",
    "flowschemas",
    "FlowSchema",
    False,
    subresources=STATUS,
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({}),
    validate=validate,
    printer=tables.Printer(
        tables.columns(
            "Name, PriorityLevel, MatchingPrecedence, DistinguisherMethod, Age, MissingPL", "MatchingPrecedence"
        ),
        cells,
    ),
)

KINDS = (FLOWSCHEMAS,)
