"""A pod's emptyDirs: which volumes they are, and how large one in memory is."""

from __future__ import annotations

from petset.objects import meta, quantity
from petset.objects.meta import Object


def of(pod: Object) -> list[Object]:
    return [volume for volume in pod["spec"].get("volumes") or () if volume.get("emptyDir") is not None]


def is_memory(volume: Object) -> bool:
    return meta.get(volume, "emptyDir", "medium") == "Memory"


def memory_bytes(pod: Object, source: Object) -> int | None:
    """The size of a memory emptyDir: its limit, at most the containers' memory; None: half of the machine's."""
    found = [quantity.to_bytes(str(source.get("sizeLimit") or "0"))]
    limits = [meta.get(one, "resources", "limits", "memory") for one in pod["spec"].get("containers") or ()]
    if None not in limits:
        found.append(quantity.to_bytes(quantity.total(str(limit) for limit in limits)))
    return min((size for size in found if size), default=None)
