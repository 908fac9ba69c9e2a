"""Deployment: pods that are all alike, changed a few at a time (apps/v1).

Its selector never changes; a rolling update has room to move: pods that may be missing, or pods that may be too many.
"""

from __future__ import annotations

from typing import Any

from petset.kinds.apps import workloads
from petset.kinds.pod_spec import filled
from petset.objects import filling, meta, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, at_least, immutable, listed

PROGRESS_SECONDS = 600


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _spec)


def _spec(spec: Object) -> Object:
    spec = fill(spec, {"replicas": 1, "revisionHistoryLimit": workloads.REVISIONS_KEPT})
    spec = fill(spec, {"progressDeadlineSeconds": PROGRESS_SECONDS})
    return at(within(spec, "strategy", _strategy), "template", filled.template)


def _strategy(strategy: Object) -> Object:
    strategy = fill_empty(strategy, {"type": "RollingUpdate"})
    if strategy["type"] != "RollingUpdate":
        return strategy
    return within(strategy, "rollingUpdate", lambda roll: fill(roll, {"maxUnavailable": "25%", "maxSurge": "25%"}))


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        yield from at_least(spec.get(field), f"spec.{field}")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        yield FieldError.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    yield from workloads.selection(spec, "deployment")
    yield from workloads.template(meta.part(spec, "template"), "spec.template", "ReplicaSet")
    yield from _check_strategy(meta.part(spec, "strategy"), "spec.strategy")
    counted = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    yield from workloads.counters(meta.part(obj, "status"), counted, "replicas")
    yield from workloads.counters(meta.part(obj, "status"), ("observedGeneration", "unavailableReplicas"))


def _check_strategy(strategy: Object, path: str) -> Errors:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    match kind:
        case "Recreate":
            if rolling is not None:
                why = "may not be specified when strategy `type` is 'Recreate'"
                yield FieldError.forbidden(f"{path}.rollingUpdate", why)
        case "RollingUpdate":
            missing, more = (meta.part(strategy, "rollingUpdate").get(f) for f in ("maxUnavailable", "maxSurge"))
            where = f"{path}.rollingUpdate"
            yield from workloads.pods_or_percent(missing, f"{where}.maxUnavailable")
            yield from workloads.pods_or_percent(more, f"{where}.maxSurge")
            if workloads.amount(missing) == 0 and workloads.amount(more) == 0:
                yield FieldError.invalid(f"{where}.maxUnavailable", missing, "may not be 0 when `maxSurge` is 0")
            yield from workloads.at_most_all(missing, f"{where}.maxUnavailable")
        case _:
            yield FieldError.unsupported(f"{path}.type", kind or "", ("Recreate", "RollingUpdate"))


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", "selector")
    yield from workloads.collisions(new, old)


def cells(obj: Object, now: float) -> list[Any]:
    status = meta.part(obj, "status")
    return [
        tables.name(obj),
        f"{status.get('readyReplicas', 0)}/{meta.get(obj, 'spec', 'replicas', default=0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        tables.age(obj, now),
        *workloads.containers_and_images(obj),
        tables.selector(meta.get(obj, "spec", "selector")),
    ]


DEPLOYMENTS = Kind(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    short_names=("deploy",),
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({}),
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(
        tables.columns(
            "Name, Ready, Up-to-date, Available, Age, +Containers, +Images, +Selector", "Up-to-date, Available"
        ),
        cells,
    ),
)

KINDS = (DEPLOYMENTS,)
