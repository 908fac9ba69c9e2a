"""PersistentVolumeClaim."""

from __future__ import annotations

from petset.kinds import defaults, preparation, validation_storage
from petset.objects.registry import STATUS, Kind

PERSISTENTVOLUMECLAIMS = Kind(
    "",
    "v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    short_names=("pvc",),
    subresources=STATUS,
    default=defaults.claim,
    prepare=preparation.status_of_new({"phase": "Pending"}),
    validate=validation_storage.claim,
    validate_update=validation_storage.claim_update,
)

KINDS = (PERSISTENTVOLUMECLAIMS,)
