"""Role-based access control: which rules a user has, from the live roles and bindings, and what a rule allows.

The roles and bindings are decoded once a change, not once a request: `Rbac` compiles them to sets of rules a
user, kept until one of the four kinds changes. A binding to a role that does not exist gives nothing; a ClusterRole
with an aggregationRule has the rules of the roles it selects.
The pure part (`Rule`, `covers`) follows the documented semantics of rbac.authorization.k8s.io/v1: "*" is everything,
"pods/*" is every subresource of nothing else, resourceNames never match a request without a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from petset.objects import meta, resources
from petset.objects.meta import Object
from petset.server import users
from petset.server.live import LiveView
from petset.store import store as stores
from petset.wire import http

GROUP = "rbac.authorization.k8s.io"
USERS_CACHED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for: a resource, or a path when `path` is set."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Rule:
    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def allows(self, asked: Attributes) -> bool:
        if asked.verb not in self.verbs and "*" not in self.verbs:
            return False
        if asked.path:
            return any(_path_matches(pattern, asked.path) for pattern in self.paths)
        if asked.group not in self.groups and "*" not in self.groups:
            return False
        if not _resource_matches(self.resources, asked.resource, asked.subresource):
            return False
        return not self.names or (bool(asked.name) and asked.name in self.names)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern == path or pattern == "*" or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _resource_matches(patterns: Sequence[str], resource: str, subresource: str) -> bool:
    full = f"{resource}/{subresource}" if subresource else resource
    return full in patterns or "*" in patterns or (bool(subresource) and f"*/{subresource}" in patterns)


def rule_of(obj: Object) -> Rule:
    """A PolicyRule as stored; what is not a list of strings counts as absent."""

    def strings(field: str) -> tuple[str, ...]:
        value = obj.get(field)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

    return Rule(
        strings("verbs"),
        strings("apiGroups"),
        strings("resources"),
        strings("resourceNames"),
        strings("nonResourceURLs"),
    )


def covers(owned: Iterable[Rule], wanted: Rule) -> bool:
    """Whether somebody with the owned rules already holds all that the wanted one would give."""
    owned = tuple(owned)
    for verb, path in product(wanted.verbs, wanted.paths):
        if not any(_has(rule.verbs, verb) and any(_path_matches(p, path) for p in rule.paths) for rule in owned):
            return False
    names: tuple[str, ...] = wanted.names or ("",)
    for verb, group, resource, name in product(wanted.verbs, wanted.groups, wanted.resources, names):
        if not any(_covers_one(rule, verb, group, resource, name) for rule in owned):
            return False
    return True


def _covers_one(rule: Rule, verb: str, group: str, resource: str, name: str) -> bool:
    _, _, sub = resource.partition("/")
    return (
        _has(rule.verbs, verb)
        and _has(rule.groups, group)
        and (resource in rule.resources or "*" in rule.resources or (bool(sub) and f"*/{sub}" in rule.resources))
        and (not rule.names or (bool(name) and name in rule.names))
    )


def _has(values: Sequence[str], value: str) -> bool:
    return value in values or "*" in values


@dataclass(frozen=True, slots=True)
class Granted:
    """A user's rules: cluster-wide, and by namespace."""

    everywhere: tuple[Rule, ...]
    by_namespace: Mapping[str, tuple[Rule, ...]]

    def rules(self, namespace: str) -> tuple[Rule, ...]:
        return self.everywhere + self.by_namespace.get(namespace, ()) if namespace else self.everywhere


class Rbac:
    def __init__(self, store: stores.Store):
        self._view = LiveView(store, f"/{GROUP}/")
        self._granted: dict[http.User, Granted] = {}

    def granted(self, user: http.User) -> Granted:
        if self._view.refresh() or len(self._granted) > USERS_CACHED_MAX:
            self._granted.clear()
        known = self._granted.get(user)
        if known is None:
            known = self._granted[user] = self._compile(user)
        return known

    def allows(self, user: http.User, asked: Attributes) -> bool:
        granted = self.granted(user)
        if any(rule.allows(asked) for rule in granted.everywhere):
            return True
        if not asked.namespace:
            return False
        return any(rule.allows(asked) for rule in granted.by_namespace.get(asked.namespace, ()))

    def role_rules(self, reference: Object, namespace: str) -> tuple[Rule, ...] | None:
        """The rules a roleRef gives, None when there is no such role."""
        self._view.refresh()
        return self._role_rules(reference, namespace)

    def _role_rules(self, reference: Object, namespace: str) -> tuple[Rule, ...] | None:
        resource = resources.ROLES if reference.get("kind") == "Role" else resources.CLUSTERROLES
        role = self._view.objects.get(resource.key(namespace, str(reference.get("name", ""))))
        return None if role is None else tuple(rule_of(rule) for rule in self._raw_rules(role))

    def _raw_rules(self, role: Object) -> list[Object]:
        selectors = meta.get(role, "aggregationRule", "clusterRoleSelectors", default=())
        if not selectors:
            return role.get("rules") or []
        prefix = resources.CLUSTERROLES.key()
        return [
            rule
            for key, other in sorted(self._view.objects.items())
            if key.startswith(prefix) and not meta.get(other, "aggregationRule")
            if any(_labels_match(meta.get(selector, "matchLabels", default={}), other) for selector in selectors)
            for rule in other.get("rules") or ()
        ]

    def _compile(self, user: http.User) -> Granted:
        everywhere: list[Rule] = []
        by_namespace: dict[str, tuple[Rule, ...]] = {}
        for key, binding in sorted(self._view.objects.items()):
            if not key.startswith((resources.ROLEBINDINGS.key(), resources.CLUSTERROLEBINDINGS.key())):
                continue
            space = meta.namespace(binding)
            if not any(is_subject(subject, user, space) for subject in binding.get("subjects") or ()):
                continue
            rules = self._role_rules(binding.get("roleRef") or {}, space) or ()
            if space:
                by_namespace[space] = by_namespace.get(space, ()) + rules
            else:
                everywhere += rules
        return Granted(tuple(everywhere), by_namespace)


def _labels_match(wanted: Mapping[str, str], role: Object) -> bool:
    labels = meta.labels(role)
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def is_subject(subject: Object, user: http.User, namespace: str) -> bool:
    """Whether a binding's subject is this user; a service account without a namespace is of the binding's own."""
    kind, name = subject.get("kind"), subject.get("name")
    if kind == "User":
        return name == user.name
    if kind == "Group":
        return name in user.groups
    if kind == "ServiceAccount":
        return user.name == users.of_service_account(subject.get("namespace") or namespace, str(name))
    return False
