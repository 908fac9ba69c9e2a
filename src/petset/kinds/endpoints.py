"""Endpoints."""

from __future__ import annotations

from petset.kinds import defaults, validation_service
from petset.objects.registry import Kind

ENDPOINTS = Kind(
    "",
    "v1",
    "endpoints",
    "Endpoints",
    short_names=("ep",),
    default=defaults.endpoints,
    validate=validation_service.endpoints,
)

KINDS = (ENDPOINTS,)
