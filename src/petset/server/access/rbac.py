"""Role-based access control: which rules a user has, from the live roles and bindings, and what a rule allows.

`Rbac` keeps what it made of each role and binding until that one changes, and finds a user's roles by his name and
groups: neither a change nor a new user costs in proportion to how many there are. A role that is bound many times gives
its rules once. A binding to a role that does not exist gives nothing. A ClusterRole with an aggregationRule has the
rules that its controller has written into it.
The pure part (`Rule`; in coverage.py, who holds what others would be given) follows the documented semantics of
rbac.authorization.k8s.io/v1: "*" is everything, "pods/*" is every subresource of nothing else, resourceNames never
match a request without a name.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from petset.kinds.rbac import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from petset.objects import meta
from petset.objects.meta import Object
from petset.server.access import users
from petset.server.live import LiveView
from petset.store import store as stores
from petset.wire import http

GROUP = CLUSTERROLES.group


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
        value: Any = obj.get(field)
        if not isinstance(value, list):
            return ()
        return tuple(item for item in cast("list[Any]", value) if isinstance(item, str))

    return Rule(
        strings("verbs"),
        strings("apiGroups"),
        strings("resources"),
        strings("resourceNames"),
        strings("nonResourceURLs"),
    )


@dataclass(frozen=True, slots=True)
class Binding:
    """What a binding says: whose it is, where (in the namespace "": everywhere), and the key of its role."""

    subjects: tuple[tuple[str, str], ...]
    space: str
    role: str


class Rbac:
    """Who has which roles, brought up to date with each change of one; whoever asks costs nothing but his own."""

    def __init__(self, store: stores.Store):
        self._view = LiveView(store, f"/{GROUP}/", self._told)
        self._roles: dict[str, Object] = {}  # By key.
        self._rules: dict[str, tuple[Rule, ...]] = {}  # Of the roles that were asked for, by key.
        self._bindings: dict[str, Binding] = {}  # By key.
        # By subject and namespace: the keys of the roles, each with those of the bindings that give it.
        self._bound: dict[tuple[str, str], dict[str, dict[str, dict[str, None]]]] = {}

    async def catch_up(self) -> None:
        """To be awaited before a request's first question, so that none of them has much to read."""
        await self._view.catch_up()

    def allows(self, user: http.User, asked: Attributes) -> bool:
        self._view.refresh()
        return any(
            rule.allows(asked) for role in self._roles_of(user, asked.namespace) for rule in self._rules_of(role)
        )

    def rules(self, user: http.User, namespace: str = "") -> tuple[Rule, ...]:
        """All that the user has in the namespace and everywhere; those of a role once, however often it is bound."""
        self._view.refresh()
        roles = dict.fromkeys(self._roles_of(user, namespace))
        return tuple(rule for role in roles for rule in self._rules_of(role))

    def allowed_by(self, user: http.User, asked: Attributes) -> str:
        """Which binding of which role allows it, and to whom, in words; "" where none does."""
        self._view.refresh()
        for space in ("", asked.namespace) if asked.namespace else ("",):
            for subject in _subjects(user):
                for role, bindings in self._bound.get(subject, {}).get(space, {}).items():
                    if any(rule.allows(asked) for rule in self._rules_of(role)):
                        return f"RBAC: allowed by {_described(next(iter(bindings)), role)} to {_shown(subject)}"
        return ""

    def missing(self, user: http.User, namespace: str) -> str:
        """Which roles are bound to the user that there are not, in words; "" where all are there."""
        self._view.refresh()
        roles = dict.fromkeys(self._roles_of(user, namespace))
        told = [_not_found(role) for role in roles if role not in self._roles]
        if not told:
            return ""
        return f"RBAC: {told[0]}" if len(told) == 1 else f"RBAC: [{', '.join(told)}]"

    def role_rules(self, reference: Object, namespace: str) -> tuple[Rule, ...] | None:
        """The rules a roleRef gives, None when there is no such role."""
        self._view.refresh()
        role = _role_key(reference, namespace)
        return self._rules_of(role) if role in self._roles else None

    def _roles_of(self, user: http.User, namespace: str) -> Iterator[str]:
        """The keys of the roles bound to the user or a group of his, everywhere first."""
        found = [bound for subject in _subjects(user) if (bound := self._bound.get(subject)) is not None]
        for space in ("", namespace) if namespace else ("",):
            for bound in found:
                yield from bound.get(space, ())

    def _rules_of(self, role: str) -> tuple[Rule, ...]:
        """Of a role that may not be there."""
        rules = self._rules.get(role)
        if rules is None:
            if (obj := self._roles.get(role)) is None:
                return ()
            rules = self._rules[role] = tuple(rule_of(rule) for rule in obj.get("rules") or ())
        return rules

    # What changes

    def _told(self, key: str, obj: Object | None) -> None:
        if key.startswith(_BINDINGS):
            if (before := self._bindings.pop(key, None)) is not None:
                self._unbind(key, before)
            if obj is not None:
                binding = self._bindings[key] = binding_of(obj)
                self._bind(key, binding)
        else:
            self._rules.pop(key, None)
            self._roles.pop(key, None)
            if obj is not None:
                self._roles[key] = obj

    def _bind(self, key: str, binding: Binding) -> None:
        for subject in binding.subjects:
            roles = self._bound.setdefault(subject, {}).setdefault(binding.space, {})
            roles.setdefault(binding.role, {})[key] = None

    def _unbind(self, key: str, binding: Binding) -> None:
        for subject in dict.fromkeys(binding.subjects):
            spaces = self._bound[subject]
            roles = spaces[binding.space]
            del roles[binding.role][key]
            if not roles[binding.role]:
                del roles[binding.role]
            if not roles:
                del spaces[binding.space]
            if not spaces:
                del self._bound[subject]


