"""DaemonSet: a pod on each node that its template may run on (apps/v1).

A rolling update takes pods away before it makes new ones (maxUnavailable) or makes new ones first (maxSurge): exactly
one of the two.
"""

from __future__ import annotations

from typing import Any

from petset.kinds.apps import workloads
from petset.kinds.pod_spec import filled
from petset.objects import filling, meta, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, at_least, immutable, listed

_COUNTED = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
)


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _spec)


def _spec(spec: Object) -> Object:
    spec = fill(spec, {"revisionHistoryLimit": workloads.REVISIONS_KEPT})
    return at(within(spec, "updateStrategy", _strategy), "template", filled.template)


def _strategy(strategy: Object) -> Object:
    strategy = fill_empty(strategy, {"type": "RollingUpdate"})
    if strategy["type"] != "RollingUpdate":
        return strategy
    return within(strategy, "rollingUpdate", lambda roll: fill(roll, {"maxUnavailable": 1, "maxSurge": 0}))


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    for field in ("minReadySeconds", "revisionHistoryLimit"):
        yield from at_least(spec.get(field), f"spec.{field}")
    yield from workloads.selection(spec, "daemonset")
    yield from workloads.template(meta.part(spec, "template"), "spec.template", "DaemonSet")
    yield from _check_strategy(meta.part(spec, "updateStrategy"), "spec.updateStrategy")
    yield from workloads.counters(meta.part(obj, "status"), _COUNTED)


def _check_strategy(strategy: Object, path: str) -> Errors:
    kind = strategy.get("type")
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        yield FieldError.unsupported(path, kind or "", ("RollingUpdate", "OnDelete"))
        return
    where = f"{path}.rollingUpdate"
    missing, more = (meta.part(strategy, "rollingUpdate").get(field) for field in ("maxUnavailable", "maxSurge"))
    yield from workloads.pods_or_percent(missing, f"{where}.maxUnavailable")
    yield from workloads.pods_or_percent(more, f"{where}.maxSurge")
    if workloads.amount(missing) and workloads.amount(more):
        yield FieldError.invalid(f"{where}.maxSurge", more, "may not be set when maxUnavailable is non-zero")
    elif not workloads.amount(missing) and not workloads.amount(more):
        yield FieldError.required(f"{where}.maxUnavailable", "cannot be 0 when maxSurge is 0")
    yield from workloads.at_most_all(missing, f"{where}.maxUnavailable")
    yield from workloads.at_most_all(more, f"{where}.maxSurge")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", "selector")
    yield from workloads.collisions(new, old)


def cells(obj: Object, now: float) -> list[Any]:
    status = meta.part(obj, "status")
    shown = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    return [
        tables.name(obj),
        *(status.get(field, 0) for field in (*shown, "numberAvailable")),
        tables.format_labels(meta.part(obj, "spec", "template", "spec", "nodeSelector")),
        tables.age(obj, now),
        *workloads.containers_and_images(obj),
        tables.selector(meta.get(obj, "spec", "selector")),
    ]


DAEMONSETS = Kind(
    "apps",
    "v1",
    "daemonsets",
    "DaemonSet",
    short_names=("ds",),
    categories=("all",),
    subresources=STATUS,
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new(
        {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}
    ),
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(
        tables.columns(
            "Name, Desired, Current, Ready, Up-to-date, Available, Node Selector, Age, +Containers, +Images, +Selector",
            "Desired, Current, Ready, Up-to-date, Available",
        ),
        cells,
    ),
)

KINDS = (DAEMONSETS,)
