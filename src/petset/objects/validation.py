"""What every object must fulfil, whatever its kind. (Being built: the signatures are final.)"""

from __future__ import annotations

from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.resources import Resource


def metadata(resource: Resource, new: Object, old: Object | None = None) -> list[FieldError]:
    """Names, labels, annotations, owners, finalizers; with `old`, what of metadata must not change."""
    return []