def _subjects(user: http.User) -> list[tuple[str, str]]:
    return [("User", user.name), *(("Group", group) for group in user.groups)]


def _described(binding: str, role: str) -> str:
    """A binding and its role, by their keys."""
    name, space, _ = binding.rsplit("/", 2)[::-1]
    role_kind = "ClusterRole" if role.startswith(CLUSTERROLES.key()) else "Role"
    of_role = f'of {role_kind} "{role.rpartition("/")[2]}"'
    if binding.startswith(CLUSTERROLEBINDINGS.key()):
        return f'ClusterRoleBinding "{name}" {of_role}'
    return f'RoleBinding "{name}/{space}" {of_role}'


def _not_found(role: str) -> str:
    kind = CLUSTERROLES if role.startswith(CLUSTERROLES.key()) else ROLES
    return f'{kind.singular}.{GROUP} "{role.rpartition("/")[2]}" not found'


def _shown(subject: tuple[str, str]) -> str:
    kind, name = subject
    account = users.service_account(name) if kind == "User" else None
    return f'ServiceAccount "{account[1]}/{account[0]}"' if account else f'{kind} "{name}"'


_BINDINGS = (ROLEBINDINGS.key(), CLUSTERROLEBINDINGS.key())


def _role_key(reference: Object, namespace: str) -> str:
    resource = ROLES if reference.get("kind") == "Role" else CLUSTERROLES
    return resource.key(namespace, str(reference.get("name", "")))


def binding_of(obj: Object) -> Binding:
    """A RoleBinding or ClusterRoleBinding as stored."""
    space = meta.namespace(obj)
    subjects = (_subject(subject, space) for subject in obj.get("subjects") or ())
    return Binding(tuple(filter(None, subjects)), space, _role_key(obj.get("roleRef") or {}, space))


def _subject(subject: Object, namespace: str) -> tuple[str, str] | None:
    """A user or a group. An account is a user; one without a namespace is of the binding's own."""
    kind, name = subject.get("kind"), subject.get("name")
    if not isinstance(kind, str) or not isinstance(name, str):
        return None
    if kind == "ServiceAccount":
        return "User", users.of_service_account(subject.get("namespace") or namespace, name)
    return (kind, name) if kind in ("User", "Group") else None
