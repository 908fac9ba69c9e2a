"""Service."""

from __future__ import annotations

from petset.kinds import defaults, preparation, validation_service
from petset.objects.registry import STATUS, Kind

SERVICES = Kind(
    "",
    "v1",
    "services",
    "Service",
    short_names=("svc",),
    categories=("all",),
    subresources=STATUS,
    default=defaults.service,
    prepare=preparation.service,
    validate=validation_service.service,
    validate_update=validation_service.service_update,
)

KINDS = (SERVICES,)
