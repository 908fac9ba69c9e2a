"""What another server says of its objects, as far as it is looked at here: their names, owners and ends.

He is a stranger: whatever he sends comes through here before a cache or a decision sees it. Of an object stay the parts
of its metadata that say who it is, whose, and whether it goes; what has no name is left out. Pure.
"""

from __future__ import annotations

from typing import Any

from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

_TEXTS = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
OWNERS_MAX, FINALIZERS_MAX = 100, 100


def read(kind: Kind, obj: Any) -> Object | None:
    """An object of the kind; None for what is none."""
    metadata: Any = obj.get("metadata") if meta.is_struct(obj) else None
    if not meta.is_struct(metadata):
        return None
    kept: dict[str, Any] = {key: metadata[key] for key in _TEXTS if isinstance(metadata.get(key), str)}
    if not kept.get("name") or (kind.namespaced and not kept.get("namespace")):
        return None
    finalizers: Any = metadata.get("finalizers")
    if meta.is_texts(finalizers) and finalizers:
        kept["finalizers"] = list(finalizers[:FINALIZERS_MAX])
    given = meta.parts(metadata, "ownerReferences")[:OWNERS_MAX]
    owners = [found for one in given if (found := _owner(one)) is not None]
    if owners:
        kept["ownerReferences"] = owners
    kept.setdefault("resourceVersion", "")
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": kept}


def _owner(given: Any) -> Object | None:
    if not meta.is_struct(given):
        return None
    kept: dict[str, Any] = {key: given.get(key) for key in ("apiVersion", "kind", "name", "uid")}
    if not all(isinstance(value, str) and value for value in kept.values()):
        return None
    return {**kept, **{key: True for key in ("controller", "blockOwnerDeletion") if given.get(key) is True}}
