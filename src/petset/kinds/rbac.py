"""Role, RoleBinding, ClusterRole, ClusterRoleBinding: who may do what (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.objects import meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill_empty
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, label_selector, listed, named, one_of

GROUP = "rbac.authorization.k8s.io"


def defaults(obj: Object) -> Object:
    """Role and cluster role bindings: the API groups of the role and of users and groups."""

    def subject(given: Object) -> Object:
        return given if given.get("kind") == "ServiceAccount" else fill_empty(given, {"apiGroup": GROUP})

    obj = at(obj, "roleRef", lambda role: fill_empty(role, {"apiGroup": GROUP}))
    return at(obj, "subjects", lambda subjects: each(subjects, subject))


@listed
def validate_role(obj: Object) -> Errors:
    yield from _rules(meta.parts(obj, "rules"), namespaced=True)


@listed
def validate_cluster_role(obj: Object) -> Errors:
    yield from _rules(meta.parts(obj, "rules"), namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        chosen = meta.parts(aggregation, "clusterRoleSelectors")
        if not chosen:
            yield FieldError.required(
                "aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required"
            )
        for index, selector in enumerate(chosen):
            yield from label_selector(selector, f"aggregationRule.clusterRoleSelectors[{index}]")


def _rules(rules: Sequence[Object], namespaced: bool) -> Errors:
    for index, rule in enumerate(rules):
        where, urls = f"rules[{index}]", meta.texts(rule, "nonResourceURLs")
        if not rule.get("verbs"):
            yield FieldError.required(f"{where}.verbs", "verbs must contain at least one value")
        if urls:
            if namespaced:
                yield FieldError.invalid(
                    f"{where}.nonResourceURLs", list(urls), "namespaced rules cannot apply to non-resource URLs"
                )
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                yield FieldError.invalid(
                    f"{where}.nonResourceURLs",
                    list(urls),
                    "rules cannot apply to both regular resources and non-resource URLs",
                )
            continue
        if not rule.get("apiGroups"):
            yield FieldError.required(f"{where}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield FieldError.required(f"{where}.resources", "resource rules must supply at least one resource")


@listed
def validate_role_binding(obj: Object) -> Errors:
    yield from _binding(obj, ("ClusterRole", "Role"))


@listed
def validate_cluster_role_binding(obj: Object) -> Errors:
    yield from _binding(obj, ("ClusterRole",))


def _binding(obj: Object, kinds: Sequence[str]) -> Errors:
    role = meta.part(obj, "roleRef")
    yield from one_of(role.get("apiGroup"), "roleRef.apiGroup", (GROUP,))
    yield from one_of(role.get("kind"), "roleRef.kind", kinds)
    yield from named(role.get("name"), "roleRef.name", names.path_segment)
    for index, subject in enumerate(meta.parts(obj, "subjects")):
        yield from _subject(subject, f"subjects[{index}]", "ClusterRole" in kinds and len(kinds) == 1)


def _subject(subject: Object, path: str, cluster_wide: bool) -> Errors:
    kind, name = subject.get("kind"), subject.get("name") or ""
    if not name:
        yield FieldError.required(f"{path}.name")
    if kind == "ServiceAccount":
        if name and (wrong := names.subdomain(name)):
            yield FieldError.invalid(f"{path}.name", name, wrong)
        if subject.get("apiGroup"):
            yield FieldError.unsupported(f"{path}.apiGroup", subject["apiGroup"], ("",))
        if not subject.get("namespace"):
            yield FieldError.required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        yield from one_of(subject.get("apiGroup"), f"{path}.apiGroup", (GROUP,))
    else:
        yield FieldError.unsupported(f"{path}.kind", kind, ("Group", "ServiceAccount", "User"))


@listed
def validate_binding_update(new: Object, old: Object) -> Errors:
    if new.get("roleRef") != old.get("roleRef"):
        yield FieldError.invalid("roleRef", dict(meta.part(new, "roleRef")), "cannot change roleRef")


def role_cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), meta.get(obj, "metadata", "creationTimestamp", default="<unknown>")]


def binding_cells(obj: Object, now: float) -> list[Any]:
    role, subjects = meta.part(obj, "roleRef"), meta.parts(obj, "subjects")

    def named(kind: str) -> str:
        return ", ".join(
            f"{subject.get('namespace', '')}/{subject.get('name', '')}"
            if kind == "ServiceAccount"
            else subject.get("name", "")
            for subject in subjects
            if subject.get("kind") == kind
        )

    shown = f"{role.get('kind', '')}/{role.get('name', '')}"
    return [tables.name(obj), shown, tables.age(obj, now), named("User"), named("Group"), named("ServiceAccount")]


_ROLE = tables.Printer(tables.columns("Name, Created At"), role_cells)

_BINDING = tables.Printer(tables.columns("Name, Role, Age, +Users, +Groups, +ServiceAccounts"), binding_cells)


ROLES = Kind(
    GROUP,
    "v1",
    "roles",
    "Role",
    validate=validate_role,
    name_rule=names.path_segment,
    printer=_ROLE,
)

ROLEBINDINGS = Kind(
    GROUP,
    "v1",
    "rolebindings",
    "RoleBinding",
    default=defaults,
    validate=validate_role_binding,
    validate_update=validate_binding_update,
    name_rule=names.path_segment,
    printer=_BINDING,
)

CLUSTERROLES = Kind(
    GROUP,
    "v1",
    "clusterroles",
    "ClusterRole",
    False,
    validate=validate_cluster_role,
    name_rule=names.path_segment,
    printer=_ROLE,
)

CLUSTERROLEBINDINGS = Kind(
    GROUP,
    "v1",
    "clusterrolebindings",
    "ClusterRoleBinding",
    False,
    default=defaults,
    validate=validate_cluster_role_binding,
    validate_update=validate_binding_update,
    name_rule=names.path_segment,
    printer=_BINDING,
)

KINDS = (
    ROLES,
    ROLEBINDINGS,
    CLUSTERROLES,
    CLUSTERROLEBINDINGS,
)
