"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration: who is asked before something is written.

Rows of admissionregistration.k8s.io/v1. A configuration has webhooks: where each is (a URL or a Service), which writes
concern it (rules, selectors, match conditions in CEL), and what holds when it does not answer.
server/admission/webhooks/ does the asking. Follows the API's documentation and upstream's validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.base import well_known
from petset.kinds import client_config
from petset.kinds.admission import expressions, rules
from petset.objects import cel, meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill, fill_empty
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, label_selector, listed, one_of

GROUP = well_known.ADMISSION_GROUP
REVIEW_GROUP = "admission.k8s.io"  # Of the questions to webhooks.
REVIEW_VERSIONS = ("v1", "v1beta1")
SIDE_EFFECTS = ("None", "NoneOnDryRun")  # The only ones that may be configured: who asks may always try dryly.
TIMEOUT_SECONDS_MAX = 30
TIMEOUT_SECONDS_DEFAULT = 10

# -- defaults -----------------------------------------------------------------------------------------------------


def _validating(given: Object) -> Object:
    webhook = fill_empty(given, {"failurePolicy": "Fail", "matchPolicy": "Equivalent"})
    filled: Object = {"namespaceSelector": {}, "objectSelector": {}, "timeoutSeconds": TIMEOUT_SECONDS_DEFAULT}
    webhook = at(fill(webhook, filled), "rules", lambda given: each(given, rules.defaults))
    return at(webhook, "clientConfig", client_config.defaults)


def _mutating(given: Object) -> Object:
    return fill_empty(_validating(given), {"reinvocationPolicy": "Never"})


def mutating_defaults(obj: Object) -> Object:
    return at(obj, "webhooks", lambda webhooks: each(webhooks, _mutating))


def validating_defaults(obj: Object) -> Object:
    return at(obj, "webhooks", lambda webhooks: each(webhooks, _validating))


def prepare(new: Object, old: Object | None) -> Object:
    """The generation counts changes of the webhooks."""
    generation = old["metadata"].get("generation") or 0 if old is not None else 0
    if old is None or new.get("webhooks") != old.get("webhooks"):
        generation += 1
    if new["metadata"].get("generation") == generation:
        return new
    return meta.changed(new, ("metadata", "generation"), generation)


# -- validation ---------------------------------------------------------------------------------------------------


@listed
def validate(obj: Object) -> Errors:
    seen: dict[str, None] = {}
    for index, webhook in enumerate(meta.parts(obj, "webhooks")):
        where, name = f"webhooks[{index}]", webhook.get("name") or ""
        yield from _webhook(webhook, where)
        yield from _review_versions(meta.texts(webhook, "admissionReviewVersions"), f"{where}.admissionReviewVersions")
        if name and name in seen:
            yield FieldError.duplicate(f"{where}.name", name)
        seen[name] = None


def _webhook(webhook: Object, where: str) -> Errors:
    yield from _qualified(webhook.get("name") or "", f"{where}.name")
    for index, rule in enumerate(meta.parts(webhook, "rules")):
        yield from rules.validate(rule, f"{where}.rules[{index}]")
    yield from one_of(webhook.get("failurePolicy"), f"{where}.failurePolicy", ("Fail", "Ignore"))
    yield from one_of(webhook.get("matchPolicy"), f"{where}.matchPolicy", ("Equivalent", "Exact"))
    yield from one_of(webhook.get("sideEffects"), f"{where}.sideEffects", SIDE_EFFECTS)
    if webhook.get("reinvocationPolicy"):
        yield from one_of(webhook["reinvocationPolicy"], f"{where}.reinvocationPolicy", ("IfNeeded", "Never"))
    seconds = webhook.get("timeoutSeconds", TIMEOUT_SECONDS_DEFAULT)
    if not 1 <= seconds <= TIMEOUT_SECONDS_MAX:
        why = f"the timeout value must be between 1 and {TIMEOUT_SECONDS_MAX} seconds"
        yield FieldError.invalid(f"{where}.timeoutSeconds", seconds, why)
    for selector in ("namespaceSelector", "objectSelector"):
        yield from label_selector(webhook.get(selector), f"{where}.{selector}")
    yield from client_config.wrong(meta.part(webhook, "clientConfig"), f"{where}.clientConfig")
    yield from expressions.validate_conditions(
        meta.parts(webhook, "matchConditions"), expressions.OF_WEBHOOKS, f"{where}.matchConditions"
    )


def _qualified(name: str, path: str) -> Errors:
    if not name:
        yield FieldError.required(path)
    elif wrong := names.subdomain(name):
        yield FieldError.invalid(path, name, wrong)
    elif name.count(".") < 2:
        yield FieldError.invalid(path, name, "should be a domain with at least three segments separated by dots")


def _review_versions(versions: Sequence[str], path: str) -> Errors:
    if not versions:
        yield FieldError.required(path, f"must specify one of {', '.join(REVIEW_VERSIONS)}")
        return
    seen: dict[str, None] = {}
    for index, version in enumerate(versions):
        if version in seen:
            yield FieldError.invalid(f"{path}[{index}]", version, "duplicate version")
        elif wrong := names.label_1035(version):
            yield FieldError.invalid(f"{path}[{index}]", version, wrong)
        seen[version] = None
    if not any(version in REVIEW_VERSIONS for version in versions):
        yield FieldError.invalid(path, list(versions), f"must include at least one of {', '.join(REVIEW_VERSIONS)}")


# -- rows ---------------------------------------------------------------------------------------------------------


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), len(meta.parts(obj, "webhooks")), tables.age(obj, now)]


_PRINTER = tables.Printer(tables.columns("Name, Webhooks, Age", "Webhooks"), cells)

MUTATINGWEBHOOKCONFIGURATIONS = Kind(
    GROUP,
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    False,
    categories=("api-extensions",),
    cost=cel.COST,
    default=mutating_defaults,
    prepare=prepare,
    validate=validate,
    printer=_PRINTER,
)

VALIDATINGWEBHOOKCONFIGURATIONS = Kind(
    GROUP,
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    False,
    categories=("api-extensions",),
    cost=cel.COST,
    default=validating_defaults,
    prepare=prepare,
    validate=validate,
    printer=_PRINTER,
)

KINDS = (MUTATINGWEBHOOKCONFIGURATIONS, VALIDATINGWEBHOOKCONFIGURATIONS)
