"""What of a request goes into the audit log: a Policy of audit.k8s.io/v1, of whose rules the first that fits counts.

`read` takes the policy's file and says what is wrong with it in one line; `decide` is pure and looks at each rule once.
A request that no rule fits is not told of. Follows: "Auditing" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import well_known
from petset.objects import documents, meta
from petset.objects.meta import Object
from petset.server.access import rbac
from petset.wire import http

NONE, REQUEST, REQUEST_RESPONSE = "None", "Request", "RequestResponse"
LEVELS = (NONE, "Metadata", REQUEST, REQUEST_RESPONSE)
RECEIVED, STARTED, COMPLETE, PANIC = STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
RULES_MAX = 1_000
_LISTS = ("users", "userGroups", "verbs", "namespaces", "nonResourceURLs", "omitStages")


@dataclass(frozen=True, slots=True)
class Decision:
    level: str
    omitted: tuple[str, ...] = ()  # Stages.
    omits_managed_fields: bool = False


NOTHING = Decision(NONE)


@dataclass(frozen=True, slots=True)
class Rule:
    decision: Decision
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()  # (group, resources, names)
    namespaces: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def fits(self, user: http.User, asked: rbac.Attributes) -> bool:
        if self.users and user.name not in self.users:
            return False
        if self.groups and not any(group in self.groups for group in user.groups):
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if not (self.resources or self.namespaces or self.paths):
            return True
        if asked.path:
            return any(_path_fits(path, asked.path) for path in self.paths)
        if self.paths or (self.namespaces and asked.namespace not in self.namespaces):
            return False
        return not self.resources or any(_resource_fits(*one, asked) for one in self.resources)


def _path_fits(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _resource_fits(group: str, resources: Sequence[str], names: Sequence[str], asked: rbac.Attributes) -> bool:
    if group != asked.group or (names and asked.name not in names):
        return False
    wanted = (asked.full_resource, "*", f"*/{asked.subresource}", f"{asked.resource}/*")
    if not asked.subresource:
        wanted = (asked.resource, "*")
    return not resources or any(one in resources for one in wanted)


@dataclass(frozen=True, slots=True)
class Policy:
    rules: tuple[Rule, ...]

    def decide(self, user: http.User, asked: rbac.Attributes) -> Decision:
        return next((rule.decision for rule in self.rules if rule.fits(user, asked)), NOTHING)


def read(text: bytes) -> Policy:
    """The policy in a file of YAML or JSON. Raises ValueError, in one line."""
    tree: Any = documents.load(text)
    version = f"{well_known.AUDIT_GROUP}/v1"
    if not meta.is_struct(tree) or (tree.get("apiVersion"), tree.get("kind")) != (version, "Policy"):
        raise ValueError(f"it is no Policy of {version}")
    stages = _texts(tree, "omitStages", "omitStages", STAGES)
    rules = meta.parts(tree, "rules")
    if not rules:
        raise ValueError("rules: there are none")
    if len(rules) > RULES_MAX:
        raise ValueError(f"rules: there are more than {RULES_MAX}")
    omits = _flag(tree, "omitManagedFields", "omitManagedFields", False)
    return Policy(tuple(_rule(rule, f"rules[{index}]", stages, omits) for index, rule in enumerate(rules)))


def _rule(given: Any, path: str, stages: tuple[str, ...], omits: bool) -> Rule:
    if not meta.is_struct(given):
        raise ValueError(f"{path}: it is not an object")
    if unknown := sorted(given.keys() - {"level", "resources", "omitManagedFields", *_LISTS}):
        raise ValueError(f"{path}.{unknown[0]}: it is not known")
    if given.get("level") not in LEVELS:
        raise ValueError(f"{path}.level: it is none of {', '.join(LEVELS)}")
    lists = {key: _texts(given, key, f"{path}.{key}", STAGES if key == "omitStages" else ()) for key in _LISTS}
    resources = tuple(
        _resource(one, f"{path}.resources[{index}]") for index, one in enumerate(given.get("resources") or ())
    )
    if lists["nonResourceURLs"] and (resources or lists["namespaces"]):
        raise ValueError(f"{path}.nonResourceURLs: a rule is for paths or for resources")
    omits = _flag(given, "omitManagedFields", f"{path}.omitManagedFields", omits)
    return Rule(
        Decision(given["level"], (*stages, *lists["omitStages"]), omits),
        lists["users"],
        lists["userGroups"],
        lists["verbs"],
        resources,
        lists["namespaces"],
        lists["nonResourceURLs"],
    )


def _resource(given: Any, path: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    if not meta.is_struct(given) or not isinstance(given.get("group", ""), str):
        raise ValueError(f"{path}: it is not a group with resources")
    resources = _texts(given, "resources", f"{path}.resources", ())
    names = _texts(given, "resourceNames", f"{path}.resourceNames", ())
    if names and not resources:
        raise ValueError(f"{path}.resourceNames: names need resources")
    return str(given.get("group", "")), resources, names


def _texts(given: Object, key: str, path: str, supported: Sequence[str]) -> tuple[str, ...]:
    values: Any = given.get(key) or []
    if not meta.is_texts(values):
        raise ValueError(f"{path}: it is not a list of texts")
    if supported and (wrong := [value for value in values if value not in supported]):
        raise ValueError(f"{path}: {wrong[0][:40]!r} is none of {', '.join(supported)}")
    return tuple(values)


def _flag(given: Object, key: str, path: str, default: bool) -> bool:
    value: Any = given.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{path}: it is neither true nor false")
    return value
