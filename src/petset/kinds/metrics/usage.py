"""What NodeMetrics and PodMetrics have in common: how CPU, memory and the time between two looks are written.

As upstream's metrics-server writes them: CPU in cores to the billionth, memory in bytes, a window as a Go duration.
"""

from __future__ import annotations

from fractions import Fraction

from petset.objects import quantity
from petset.objects.meta import Object

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
READ = ("get", "list")
NANOS = 10**9


def usage(cores: float, memory_bytes: int) -> dict[str, str]:
    """The ResourceList of what is used."""
    return {
        "cpu": str(quantity.Quantity(Fraction(max(0, round(cores * NANOS)), NANOS), "decimal")),
        "memory": str(quantity.Quantity(Fraction(max(0, memory_bytes)), "binary")),
    }


def window(seconds: float) -> str:
    """75.2 -> 1m15.2s."""
    millis = max(0, round(seconds * 1000))
    minutes, rest = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest // 1000}.{rest % 1000:03}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


def of(found: Object, resource: str) -> Fraction:
    """How much of a resource a ResourceList names; 0 where it names none of it."""
    text = found.get(resource)
    return quantity.parse(text).value if isinstance(text, str) else Fraction(0)
