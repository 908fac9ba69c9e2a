"""StatefulSet: pets with an ordinal, a name and claims (apps/v1); PetSet has the same rules, and takes them from here.

A name must leave room for what its pods' labels add to it, the selector must choose the template's pods, and once a
set exists only what a running set can follow may change: claim templates, service name and selector are what its
pets' identities are made of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from petset.kinds import persistent_volume_claim
from petset.kinds.pod_spec import filled, validation
from petset.objects import filling, meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, at_least, label_selector, listed, optional

REVISIONS_KEPT = 10


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _stateful_set_spec)


def _stateful_set_spec(spec: Object) -> Object:
    spec = fill(spec, {"replicas": 1, "revisionHistoryLimit": REVISIONS_KEPT})
    spec = fill_empty(spec, {"podManagementPolicy": "OrderedReady"})
    spec = within(spec, "updateStrategy", _update_strategy)
    spec = within(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        lambda policy: fill_empty(policy, {"whenDeleted": "Retain", "whenScaled": "Retain"}),
    )
    spec = at(spec, "template", filled.template)
    return at(spec, "volumeClaimTemplates", lambda templates: each(templates, _claim_template))


def _update_strategy(strategy: Object) -> Object:
    strategy = fill_empty(strategy, {"type": "RollingUpdate"})
    if strategy["type"] != "RollingUpdate":
        return strategy
    return within(strategy, "rollingUpdate", lambda rolling: fill(rolling, {"partition": 0, "maxUnavailable": 1}))


def _claim_template(template: Object) -> Object:
    return persistent_volume_claim.defaults(fill_empty(template, {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}))


REVISION_SUFFIX_CHARACTERS = 11  # "-" and the hash that names a revision.

SET_NAME_CHARACTERS_MAX = names.LABEL_CHARACTERS_MAX - REVISION_SUFFIX_CHARACTERS

_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


@listed
def validate(obj: Object) -> Errors:
    yield from validate_set(obj, "statefulset")


def validate_set(obj: Object, kind: str) -> Errors:
    name, spec = obj["metadata"].get("name") or "", meta.part(obj, "spec")
    if len(name) > SET_NAME_CHARACTERS_MAX:
        yield FieldError.invalid(
            "metadata.name",
            name,
            f"must be no more than {SET_NAME_CHARACTERS_MAX} characters: with the revision's suffix of "
            f"{REVISION_SUFFIX_CHARACTERS} it is the value of its pods' label controller-revision-hash, which may have "
            f"{names.LABEL_CHARACTERS_MAX}",
        )
    yield from _choice(spec.get("podManagementPolicy"), "spec.podManagementPolicy", "OrderedReady", "Parallel")
    yield from _strategy(meta.part(spec, "updateStrategy"), "spec.updateStrategy")
    retention = meta.part(spec, "persistentVolumeClaimRetentionPolicy")
    for field in ("whenDeleted", "whenScaled"):
        where = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
        yield from _choice(retention.get(field), where, "Retain", "Delete")
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        yield from at_least(spec.get(field), f"spec.{field}")
    yield from at_least(meta.get(spec, "ordinals", "start"), "spec.ordinals.start")
    yield from optional(spec.get("serviceName"), "spec.serviceName", names.label)
    yield from _selection(spec, kind)
    claims = meta.parts(spec, "volumeClaimTemplates")
    yield from persistent_volume_claim.validate_templates(claims, "spec.volumeClaimTemplates")
    claim_names = [meta.get(claim, "metadata", "name", default="") for claim in claims]
    yield from _template(meta.part(spec, "template"), "spec.template", claim_names, kind)
    yield from _status(meta.part(obj, "status"))


def _choice(value: str | None, path: str, *choices: str) -> Errors:
    if not value:
        yield FieldError.required(path)
    elif value not in choices:
        *others, last = (f"'{one}'" for one in choices)
        yield FieldError.invalid(path, value, f"must be {', '.join(others)} or {last}")


def _strategy(strategy: Object, path: str) -> Errors:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    yield from _choice(kind, f"{path}.type", "RollingUpdate", "OnDelete", "Recreate")
    if kind in ("OnDelete", "Recreate") and rolling is not None:
        yield FieldError.invalid(
            f"{path}.rollingUpdate", dict(rolling), "only allowed for updateStrategy 'RollingUpdate'"
        )
    if kind == "RollingUpdate" and rolling is not None:
        yield from at_least(rolling.get("partition"), f"{path}.rollingUpdate.partition")
        yield from _unavailable(rolling.get("maxUnavailable"), f"{path}.rollingUpdate.maxUnavailable")


def _unavailable(value: int | str | None, path: str) -> Errors:
    if value is None:
        return
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}%", value, re.ASCII):
        yield FieldError.invalid(
            path, value, "a valid percent string must be a numeric string followed by an ending '%'"
        )
        return
    number = int(value.rstrip("%")) if isinstance(value, str) else value
    if number <= 0:
        yield FieldError.invalid(path, value, "must be greater than 0")
    elif isinstance(value, str) and number > 100:
        yield FieldError.invalid(path, value, "must not be greater than 100%")


def _selection(spec: Object, kind: str) -> Errors:
    selector = spec.get("selector")
    if selector is None:
        yield FieldError.required("spec.selector")
        return
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        why = f"empty selector is not valid for {kind}."
        yield FieldError.invalid("spec.selector", dict(selector), why)
        return
    wrong = list(label_selector(selector, "spec.selector"))
    yield from wrong
    labels = meta.part(spec, "template", "metadata", "labels")
    if not wrong and not selectors.from_object(selector).matches(labels):
        yield FieldError.invalid(
            "spec.template.metadata.labels", dict(labels), "`selector` does not match template `labels`"
        )


def _template(template: Object, path: str, claims: Sequence[str], kind: str) -> Errors:
    yield from validation.template(template, path, claims)
    spec = meta.part(template, "spec")
    if spec.get("restartPolicy") in ("Never", "OnFailure"):
        yield FieldError.unsupported(f"{path}.spec.restartPolicy", spec["restartPolicy"], ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        shown = {"statefulset": "StatefulSet", "petset": "PetSet"}[kind]
        yield FieldError.forbidden(
            f"{path}.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {shown} is not supported"
        )


def _status(status: Object) -> Errors:
    """Counters that can be true of one set."""
    replicas = status.get("replicas", 0)
    for field in ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"):
        count = status.get(field, 0)
        yield from at_least(count, f"status.{field}")
        if count > replicas:
            yield FieldError.invalid(f"status.{field}", count, "cannot be greater than status.replicas")
    if status.get("availableReplicas", 0) > status.get("readyReplicas", 0):
        yield FieldError.invalid(
            "status.availableReplicas",
            status.get("availableReplicas", 0),
            "cannot be greater than status.readyReplicas",
        )


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from validate_set_update(new, old, "statefulset")


def validate_set_update(new: Object, old: Object, kind: str) -> Errors:
    wanted, given = meta.part(new, "spec"), meta.part(old, "spec")
    if wanted is not given and any(
        wanted.get(key) != given.get(key) for key in {**wanted, **given} if key not in _CHANGEABLE
    ):
        quoted = [f"'{field}'" for field in _CHANGEABLE]
        yield FieldError.forbidden(
            "spec",
            f"updates to {kind} spec for fields other than {', '.join(quoted[:-1])} and {quoted[-1]} are forbidden",
        )
    before, after = meta.get(old, "status", "collisionCount", default=0), meta.get(new, "status", "collisionCount")
    if after is not None and after < before:
        yield FieldError.invalid("status.collisionCount", after, "cannot be decremented")


def cells(obj: Object, now: float) -> list[Any]:
    ready = meta.get(obj, "status", "readyReplicas", default=0)
    desired = meta.get(obj, "spec", "replicas", default=0)
    return [tables.name(obj), f"{ready}/{desired}", tables.age(obj, now), *containers_and_images(obj)]


def containers_and_images(obj: Object) -> list[str]:
    containers = meta.parts(obj, "spec", "template", "spec", "containers")
    return [tables.joined(c.get("name", "") for c in containers), tables.joined(c.get("image", "") for c in containers)]


STATEFULSETS = Kind(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    short_names=("sts",),
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({"replicas": 0, "availableReplicas": 0}),
    validate=validate,
    validate_update=validate_update,
    name_rule=names.label,  # It becomes the hostname of its pods, but for the ordinal.
    printer=tables.Printer(tables.columns("Name, Ready, Age, +Containers, +Images"), cells),
)

KINDS = (STATEFULSETS,)
