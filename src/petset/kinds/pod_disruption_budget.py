"""PodDisruptionBudget: how many of some pods must stay while others are evicted (policy/v1)."""

from __future__ import annotations

from typing import Any

from petset.kinds.apps import workloads
from petset.objects import filling, meta, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, label_selector, listed, one_of

COUNTED = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield FieldError.invalid("spec", dict(spec), "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        if spec.get(field) is not None:
            yield from workloads.pods_or_percent(spec[field], f"spec.{field}")
            yield from workloads.at_most_all(spec[field], f"spec.{field}")
    yield from label_selector(spec.get("selector"), "spec.selector")
    if (policy := spec.get("unhealthyPodEvictionPolicy")) is not None:
        yield from one_of(policy, "spec.unhealthyPodEvictionPolicy", ("AlwaysAllow", "IfHealthyBudget"))
    yield from workloads.counters(meta.part(obj, "status"), COUNTED)


def cells(obj: Object, now: float) -> list[Any]:
    spec = meta.part(obj, "spec")
    amounts = [spec.get(field) for field in ("minAvailable", "maxUnavailable")]
    return [
        tables.name(obj),
        *("N/A" if amount is None else str(amount) for amount in amounts),
        meta.get(obj, "status", "disruptionsAllowed", default=0),
        tables.age(obj, now),
    ]


PODDISRUPTIONBUDGETS = Kind(
    "policy",
    "v1",
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    short_names=("pdb",),
    subresources=STATUS,
    has_generation=True,
    prepare=filling.status_of_new(dict.fromkeys(COUNTED, 0)),
    validate=validate,
    printer=tables.Printer(
        tables.columns("Name, Min Available, Max Unavailable, Allowed Disruptions, Age", "Allowed Disruptions"), cells
    ),
)

KINDS = (PODDISRUPTIONBUDGETS,)
