"""Which FlowSchema a request belongs to: pure.

`compiled` makes of a FlowSchema what is asked at requests: each list is a look-up, so that a rule of a thousand names
takes no longer than one of two. `Schemas` keeps them in the order in which they are asked (matchingPrecedence, then
name); the first that matches has the request. One whose priority level is not there is passed over. `exempt` and
`catch-all` are there even when nobody has stored them, so that every request belongs somewhere.
Follows: "API Priority and Fairness" of the Kubernetes documentation, "FlowSchema".
"""

from __future__ import annotations

import bisect
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from petset.kinds.flowcontrol import every_cluster, flow_schema
from petset.kinds.flowcontrol.flow_schema import FLOWSCHEMAS
from petset.objects import meta
from petset.objects.meta import Object
from petset.server.access import users

BY_USER, BY_NAMESPACE = "ByUser", "ByNamespace"
_Names = Mapping[str, None]  # A set that keeps its order; with "*" in it, everything.


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is to a schema: about a resource, or about a path where one is set."""

    user: str
    groups: Sequence[str]
    verb: str
    group: str = ""
    resource: str = ""  # With its subresource: pods/status.
    namespace: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class ResourceRule:
    verbs: _Names
    groups: _Names
    resources: _Names
    namespaces: _Names
    has_cluster_scope: bool

    def matches(self, asked: Asked) -> bool:
        return (
            _has(self.verbs, asked.verb)
            and _has(self.resources, asked.resource)
            and _has(self.groups, asked.group)
            and (_has(self.namespaces, asked.namespace) if asked.namespace else self.has_cluster_scope)
        )


@dataclass(frozen=True, slots=True)
class PathRule:
    verbs: _Names
    paths: _Names  # Without a star at the end, and without the slash before that: of what is below them, too.

    def matches(self, asked: Asked) -> bool:
        return _has(self.verbs, asked.verb) and ("*" in self.paths or _is_below(asked.path, self.paths))


@dataclass(frozen=True, slots=True)
class Rule:
    users: _Names
    groups: _Names
    accounts: Mapping[tuple[str, str], None]  # (namespace, name)
    resources: Sequence[ResourceRule]
    paths: Sequence[PathRule]

    def is_about(self, asked: Asked) -> bool:
        """Whether it is about who asks."""
        if _has(self.users, asked.user) or "*" in self.groups or any(group in self.groups for group in asked.groups):
            return True
        account = users.service_account(asked.user) if self.accounts else None
        return account is not None and (account in self.accounts or (account[0], "*") in self.accounts)

    def matches(self, asked: Asked) -> bool:
        rules = self.paths if asked.path else self.resources
        return any(rule.matches(asked) for rule in rules) and self.is_about(asked)


@dataclass(frozen=True, slots=True)
class Schema:
    precedence: int
    name: str
    uid: str
    level: str
    distinguisher: str
    rules: Sequence[Rule]

    def matches(self, asked: Asked) -> bool:
        return any(rule.matches(asked) for rule in self.rules)

    def flow(self, user: str, namespace: str) -> str:
        """Which of its flows a request is of."""
        return user if self.distinguisher == BY_USER else namespace if self.distinguisher == BY_NAMESPACE else ""


def compiled(obj: Object) -> Schema:
    """What a FlowSchema says."""
    spec = meta.part(obj, "spec")
    return Schema(
        spec.get("matchingPrecedence") or 0,
        meta.name(obj),
        obj["metadata"].get("uid", ""),
        flow_schema.level_of(obj),
        meta.get(spec, "distinguisherMethod", "type", default=""),
        [_rule(rule) for rule in meta.parts(spec, "rules")],
    )


def _rule(rule: Object) -> Rule:
    subjects = meta.parts(rule, "subjects")
    accounts = [meta.part(one, "serviceAccount") for one in subjects if one.get("kind") == "ServiceAccount"]
    return Rule(
        dict.fromkeys(meta.get(one, "user", "name", default="") for one in subjects if one.get("kind") == "User"),
        dict.fromkeys(meta.get(one, "group", "name", default="") for one in subjects if one.get("kind") == "Group"),
        dict.fromkeys((one.get("namespace", ""), one.get("name", "")) for one in accounts),
        [
            ResourceRule(
                _names(one, "verbs"),
                _names(one, "apiGroups"),
                _names(one, "resources"),
                _names(one, "namespaces"),
                bool(one.get("clusterScope")),
            )
            for one in meta.parts(rule, "resourceRules")
        ],
        [
            PathRule(
                _names(one, "verbs"),
                dict.fromkeys(_below(path) for path in meta.texts(one, "nonResourceURLs")),
            )
            for one in meta.parts(rule, "nonResourceRules")
        ],
    )


def _names(rule: Object, part: str) -> _Names:
    return dict.fromkeys(meta.texts(rule, part))


def _below(path: str) -> str:
    return path if path == "*" else path.removesuffix("*").removesuffix("/")


def _has(names: _Names, name: str) -> bool:
    return name in names or "*" in names


def _is_below(path: str, ways: Collection[str]) -> bool:
    """Whether a path is one of these or begins with one and a slash: as many look-ups as it has parts."""
    at = len(path)
    while at >= 0:
        if path[:at] in ways:
            return True
        at = path.rfind("/", 0, at)
    return False


_order = operator.attrgetter("precedence", "name")


class Schemas:
    """Those that there are."""

    def __init__(self) -> None:
        self._missing = {
            name: compiled(obj)
            for (plural, name), obj in every_cluster.OBJECTS.items()
            if plural == FLOWSCHEMAS.plural and name in every_cluster.MANDATORY
        }
        self._named: dict[str, Schema] = dict(self._missing)
        self._in_order = sorted(self._named.values(), key=_order)

    def put(self, name: str, obj: Object | None) -> None:
        """The FlowSchema of this name, None: there is none."""
        schema = compiled(obj) if obj is not None else self._missing.get(name)
        before = self._named.pop(name, None)
        if before is not None:
            del self._in_order[bisect.bisect_left(self._in_order, _order(before), key=_order)]
        if schema is not None:
            self._named[name] = schema
            bisect.insort(self._in_order, schema, key=_order)

    def of(self, asked: Asked, is_level: Callable[[str], bool]) -> Schema:
        """The one that a request belongs to."""
        for schema in self._in_order:
            if schema.matches(asked) and is_level(schema.level):
                return schema
        return self._named[every_cluster.CATCH_ALL]  # Whoever is in no group at all.
