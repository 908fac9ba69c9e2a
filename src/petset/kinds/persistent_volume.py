"""PersistentVolume."""

from __future__ import annotations

from petset.kinds import defaults, preparation, validation_storage
from petset.objects.registry import STATUS, Kind

PERSISTENTVOLUMES = Kind(
    "",
    "v1",
    "persistentvolumes",
    "PersistentVolume",
    False,
    short_names=("pv",),
    subresources=STATUS,
    default=defaults.volume,
    prepare=preparation.status_of_new({"phase": "Pending"}),
    validate=validation_storage.volume,
    validate_update=validation_storage.volume_update,
)

KINDS = (PERSISTENTVOLUMES,)
