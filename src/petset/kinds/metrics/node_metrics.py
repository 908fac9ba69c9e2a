"""NodeMetrics: what a node uses (metrics.k8s.io/v1beta1). Made when it is asked for, and never stored."""

from __future__ import annotations

from typing import Any

from petset.kinds.metrics import usage
from petset.objects import meta, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind


def cells(obj: Object, now: float) -> list[Any]:
    used = meta.part(obj, "usage")
    return [tables.name(obj), used.get("cpu", ""), used.get("memory", ""), obj.get("window", "")]


NODEMETRICS = Kind(
    usage.GROUP,
    usage.VERSION,
    "nodes",
    "NodeMetrics",
    False,
    verbs=usage.READ,
    steps_back=True,
    printer=tables.Printer(tables.columns("Name, cpu, memory, Window"), cells),
)

KINDS = (NODEMETRICS,)
