"""meta.k8s.io/v1 Tables: what `kubectl get` prints. (Being built: the signatures are final.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.objects.meta import Object
from petset.objects.resources import Resource


def table(
    resource: Resource,
    objects: Sequence[Object],
    now: float,
    include: str = "Metadata",
    with_columns: bool = True,
    metadata: Object | None = None,
) -> dict[str, Any]:
    """The Table of the objects; `include` is Metadata, None or Object; `metadata` is the list's (resourceVersion)."""
    raise NotImplementedError
