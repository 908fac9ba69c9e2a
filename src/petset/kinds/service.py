"""Service."""

from __future__ import annotations

from petset.base import well_known
from petset.kinds import defaults, preparation, validation_service
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind


def publishes_unready(service: Object) -> bool:
    """Whether it shows the addresses of pods that are not ready: by its spec, or by the annotation of 2016."""
    annotated = meta.annotations(service).get(well_known.TOLERATE_UNREADY_ANNOTATION, "")
    is_asked = bool(meta.get(service, "spec", "publishNotReadyAddresses"))
    return is_asked or annotated in ("true", "True", "TRUE", "t", "T", "1")


def is_headless(service: Object) -> bool:
    return meta.get(service, "spec", "clusterIP") == "None"


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
