"""PodMetrics: what a pod's containers use (metrics.k8s.io/v1beta1). Made when it is asked for, and never stored."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from petset.kinds.metrics import usage
from petset.objects import meta, quantity, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind


def cells(obj: Object, now: float) -> list[Any]:
    whole = (quantity.Quantity(used(obj, "cpu"), "decimal"), quantity.Quantity(used(obj, "memory"), "binary"))
    return [tables.name(obj), *map(str, whole), obj.get("window", "")]


def used(obj: Object, resource: str) -> Fraction:
    """By all containers together."""
    containers = meta.parts(obj, "containers")
    return sum((usage.of(meta.part(one, "usage"), resource) for one in containers), Fraction(0))


PODMETRICS = Kind(
    usage.GROUP,
    usage.VERSION,
    "pods",
    "PodMetrics",
    verbs=usage.READ,
    steps_back=True,
    printer=tables.Printer(tables.columns("Name, cpu, memory, Window"), cells),
)

KINDS = (PODMETRICS,)
