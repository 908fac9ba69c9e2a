"""ComponentStatus: whether a part of the control plane is well (v1). Made when it is asked for, and never stored.

Upstream has deprecated it, and still serves it: `kubectl get componentstatuses` is what many look at first.
"""

from __future__ import annotations

from typing import Any

from petset.objects import meta, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind

HEALTHY = "Healthy"
EMPTY: Object = {}
DEPRECATED = "v1 ComponentStatus is deprecated in v1.19+"


def of(name: str, why: str) -> dict[str, Any]:
    """That of a part; `why` it is not well, or ""."""
    condition = {"type": HEALTHY, "status": "False" if why else "True", "message": why or "ok"}
    return {
        "apiVersion": "v1",
        "kind": COMPONENTSTATUSES.kind,
        "metadata": {"name": name},
        "conditions": [condition],
    }


def cells(obj: Object, now: float) -> list[Any]:
    found: Object = next((one for one in meta.parts(obj, "conditions") if one.get("type") == HEALTHY), EMPTY)
    status = {"True": "Healthy", "False": "Unhealthy"}.get(found.get("status", ""), "Unknown")
    return [tables.name(obj), status, found.get("message", ""), found.get("error", "")]


COMPONENTSTATUSES = Kind(
    "",
    "v1",
    "componentstatuses",
    "ComponentStatus",
    False,
    short_names=("cs",),
    verbs=("get", "list"),
    printer=tables.Printer(tables.columns("Name, Status, Message, Error"), cells),
)

KINDS = (COMPONENTSTATUSES,)
