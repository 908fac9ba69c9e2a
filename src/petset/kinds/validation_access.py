"""Checks of who may do what: Role, ClusterRole and their bindings."""

from __future__ import annotations

from collections.abc import Sequence

from petset.kinds.defaults import RBAC_GROUP
from petset.objects import names
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import Errors, label_selector, listed, named, one_of


@listed
def role(obj: Object) -> Errors:
    yield from _rules(obj.get("rules") or (), namespaced=True)


@listed
def cluster_role(obj: Object) -> Errors:
    yield from _rules(obj.get("rules") or (), namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        chosen = aggregation.get("clusterRoleSelectors") or ()
        if not chosen:
            yield FieldError.required(
                "aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required"
            )
        for index, selector in enumerate(chosen):
            yield from label_selector(selector, f"aggregationRule.clusterRoleSelectors[{index}]")


def _rules(rules: Sequence[Object], namespaced: bool) -> Errors:
    for index, rule in enumerate(rules):
        where, urls = f"rules[{index}]", rule.get("nonResourceURLs") or ()
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
def role_binding(obj: Object) -> Errors:
    yield from _binding(obj, ("ClusterRole", "Role"))


@listed
def cluster_role_binding(obj: Object) -> Errors:
    yield from _binding(obj, ("ClusterRole",))


def _binding(obj: Object, kinds: Sequence[str]) -> Errors:
    role = obj.get("roleRef") or {}
    yield from one_of(role.get("apiGroup"), "roleRef.apiGroup", (RBAC_GROUP,))
    yield from one_of(role.get("kind"), "roleRef.kind", kinds)
    yield from named(role.get("name"), "roleRef.name", names.path_segment)
    for index, subject in enumerate(obj.get("subjects") or ()):
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
        yield from one_of(subject.get("apiGroup"), f"{path}.apiGroup", (RBAC_GROUP,))
    else:
        yield FieldError.unsupported(f"{path}.kind", kind, ("Group", "ServiceAccount", "User"))


@listed
def binding_update(new: Object, old: Object) -> Errors:
    if new.get("roleRef") != old.get("roleRef"):
        yield FieldError.invalid("roleRef", dict(new.get("roleRef") or {}), "cannot change roleRef")
