"""Which requests concern somebody: the rules and selectors of webhooks, policies and bindings, compiled once. Pure.

An `Asked` is what is about to happen: to which resource of which version, by which operation. A `Match` is held
against it first by what the resource says (`concern`), where its matchPolicy is Equivalent against the other versions
of the same resource, too: then the object is told in the version that the rule names. What depends on the object is
asked afterwards: the names of rules (`Concern.kind`), namespaceSelector and objectSelector, of the old or the new
object (`is_selected`), and match conditions (`holds`).
Follows: "Dynamic Admission Control" and "Validating Admission Policy" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.kinds.admission.expressions import Condition, Expression
from petset.objects import cel, meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server import writes

# As webhooks and policies call them.
OPERATIONS = {
    writes.CREATE: "CREATE",
    writes.UPDATE: "UPDATE",
    writes.DELETE: "DELETE",
    writes.CONNECT: "CONNECT",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is about to happen to which resource."""

    resource: Kind
    operation: str  # CREATE, UPDATE, DELETE or CONNECT.
    subresource: str = ""
    shown: Kind | None = None  # What the object is, where it is none of the resource's: a Scale, a Binding, ...


@dataclass(frozen=True, slots=True)
class Rule:
    groups: Collection[str]
    versions: Collection[str]
    resources: Sequence[tuple[str, str]]  # (resource, subresource), "*" for any.
    operations: Collection[str]
    scope: str = "*"
    names: Collection[str] = ()  # None: whatever it is called.

    def holds(self, asked: Asked) -> bool:
        """But for the object's name."""
        resource = asked.resource
        if self.scope != "*" and (self.scope == "Namespaced") != resource.namespaced:
            return False
        return (
            _has(self.operations, asked.operation)
            and _has(self.groups, resource.group)
            and _has(self.versions, resource.version)
            and any(
                plural in ("*", resource.plural) and subresource in ("*", asked.subresource)
                for plural, subresource in self.resources
            )
        )


def _has(values: Collection[str], wanted: str) -> bool:
    return "*" in values or wanted in values


def rule_of(given: Object) -> Rule:
    """A RuleWithOperations, with names or without, as it is stored."""
    cut = [text.partition("/") for text in meta.texts(given, "resources")]
    return Rule(
        dict.fromkeys(meta.texts(given, "apiGroups")),
        dict.fromkeys(meta.texts(given, "apiVersions")),
        [(resource, subresource) for resource, _, subresource in cut],
        dict.fromkeys(meta.texts(given, "operations")),
        given.get("scope") or "*",
        dict.fromkeys(meta.texts(given, "resourceNames")),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    rules: Sequence[Rule] | None  # None: every request.
    excluded: Sequence[Rule]
    is_equivalent: bool
    of_namespaces: selectors.Selector
    of_objects: selectors.Selector

    def is_selected(self, space: Mapping[str, str] | None, new: Object | None, old: Object | None) -> bool:
        """Whether the selectors choose it; `space` are the labels of its namespace, None where it has none."""
        if space is not None and not self.of_namespaces.matches(space):
            return False
        if self.of_objects.empty:
            return True
        return any(
            obj is not None and self.of_objects.matches(meta.part(obj, "metadata", "labels")) for obj in (new, old)
        )


def match_of(given: Object, rules: Sequence[Object], excluded: Sequence[Object] = ()) -> Match:
    """Of a webhook or a MatchResources, as they are stored."""
    return Match(
        [rule_of(rule) for rule in rules] or None,
        [rule_of(rule) for rule in excluded],
        given.get("matchPolicy") != "Exact",
        selectors.from_object(given.get("namespaceSelector") or {}),
        selectors.from_object(given.get("objectSelector") or {}),
    )


def resources_of(given: Object) -> Match:
    """A MatchResources, as it is stored. One without resourceRules is for every resource."""
    return match_of(given, meta.parts(given, "resourceRules"), meta.parts(given, "excludeResourceRules"))


@dataclass(frozen=True, slots=True, eq=False)
class Concern:
    """That a match is for a request, by its resource: for which names, and told in which kind."""

    told: Sequence[tuple[Kind, Collection[str]]]  # The first with the object's name, or with none, is the one.
    excluded: Sequence[Collection[str]]

    def kind(self, name: str) -> Kind | None:
        if any(not names or name in names for names in self.excluded):
            return None
        return next((kind for kind, names in self.told if not names or name in names), None)


def concern(match: Match, asked: Asked, equivalents: Sequence[Kind]) -> Concern | None:
    """How a match is for a request; None when it is not. `equivalents` are the resource's other versions."""
    if match.rules is None:
        told: Sequence[tuple[Kind, Collection[str]]] = [(asked.resource, ())]
    else:
        told = _told(match, match.rules, asked, equivalents)
    excluded = [names for _, names in _told(match, match.excluded, asked, equivalents)]
    if not told or any(not names for names in excluded):
        return None
    return Concern(told, excluded)


def _told(
    match: Match, rules: Sequence[Rule], asked: Asked, equivalents: Sequence[Kind]
) -> list[tuple[Kind, Collection[str]]]:
    found = [(asked.resource, rule.names) for rule in rules if rule.holds(asked)]
    if match.is_equivalent:
        for rule in rules:
            for kind in equivalents:
                if rule.holds(Asked(kind, asked.operation, asked.subresource)):
                    found.append((kind, rule.names))
    return found


class Unclear(Exception):
    """A match condition that cannot be told, of somebody without whom the request may not be."""


def holds(conditions: Sequence[Condition], evaluate: Callable[[Expression], Any], fails_open: bool) -> bool:
    """Whether all match conditions hold. Raises Unclear.

    One that does not hold is enough to leave the webhook or the policy out, whatever the others are.
    """
    wrong = ""
    for condition in conditions:
        try:
            if evaluate(condition.expression) is not True:
                return False
        except (cel.EvaluationError, cel.CompileError) as error:
            wrong = wrong or f"match condition {condition.name} resulted in error: {error}"
    if wrong and not fails_open:
        raise Unclear(wrong)
    return not wrong
