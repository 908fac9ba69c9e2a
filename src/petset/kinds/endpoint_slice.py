"""EndpointSlice."""

from __future__ import annotations

from petset.kinds import defaults, validation_service
from petset.objects.registry import Kind

ENDPOINTSLICES = Kind(
    "discovery.k8s.io",
    "v1",
    "endpointslices",
    "EndpointSlice",
    default=defaults.endpoint_slice,
    validate=validation_service.endpoint_slice,
    validate_update=validation_service.endpoint_slice_update,
)

KINDS = (ENDPOINTSLICES,)
