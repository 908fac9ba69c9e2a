"""Role-based access control: which rules a user has, from the live roles and bindings, and what a rule allows.

The roles and bindings are decoded once a change, not once a request: `Rbac` keeps each role's rules until that role
changes, and who has which until one of the four kinds changes. A role that is bound many times gives its rules once. A
binding to a role that does not exist gives nothing. A ClusterRole
with an aggregationRule has the rules that its controller has written into it.
The pure part (`Rule`, `covers`) follows the documented semantics of rbac.authorization.k8s.io/v1: "*" is everything,
"pods/*" is every subresource of nothing else, resourceNames never match a request without a name.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from petset.kinds.rbac import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from petset.objects import meta
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
    """A PolicyRule. It is asked at each request: a look-up in 100,000 values takes no longer than in a few."""

    verbs: Collection[str]
    groups: Collection[str] = ()
    resources: Collection[str] = ()
    names: Collection[str] = ()
    paths: Collection[str] = ()
    _prefixes: Sequence[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for values in ("verbs", "groups", "resources", "names", "paths"):
            object.__setattr__(self, values, dict.fromkeys(getattr(self, values)))
        object.__setattr__(self, "_prefixes", _shortest(path[:-1] for path in self.paths if path.endswith("*")))

    def allows(self, asked: Attributes) -> bool:
        if asked.verb not in self.verbs and "*" not in self.verbs:
            return False
        if asked.path:
            return asked.path in self.paths or _begins_with_one_of(self._prefixes, asked.path)
        if asked.group not in self.groups and "*" not in self.groups:
            return False
        if not _resource_matches(self.resources, asked.resource, asked.subresource):
            return False
        return not self.names or (bool(asked.name) and asked.name in self.names)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern == path or pattern == "*" or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _shortest(prefixes: Iterable[str]) -> list[str]:
    """In order, without those that begin with another: what begins with one of these begins with one of the rest."""
    kept: list[str] = []
    for prefix in sorted(prefixes):
        if not (kept and prefix.startswith(kept[-1])):
            kept.append(prefix)
    return kept


def _begins_with_one_of(shortest: Sequence[str], path: str) -> bool:
    """None begins with another, so that only the last one that is not after the path can be its beginning."""
    index = bisect.bisect_right(shortest, path)
    return index > 0 and path.startswith(shortest[index - 1])


def _resource_matches(patterns: Collection[str], resource: str, subresource: str) -> bool:
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


COVER_STEPS_MAX = 200_000


class Unclear(Exception):
    """Whether rules cover others would take more than COVER_STEPS_MAX steps to tell."""


def covers(owned: Iterable[Rule], wanted: Iterable[Rule]) -> bool:
    """Whether somebody with the owned rules already holds all that the wanted ones would give. Raises Unclear.

    Several rules together may cover one: for each choice of a verb, group, resource and name there must be one that has
    them all. The choices are as many as the product of the lists, so they are never walked: values that the same owned
    rules have are one, and what is left is counted.
    """
    held = _Held(tuple(owned))
    return all(held.cover(rule) for rule in wanted)


class _Held:
    """Owned rules by what they name: a set of rules is a number with a bit for each."""

    def __init__(self, owned: Sequence[Rule]):
        self._steps = 0
        self._words = 1 + len(owned) // 512  # What a step with such a number costs.
        self._verbs = self._index(rule.verbs for rule in owned)
        self._groups = self._index(rule.groups for rule in owned)
        self._resources = self._index(rule.resources for rule in owned)
        self._names = self._index(rule.names for rule in owned)
        self._unnamed = sum(1 << index for index, rule in enumerate(owned) if not rule.names)
        self._paths = self._index(rule.paths for rule in owned)
        self._patterns = [(pattern, bits) for pattern, bits in self._paths.items() if pattern.endswith("*")]

    def _index(self, lists: Iterable[Collection[str]]) -> dict[str, int]:
        found: dict[str, int] = {}
        for index, values in enumerate(lists):
            self._step(len(values))
            for value in values:
                found[value] = found.get(value, 0) | 1 << index
        return found

    def _step(self, count: int) -> None:
        self._steps += count * self._words
        if self._steps > COVER_STEPS_MAX:
            raise Unclear

    def cover(self, wanted: Rule) -> bool:
        verbs = [self._any(self._verbs, verb) for verb in wanted.verbs]
        self._step(len(wanted.paths) * (1 + len(self._patterns)))
        paths = [self._path(path) for path in wanted.paths]
        groups = [self._any(self._groups, group) for group in wanted.groups]
        kinds = [self._resource(resource) for resource in wanted.resources]
        names = [self._unnamed | (self._names.get(name, 0) if name else 0) for name in wanted.names or ("",)]
        return self._meet(verbs, paths) and self._meet(verbs, groups, kinds, names)

    def _any(self, index: Mapping[str, int], value: str) -> int:
        return index.get(value, 0) | index.get("*", 0)

    def _resource(self, resource: str) -> int:
        _, slash, sub = resource.partition("/")
        found = self._any(self._resources, resource)
        return found | self._resources.get(f"*/{sub}", 0) if slash else found

    def _path(self, path: str) -> int:
        found = self._paths.get(path, 0)
        for pattern, bits in self._patterns:
            if _path_matches(pattern, path):
                found |= bits
        return found

    def _meet(self, *choices: Sequence[int]) -> bool:
        """Whether every choice of one number from each list leaves a rule that has them all."""
        if not all(choices):
            return True  # There is nothing to choose.
        if functools.reduce(int.__and__, [bits for masks in choices for bits in masks]):
            return True  # One rule has everything.
        reached = dict.fromkeys(choices[0])
        for masks in choices[1:]:
            distinct = dict.fromkeys(masks)
            self._step(len(reached) * len(distinct))
            reached = {a & b: None for a in reached for b in distinct}
        return 0 not in reached


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
        self._rules: dict[str, tuple[Object, tuple[Rule, ...]]] = {}  # By the role's key, with the role they are of.

    def _refresh(self) -> None:
        if self._view.refresh():
            self._granted.clear()
            roles = self._view.objects
            self._rules = {key: known for key, known in self._rules.items() if roles.get(key) is known[0]}

    def granted(self, user: http.User) -> Granted:
        self._refresh()
        if len(self._granted) > USERS_CACHED_MAX:
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
        self._refresh()
        return self._rules_at(_role_key(reference, namespace))

    def _rules_at(self, key: str) -> tuple[Rule, ...] | None:
        role = self._view.objects.get(key)
        if role is None:
            return None
        if key not in self._rules:
            self._rules[key] = role, tuple(rule_of(rule) for rule in role.get("rules") or ())
        return self._rules[key][1]

    def _compile(self, user: http.User) -> Granted:
        bound: dict[str, dict[str, None]] = {}  # By namespace ("" is everywhere): the keys of the roles.
        for key, binding in sorted(self._view.objects.items()):
            if not key.startswith((ROLEBINDINGS.key(), CLUSTERROLEBINDINGS.key())):
                continue
            space = meta.namespace(binding)
            if not any(is_subject(subject, user, space) for subject in binding.get("subjects") or ()):
                continue
            bound.setdefault(space, {})[_role_key(binding.get("roleRef") or {}, space)] = None
        rules = {
            space: tuple(rule for key in keys for rule in self._rules_at(key) or ()) for space, keys in bound.items()
        }
        return Granted(rules.pop("", ()), rules)


def _role_key(reference: Object, namespace: str) -> str:
    resource = ROLES if reference.get("kind") == "Role" else CLUSTERROLES
    return resource.key(namespace, str(reference.get("name", "")))


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
