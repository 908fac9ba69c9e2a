"""ReplicaSet: so many pods of one template, which is what a revision of a Deployment is (apps/v1)."""

from __future__ import annotations

from typing import Any

from petset.kinds.apps import workloads
from petset.kinds.pod_spec import filled
from petset.objects import filling, meta, selectors, tables
from petset.objects.filling import at, fill, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, at_least, immutable, listed

COUNTED = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def defaults(obj: Object) -> Object:
    return within(obj, "spec", lambda spec: at(fill(spec, {"replicas": 1}), "template", filled.template))


@listed
def validate(obj: Object) -> Errors:
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    for field in ("replicas", "minReadySeconds"):
        yield from at_least(spec.get(field), f"spec.{field}")
    yield from workloads.selection(spec, "deployment")
    yield from workloads.template(meta.part(spec, "template"), "spec.template", "ReplicaSet")
    yield from counted(status)


def counted(status: Object) -> Errors:
    """What is wrong with the numbers of a status, a ReplicationController's too."""
    yield from workloads.counters(status, COUNTED, "replicas")
    yield from at_least(status.get("observedGeneration"), "status.observedGeneration")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", "selector")


def cells(obj: Object, now: float) -> list[Any]:
    return [*counts(obj, now), tables.selector(meta.get(obj, "spec", "selector"))]


def counts(obj: Object, now: float) -> list[Any]:
    """The cells that a ReplicationController has, too."""
    status = meta.part(obj, "status")
    return [
        tables.name(obj),
        meta.get(obj, "spec", "replicas", default=0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        tables.age(obj, now),
        *workloads.containers_and_images(obj),
    ]


COLUMNS = tables.columns(
    "Name, Desired, Current, Ready, Age, +Containers, +Images, +Selector", "Desired, Current, Ready"
)

REPLICASETS = Kind(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    short_names=("rs",),
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({"replicas": 0}),
    validate=validate,
    validate_update=validate_update,
    fields=selectors.counts("status.replicas"),
    printer=tables.Printer(COLUMNS, cells),
)

KINDS = (REPLICASETS,)
