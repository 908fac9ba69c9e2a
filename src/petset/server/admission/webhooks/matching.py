"""A webhook of a configuration as it is asked, and which of them a request concerns: pure, compiled once.

The rules of matching are those of server/admission/matching.py; here a webhook is taken out of its configuration.
Follows: "Dynamic Admission Control" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from petset.kinds import webhooks as kinds
from petset.kinds.admission import expressions
from petset.kinds.admission.expressions import Condition
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.admission import matching
from petset.server.admission.matching import Asked, Match


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Webhook:
    """One webhook of a configuration, as it is asked."""

    name: str
    configuration: str
    match: Match
    client: Object  # Its clientConfig.
    review_version: str
    fails_open: bool  # failurePolicy Ignore.
    conditions: Sequence[Condition]
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
        matching.match_of(given, meta.parts(given, "rules")),
        given["clientConfig"],
        next(version for version in versions if version in kinds.REVIEW_VERSIONS),
        given["failurePolicy"] == "Ignore",
        expressions.conditions(meta.parts(given, "matchConditions"), expressions.OF_WEBHOOKS),
        given["timeoutSeconds"],
        given["sideEffects"],
        given.get("reinvocationPolicy") == "IfNeeded",
    )


def concerned(webhooks: Sequence[Webhook], asked: Asked, equivalents: Sequence[Kind]) -> Sequence[Concerned]:
    """Those of the webhooks that are to be asked, by their rules. `equivalents` are the resource's other versions."""
    found: list[Concerned] = []
    for webhook in webhooks:
        if webhook.match.rules is None:
            continue  # A webhook without rules is never asked.
        concern = matching.concern(webhook.match, asked, equivalents)
        if concern is not None and (kind := concern.kind("")) is not None:
            found.append(Concerned(webhook, kind))
    return found
