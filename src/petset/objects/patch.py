"""JSON patch, merge patch and strategic merge patch. (Being built: the signatures are final.)"""

from __future__ import annotations

from typing import Any

from petset.objects.meta import Object
from petset.objects.resources import Resource


def json_patch(obj: Object, operations: Any) -> Object:
    """RFC 6902; raises ApiError 400 for a malformed patch, 422 for one that does not apply."""
    raise NotImplementedError


def merge_patch(obj: Object, patch: Any) -> Object:
    """RFC 7386."""
    raise NotImplementedError


def strategic_merge(obj: Object, patch: Any, resource: Resource) -> Object:
    """Kubernetes' strategic merge patch, with the merge keys of the resource's schema; raises ApiError."""
    raise NotImplementedError
