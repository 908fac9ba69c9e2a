"""Which webhooks a write concerns: pure, over rules and selectors that were compiled once.

An `Asked` is what is about to happen: to which resource of which version, by which operation. A webhook's rules are
held against it (`concerned`), and where the matchPolicy is Equivalent against the other versions of the same resource,
too: the webhook is then told in the version that its rule names. What depends on the object is asked afterwards:
namespaceSelector, objectSelector (the old or the new object), matchConditions.
Follows: "Dynamic Admission Control" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.kinds import webhooks as kinds
from petset.objects import cel, meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server import writes

# As webhooks call them.
OPERATIONS = {writes.CREATE: "CREATE", writes.UPDATE: "UPDATE", writes.DELETE: "DELETE"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is about to happen to which resource."""

    resource: Kind
    operation: str  # CREATE, UPDATE or DELETE.
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    groups: Collection[str]
    versions: Collection[str]
    resources: Sequence[tuple[str, str]]  # (resource, subresource), "*" for any.
    operations: Collection[str]
    scope: str = "*"

    def holds(self, asked: Asked) -> bool:
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


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Webhook:
    """One webhook of a configuration, as it is asked."""

    name: str
    configuration: str
    rules: Sequence[Rule]
    client: Object  # Its clientConfig.
    review_version: str
    fails_open: bool  # failurePolicy Ignore.
    is_equivalent: bool
    of_namespaces: selectors.Selector
    of_objects: selectors.Selector
    conditions: Sequence[tuple[str, cel.Program | cel.CompileError]]
    timeout_seconds: int
    side_effects: str
    is_asked_again: bool  # reinvocationPolicy IfNeeded.


@dataclass(frozen=True, slots=True, eq=False)
class Concerned:
    """A webhook that is concerned by its rules, and the kind it is told in."""

    webhook: Webhook
    kind: Kind


def webhooks_of(configuration: Object) -> list[Webhook]:
    """Of a configuration as it is stored."""
    name = meta.name(configuration)
    return [_webhook(given, name) for given in meta.parts(configuration, "webhooks")]


def _webhook(given: Object, configuration: str) -> Webhook:
    versions = meta.texts(given, "admissionReviewVersions")
    return Webhook(
        given["name"],
        configuration,
        [_rule(rule) for rule in meta.parts(given, "rules")],
        given["clientConfig"],
        next(version for version in versions if version in kinds.REVIEW_VERSIONS),
        given["failurePolicy"] == "Ignore",
        given["matchPolicy"] == "Equivalent",
        selectors.from_object(given["namespaceSelector"]),
        selectors.from_object(given["objectSelector"]),
        [(one["name"], _condition(one["expression"])) for one in meta.parts(given, "matchConditions")],
        given["timeoutSeconds"],
        given["sideEffects"],
        given.get("reinvocationPolicy") == "IfNeeded",
    )


def _condition(expression: str) -> cel.Program | cel.CompileError:
    """What was good when it was written may be none for another release's CEL: then it is as unclear as can be."""
    try:
        return kinds.condition(expression)
    except cel.CompileError as error:
        return error


def _rule(given: Object) -> Rule:
    cut = [text.partition("/") for text in meta.texts(given, "resources")]
    return Rule(
        dict.fromkeys(meta.texts(given, "apiGroups")),
        dict.fromkeys(meta.texts(given, "apiVersions")),
        [(resource, subresource) for resource, _, subresource in cut],
        dict.fromkeys(meta.texts(given, "operations")),
        given.get("scope") or "*",
    )


def concerned(webhooks: Sequence[Webhook], asked: Asked, equivalents: Sequence[Kind]) -> Sequence[Concerned]:
    """Those of the webhooks that are to be asked, by their rules. `equivalents` are the resource's other versions."""
    found: list[Concerned] = []
    for webhook in webhooks:
        if any(rule.holds(asked) for rule in webhook.rules):
            found.append(Concerned(webhook, asked.resource))
        elif webhook.is_equivalent and (kind := _equivalent(webhook, asked, equivalents)) is not None:
            found.append(Concerned(webhook, kind))
    return found


def _equivalent(webhook: Webhook, asked: Asked, equivalents: Sequence[Kind]) -> Kind | None:
    for rule in webhook.rules:
        for kind in equivalents:
            if rule.holds(Asked(kind, asked.operation, asked.subresource)):
                return kind
    return None


def is_selected(webhook: Webhook, space: Mapping[str, str] | None, new: Object | None, old: Object | None) -> bool:
    """Whether the selectors choose it; `space` are the labels of the object's namespace, None where it has none."""
    if space is not None and not webhook.of_namespaces.matches(space):
        return False
    if webhook.of_objects.empty:
        return True
    return any(obj is not None and webhook.of_objects.matches(meta.labels(obj)) for obj in (new, old))


class Unclear(Exception):
    """A match condition that cannot be told, of a webhook without which the write may not be."""


def meets_conditions(webhook: Webhook, values: Mapping[str, Any]) -> bool:
    """Whether all match conditions hold for these values. Raises Unclear.

    One that does not hold is enough to leave the webhook out, whatever the others are.
    """
    wrong = ""
    for name, program in webhook.conditions:
        try:
            if isinstance(program, cel.CompileError):
                raise program
            if program.evaluate(values) is not True:
                return False
        except (cel.EvaluationError, cel.CompileError) as error:
            wrong = wrong or f"match condition {name} resulted in error: {error}"
    if wrong and not webhook.fails_open:
        raise Unclear(wrong)
    return not wrong
