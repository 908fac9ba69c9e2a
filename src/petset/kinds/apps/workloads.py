"""What kinds that make pods from a template have in common: the selector, the template, amounts of pods, counters.

A selector chooses the template's own pods and, in apps/v1, never changes. Their pods run for ever, so the template
says restartPolicy Always and no deadline. An amount of pods is a number or a percentage of them
(kubernetes.io/docs/reference/kubernetes-api/workload-resources).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from petset.kinds.pod_spec import validation
from petset.objects import meta, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import Errors, at_least, label_selector

REVISIONS_KEPT = 10
UNMATCHED = "`selector` does not match template `labels`"

_PERCENT = re.compile(r"[0-9]{1,9}%", re.ASCII)


def selection(spec: Object, kind: str) -> Errors:
    """That spec.selector is there and chooses what the template makes; `kind` as upstream's messages name it."""
    selector = spec.get("selector")
    if selector is None:
        yield FieldError.required("spec.selector")
        return
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield FieldError.invalid("spec.selector", dict(selector), f"empty selector is invalid for {kind}")
        return
    yield from chosen(selector, spec)


def chosen(selector: Object, spec: Object) -> Errors:
    wrong = list(label_selector(selector, "spec.selector"))
    yield from wrong
    labels = meta.part(spec, "template", "metadata", "labels")
    if not wrong and not selectors.from_object(selector).matches(labels):
        yield FieldError.invalid("spec.template.metadata.labels", dict(labels), UNMATCHED)


def template(given: Object, path: str, kind: str) -> Errors:
    """The template of pods that run for ever; `kind` as upstream's messages name it."""
    yield from validation.template(given, path)
    spec = meta.part(given, "spec")
    if spec.get("restartPolicy") in ("Never", "OnFailure"):
        yield FieldError.unsupported(f"{path}.spec.restartPolicy", spec["restartPolicy"], ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        why = f"activeDeadlineSeconds in {kind} is not Supported"
        yield FieldError.forbidden(f"{path}.spec.activeDeadlineSeconds", why)


def amount(value: int | str | None) -> int:
    """The number in an amount of pods; 0 for what is none."""
    if isinstance(value, str):
        return int(value[:-1]) if _PERCENT.fullmatch(value) else 0
    return value or 0


def resolved(value: int | str | None, total: int, up: bool) -> int:
    """The number of pods that an amount means of so many; a part of one counts as one when rounded up."""
    if not isinstance(value, str):
        return value or 0
    parts = total * amount(value)
    return -(-parts // 100) if up else parts // 100


def pods_or_percent(value: int | str | None, path: str) -> Errors:
    """An amount of pods: a number from 0, or a percentage."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or '93%')"
            yield FieldError.invalid(path, value, why)
    else:
        yield from at_least(value, path)


def at_most_all(value: int | str | None, path: str) -> Errors:
    if isinstance(value, str) and amount(value) > 100:
        yield FieldError.invalid(path, value, "must not be greater than 100%")


def counters(status: Object, fields: Sequence[str], at_most: str = "") -> Errors:
    """Numbers of pods that can be true together: none below 0, none above the one that counts all."""
    for field in fields:
        count = status.get(field, 0)
        yield from at_least(count, f"status.{field}")
        if at_most and count > status.get(at_most, 0):
            yield FieldError.invalid(f"status.{field}", count, f"cannot be greater than status.{at_most}")
    ready, available = status.get("readyReplicas", 0), status.get("availableReplicas", 0)
    if at_most and available > ready:
        yield FieldError.invalid("status.availableReplicas", available, "cannot be greater than readyReplicas")


def collisions(new: Object, old: Object) -> Errors:
    """A count of collisions only grows."""
    before, after = (meta.get(one, "status", "collisionCount") for one in (old, new))
    if before is not None and (after is None or after < before):
        yield FieldError.invalid("status.collisionCount", after, "cannot be decremented")


def containers_and_images(obj: Object) -> list[str]:
    """The cells of the wide columns."""
    containers = meta.parts(obj, "spec", "template", "spec", "containers")
    return [tables.joined(c.get("name", "") for c in containers), tables.joined(c.get("image", "") for c in containers)]
