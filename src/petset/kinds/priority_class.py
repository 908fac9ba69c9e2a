"""PriorityClass: a name for how important pods are (scheduling.k8s.io/v1).

Names that begin with "system-" and the numbers above a billion are the cluster's own: the two classes that each cluster
begins with. A pod that names no class has the default one, of several the lowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from petset.objects import meta, tables
from petset.objects.errors import FieldError
from petset.objects.filling import fill, fill_empty
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, immutable, listed, one_of

USER_PRIORITY_MAX = 1_000_000_000
SYSTEM_PREFIX = "system-"
OF_EVERY_CLUSTER: Mapping[str, int] = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}


def default_of(classes: Iterable[Object]) -> Object | None:
    """The class of pods that name none."""
    marked = [class_ for class_ in classes if class_.get("globalDefault")]
    return min(marked, key=lambda class_: (class_.get("value", 0), meta.name(class_)), default=None)


def defaults(obj: Object) -> Object:
    return fill_empty(fill(obj, {"value": 0}), {"preemptionPolicy": "PreemptLowerPriority"})


@listed
def validate(obj: Object) -> Errors:
    name, value = obj["metadata"].get("name") or "", obj.get("value", 0)
    if name.startswith(SYSTEM_PREFIX):
        if OF_EVERY_CLUSTER.get(name) != value or obj.get("globalDefault"):
            why = "priority class names with 'system-' prefix are reserved for system use only"
            yield FieldError.forbidden("metadata.name", why)
    elif value > USER_PRIORITY_MAX:
        why = f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"
        yield FieldError.forbidden("value", why)
    yield from one_of(obj.get("preemptionPolicy"), "preemptionPolicy", ("Never", "PreemptLowerPriority"))


@listed
def validate_update(new: Object, old: Object) -> Errors:
    if new.get("value", 0) != old.get("value", 0):
        yield FieldError.forbidden("value", "may not be changed in an update.")
    yield from immutable(new, old, "", "preemptionPolicy")


def cells(obj: Object, now: float) -> list[Any]:
    is_default = bool(obj.get("globalDefault"))
    policy = obj.get("preemptionPolicy") or "<none>"
    return [tables.name(obj), obj.get("value", 0), is_default, tables.age(obj, now), policy]


PRIORITYCLASSES = Kind(
    "scheduling.k8s.io",
    "v1",
    "priorityclasses",
    "PriorityClass",
    False,
    short_names=("pc",),
    default=defaults,
    validate=validate,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, Value, Global-Default, Age, PreemptionPolicy", "Value"), cells),
)

KINDS = (PRIORITYCLASSES,)
