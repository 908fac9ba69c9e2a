"""RuntimeClass: what runs a pod's containers, what that costs, and on which nodes it is (node.k8s.io/v1).

Which handlers a node has is the node's to know: a pod of a class with another one gets no sandbox there, since who asks
for one of its kind must not get another silently.
"""

from __future__ import annotations

from typing import Any

from petset.kinds.pod_spec import placement
from petset.objects import meta, names, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, immutable, labels, listed, named, not_negative_quantities


@listed
def validate(obj: Object) -> Errors:
    yield from named(obj.get("handler"), "handler", names.label)
    yield from not_negative_quantities(meta.part(obj, "overhead").get("podFixed"), "overhead.podFixed")
    yield from labels(meta.part(obj, "scheduling").get("nodeSelector"), "scheduling.nodeSelector")
    yield from placement.tolerations(meta.parts(meta.part(obj, "scheduling"), "tolerations"), "scheduling.tolerations")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "handler")


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), obj.get("handler", ""), tables.age(obj, now)]


RUNTIMECLASSES = Kind(
    "node.k8s.io",
    "v1",
    "runtimeclasses",
    "RuntimeClass",
    False,
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, Handler, Age"), cells),
)

KINDS = (RUNTIMECLASSES,)
