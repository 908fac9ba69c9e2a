"""ConfigMap."""

from __future__ import annotations

from petset.kinds import validation_core
from petset.objects.registry import Kind

CONFIGMAPS = Kind(
    "",
    "v1",
    "configmaps",
    "ConfigMap",
    short_names=("cm",),
    validate=validation_core.config_map,
    validate_update=validation_core.config_map_update,
)

KINDS = (CONFIGMAPS,)
