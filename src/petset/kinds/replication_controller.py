"""ReplicationController: so many pods of one template, as before ReplicaSets were (v1).

Its selector is a plain map of labels; one that is not given is the template's labels, which its own labels are, too.
"""

from __future__ import annotations

from typing import Any

from petset.kinds.apps import replica_set, workloads
from petset.objects import filling, meta, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.filling import fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, at_least, labels, listed


def defaults(obj: Object) -> Object:
    obj = replica_set.defaults(obj)
    given = meta.part(obj, "spec", "template", "metadata", "labels")
    if not given:
        return obj
    obj = within(obj, "spec", lambda spec: fill_empty(spec, {"selector": given}))
    return within(obj, "metadata", lambda metadata: fill_empty(metadata, {"labels": given}))


@listed
def validate(obj: Object) -> Errors:
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    for field in ("replicas", "minReadySeconds"):
        yield from at_least(spec.get(field), f"spec.{field}")
    selector = meta.part(spec, "selector")
    if not selector:
        yield FieldError.required("spec.selector")
    yield from labels(selector, "spec.selector")
    template = spec.get("template")
    if template is None:
        yield FieldError.required("spec.template")
    else:
        given = meta.part(template, "metadata", "labels")
        if not selectors.from_map(selector).matches(given):
            yield FieldError.invalid("spec.template.metadata.labels", dict(given), workloads.UNMATCHED)
        yield from workloads.template(template, "spec.template", "ReplicationController")
    yield from replica_set.counted(status)


def cells(obj: Object, now: float) -> list[Any]:
    return [*replica_set.counts(obj, now), tables.format_labels(meta.part(obj, "spec", "selector"))]


REPLICATIONCONTROLLERS = Kind(
    "",
    "v1",
    "replicationcontrollers",
    "ReplicationController",
    short_names=("rc",),
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({"replicas": 0}),
    validate=validate,
    fields=selectors.counts("status.replicas"),
    printer=tables.Printer(replica_set.COLUMNS, cells),
)

KINDS = (REPLICATIONCONTROLLERS,)
