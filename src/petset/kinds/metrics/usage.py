"""What NodeMetrics and PodMetrics have in common: how CPU and memory are written.

As upstream's metrics-server writes them: CPU in cores to the billionth, memory in bytes.
"""

from __future__ import annotations

from fractions import Fraction

from petset.objects import quantity
from petset.objects.meta import Object

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
CUSTOM, EXTERNAL = f"custom.{GROUP}", f"external.{GROUP}"  # That only others may have.
READ = ("get", "list")
NANOS = 10**9


def usage(cores: float, memory_bytes: int) -> dict[str, str]:
    """The ResourceList of what is used."""
    return {
        "cpu": str(quantity.Quantity(Fraction(max(0, round(cores * NANOS)), NANOS), "decimal")),
        "memory": str(quantity.Quantity(Fraction(max(0, memory_bytes)), "binary")),
    }


def of(found: Object, resource: str) -> Fraction:
    """How much of a resource a ResourceList names; 0 where it names none of it."""
    text = found.get(resource)
    return quantity.parse(text).value if isinstance(text, str) else Fraction(0)
