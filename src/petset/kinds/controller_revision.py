"""ControllerRevision."""

from __future__ import annotations

from petset.kinds import validation_apps
from petset.objects.registry import Kind

CONTROLLERREVISIONS = Kind(
    "apps",
    "v1",
    "controllerrevisions",
    "ControllerRevision",
    validate=validation_apps.controller_revision,
    validate_update=validation_apps.controller_revision_update,
)

KINDS = (CONTROLLERREVISIONS,)
